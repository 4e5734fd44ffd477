"""Labels in one column for each class, in lists and in Parquet files; what is in doubt is refused in words."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import flat_png

from pfvit.data.class_columns import class_columns
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.labelled import Labelled
from pfvit.emotions import EIGHT, FERPLUS_VOTES
from pfvit.errors import InputError, UsageError

#: Of FER2013: not our order.
HEADING = ("anger", "Disgust", "fear", "happy", "sad", "surprise", "Neutral")
SHOWN = (3, 0, 6, 4)
NAMES = ("happiness", "anger", "neutral", "sadness")
ONE_HOT = [[int(shown == place) for place in range(7)] for shown in SHOWN]


def write(folder, kind, heading, rows, more=None):
    """The same table as CSV, JSON lines or Parquet, with pictures of brightness 0, 20, 40, ...; `more` are columns."""
    columns = {name: [row[place] for row in rows] for place, name in enumerate(heading)} | (more or {})
    pictures = [flat_png(20 * row) for row in range(len(rows))]
    if kind == "parquet":
        path = folder / "list.parquet"
        pq.write_table(pa.table({"image": pictures, **columns}), path)
        return path
    for row, picture in enumerate(pictures):
        (folder / f"{row}.png").write_bytes(picture)
    columns = {"file": [f"{row}.png" for row in range(len(rows))], **columns}
    lines = list(zip(*columns.values(), strict=True))
    path = folder / f"list.{kind}"
    if kind == "jsonl":
        text = "\n".join(json.dumps(dict(zip(columns, line, strict=True))) for line in lines)
    else:
        text = "\n".join(",".join("" if cell is None else str(cell) for cell in line) for line in [columns, *lines])
    path.write_text(text)
    return path


def trained(path, classes=None, **more):
    """Brightness -> target, and the faces."""
    faces = FaceDataset([path], classes, **more)
    batch = read_all(faces, 12, 1)
    found = zip(batch.image, batch.target.tolist(), strict=True)
    return {round(float(face.float().mean())): target for face, target in found}, faces


def measured(path, names=EIGHT, order=()):
    found = Labelled([path], names, order, clean=True)
    return {int(one.image.mean()): one.truth for one in found}, found


KINDS = pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])


@KINDS
@pytest.mark.parametrize("form", [int, float, bool, lambda cell: 100 * cell, lambda cell: cell or None])
def test_one_hot_columns(kind, form, tmp_path):
    rows = [[form(cell) for cell in row] for row in ONE_HOT]
    path = write(tmp_path, kind, HEADING, rows)
    targets, faces = trained(path)
    assert faces.classes == EIGHT[:7]
    assert {at: EIGHT[target.index(1)] for at, target in targets.items()} == {20 * n: NAMES[n] for n in range(4)}
    assert measured(path)[0] == {20 * n: NAMES[n] for n in range(4)}
    told = " ".join(faces.index.lines())
    assert "labels are the shares in its columns anger, Disgust, fear, happy, sad, surprise, Neutral" in told
    assert "4 faces; neutral 1, happiness 1, sadness 1, anger 1; none shows surprise, disgust, fear" in told


@KINDS
def test_shares_are_soft_targets_and_may_be_rounded(kind, tmp_path):
    path = write(tmp_path, kind, ("happy", "sad", "unknown"), [[0.75, 0.25, 0], [0.33, 0.33, 0.33], [0.1, 0.2, 0.7]])
    targets, faces = trained(path)
    assert faces.classes == ("happiness", "sadness") and faces.index.left_out == {"whose label is no emotion": 1}
    assert targets[0] == pytest.approx([0.75, 0.25]) and targets[20] == pytest.approx([0.5, 0.5])
    assert trained(path, hard=True)[0][0] == [1, 0]
    found, rows = measured(path)
    assert found == {0: "happiness", 20: "happiness"} and rows.no_label == 1


@KINDS
def test_rows_of_zeros_or_without_cells_have_no_label(kind, tmp_path):
    path = write(tmp_path, kind, ("happy", "sad"), [[1, 0], [0, 1], [0, 0], [None, None]], {"age": [3, 5, 70, 9]})
    targets, faces = trained(path)
    assert sorted(targets) == [0, 20] and faces.index.left_out == {"without a label": 2}
    found, rows = measured(path)
    assert sorted(found) == [0, 20] and rows.no_label == 2


@KINDS
def test_classes_of_ones_own_are_named_by_order(kind, tmp_path):
    path = write(tmp_path, kind, ("tired", "calm", "happy"), [[1, 0, 0], [0, 1, 0], [0, 0, 1]], {"usable": [1, 1, 0]})
    order = ("calm", "happy", "TIRED")
    targets, faces = trained(path, order=order)
    assert faces.classes == ("happiness", "tired", "calm")
    assert {at: faces.classes[target.index(1)] for at, target in targets.items()} == {
        0: "tired", 20: "calm", 40: "happiness"
    }  # fmt: skip
    assert measured(path, None, order)[0] == {0: "tired", 20: "calm", 40: "happiness"}
    for some in ((), ("calm", "happy", "bored")):
        with pytest.raises(InputError, match="or give each class a column with 1 or 0, or its share, called after an"):
            trained(path, order=some)
        with pytest.raises(UsageError, match="or give each class a column"):
            measured(path, None, some)


REFUSED = {
    "two classes in a row": (
        ("happy", "sad"),
        [[1, 0], [1, 1]],
        {},
        "its columns happy, sad add up to 2, not 1: write",
    ),
    "votes": (FERPLUS_VOTES[:9], [[9, 1, 0, 0, 0, 0, 0, 0, 0]], {}, "unknown add up to 10, not 1: write 1 or 0"),
    "percent and shares": (("happy", "sad"), [[50, 50], [0.5, 0.5]], {}, "add up to 100, not 1"),
    "scores": (("happy", "sad"), [[0.9, 0.4]], {}, "add up to 1.3, not 1"),
    "below zero": (("happy", "sad"), [[1.5, -0.5]], {}, "its column sad holds"),
    "one class in two columns": (
        ("happy", "happiness", "sad"),
        [[1, 0, 0]],
        {},
        "columns happy and happiness mean one class",
    ),
    "a class more": (("happy", "sad"), [[1, 0], [0, 0]], {"bored": [0, 1]}, "have 1 in bored: if that is a class too"),
}


@KINDS
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_in_doubt_is_refused(case, kind, tmp_path):
    heading, rows, more, told = REFUSED[case]
    path = write(tmp_path, kind, heading, rows, more)
    for reading in (trained, measured):
        with pytest.raises(UsageError, match=told):
            reading(path)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_is_no_share_and_the_row_is_named(kind, tmp_path):
    path = write(tmp_path, kind, ("happy", "sad"), [["1", "0"], ["yes", "no"]])
    with pytest.raises(UsageError, match=r"1\.png: its column happy holds 'yes': write 1 or 0, or shares"):
        trained(path)


@KINDS
def test_a_label_column_comes_first_and_that_is_told(kind, tmp_path):
    path = write(tmp_path, kind, ("happy", "sad"), [[0.2, 0.8], [0.9, 0.1]], {"label": ["happy", "sad"]})
    targets, faces = trained(path)
    assert targets == {0: [1, 0], 20: [0, 1]}
    assert "labels are taken from its column label, not from happy, sad" in " ".join(faces.index.lines())


@KINDS
def test_order_decides_whether_a_column_is_a_class(kind, tmp_path):
    path = write(tmp_path, kind, ("happy", "sad"), [[1, 0], [0, 1], [0, 0]], {"bored": [0, 0, 1]})
    with pytest.raises(UsageError, match="name the classes' columns with --order"):
        trained(path)
    assert trained(path, order=("happy", "sad"))[1].index.left_out == {"without a label": 1}
    faces = trained(path, order=("happy", "sad", "bored"))[1]
    assert faces.classes == ("happiness", "sadness", "bored") and not faces.index.left_out
    assert measured(path, None, ("sad", "happy", "bored"))[0] == {0: "happiness", 20: "sadness", 40: "bored"}


def test_which_columns_are_classes():
    assert class_columns(("file", "valence", "happy")) == () == class_columns(())
    assert class_columns(("Image name", "AN_anger", "3_sad", "not_happy", "NF")) == ("AN_anger", "3_sad", "NF")
    assert class_columns(("file", "none", "unknown")) == ()
    assert class_columns(("file", "b", "a"), ("a", "b")) == ("b", "a")
    assert class_columns(("file", "b", "a"), ("rafdb",)) == ()
