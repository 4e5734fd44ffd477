"""Distillation: teachers are asked once, rightly, by any number of processes; and students learn from them."""

import json
from dataclasses import replace
from pathlib import Path

import fake_weights
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import faces_table, inside, run_training, write_faces
from helpers import EXACT, STAGES, kill_after, lines
from PIL import Image
from safetensors.torch import load, load_file
from test_distributed import trained

from pfvit.config import Train
from pfvit.data.dataset import FaceDataset
from pfvit.data.decode import decode_square
from pfvit.data.views import reframe
from pfvit.emotions import EIGHT, SEVEN
from pfvit.errors import InputError, UsageError
from pfvit.inference.network import open_recogniser
from pfvit.training import checkpoint, teachers
from pfvit.training.distributed import make_fabric
from pfvit.training.initialise import load_model
from pfvit.training.run import Run
from pfvit.training.trainer import train


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Unlabelled faces that are brighter and wider than the labelled ones."""
    path = tmp_path_factory.mktemp("unlabelled") / "wide.parquet"
    pq.write_table(faces_table(60, seed=5, size=40).select(["image"]), path, row_group_size=25)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return fake_weights.write(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def config(made_up, faces, teacher, tmp_path) -> Train:
    return replace(
        STAGES["train"],
        data=(made_up,),
        out=tmp_path / "run",
        teacher=(teacher,),
        unlabelled=(faces,),
        unlabelled_share=0.25,
        window=("wide=0.8,-0.1",),
        views="wild",
    )


def asked(config: Train) -> tuple[FaceDataset, FaceDataset]:
    labelled = FaceDataset(config.data)
    other = FaceDataset(config.unlabelled, labelled=False, windows=config.windows())
    assert teachers.teach(Run(make_fabric(EXACT), config, "train"), labelled, other)
    return labelled, other


def test_answers_are_those_of_the_plain_view(config, teacher):
    labelled, other = asked(config)
    recogniser = open_recogniser(teacher)
    for data, window in ((labelled, (1.0, 0.0)), (other, (0.8, -0.1))):
        for group in data.groups:
            encoded = pq.ParquetFile(group.path).read_row_group(group.index)["image"].to_pylist()
            images = [
                np.repeat(decode_square(cell["bytes"], 24 if data is labelled else 40, 1)[0, :, :, None], 3, 2)
                for cell in encoded
            ]
            expected = recogniser.probabilities([reframe(image, *window, side=12) for image in images])
            np.testing.assert_allclose(data.answers[group.path, group.index], expected, atol=2e-5)
    kept = load_file(config.out / teachers.KEPT)
    assert sum(map(len, kept.values())) == 260 and any(name.endswith("wide.parquet#2") for name in kept)


def test_answers_of_several_teachers_and_of_mirror_images_are_averaged(made_up):
    class Side:
        labels, size = SEVEN, 8

        def probabilities(self, images):
            bright = np.array([image[:, :4].mean() > image[:, 4:].mean() for image in images])
            return np.where(bright[:, None], np.eye(7)[2], np.eye(7)[5]).astype(np.float32)

    class Sure:
        labels, size = ("contempt", "fear"), 8

        def probabilities(self, images):
            return np.tile(np.float32([0.2, 0.8]), (len(images), 1))

    left = np.zeros((8, 8, 3), np.uint8)
    left[:, :4] = 200
    got = teachers._mean_answer([Side(), Sure()], [left, left[:, ::-1]], EIGHT)
    expected = dict.fromkeys(EIGHT, 0.0) | {"surprise": 0.25, "disgust": 0.25, "contempt": 0.1, "fear": 0.4}
    np.testing.assert_allclose(got, [list(expected.values())] * 2, atol=1e-6)
    without = teachers._mean_answer([Sure()], [left], SEVEN)
    assert without.shape == (1, 7) and without[0, SEVEN.index("fear")] == 1, "contempt is none of the seven"


def test_a_run_can_teach(nano, config):
    config = replace(config, teacher=(nano / "two",), out=config.out.with_name("of-a-run"))
    labelled, _ = asked(config)
    model, _ = load_model(nano / "two")
    group = labelled.groups[0]
    encoded = pq.ParquetFile(group.path).read_row_group(group.index)["image"].to_pylist()
    face = torch.from_numpy(np.stack([decode_square(cell["bytes"], 24, 1) for cell in encoded])).float() / 127.5 - 1
    with torch.no_grad():
        expected = (model.recognise(face).softmax(1) + model.recognise(face.flip(3)).softmax(1)) / 2
    np.testing.assert_allclose(labelled.answers[group.path, group.index], expected.numpy(), atol=1e-4)


def test_kept_answers_teach_another_run(config):
    labelled, other = asked(config)
    again = replace(config, teacher=(config.out / teachers.KEPT,), out=config.out.with_name("again"))
    for one, same in zip((labelled, other), asked(again), strict=True):
        assert all(np.array_equal(one.answers[key], same.answers[key]) for key in one.answers)
    both = replace(config, teacher=(*again.teacher, *config.teacher), out=config.out.with_name("both"))
    for one, mean in zip((labelled, other), asked(both), strict=True):
        assert all(np.allclose(one.answers[key], mean.answers[key], atol=1e-6) for key in one.answers)


def test_resume_is_bitwise_and_asks_nobody_again(config, teacher, tmp_path):
    own = tmp_path / "own.onnx"
    own.write_bytes(teacher.read_bytes())
    config = replace(config, teacher=(own,))
    done = run_training(replace(config, out=tmp_path / "whole"))
    assert done.returncode == 0, done.stderr
    assert "1 teachers answer to 260 faces" in done.stderr
    config = replace(config, out=tmp_path / "cut", checkpoint_minutes=1e-5)
    kill_after(5, config)
    own.unlink()
    done = run_training(replace(config, resume=True))
    assert done.returncode == 0 and "teachers answer" not in done.stderr, done.stderr
    whole, cut = (load_file(tmp_path / run / checkpoint.LAST) for run in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


def test_a_run_that_was_stopped_after_its_first_step_goes_on(config):
    done = run_training(replace(config, minutes=1e-9))
    assert done.returncode == 0 and "1 of" in done.stderr
    done = run_training(replace(config, resume=True))
    assert done.returncode == 0 and "teachers answer" not in done.stderr, done.stderr


def test_two_processes_take_the_steps_of_one(config, tmp_path):
    config = replace(config, batch=16, window=())
    assert run_training(replace(config, out=tmp_path / "one")).returncode == 0
    trained(2, replace(config, out=tmp_path / "two"))
    one, two = (load_file(tmp_path / run / teachers.KEPT) for run in ("one", "two"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    for expected, ours in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert ours == pytest.approx(expected, abs=1e-5, rel=0)


def test_an_epoch_is_of_the_labelled_faces(config, tmp_path):
    done = run_training(replace(config, epochs=0.5))
    assert done.returncode == 0, done.stderr
    _, record = checkpoint.load(config.out)
    assert config.labelled_batch == 12 and record["steps"] == round(0.5 * 200 / 12)


def test_answers_of_other_faces_are_refused(config, tmp_path):
    asked(config)
    more = write_faces(tmp_path / "more.parquet", 30)
    again = replace(config, teacher=(config.out / teachers.KEPT,), out=tmp_path / "again", data=(*config.data, more))
    with pytest.raises(InputError, match=r"lacks answers to .*/more.parquet#0, 30 rows"):
        teachers.teach(Run(make_fabric(EXACT), again, "train"), FaceDataset(again.data))
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    for wrong, what in ((tmp_path / "x.png", "is no teacher: give NAME.onnx"), (tmp_path / "no.onnx", "is not there")):
        with pytest.raises(InputError, match=what):
            teachers.teach(Run(make_fabric(EXACT), replace(again, teacher=(wrong,)), "train"), FaceDataset(again.data))
    (tmp_path / teachers.KEPT).write_bytes(b"no")
    again = replace(again, teacher=(tmp_path / teachers.KEPT,))
    with pytest.raises(InputError, match="holds no teachers' answers"):
        teachers.teach(Run(make_fabric(EXACT), again, "train"), FaceDataset(again.data))


def test_a_teacher_of_other_classes_is_refused_or_told(config, teacher, tmp_path, capsys):
    """Without a class in common the labels alone would be learnt, at half their weight."""

    def learn(*names):
        for place, name in enumerate(names):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("L", (24, 24), 40 * place).save(tmp_path / name / "a.png")
        settings = replace(
            config, data=(tmp_path,), unlabelled=(), window=(), out=config.out.with_name("-".join(names))
        )
        teachers.teach(Run(make_fabric(EXACT), settings, "train"), FaceDataset([tmp_path / "."]))

    with pytest.raises(UsageError, match=r"and none of these is a class of --data \(calm, glad\)"):
        learn("calm", "glad")
    learn("calm", "glad", "happy")
    assert "does not know calm, glad: its answers are spread over the other classes" in capsys.readouterr().err


def test_kept_answers_are_to_the_same_pictures_and_classes(config, tmp_path):
    """Another file of the same name, with as many rows, was taught the answers to the first one's faces."""
    asked(config)
    kept = config.out / teachers.KEPT
    other = tmp_path / "other" / config.data[0].parent.name / config.data[0].name
    other.parent.mkdir(parents=True)
    table = pq.read_table(config.data[0])
    rows = pq.ParquetFile(config.data[0]).metadata.row_group(0).num_rows
    again = replace(config, teacher=(kept,), data=(other,), out=tmp_path / "again")
    pq.write_table(table, other, row_group_size=rows)
    asked(again)  # the same pictures elsewhere
    pq.write_table(table.take(list(range(len(table)))[::-1]), other, row_group_size=rows)
    with pytest.raises(InputError, match="holds answers to other pictures than are now in"):
        asked(replace(again, out=tmp_path / "third"))
    labelled = FaceDataset(config.data, EIGHT[::-1])
    with pytest.raises(InputError, match=r'not over ."contempt", "fear"'):
        teachers.read(kept, teachers._groups(labelled), [labelled])


