"""Lists as people write them: what may mean several things is asked for, and no row changes its meaning unseen."""

import os
import shutil

import pytest
from layouts import affectnet_folders
from test_folders import pictures

from pfvit.data import list_files
from pfvit.data.dataset import FaceDataset
from pfvit.data.labelled import Labelled
from pfvit.data.locate import HELD_OUT, TRAIN, UNLABELLED, choose, locate
from pfvit.emotions import EIGHT, FERPLUS_VOTES, ORDERS
from pfvit.errors import InputError, UsageError


@pytest.fixture
def path(tmp_path):
    pictures(tmp_path, *(f"img/{row}.png" for row in range(6)))
    return tmp_path / "list.csv"


def write(path, heading, *rows, sep=",", end="\n"):
    """Lines that begin with img/0.png, img/1.png, ..."""
    lines = [f"img/{place}.png{sep}{row}" for place, row in enumerate(rows)]
    path.write_bytes(end.join([*([heading] if heading else []), *lines, ""]).encode())


def test_a_list_without_heading_may_have_parts_in_its_third_column(path):
    write(path, "", "happy,Train", "sad,Train", "happy,test", "sad,test", "sad,")
    chosen = choose([path], TRAIN)
    assert [row.part for row in chosen.found[0].listing.rows] == ["train"] * 2
    assert f"{path}: --data takes its part train; left out: test, rows of no part (1)" in chosen.notes
    assert len(FaceDataset([path])) == len(FaceDataset([path], parts=HELD_OUT)) == 2
    write(path, "", "happy,ann", "sad,ann", "happy,ben,", "sad,ben,,")
    assert sorted(FaceDataset([path]).index.tables[0].column("person")) == ["ann", "ann", "ben", "ben"]
    write(path, "", "happy,ann,train", "sad,ann,train", "happy,ben,val")
    assert len(FaceDataset([path])) == 2


@pytest.mark.parametrize(
    "rows",
    [
        ("train,happy", "test,sad"),  # the label last
        ("happy,train,ann", "sad,test,ben"),
        ("1,0", "0,1"),  # one-hot, or a label and a person
        ("1,0,0,0", "0,1,0,0"),
        ("happy,ann,train,x", "sad,ben,test,y"),
        ("train", "test"),
    ],
)
def test_a_list_without_heading_that_may_mean_several_things_is_asked_for_one(rows, path):
    write(path, "", *rows)
    for reading in (
        lambda: FaceDataset([path], order=("a", "b")),
        lambda: list(Labelled([choose([path], TRAIN).found[0]], None, ("a", "b"), clean=True)),
    ):
        with pytest.raises(InputError, match=r"has no heading, and its . columns may mean several things: write one"):
            reading()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,label\nimg/0.png,happy\nimg/my, x.png,sad\n", "line 3, has 3 columns, and its first line 2: begin"),
        ("# mine\nfile,label\nimg/0.png,happy\n", "line 2, has 2 columns, and its first line 1: begin"),
        ("file,label\n1,img/0.png,happy\n", "line 2, has 3 columns"),  # as R writes the numbers of its rows
        ("file,label,Label \nimg/0.png,happy,1\nimg/1.png,sad,2\n", "has two columns called label"),
        ("img/0.png very happy\nimg/1.png sad\n", "line 1, has 3 words, and its last line 2: put tabs or commas"),
        ("img/0 happy\nimg/1 sad\n", "; commas, semicolons, tabs or | stand between columns"),
        ("0,1 2 3,Training\n", "has the columns 0, 1 2 3, Training: give the pictures' files in one called file"),
        ("file,label,split\nimg/0.png,happy,A\nimg/1.png,sad,B\n", "the parts A, B, and none of train or faces: call"),
        ("file,label\nC:\\img\\0.png,happy\nC:\\img\\1.png,sad\n", "looked for beside the list, in folders beside"),
    ],
)
def test_lists_that_say_what_to_do(text, told, path):
    path.write_text(text)
    with pytest.raises(InputError) as said:
        FaceDataset([path])
    assert told in str(said.value)


