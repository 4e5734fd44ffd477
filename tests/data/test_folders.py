"""Folders as people have them: parts inside classes, people above classes, archives, what other systems leave."""

import pytest
from helpers import flat_png
from test_locate import brightness, classes, table

from pfvit.data.dataset import FaceDataset
from pfvit.data.labelled import Labelled
from pfvit.data.locate import HELD_OUT, TRAIN, UNLABELLED, choose
from pfvit.emotions import EIGHT
from pfvit.errors import InputError


def pictures(folder, *names, first: int = 0):
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(flat_png(first + place))


def test_parts_inside_of_classes_are_parts(tmp_path):
    pictures(tmp_path, "happy/train/a.png", "happy/test/a.png", "sad/train/a.png", "sad/test/a.png")
    assert brightness([tmp_path], TRAIN) == {0, 2} and brightness([tmp_path], HELD_OUT) == {1, 3}
    assert brightness([tmp_path], UNLABELLED, labelled=False) == {0, 2}
    faces = FaceDataset([tmp_path])
    assert faces.classes == ("happiness", "sadness")
    assert "left out: test" in " ".join(faces.index.lines())
    (held_out,) = choose([tmp_path], HELD_OUT).found
    measured = Labelled([held_out], EIGHT, (), clean=True)
    assert {int(one.image.mean()): one.truth for one in measured} == {1: "happiness", 3: "sadness"}


def test_people_inside_of_classes_are_no_parts(tmp_path):
    pictures(tmp_path, "happy/ann/a.png", "happy/ben/a.png", "sad/ann/a.png")
    assert brightness([tmp_path], TRAIN) == {0, 1, 2} and FaceDataset([tmp_path]).classes == ("happiness", "sadness")


def test_classes_inside_of_what_is_neither_class_nor_part_are_asked_for(tmp_path):
    for first, name in enumerate(("fold1", "fold2")):
        classes(tmp_path / name, 10 * first)
    with pytest.raises(
        InputError, match=r"holds fold1, fold2, \.\.\. and these the folders of classes \(happy, \.\.\.\)"
    ):
        FaceDataset([tmp_path])
    assert len(FaceDataset([tmp_path / "fold1"])) == 6


def test_a_folder_beside_the_parts_is_told(tmp_path):
    for first, name in enumerate(("train", "spare")):
        classes(tmp_path / "folders" / name, 10 * first)
        table(tmp_path / "tables" / f"{name}.parquet", 10 * first)
    assert "left out: spare" in choose([tmp_path / "folders"], TRAIN).notes[0]
    assert "left out: spare.parquet" in choose([tmp_path / "tables"], TRAIN).notes[0]
    for name in ("a", "b", "c"):
        table(tmp_path / "tables" / f"{name}.parquet")
    assert "left out: a.parquet and 3 more files of no part" in choose([tmp_path / "tables"], TRAIN).notes[0]


def test_parts_are_no_classes(tmp_path):
    """One class folder in each part; or none, where nothing has labels."""
    pictures(tmp_path / "one", "train/happy/a.png", "test/happy/a.png")
    with pytest.raises(InputError, match=r"tell 1 classes apart \(happiness\)"):
        FaceDataset([tmp_path / "one"])
    pictures(tmp_path / "none", "train/a.png", "test/a.png")
    assert brightness([tmp_path / "none"], UNLABELLED, labelled=False) == {0}, "stage one keeps off the test part too"
    with pytest.raises(InputError, match="holds pictures without labels"):
        FaceDataset([tmp_path / "none"])


def test_what_macos_and_disk_stations_leave_is_passed_over(tmp_path):
    for first, name in enumerate(("train", "test")):
        classes(tmp_path / "set" / name, 10 * first)
    pictures(tmp_path, "__MACOSX/set/train/happy/x.png", "set/train/happy/@eaDir/x.png", first=90)
    table(tmp_path / "tables" / "a.parquet")
    table(tmp_path / "tables" / "__MACOSX" / "b.parquet", 50)
    assert max(brightness([tmp_path / "set"], TRAIN)) < 10
    (tmp_path / "tables" / "README.md").write_text("")
    assert brightness([tmp_path / "tables"], TRAIN) == {0, 1, 2}
    unpacked = tmp_path / "unpacked"
    (tmp_path / "set").rename(unpacked)
    classes(tmp_path / "__MACOSX" / "more")
    assert "takes its part train; left out: test" in choose([unpacked], TRAIN).notes[0]


