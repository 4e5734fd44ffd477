"""`pfvit poker`: what is written where, and what taking an expression off does to the pixels."""

import io
import json
from pathlib import Path

import fake_weights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import pfvit, png
from PIL import Image

from pfvit import InputError, Reader
from pfvit.__main__ import main
from pfvit.detection.base import Face
from pfvit.emotions import EIGHT
from pfvit.inference.reading import FULL_LIGHT

NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return fake_weights.write(folder)


def picture(path: Path, pixels: np.ndarray = NOISE) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(png(pixels))
    return path


def poker(capsys, weights, *words) -> tuple[int, str]:
    status = main(["poker", *map(str, words), "--whole", "--weights", str(weights)])
    said = capsys.readouterr()
    assert said.out == ""
    return status, said.err


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_one_png_per_face_at_the_size_of_its_crop(weights, tmp_path, capsys):
    pq.write_table(pa.table({"image": [png(NOISE), png(NOISE)], "name": ["x.png", ""]}), tmp_path / "t.parquet")
    paths = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", NOISE[:9, :21]), tmp_path / "t.parquet"
    status, said = poker(capsys, weights, *paths, "--out", tmp_path / "out")
    assert status == 0 and "4 faces" in said
    sizes = {path.name: opened(path).shape for path in (tmp_path / "out").iterdir()}
    assert sizes == {
        "a_0.png": (40, 30, 3), "b_0.png": (9, 21, 3), "x_0.png": (40, 30, 3), "t#1_0.png": (40, 30, 3),
    }  # fmt: skip


def test_a_picture_on_standard_input_has_a_name(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(png(NOISE))))
    status, _ = poker(capsys, weights, "-", "--out", tmp_path / "out")
    assert status == 0 and [path.name for path in (tmp_path / "out").iterdir()] == ["stdin_0.png"]


def test_faces_of_one_picture_count_from_zero(weights):
    class Three:
        def detect(self, image):
            return [Face((x, 5, 8, 8), 0.9) for x in (20, 0, 10)]

    found = Reader(weights, detector=Three(), threads=1).read(NOISE)
    assert [reading.face for reading in found] == [0, 1, 2]
    assert [reading.box[0] for reading in found] == [0, 10, 20]


def test_strength_zero_gives_back_the_crop(weights, tmp_path, capsys):
    poker(capsys, weights, picture(tmp_path / "a.png"), "--out", tmp_path / "out", "--strength", "0")
    assert np.array_equal(opened(tmp_path / "out" / "a_0.png"), NOISE)


def test_the_change_is_carried_over_in_proportion_to_the_dial(weights):
    """The fake generator lifts the left half by a quarter of the range, times the strength."""
    gray = np.full((48, 48, 3), 100, np.uint8)
    (reading,) = Reader(weights, threads=1).read(gray, whole=True)
    for strength in (0.25, 0.5, 1.0):
        face = reading.poker_face(strength).astype(int)
        assert face[:, :16] - 100 == pytest.approx(strength * fake_weights.CHANGE * 255, abs=6)
        assert face[:, 34:] == pytest.approx(100, abs=6)
        assert np.ptp(face, axis=2).max() == 0
    where = reading.expression_map
    assert where[:, 0] == pytest.approx(min(1, fake_weights.CHANGE / FULL_LIGHT), abs=1e-4)
    assert where[:, -1] == pytest.approx(0, abs=1e-4)
    assert reading.reconstruction == pytest.approx(100, abs=1)
    for wrong in (-1.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="from -1 to 1"):
            reading.poker_face(wrong)
    stronger = reading.poker_face(-0.5).astype(int)
    assert stronger[:, :16] - 100 == pytest.approx(-0.5 * fake_weights.CHANGE * 255, abs=6)


def test_the_emphasis_in_the_file_is_applied(tmp_path):
    gray = np.full((48, 48, 3), 100, np.uint8)
    (reading,) = Reader(fake_weights.write(tmp_path, emphasis="2.0"), threads=1).read(gray, whole=True)
    face = reading.poker_face().astype(int)
    assert face[:, :16] - 100 == pytest.approx(2 * fake_weights.CHANGE * 255, abs=12)
    assert reading.drawn(1.0)[0, 0, 0] == pytest.approx(100 + fake_weights.CHANGE * 255, abs=1)