def test_messages_do_not_hold_whole_tables(path):
    row = " ".join(str(place % 256) for place in range(2304))
    path.write_text(f"0,{row},Training\n")
    with pytest.raises(InputError) as said:
        FaceDataset([path])
    assert len(str(said.value)) < 500
    path.write_text(f"emotion,Usage,pixels\n0,{row},Training\n")  # two columns in each other's place
    with pytest.raises(InputError) as said:
        FaceDataset([path])
    assert len(str(said.value)) < 500


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_empty_cells_at_the_end_and_separators(sep, end, path):
    write(path, sep.join(("file", "label")), f"happy{sep}{sep}", "sad", f"sad{sep} ", sep=sep, end=end)
    faces = FaceDataset([path])
    assert faces.index.counts().tolist() == [1, 2]


def test_the_row_of_a_wrong_label_is_named(path):
    """By what the list calls it: rows are mixed before they are read."""
    write(path, "file,label", *"012340"[:5], "9")
    for reading in (
        lambda: FaceDataset([path], order=("fer2013",)),
        lambda: list(Labelled([path], EIGHT, ("fer2013",), clean=True)),
    ):
        with pytest.raises(UsageError, match=r"list\.csv, img/5\.png: labels of fer2013 are 0 to 6, not 9"):
            reading()
    write(path, "file,label", "happy", "sad", "3")
    with pytest.raises(UsageError, match=r"mixes kinds of labels, .*'3' \(img/2\.png\)"):
        FaceDataset([path])


def test_parts_that_only_the_names_of_pictures_tell(tmp_path):
    """RAF-DB's pictures in folders or a list of one's own: they were all trained on."""
    names = [f"{part}_0000{row}_aligned.png" for part in ("train", "test") for row in (1, 2)]
    pictures(tmp_path, *(f"set/{row % 2 + 1}/{name}" for row, name in enumerate(names)))
    pictures(tmp_path, *(f"flat/{name}" for name in names))
    lines = [f"{name},{row % 2 + 1}" for row, name in enumerate(names)]
    (tmp_path / "flat" / "labels.csv").write_text("\n".join(["file,label", *lines]))
    (tmp_path / "paths.csv").write_text("\n".join(["file,label", *(f"flat\\{line}" for line in lines)]))
    for name in ("set", "flat", "flat/labels.csv", "paths.csv"):
        faces = FaceDataset([tmp_path / name], order=("fer2013",))
        assert faces.index.notes[-1].endswith("parts are taken from the paths of its pictures")
        found = [*Labelled(choose([tmp_path / name], HELD_OUT).found, None, ("fer2013",), True)]
        assert len(faces) == len(found) == 2 and all("test" in one.place for one in found)
    (tmp_path / "flat" / "labels.csv").write_text("\n".join(["file,label", *lines[:2]]))
    assert FaceDataset([tmp_path / "flat"], order=("fer2013",)).index.notes == []
    assert choose([tmp_path / "set"], UNLABELLED).found[0].part == "train"


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        ("/mnt/test/train/0.png /mnt/test/val/1.png", ["train", "val"]),
        ("train/test_subject/0.png test/train_1.png", ["train", "test"]),
        ("train/0.png extra/1.png", [""]),  # all are taken, as nobody knows
        ("testimony/0.png trainer_1.png", [""]),
        ("dev/0.png test/1.png", [""]),
        ("faces/train_0.png faces/test_1.png", ["train", "test"]),
    ],
)
def test_parts_that_the_folders_of_a_list_tell(paths, parts, tmp_path):
    (tmp_path / "list.csv").write_text("\n".join(["file,label", *(f"{path},happy" for path in paths.split())]))
    assert [one.part for one in locate(tmp_path / "list.csv")] == parts
    (tmp_path / "list.csv").write_text("file,label\ntrain/0.png,happy\ntest/1.png,sad\nspare/2.png,sad\n")
    (chosen,) = locate(tmp_path / "list.csv")
    assert "tell parts (train 1, test 1), but 1 tell none: all are taken" in chosen.note


