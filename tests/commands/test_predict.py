"""`pfvit predict` and the Reader: the contract that scripts rely on, and what bad input gets."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import fake_weights
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import pfvit, png
from helpers import PHOTO, flat
from PIL import Image

from pfvit import InputError, Reader
from pfvit.__main__ import main
from pfvit.detection.base import Face
from pfvit.emotions import EIGHT
from pfvit.inference.affect import affect_of

HAPPY = fake_weights.CENTRES[EIGHT.index("happiness")]


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return fake_weights.write(folder)


@pytest.fixture
def faces(tmp_path):
    """A folder with one flat picture for each of three emotions."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("neutral", "happiness", "contempt"):
        (folder / f"{name}.png").write_bytes(png(flat(fake_weights.CENTRES[EIGHT.index(name)])))
    return folder


def predict(capsys, *words, whole: bool = True) -> tuple[int, list[dict], str]:
    status = main(["predict", *map(str, words), "--json", *(["--whole"] if whole else [])])
    said = capsys.readouterr()
    return status, [json.loads(line) for line in said.out.splitlines()], said.err


def test_valence_and_arousal_are_written_where_they_are_asked_for(faces, weights, tmp_path, capsys):
    status, found, _ = predict(capsys, faces, "--weights", weights, "--affect")
    assert status == 0
    for face in found:
        assert (face["valence"], face["arousal"]) == pytest.approx(affect_of(face["probabilities"]), abs=1e-3)
    happy = next(face for face in found if face["emotion"] == "happiness")
    assert happy["valence"] > 0.3
    table = tmp_path / "table.parquet"
    words = ["predict", str(faces), "--whole", "--affect", "--output", str(table), "--weights", str(weights)]
    assert main(words) == 0
    assert pq.read_table(table)["valence"].to_pylist() == pytest.approx([face["valence"] for face in found])
    assert "valence" not in predict(capsys, faces, "--weights", weights)[1][0]


def test_one_json_object_per_face_and_line(faces, weights, capsys):
    status, found, _ = predict(capsys, faces, "--weights", weights)
    assert status == 0
    assert [Path(face["source"]).stem for face in found] == ["contempt", "happiness", "neutral"]
    for face in found:
        assert set(face) == {
            "source",
            "face",
            "box",
            "score",
            "landmarks",
            "emotion",
            "unsure",
            "entropy",
            "probabilities",
        }
        assert face["landmarks"] is None and face["score"] == 1 and 0 <= face["entropy"] <= 1
        assert (face["face"], face["box"], face["emotion"]) == (0, [0, 0, 20, 20], Path(face["source"]).stem)
        assert list(face["probabilities"]) == list(EIGHT)
        assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_nothing_else_is_on_stdout(faces, weights, tmp_path):
    (tmp_path / "broken.jpg").write_text("a text")
    done = pfvit("predict", faces, tmp_path / "broken.jpg", "--whole", "--json", "--weights", weights)
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len([row for row in rows if "emotion" in row]) == 3
    assert rows[-1].keys() == {"source", "error"} and rows[-1]["source"].endswith("broken.jpg")
    assert "broken.jpg" in done.stderr and "Traceback" not in done.stderr


def test_a_table_for_people(faces, weights, capsys):
    assert main(["predict", str(faces), "--whole", "--weights", str(weights)]) == 0
    shown = capsys.readouterr().out
    assert "happiness.png" in shown and "20x20+0+0" in shown and "contempt" in shown


def test_a_parquet_file_is_read_like_a_folder(tmp_path, weights, capsys):
    images = [png(flat(HAPPY)), b"no picture", png(flat(16))]
    structs = [{"bytes": image, "path": None} for image in images]
    pq.write_table(pa.table({"image": structs, "name": ["a.png", "b.png", None]}), tmp_path / "t.parquet")
    status, found, said = predict(capsys, tmp_path / "t.parquet", "--weights", weights)
    assert status == 1 and "t.parquet#1 (b.png)" in said
    sources = [(face["source"], face.get("emotion")) for face in found]
    assert sources == [("a.png", "happiness"), ("b.png", None), (f"{tmp_path / 't.parquet'}#2", "neutral")]
    assert "not a picture" in found[1]["error"]


