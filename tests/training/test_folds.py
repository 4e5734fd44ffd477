"""Cross-validation: no person and no picture is on both sides of a fold."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png
from helpers import STAGES
from PIL import Image, ImageFilter
from scipy import stats

from pfvit import evaluate
from pfvit.config import Train
from pfvit.data import index
from pfvit.data.dataset import FaceDataset
from pfvit.data.locate import HELD_OUT
from pfvit.errors import InputError, UsageError
from pfvit.training import folds
from pfvit.training.faces import tell
from pfvit.training.trainer import train

NAMES = ("neutral", "happiness", "anger")


def face(seed: int) -> np.ndarray:
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8))
    return np.asarray(noise.filter(ImageFilter.GaussianBlur(3)))


def table(path, count: int = 36, **columns):
    """Faces of a person in three emotions each."""
    cells = [{"bytes": png(face(row)), "path": f"set/S{row // 3:02}/{row}.png"} for row in range(count)]
    labels = [NAMES[row % 3] for row in range(count)]
    pq.write_table(pa.table({"image": cells, "label": labels, **columns}), path, row_group_size=10)
    return path


def rows(faces: FaceDataset) -> list[int]:
    return sorted(10 * group.index + int(row) for group in faces.groups for row in group.rows)


@pytest.mark.parametrize("person", ["", "who", "2", "S[0-9]+", "set/(S[0-9]+)/"])
def test_no_person_is_on_both_sides(person, tmp_path):
    who = [f"p{row // 3}" for row in range(36)]
    faces = FaceDataset([table(tmp_path / "f.parquet", **({"subject": who} if not person else {"who": who}))])
    held = []
    for number in (1, 2, 3, 4):
        kept, out = (rows(part) for part in folds.split(faces, 4, number, person))
        assert sorted(kept + out) == list(range(36)) and len(out) == 9
        assert not {row // 3 for row in kept} & {row // 3 for row in out}
        held += out
    assert sorted(held) == list(range(36)), "every face is held out once"


@pytest.mark.parametrize("missing", [None, "", " ", float("nan")])
def test_faces_without_a_person_are_told(missing, tmp_path):
    column = [
        missing if row in (4, 9) else (row // 3 if isinstance(missing, float) else f"p{row // 3}") for row in range(36)
    ]
    faces = FaceDataset([table(tmp_path / "f.parquet", subject=column)])
    train, held = folds.split(faces, 4, 1, "")
    assert len(train) + len(held) == 36
    told = "2 of 36 faces have no person: each is taken for one of its own"
    assert told in list(train.index.lines()) and len({*folds.people(faces, "")}) == 14
    with pytest.raises(UsageError, match="--person subject: 2 of 36 faces have none"):
        folds.split(faces, 4, 1, "subject")


@pytest.mark.parametrize("person", ["", "participant", "1"])
def test_people_of_a_list(person, tmp_path):
    """In a column called subject, in another one that is named, or in the folder."""
    lines = [f"file,label,{'participant' if person else 'subject'},note"]
    for row in range(12):
        path = tmp_path / f"p{row // 3}" / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(face(row)))
        lines.append(f"p{row // 3}/{row}.png,{'happy' if row % 2 else 'sad'},{row // 3},x")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    faces = FaceDataset([tmp_path / "list.csv"])
    train, held = folds.split(faces, 4, 1, person)
    who = [{group.table.name(group.index, row).split("/")[0] for group in part.groups for row in group.rows}
           for part in (train, held)]  # fmt: skip
    assert len(who[0]) == 3 and len(who[1]) == 1 and not {*who[0]} & {*who[1]}


def test_what_was_left_out_is_told_with_the_training_faces_of_a_fold(tmp_path):
    path = table(tmp_path / "train.parquet")
    numbers = [None if row == 4 else row % 8 for row in range(36)]
    pq.write_table(pq.read_table(path).set_column(1, "label", [numbers]), path)
    table(tmp_path / "test.parquet")
    train, held = (list(part.index.lines()) for part in folds.split(FaceDataset([tmp_path]), 3, 1, ""))
    assert "left out: test" in train[0] and "taken as FER+'s" in train[1] and "1 without a label" in train[2]
    assert len(held) == 1 and "left out" not in held[0]


def test_near_duplicates_stay_on_one_side(tmp_path):
    picture = face(5)
    copy = io.BytesIO()
    Image.fromarray(picture).save(copy, "JPEG", quality=60)
    pictures = [png(face(row)) for row in range(30)]
    pictures[5], pictures[20] = png(picture), copy.getvalue()
    cells = [{"bytes": one, "path": None} for one in pictures]
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"image": cells, "label": [NAMES[row % 3] for row in range(30)]}), path, row_group_size=10)
    faces = FaceDataset([path])
    leader = folds.together(folds.people(faces, ""), folds.codes(faces))
    assert leader[5] == leader[20] and len(set(leader.tolist())) == 29
    chained = folds.together(np.array([0, 0, 1, 1]), np.array([[0, 0, 1, 0], [0, 0, 0, 1 << 40], [0, 0, 0, 1 << 40]
                             , [0, 0, 2**60 - 1, 2**60 - 1]], np.uint64))  # fmt: skip
    assert len(set(chained.tolist())) == 1, "one person's picture is another's"


def test_what_cannot_be_split_is_said(tmp_path):
    faces = FaceDataset([table(tmp_path / "f.parquet", 9)])
    with pytest.raises(UsageError, match=r"--folds 5: the faces are of 3 people or pictures; take fewer folds"):
        folds.split(faces, 5, 1, "2")
    with pytest.raises(UsageError, match=r"--person X: 9 of 9 faces have none"):
        folds.split(faces, 2, 1, "X")
    for wrong, what in (
        ({"person": "x"}, "give --folds 2"),
        ({"folds": 3, "validation": (tmp_path,)}, "leave --validation out"),
        ({"folds": 3, "fold": 4}, "--fold must be from 1 to --folds, which is 3, not 4"),
        ({"folds": 3, "person": "("}, "is no pattern"),
    ):
        with pytest.raises(UsageError, match=what):
            Train(data=(tmp_path,), out=tmp_path, **wrong)


def test_the_mean_and_its_interval():
    mean = folds.mean_of([0.7, 0.8, 0.9])
    assert mean.mean == pytest.approx(0.8)
    assert mean.high - mean.mean == pytest.approx(4.303 * 0.1 / 3**0.5)


@pytest.mark.parametrize("count", [16, 17, 20, 31, 101])
def test_the_interval_of_many_folds_is_student_s_too(count):
    values = np.linspace(0.5, 0.9, count)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert folds.mean_of(values.tolist())[1:] == pytest.approx((low, high), abs=2e-5)


def test_folds_are_trained_and_their_figures_put_together(tmp_path, capsys):
    path = table(tmp_path / "f.parquet", subject=[f"p{row // 3}" for row in range(36)])
    config = replace(STAGES["train"], data=(path,), out=tmp_path / "run", epochs=1, folds=2)
    train(config)
    report = json.loads((tmp_path / "run" / folds.REPORT).read_text())
    assert len(report["validation_war"]["folds"]) == 2
    said = capsys.readouterr().err
    assert "held out: 18 faces" in said and "validation_war over 2 folds: " in said
    with pytest.raises(InputError, match=r"holds the runs of several folds: name one, .*fold-1"):
        evaluate(config.out, path)
    before = (tmp_path / "run" / "fold-1" / "metrics.jsonl").read_text()
    train(config)
    assert (tmp_path / "run" / "fold-1" / "metrics.jsonl").read_text() == before, "what is done is not done again"


def test_people_of_the_validation_who_are_trained_on_are_told(tmp_path):
    """By the same table, or one beside it: elsewhere `p1` is another person."""
    lines = ["file,label,subject,part"]
    for row in range(12):
        (tmp_path / f"{row}.png").write_bytes(png(face(row)))
        part = "train" if row < 8 else "val"
        lines.append(f"{row}.png,{'happy' if row % 2 else 'sad'},{'' if row == 9 else f'p{row // 3}'},{part}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    trained, held = FaceDataset([tmp_path / "list.csv"]), FaceDataset([tmp_path / "list.csv"], parts=HELD_OUT)
    told: list[str] = []
    tell([trained], {"mine": held}, told.append)
    assert "1 of 4 faces of --validation mine show people who are trained on too" in told[-1]
    other = tmp_path / "other"
    other.mkdir()
    table(other / "held.parquet", subject=[f"p{row // 3}" for row in range(36)])
    told.clear()
    tell([trained], {"other": FaceDataset([other / "held.parquet"])}, told.append)
    assert not any("show people" in line for line in told)


def test_pictures_that_cannot_be_decoded_join_nobody(tmp_path, monkeypatch):
    """Before, their hashes differed in a few bits, so that all people with such a picture were taken for one."""
    path = table(tmp_path / "f.parquet")
    whole = pq.read_table(path).to_pydict()
    for row in range(0, 36, 3):
        whole["image"][row]["bytes"] = png(face(row))[:-200] + b"IEND\xaeB`\x82"  # it ends as it should
    pq.write_table(pa.table(whole), path)
    monkeypatch.setattr(index, "COMPARED_BY_PIXELS", 0)  # as if they were large
    faces = FaceDataset([path])
    assert len(faces) == 36, "nobody has looked into them yet"
    leader = folds.together(np.arange(36) // 3, folds.codes(faces))
    assert len({*leader.tolist()}) == 12


def test_a_line_of_the_log_that_was_cut_short_is_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "validation_war": 0.5}\n{"step": 4, "validati')
    assert folds.figures_of(tmp_path, best=False) == {"validation_war": 0.5}
