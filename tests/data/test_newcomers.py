"""Data as newcomers lay them out, whose classes or parts lie where nobody expects them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import flat_png
from test_folders import pictures
from test_locate import brightness, classes

from pfvit.data.dataset import FaceDataset
from pfvit.data.labelled import Labelled
from pfvit.data.locate import HELD_OUT, TRAIN, choose
from pfvit.errors import InputError, UsageError


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        ("train/s1/happy train/s1/sad train/s2/happy test/s3/sad", r"train holds s1, s2, \.\.\. and these .* \(happy"),
        ("train/s1/calm train/s1/tired train/s2/calm train/s2/tired test/s3/calm", r"train holds s1, s2, .* \(calm"),
        ("cats/calm cats/tired dogs/calm dogs/tired", r"holds cats, dogs, \.\.\. and these .* \(calm, "),
        ("prueba/feliz prueba/triste ensayo/feliz ensayo/triste ensayo/otro", r"holds ensayo, prueba, .* \(feliz, "),
        ("prueba/1 prueba/2 ensayo/1 ensayo/2", r"holds ensayo, prueba, \.\.\. and these .* \(1, "),
        ("fold1/train/happy fold1/train/sad fold1/test/happy fold2/train/sad", r"holds fold1, fold2, .* \(happy, "),
        (
            "fold1/train/calm fold1/train/bad fold2/train/calm fold2/train/bad fold2/test/bad",
            r"holds fold1, .* \(bad, ",
        ),
    ],
)
def test_folders_below_which_the_classes_lie_are_no_classes(folders, told, tmp_path):
    """People, folds, and parts in other languages were taken for the classes without a word."""
    pictures(tmp_path, *(f"{folder}/a.png" for folder in folders.split()))
    for wanted in (TRAIN, HELD_OUT):
        with pytest.raises(InputError, match=told):
            choose([tmp_path], wanted)


def test_folders_of_people_below_classes_of_ones_own(tmp_path):
    pictures(tmp_path, *(f"{name}/s{one}/a.png" for name in ("calm", "tired") for one in (1, 2)))
    assert FaceDataset([tmp_path]).classes == ("calm", "tired")
    pictures(tmp_path / "parts", *(f"{part}/{name}/s1/a.png" for part in ("train", "test") for name in ("a", "b")))
    assert len(FaceDataset([tmp_path / "parts"])) == 2


def test_classes_one_folder_below_their_part(tmp_path):
    for first, part in enumerate(("train", "test")):
        classes(tmp_path / part / "images", 10 * first)
    assert max(brightness([tmp_path], TRAIN)) < 10 <= min(brightness([tmp_path], HELD_OUT))
    pictures(tmp_path / "one", "train/happy/a.png", "train/happy/b.png")
    with pytest.raises(InputError, match="holds pictures in one folder alone, train: give each class a folder"):
        FaceDataset([tmp_path / "one"])


def test_lists_beside_the_pictures_of_their_parts(tmp_path):
    """Names alone, which both parts have: each is that of its own part. In two other folders it is neither."""
    pictures(tmp_path, "train/0.png", "train/1.png", "test/0.png", "test/1.png")
    for part, labels in (("train", ("happy", "sad")), ("test", ("sad", "happy"))):
        rows = [f"{number}.png,{label}" for number, label in enumerate(labels)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["file,label", *rows]))
    assert brightness([tmp_path], TRAIN) == {0, 1} and brightness([tmp_path], HELD_OUT) == {2, 3}
    (held_out,) = choose([tmp_path], HELD_OUT).found
    measured = Labelled([held_out], None, (), clean=True)
    assert {int(one.image.mean()): one.truth for one in measured} == {2: "sadness", 3: "happiness"}
    pictures(tmp_path / "two", "raw/0.png", "cut/0.png", "cut/1.png", "cut/2.png")
    (tmp_path / "two" / "list.csv").write_text("file,label\n0.png,happy\n1.png,sad\n2.png,happy\n")
    faces = FaceDataset([tmp_path / "two" / "list.csv"])
    assert len(faces) == 2 and faces.index.left_out == {"without a picture": 1}


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"is_train": ["True", "true", "False"]}, ["train", "train", "test"]),
        ({"is_test": [0, 0, 1]}, ["train", "train", "test"]),
        ({"train": [1, 0, 0], "val": [0, 1, 0]}, ["train", "val", "test"]),
        ({"Training set": ["yes", "no", "no"], "test set": ["no", "yes", "no"]}, ["train", "test", ""]),
        ({"test": [0, 0, 1]}, None),  # of what?
        ({"is_train": [1, 1, ""]}, None),
        ({"is_train": [1, 1, 0], "is_test": [1, 0, 1]}, None),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_that_say_of_each_part_whether_a_row_is_in_it(kind, flags, parts, tmp_path):
    """They were told, and test rows were trained on."""
    pictures(tmp_path, *(f"{row}.png" for row in range(3)))
    columns = {"file": ["0.png", "1.png", "2.png"], "label": ["happy", "sad", "happy"], **flags}
    if kind == "csv":
        lines = [[*columns], *map(list, zip(*columns.values(), strict=True))]
        (tmp_path / "list.csv").write_text("\n".join(";".join(map(str, line)) for line in lines))
    else:
        text = {name: list(map(str, cells)) for name, cells in columns.items()}
        text["image"] = [flat_png(row) for row in range(3)]
        pq.write_table(pa.table(text), tmp_path / "list.parquet")
    found = {}
    for wanted in ("train", "val", "test", ""):
        try:
            chosen = choose([tmp_path / f"list.{kind}"], [wanted])
            found |= {int(one.image.mean()): wanted for one in Labelled(chosen.found, None, (), True)}
        except InputError:
            assert parts is None or wanted not in parts
    assert found == dict(enumerate(parts or [""] * 3))
    told = f"parts are taken from its column{'s' * (len(flags) > 1)} {', '.join(flags)}" if parts else "not looked at: "
    assert told in " ".join(chosen.notes)


def test_numbers_of_parts_with_names_in_the_metadata(tmp_path):
    features = {"image": {"_type": "Image"}, "split": {"_type": "ClassLabel", "names": ["train", "test"]}}
    table = pa.table(
        {"image": [flat_png(row) for row in range(3)], "label": ["happy", "sad", "sad"], "split": [0, 0, 1]}
    )
    said = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(said), tmp_path / "faces.parquet")
    assert brightness([tmp_path], TRAIN) == {0, 1} and brightness([tmp_path], HELD_OUT) == {2}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_and_minus_one_are_asked_about(kind, tmp_path):
    """-1 is no label elsewhere; all faces that are trained on were of one class."""
    pictures(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "list.csv").write_text("image,label\n0.png,1\n1.png,-1\n2.png,\n")
    table = pa.table({"image": [flat_png(row) for row in range(3)], "label": pa.array([1, -1, None])})
    pq.write_table(table, tmp_path / "list.parquet")
    for reading in (
        lambda path: FaceDataset([path], order=("no", "yes")),
        lambda path: list(Labelled([path], None, ("no", "yes"), True)),
    ):
        with pytest.raises(UsageError, match="the labels are 1 and -1: write 0, or the classes' names, in place of -1"):
            reading(tmp_path / f"list.{kind}")