def test_a_folder_of_affectnet_is_read_by_its_lists(tmp_path):
    """Its pictures lie in folders with numbers, which are no classes."""
    pictures(tmp_path, *(f"Manually_Annotated_Images/{row}/a.png" for row in (1, 10, 1000)))
    heading = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    lines = [f"{row}/a.png,0,0,12,12,1;2,{label},0,0" for row, label in ((1, 0), (10, 6), (1000, 9))]
    (tmp_path / "training.csv").write_text("\n".join([heading, *lines]))
    (tmp_path / "validation.csv").write_text(lines[0])
    faces = FaceDataset([tmp_path])
    assert len(faces) == 2 and faces.index.left_out == {"whose label is no emotion": 1}
    assert {int(one.image.mean()): one.truth for one in Labelled(choose([tmp_path], TRAIN).found, EIGHT, (), True)} == {
        0: "neutral", 1: "anger"
    }  # fmt: skip
    assert len(FaceDataset([tmp_path], parts=HELD_OUT)) == 1


def test_a_download_of_rafdb_is_read_by_its_list(tmp_path):
    """Its own folders are no classes, its numbers begin at 1, and its pictures' names tell parts."""
    root = tmp_path / "basic"
    names = ["train_00001", "train_00002", "test_0001"]
    pictures(root / "Image", *(f"aligned/{name}_aligned.png" for name in names), *(f"original/{n}.png" for n in names))
    (root / "EmoLabel").mkdir()
    listed = root / "EmoLabel" / "list_patition_label.txt"
    listed.write_text("".join(f"{name}.jpg {label}\n" for name, label in zip(names, (5, 7, 4), strict=True)))
    for path in (tmp_path, root, root / "Image", listed):
        found = choose([path], TRAIN).found
        assert {int(one.image.mean()): one.truth for one in Labelled(found, None, (), True)} == {
            0: "sadness",
            1: "neutral",
        }
        found = choose([path], HELD_OUT).found
        assert {int(one.image.mean()): one.truth for one in Labelled(found, None, (), True)} == {2: "happiness"}
        assert len(FaceDataset([path])) == 2 and len(FaceDataset([path], parts=HELD_OUT)) == 1
    listed.write_text("train_00001.jpg 11\ntrain_00002.jpg 1\n")  # of the compound emotions
    with pytest.raises(UsageError, match="the labels are numbers from 1 to 11; say with --order"):
        FaceDataset([listed])
    shutil.rmtree(root / "Image" / "aligned")
    with pytest.raises(InputError, match=r"its aligned pictures are not there: unpack Image/aligned\.zip"):
        FaceDataset([tmp_path])
    pictures(root / "own", "happy/a.png", "sad/b.png")
    assert len(FaceDataset([root / "own"])) == 2


def test_a_download_of_affectnet_s_crops_is_to_be_prepared_first(tmp_path):
    """Its labels lie in files of numpy, and its folder of pictures is no class."""
    root = affectnet_folders(tmp_path)
    for path in (root, root / "val_set"):
        for read in (
            lambda path=path: FaceDataset([path], parts=HELD_OUT),
            lambda path=path: list(Labelled(choose([path], HELD_OUT).found, EIGHT, (), True)),
        ):
            with pytest.raises(UsageError, match="with pfvit prepare affectnet8"):
                read()
    assert len(FaceDataset([root], labelled=False)), "which needs no labels"