def test_kept_answers_that_cannot_be_read_are_asked_for_again(config, capsys):
    train(replace(config, minutes=1e-4))
    kept = config.out / teachers.KEPT
    before = load(kept.read_bytes())
    kept.write_bytes(b"cut")
    train(replace(config, resume=True))
    assert "the teachers are asked again" in capsys.readouterr().err
    after = load(kept.read_bytes())
    assert before and all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--unlabelled", "faces.parquet"), "name some with --teacher"),
        (("--window", "faces.parquet=1.2"), "--window takes FILE=SIDE,DOWN"),
        (("--window", "nowhere=0.9,0"), "--window nowhere: no such file"),
        (("--teacher", "a.onnx", "--labels", "ml"), "needs other --labels than ml"),
    ],
)
def test_mistakes_are_explained(words, what, made_up, tmp_path, capsys):
    done = inside(capsys, "train", "nano", "--data", made_up, "--out", tmp_path / "run", *words)
    assert done.returncode == 2 and what in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"teacher_share": 1.5}, "teacher_share must be from 0 to 1"),
        ({"unlabelled": (Path("f.parquet"),), "unlabelled_share": 1.0}, "leaves one kind of faces"),
    ],
)
def test_mistakes_of_recipes_are_explained(settings, what, tmp_path):
    """These settings have no flag."""
    with pytest.raises(UsageError, match=what):
        Train(data=(tmp_path,), out=tmp_path, teacher=(Path("a.onnx"),), **settings)


def test_a_checkpoint_of_before_there_were_teachers_goes_on(made_up, tmp_path):
    config = replace(STAGES["train"], data=(made_up,), out=tmp_path / "run")
    assert run_training(replace(config, minutes=1e-9)).returncode == 0
    tensors, record = checkpoint.load(config.out)
    for name in ("teacher", "teacher_share", "unlabelled", "unlabelled_share", "views", "window"):
        del record["config"][name]
    checkpoint.save(config.out / checkpoint.LAST, tensors, record)
    assert run_training(replace(config, resume=True, epochs=config.epochs)).returncode == 0
    with pytest.raises(InputError, match="views 'plain' -> 'wild'"):
        Run(make_fabric(EXACT), replace(config, resume=True, views="wild"), "train").resume(lambda *_: None)
    assert json.loads((config.out / "metrics.jsonl").read_text().splitlines()[0])["step"] == 1
    with pytest.raises(UsageError, match="--unlabelled faces are learnt from teachers"):
        replace(config, unlabelled=(made_up,))