def test_a_list_beside_the_pictures_of_each_part(tmp_path):
    """As `datasets` writes an image folder: train/metadata.csv."""
    for first, part in enumerate(("train", "validation")):
        pictures(tmp_path / part, "0.png", "1.png", first=10 * first)
        (tmp_path / part / "metadata.csv").write_text("file_name,label\n0.png,happy\n1.png,sad\n")
    assert brightness([tmp_path], TRAIN) == {0, 1} and brightness([tmp_path], HELD_OUT) == {10, 11}
    assert FaceDataset([tmp_path]).classes == ("happiness", "sadness")


def test_archives_and_lists_without_labels_say_what_to_do(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04")
    for path, told in (
        (tmp_path, "holds an archive, set.zip: unpack it"),
        (tmp_path / "set.zip", "is an archive: unpack"),
    ):
        with pytest.raises(InputError, match=told):
            FaceDataset([path])
    pictures(tmp_path, "a.png")
    (tmp_path / "list.csv").write_text("file,happy,sad\na.png,1,0\n")
    for reading in (lambda path: FaceDataset([path]), lambda path: list(Labelled([path], EIGHT, (), clean=True))):
        with pytest.raises(
            InputError, match="has the columns file, happy, sad, and none with the labels: call that one"
        ):
            reading(tmp_path / "list.csv")


def test_what_is_no_class_and_no_picture_is_told(tmp_path):
    pictures(tmp_path, "happy/a.png", "sad/a.png", "loose.png")
    (tmp_path / "angry").mkdir()
    for name in ("sad/b.psd", "sad/without", "sad/notes.txt", "happy/Thumbs.db", "happy/.hidden.psd"):
        (tmp_path / name).write_bytes(b"?")
    told = "1 picture beside the class folders, folders without pictures (angry), 2 files of a kind that is not read"
    assert choose([tmp_path], TRAIN).notes == [f"{tmp_path}: left out: {told} (without ending, PSD)"]
    pictures(tmp_path / "tidy", "happy/a.png", "sad/a.png")
    assert choose([tmp_path / "tidy"], TRAIN).notes == []


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file,label\n\u00e9.png,happy\n1.png,sad\n", "utf-16"),
        ("file\tlabel\n\u00e9.png\thappy\n1.png\tsad\n", "utf-16"),
        ("file;label\r\n\u00e9.png;happy\r\n1.png;sad\r\n", "cp1252"),
        ("file|label\n\u00e9.png|happy\n1.png|sad\n", "utf-8"),
        ("file,label\r\u00e9.png,happy\r1.png,sad\r", "utf-8-sig"),
    ],
)
def test_lists_as_spreadsheets_write_them(text, encoding, tmp_path):
    pictures(tmp_path, "\u00e9.png", "1.png")
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    faces = FaceDataset([tmp_path / "list.csv"])
    assert len(faces) == 2 and faces.classes == ("happiness", "sadness")
    assert {one.truth for one in Labelled([tmp_path / "list.csv"], EIGHT, (), clean=True)} == {"happiness", "sadness"}


def test_a_table_of_fer2013_with_quotation_marks(tmp_path):
    row = " ".join(["9"] * 144)
    lines = [
        '"emotion","pixels","Usage"',
        f'"3","{row}","Training"',
        f'"4","{row}","PrivateTest"',
        f'"6","{row}","Training"',
    ]
    (tmp_path / "fer.csv").write_text("\n".join(lines))
    faces = FaceDataset([tmp_path / "fer.csv"])
    assert len(faces) == 2 and faces.index.counts().tolist() == [1, 1, 0, 0, 0, 0, 0]


def test_rows_of_a_list_that_cannot_be_read_are_named(tmp_path):
    pictures(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "list.csv").write_text("file,label,split\n0.png,happy,train\n1.png,sad,\n2.png,sad,train\n")
    assert "left out: rows of no part (1)" in choose([tmp_path / "list.csv"], TRAIN).notes[0]
    (tmp_path / "list.csv").write_text("file,label\nhttps://a.example/0.png,happy\n")
    with pytest.raises(InputError, match=r"https://a\.example/0\.png is an address: download it first"):
        FaceDataset([tmp_path / "list.csv"], 7)