@pytest.mark.parametrize(
    "text",
    [
        "img/0.png happy\nimg/1.png  sad\n\nimg/2.png sad \n",
        "file label\nimg/0.png happy\nimg/1.png sad\nimg/2.png sad\n",
        "img/0.png happy ann train\nimg/1.png sad ann train\nimg/2.png sad ben train\n",
        "img/0.png\thappy\nimg/1.png\tsad\nimg/2.png\tsad\n",
        "img/0.png, happy\nimg/1.png, sad\nimg/2.png, sad\n",
    ],
)
@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_lists_in_text(name, text, path):  # fmt: skip
    path = path.with_name(name)
    path.write_text(text)
    faces = FaceDataset([path])
    assert len(faces) == 3 and faces.index.counts().tolist() == [1, 2]
    assert {one.truth for one in Labelled([path], EIGHT, (), True)} == {"happiness", "sadness"}


def test_text_in_a_folder_is_a_list_if_it_labels_pictures(path):
    (path.parent / "README.txt").write_text("Faces of my friends, taken in 2019.\n")
    (path.parent / "train.txt").write_text("img/0.png happy\nimg/my own.png sad\n")
    (path.parent / "test.txt").write_text("img/2.png happy\nimg/3.png sad\nimg/4.png sad\n")
    pictures(path.parent, "img/my own.png")
    assert len(FaceDataset([path.parent])) == 2 and len(FaceDataset([path.parent], parts=HELD_OUT)) == 3
    with pytest.raises(InputError, match=r"README\.txt has the columns Faces of my friends"):
        FaceDataset([path.parent / "README.txt"])


def test_pictures_of_several_parts_are_told(path):
    """The second fold's training faces are the first one's test faces."""
    for name, row in (("train_1", 0), ("test_1", 2), ("train_2", 2), ("test_2", 0)):
        path.with_name(f"{name}.txt").write_text(f"img/{row}.png happy\nimg/{row + 1}.png sad\n")
    for wanted, part, other in ((TRAIN, "train", "test"), (HELD_OUT, "test", "train")):
        told = choose([path.parent], wanted).notes
        assert f"of the 4 pictures of its part {part} some are in others too: 4 in {other}" in told[1]


def test_columns_of_parts_that_are_alike_in_the_whole_list(path):
    """Each list says which part it is; a column `group` of such words holds no people."""
    for name, part in (("a", "train"), ("b", "Test")):
        write(path.with_name(f"{name}.csv"), "file,label,phase,group", f"happy,{part},{part}", f"sad,{part},{part}")
    (found,) = choose([path.parent], TRAIN).found
    assert found.path.name == "a.csv" and FaceDataset([path.parent]).index.tables[0].column("person") is None
    assert len(FaceDataset([path.parent], parts=HELD_OUT)) == 2
    write(path, "file,label,state", "happy,valid", "sad,valid")  # means something else as well
    assert choose([path], TRAIN).found[0].part == ""


def test_decimal_commas(path):
    write(path, "file;label", "0,0", "3,0", "3,0", sep=";")
    assert FaceDataset([path], order=("ferplus",)).index.counts().tolist() == [1, 0, 0, 2, 0, 0, 0, 0]
    for cells in (("0,5", "0,7"), ("1,0", "2,5")):
        write(path, "file;label", *cells, sep=";")
        with pytest.raises(UsageError, match="may be a number with a decimal comma, or two shares: write a"):
            FaceDataset([path], order=("calm", "tense"))
    write(path, "file;label", "1,0", "0,1", "1,0", sep=";")
    assert FaceDataset([path], order=("calm", "tense")).index.counts().tolist() == [2, 1]
    write(path, "file;label", "0,5 0,5", "0,25 0,75", sep=";")
    faces = FaceDataset([path], order=("happy", "sad"))
    assert sorted(target[0] for group in faces.groups for target in group.targets) == [0.25, 0.5]
    write(path, "file;happy;sad", "0,5;0,5", "1;0", sep=";")
    faces = FaceDataset([path])
    assert sorted(target[0] for group in faces.groups for target in group.targets) == [0.5, 1.0]
    write(path, ";".join(("file", *FERPLUS_VOTES)), ";".join(["9,0", "1,0", *["0,0"] * 8]), sep=";")
    assert [one.truth for one in Labelled([path], EIGHT, (), True)] == ["neutral"]
    write(path, "file;label;face_x;face_y;face_width;face_height", "happy;1,0;0,0;3,6;4", sep=";")
    assert list_files.read_list(path).rows[0].box == (1, 0, 3.6, 4)