def bomb() -> bytes:
    """A valid PNG of 30,000 x 30,000 pixels in 100 KB."""
    side = 30_000

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pack = zlib.compressobj()
    rows = b"".join(pack.compress(bytes(1 + side // 8)) for _ in range(side)) + pack.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("cut.jpg", jpeg(NOISE)[:2000], "cut short"),
        ("text.jpg", b"Dear diary,", "not a picture"),
        ("empty.png", b"", "is empty"),
        ("bomb.png", bomb(), "too large"),
        ("dot.png", png(flat(9, 1, 1)), "too small"),
        ("cut.parquet", b"PAR1" + bytes(100), "Parquet"),
        ("missing.jpg", None, "not there"),
    ],
)
def test_bad_input_is_named_and_the_rest_is_answered(name, content, why, faces, weights, tmp_path, capsys):
    bad = tmp_path / name
    if content is not None:
        bad.write_bytes(content)
    status, (failed, *found), said = predict(capsys, bad, faces, "--weights", weights)
    assert status == 1 and len(found) == 3
    assert failed["source"] == str(bad) and why in failed["error"]
    assert name in said and why in said


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_the_bomb_is_refused_before_it_goes_off(tmp_path, weights):
    (tmp_path / "bomb.png").write_bytes(bomb())
    code = (
        "from pfvit import InputError, Reader\n"
        f"try: Reader({str(weights)!r}, threads=1).read({str(tmp_path / 'bomb.png')!r}, whole=True)\n"
        "except InputError as problem: print(problem)\n"
        # Not getrusage: its peak is inherited from the process that forked.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, peak = done.stdout.splitlines()
    assert "too large" in said
    assert int(peak) < 400_000, "kilobytes: 900 million pixels were decoded"


def test_an_image_without_a_face_is_no_failure(tmp_path, weights, capsys):
    (tmp_path / "wall.png").write_bytes(png(flat(128, 200, 150)))
    status, found, said = predict(capsys, tmp_path / "wall.png", "--weights", weights, whole=False)
    assert (status, found) == (0, [{"source": str(tmp_path / "wall.png")}])
    assert "wall.png: no face found" in said and "--whole" in said


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ([], 2, ""),
        (["--no-such-flag", "a.jpg"], 2, "no-such-flag"),
        (["a.jpg", "--threads", "0"], 2, "threads"),
        (["{empty}"], 1, "without pictures"),
    ],
)
def test_a_wrong_command_line(words, status, why, tmp_path, weights):
    (tmp_path / "empty").mkdir()
    words = [word.format(empty=tmp_path / "empty") for word in words]
    done = pfvit("predict", *words, "--weights", weights, cwd=tmp_path)
    assert done.returncode == status and why in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_unknown_verbs_and_help():
    assert pfvit("divine").returncode == 2
    done = pfvit("predict", "--help")
    assert done.returncode == 0 and "--whole" in done.stdout and "--json" in done.stdout


def altered(weights: Path, key: str, value: str) -> Path:
    model = onnx.load(weights)
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = value
    onnx.save(model, weights)
    return weights