def test_a_whole_photo_keeps_its_size_and_all_but_its_faces(weights, tmp_path, capsys, monkeypatch):
    class Two:
        def detect(self, image):
            return [Face((10, 20, 40, 40), 0.9), Face((100, 20, 40, 40), 0.8)]

    photo = np.full((90, 160, 3), 100, np.uint8)
    monkeypatch.setattr(Reader, "detector", Two())
    path, out = picture(tmp_path / "p.png", photo), tmp_path / "out"
    words = ("--weights", str(weights), "--out", str(out), "--in-photo")
    assert main(["poker", str(path), *words]) == 0 and "1 photo in" in capsys.readouterr().err
    changed = opened(out / "p.png").astype(int) - 100
    assert changed.shape == photo.shape
    assert changed[40, 15:25].min() > 40 and changed[40, 105:115].min() > 40 and not changed[:, 66:88].any()
    assert main(["poker", str(path), *words, "--strength", "0"]) == 0
    assert np.array_equal(opened(out / "p.png"), photo)


def test_nothing_is_lost_when_names_meet(weights, tmp_path, capsys):
    one, other = picture(tmp_path / "1" / "a.png"), picture(tmp_path / "2" / "A.png", NOISE[::-1])
    status, said = poker(capsys, weights, one, other, "--out", tmp_path / "out", "--strength", "0")
    written = {path.name: opened(path) for path in (tmp_path / "out").iterdir()}
    assert status == 0 and len(written) == 2 and "~2" in said
    assert np.array_equal(written["a_0.png"], NOISE)
    assert np.array_equal(written["A~2_0.png"], NOISE[::-1])


def test_an_input_is_never_overwritten(weights, tmp_path, capsys):
    """a.png would become a_0.png, which is itself an input."""
    paths = picture(tmp_path / "a.png", NOISE[::-1]), picture(tmp_path / "a_0.png")
    status, _ = poker(capsys, weights, *paths, "--out", tmp_path, "--strength", "0")
    assert status == 0
    assert np.array_equal(opened(paths[1]), NOISE), "the second input was replaced by the first one's poker face"
    assert np.array_equal(opened(tmp_path / "a~2_0.png"), NOISE[::-1])
    assert np.array_equal(opened(tmp_path / "a_0_0.png"), NOISE)


def test_a_second_run_replaces_its_own_files_and_says_so(weights, tmp_path, capsys):
    path = picture(tmp_path / "a.png")
    poker(capsys, weights, path, "--out", tmp_path / "out")
    _, said = poker(capsys, weights, path, "--out", tmp_path / "out")
    assert "1 replaced" in said and len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("strength", ["-1.1", "1.5", "nan"])
def test_a_strength_outside_the_dial_is_a_wrong_command_line(strength, weights, tmp_path, capsys):
    status, said = poker(capsys, weights, picture(tmp_path / "a.png"), "--out", tmp_path / "o", "--strength", strength)
    assert status == 2 and "from -1 to 1" in said and not (tmp_path / "o").exists()


def test_a_generator_that_is_not_there_or_not_the_right_one(weights, tmp_path, capsys):
    path = picture(tmp_path / "a.png")
    lone = fake_weights.write(tmp_path, "lone", generator=False)
    status, said = poker(capsys, lone, path, "--out", tmp_path / "out")
    assert status == 1 and "lone-generator.onnx is not there" in said and not (tmp_path / "out").exists()
    fake_weights.write(tmp_path, "lone", pair="other")
    fake_weights.write(tmp_path, "lone", generator=False)
    status, said = poker(capsys, lone, path, "--out", tmp_path / "out")
    assert status == 1 and "was not trained with" in said


def test_bad_input_and_a_folder_that_cannot_be(weights, tmp_path, capsys):
    good = picture(tmp_path / "a.png")
    (tmp_path / "text.jpg").write_text("a text")
    status, said = poker(capsys, weights, tmp_path / "text.jpg", good, "--out", tmp_path / "out")
    assert status == 1 and "text.jpg" in said and (tmp_path / "out" / "a_0.png").is_file()
    status, said = poker(capsys, weights, good, "--out", good)
    assert status == 1 and "a file is in the way" in said


def test_a_full_disk_leaves_no_half_picture(weights, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", full)
    status, said = poker(capsys, weights, path, "--out", tmp_path / "out")
    assert status == 1 and "No space left on device" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_the_written_png_is_whole_at_every_moment(weights, tmp_path):
    done = pfvit("poker", picture(tmp_path / "a.png"), "--whole", "--out", tmp_path / "out", "--weights", weights)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out" / "a_0.png").read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        image.verify()


def test_weights_without_neutral_make_no_poker_faces(tmp_path, capsys):
    weights = fake_weights.write(tmp_path, labels=json.dumps([*EIGHT[1:], "boredom"]))
    status, said = poker(capsys, weights, picture(tmp_path / "a.png"), "--out", tmp_path / "out")
    assert status == 1 and "fake.onnx has no class neutral, so it makes no poker faces" in said