def test_orders_are_those_of_the_numbers(path):
    """Whole floats are numbers; RAF-DB's begin at 1."""
    write(path, "file,label", *(f"{number}.0" for number in (1, 4, 7)))
    read = {int(one.image.mean()): one.truth for one in Labelled([path], EIGHT, ("rafdb",), clean=True)}
    assert [read[row] for row in range(3)] == [ORDERS["rafdb"][place] for place in (0, 3, 6)]
    with pytest.raises(UsageError, match="RAF-DB counts so"):
        FaceDataset([path])


def test_the_folders_of_ferplus_itself(tmp_path):
    """As its own script makes them: label.csv in each part has the face's box and ten votes, and no heading."""
    for first, part in enumerate(("FER2013Train", "FER2013Valid", "FER2013Test")):
        pictures(tmp_path / part, "fer0000000.png", "fer0000001.png", "fer0000002.png", first=10 * first)
        votes = ("0,8,2,0,0,0,0,0,0,0", "6,0,0,4,0,0,0,0,0,0", "0,0,0,0,0,0,0,0,0,10")
        lines = [f'fer000000{row}.png,"(0, 0, 48, 48)",{ten}' for row, ten in enumerate(votes)]
        (tmp_path / part / "label.csv").write_text("\n".join(lines))
    for parts, first in ((TRAIN, 0), (HELD_OUT, 10)):
        faces = FaceDataset([tmp_path], 8, parts=parts)
        assert len(faces) == 2 and faces.index.left_out == {"whose label is no emotion": 1}
        found = Labelled(choose([tmp_path], parts).found, EIGHT, (), clean=True)
        read = {int(one.image.mean()): (one.truth, one.votes[:4].tolist()) for one in found}
        assert read == {first: ("happiness", [0, 8, 2, 0]), first + 1: ("neutral", [6, 0, 0, 4])}


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f'{{"key {number}": 1}}' for number in range(9_000)),  # 81 million cells
        ",".join(f"c{number}" for number in range(10_001)) + "\na.png\n",
        "file,label\n" + "a\n" * 2_000 + ",".join("b" * 9_000) + "\n",
    ],
)
def test_lists_are_no_larger_in_memory_than_as_files(text, tmp_path):
    path = tmp_path / ("list.jsonl" if text.startswith("{") else "list.csv")
    path.write_text(text)
    with pytest.raises(InputError, match=r"has [\d,]+ columns in [\d,]+ lines: pictures need a few"):
        list_files.read_list(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_and_folders_that_are_called_lists_are_passed_over(path):
    write(path, "file,label", "happy", "sad")
    os.mkfifo(path.with_name("pipe.csv"))
    path.with_name("folder.csv").mkdir()
    assert FaceDataset([path.parent]).classes == ("happiness", "sadness")


@pytest.mark.parametrize("heading", ["File Name , Emotion ", "FILE-NAME,EMOTION", "filepath,label"])
def test_names_of_columns_may_have_spaces(heading, path):
    write(path, heading, "happy", "sad")
    assert FaceDataset([path]).classes == ("happiness", "sadness")


def test_marks_of_missing_values_are_no_people(path):
    write(path, "file,label,subject", "happy,A", "sad,nan", "happy,", "sad,?", "happy,A")
    assert sorted(map(str, FaceDataset([path]).index.tables[0].column("person"))) == ["A", "A", "None", "None", "None"]


def test_lists_with_tabs_may_hold_more_commas(path):
    path = path.with_suffix(".tsv")
    write(path, "file\tlabel\tseen by, on, at", "happy\tx", "sad\ty", sep="\t")
    assert FaceDataset([path]).classes == ("happiness", "sadness")