def test_wrong_weight_files(faces, weights, tmp_path, capsys):
    def said(path) -> str:
        status, found, text = predict(capsys, faces, "--weights", path)
        assert (status, found) == (1, [])
        return text

    assert "is not there" in said(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("weights")
    assert "damaged, or no ONNX file" in said(tmp_path / "text.onnx")
    assert "is a generator, not a recogniser" in said(weights.with_name("fake-generator.onnx"))
    assert "update pfvit, or export anew" in said(altered(weights, "pfvit.format", "99"))
    altered(weights, "pfvit.format", "1")
    assert "export it anew" in said(altered(weights, "pfvit.labels", "{"))
    model = onnx.load(weights)
    del model.metadata_props[:]
    onnx.save(model, weights)
    assert "something else" in said(weights)


def test_a_closed_pipe_is_no_error(faces, weights):
    words = [sys.executable, "-m", "pfvit", "predict", str(faces), "--whole", "--json", "--weights", str(weights)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        said = child.stderr.read()
    assert b"Traceback" not in said and b"Exception ignored" not in said


def test_pictures_are_written(faces, weights, tmp_path, capsys):
    status, _, said = predict(capsys, faces, "--weights", weights, "--picture", tmp_path / "out")
    assert status == 0 and "3 pictures" in said
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["contempt_0.png", "happiness_0.png", "neutral_0.png"]
    both = ("--picture", tmp_path / "out", "--annotate", tmp_path / "out")
    assert predict(capsys, faces, "--weights", weights, *both)[2].splitlines()[-2:] == [
        f"3 pictures in {tmp_path / 'out'} (3 replaced)",
        f"3 annotated photos in {tmp_path / 'out'}",
    ]
    with Image.open(tmp_path / "out" / "happiness_0.png") as picture:
        assert picture.width > 1000
        picture.verify()


@pytest.mark.parametrize("order", [("a.png", "a_0.png"), ("a_0.png", "a.png")])
def test_both_kinds_of_pictures_may_go_into_one_folder(order, weights, tmp_path, capsys):
    """a_0.png is the picture of the face in a.png, and would be the annotated photo a_0.png too."""
    for name in order:
        (tmp_path / name).write_bytes(png(flat(90)))
    out = tmp_path / "out"
    files, both = [tmp_path / name for name in order], ("--picture", out, "--annotate", out)
    status, _, said = predict(capsys, *files, "--weights", weights, *both)
    assert status == 0 and "replaced" not in said and "a_0.png is another picture's; it is written as a" in said
    assert len(list(out.iterdir())) == 4


def test_together_as_alone(weights):
    """Pictures of two sizes, more than go through the model at once: order and answers stay."""
    reader = Reader(weights, threads=1)
    pictures = [flat(brightness, width) for brightness in range(10, 250, 6) for width in (20, 31)]
    together = reader.read_batch(pictures, whole=True)
    for picture, (reading,) in zip(pictures, together, strict=True):
        assert reading.probabilities == pytest.approx(reader.read(picture, whole=True)[0].probabilities, abs=1e-6)


def test_any_number_of_pictures_one_after_the_other(weights, tmp_path):
    (tmp_path / "text.png").write_text("text")
    shades = [16, 48, 80] * 20
    given = (tmp_path / "text.png" if number == 33 else flat(shade) for number, shade in enumerate(shades))
    with Reader(weights, threads=1) as reader:
        read = list(reader.read_each(given, whole=True))
        assert list(reader.read_each([], whole=True)) == []
    assert len(read) == 60 and isinstance(read[33], InputError) and "text.png" in str(read[33])
    for number, faces in enumerate(read):
        if not isinstance(faces, InputError):
            assert faces[0].emotion == EIGHT[number % 3]


def test_providers_are_used_or_refused_with_what_there_is(faces, weights, capsys, monkeypatch):
    import onnxruntime

    assert predict(capsys, faces, "--weights", weights, "--provider", "cpu")[0] == 0
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    status, _, said = predict(capsys, faces, "--weights", weights, "--provider", "cuda")
    assert status == 1 and "cannot use cuda, only cpu" in said and "onnxruntime-gpu" in said
    with pytest.raises(InputError, match="no provider 'npu'; there are cpu, cuda"):
        Reader(weights, providers=["npu"])
    with pytest.raises(InputError, match=r"providers are several words, as in \['cuda'\]"):
        Reader(weights, providers="cuda")
    # One that is built in but does not start: onnxruntime would go on with the processor in silence.
    known = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    session = onnxruntime.InferenceSession
    given = []

    def start(path, options, providers):
        given.append(providers)
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", start)
    with pytest.raises(InputError, match="cuda did not start"):
        Reader(weights, providers=["cuda"])
    assert given == [known]


class Pair:
    """A detector that always sees two faces, the right one first."""

    def detect(self, image):
        return [Face((60, 10, 30, 30), 0.9), Face((-5, 10, 30, 30), 0.8)]


def test_what_is_known_beside_the_name(weights):
    (sure,) = Reader(weights, threads=1).read(np.full((20, 20, 3), 16, np.uint8), whole=True)
    (between,) = Reader(weights, threads=1).read(np.full((20, 20, 3), 32, np.uint8), whole=True)
    shares = np.array(list(sure.probabilities.values()))
    assert sure.entropy == pytest.approx(-(shares * np.log(shares)).sum() / np.log(8), abs=1e-6)
    assert not sure.unsure and between.unsure and between.entropy > sure.entropy
    assert between.embedding == pytest.approx(np.full(2 * fake_weights.WIDTH, 32))
    assert between._repr_png_().startswith(b"\x89PNG") and between.to_pil().width > 900
    with pytest.raises(AttributeError):
        sure.emotion = "neutral"


def test_any_detector_can_be_plugged_in(weights):
    picture = np.concatenate([flat(HAPPY, 50, 60), flat(16, 50, 60)], axis=1)
    left, right = Reader(weights, detector=Pair(), threads=1).read(picture)
    assert (left.face, left.box, left.emotion, left.score) == (0, (0, 10, 25, 30), "happiness", 0.8)
    assert (right.face, right.box, right.emotion) == (1, (60, 10, 30, 30), "neutral")


def test_a_photo_turned_by_exif_is_read_upright(weights, tmp_path):
    with Image.open(PHOTO) as photo:
        upright = Reader(weights, threads=1).read(photo.convert("RGB"))
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
        photo.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    turned = Reader(weights, threads=1).read(tmp_path / "turned.png")
    assert len(upright) == len(turned) == 1
    assert turned[0].box == upright[0].box
