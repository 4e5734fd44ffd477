"""Folders as people have them: parts inside classes, people above classes, archives, what other systems leave."""

import json
import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import flat_png
from test_locate import brightness, classes, table

from pfvit.data import labels, list_files
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.label_cells import Cells
from pfvit.data.labelled import Labelled
from pfvit.data.locate import HELD_OUT, TRAIN, UNLABELLED, choose
from pfvit.emotions import EIGHT, FERPLUS_VOTES, ORDERS, SEVEN
from pfvit.errors import InputError, UsageError


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
    with pytest.raises(InputError, match=r"show one class alone \(happiness\): two or more"):
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
    (tmp_path / "list.csv").write_text("file,mood,sad\na.png,1,0\n")
    for reading in (lambda path: FaceDataset([path]), lambda path: list(Labelled([path], EIGHT, (), clean=True))):
        with pytest.raises(
            InputError, match="has the columns file, mood, sad, and none with the labels: call that one"
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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'file,label\n0.png,happy\n"1.png,sad\n2.png,sad\n', "line 3, has a quote that is not closed"),
        (b'file,label\n0.png,"happy\n1.png,sad\n', "line 2, has a quote that is not closed"),
        (b'file,label\n0.png,happy\n"' + b"1.png,sad\n" * 20_000, "line 3, cannot be read: .* is a quote not closed"),
        (b"\xef\xbb\xbf\n" + b"a" * 4_000_001, "line 2, has more than 4,000,000 characters"),
        (b"a" * 4_000_001, "line 1, has more than 4,000,000 characters"),
        (b"\0" * 5000, "bytes that are no text: save it again as CSV in UTF-8"),
        ("file,label\n0.png,happy\n".encode("utf-16-le"), "bytes that are no text"),
        ("file,label\n0.png,happy\n".encode("utf-32"), "bytes that are no text"),
    ],
)
def test_a_list_that_is_broken_is_told_with_its_line(content, why, tmp_path):
    pictures(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(InputError, match=why):
        list_files.read_list(tmp_path / "list.csv")


def test_quotes_in_a_list_that_are_closed_or_stand_for_themselves(tmp_path):
    text = 'file,label,note\n0.png,happy,"two\nlines, and a ""quote"""\n1.png,sad,5" wide\n2.png,sad,"last\nline"\n'
    (tmp_path / "list.csv").write_text(text)
    rows = list_files.read_list(tmp_path / "list.csv").rows
    assert [row.cells[2] for row in rows] == ['two\nlines, and a "quote"', '5" wide', "last\nline"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a\0b.png", "no file can have this name"),
        ("pipe.png", "it is no file, but a device or a pipe"),
        ("/dev/zero", "it is no file, but a device or a pipe"),
        ("sparse.png", "too large, more than 200 MB"),
        ("..", "cannot be opened"),
    ],
)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_listed_and_no_file_is_named_and_passed_over(name, why, tmp_path, capsys):
    """A device or a pipe may never end, or never begin."""
    pictures(tmp_path, "0.png")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(10**11)
    (tmp_path / "list.csv").write_text(f"file,label\n{name},happy\n0.png,sad\n")
    assert [one.truth for one in Labelled([tmp_path / "list.csv"], EIGHT, (), clean=True)] == ["sadness"]
    assert why in capsys.readouterr().err
    pq.write_table(pa.table({"image": [name, "0.png"], "label": ["happy", "sad"]}), tmp_path / "paths.parquet")
    assert [one.truth for one in Labelled([tmp_path / "paths.parquet"], EIGHT, (), clean=True)] == ["sadness"]
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("side", ["nan", "inf", "-inf", "1e999"])
def test_boxes_of_no_numbers_leave_the_picture_whole(side, tmp_path):
    pictures(tmp_path, "0.png")
    lines = [f"0.png,happy,{','.join([side] * place + ['9'] * (4 - place))}" for place in range(1, 5)]
    (tmp_path / "list.csv").write_text("\n".join([",".join(("file", "label", *list_files.BOX)), *lines]))
    assert [row.box for row in list_files.read_list(tmp_path / "list.csv").rows] == [None] * 4


def test_a_list_of_many_classes_takes_no_time(tmp_path):
    cells = Cells([f"class {n}" for n in range(50_000)], "list.csv")
    start = time.process_time()
    assert len(set(labels.read(cells, None).codes.tolist())) == 50_000
    assert time.process_time() - start < 5  # 10 s where each class was looked for among all


@pytest.mark.parametrize("word", ["9" * 5000, "9" * 400, "1e5", "-1"])
def test_pixels_that_are_no_numbers_of_a_picture_are_named(word, tmp_path, capsys):
    row = " ".join(["9"] * 143)
    (tmp_path / "fer.csv").write_text(f"emotion,pixels\n3,{row} {word}\n4,{row} 9\n")
    table = pa.table({"pixels": [f"{row} {word}", f"{row} 9"], "label": ["happy", "sad"]})
    pq.write_table(table, tmp_path / "pixels.parquet")
    for name in ("fer.csv", "pixels.parquet"):
        assert [one.truth for one in Labelled([tmp_path / name], EIGHT, (), clean=True)] == ["sadness"]
        assert "pixels" in capsys.readouterr().err


@pytest.mark.parametrize("label", ["9" * 400, "[" * 5000 + "]" * 5000, "{" * 5000 + "}" * 5000])
@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_labels_that_no_class_can_be_are_told(label, name, tmp_path):
    lines = {"list.csv": f"file,label\n0.png,{label}\n", "list.jsonl": f'{{"file": "0.png", "label": {label}}}\n'}
    pictures(tmp_path, "0.png")
    (tmp_path / name).write_text(lines[name])
    with pytest.raises(InputError, match=rf"{name}|show one class alone"):  # brackets may be the name of a class
        FaceDataset([tmp_path / name])


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


def _voted(folder, *, pixels: bool, heading=FERPLUS_VOTES):
    """Four faces with FER+'s votes: happiness, 6 to 4 for sadness, no face, and none at all."""
    votes = [(0, 10, 0, 0, 0, 0, 0, 0, 0, 0), (0, 1, 3, 6, 0, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0, 0, 0, 0, 9), (0,) * 10]
    lines = [",".join(("Usage", "Image name", *(["emotion", "pixels"] if pixels else []), *heading))]
    for row, ten in enumerate(votes):
        text = [" ".join([str(40 * row)] * 144)]
        (folder / f"{row}.png").write_bytes(flat_png(40 * row))
        lines.append(",".join(["Training", f"{row}.png", *(["6", *text] if pixels else []), *map(str, ten)]))
    path = folder / "votes.csv"
    path.write_text("\n".join([*lines, "Training" + "," * lines[0].count(",") if not pixels else ""]) + "\n")
    return path


@pytest.mark.parametrize("pixels", [True, False])
def test_votes_in_a_list(pixels, tmp_path):
    """As fer2013new.csv has them, beside files or FER2013's pixels, whose own label they come before."""
    path = _voted(tmp_path, pixels=pixels)
    faces = FaceDataset([path])
    batch = read_all(faces, 12, 1)
    read = {int(face.float().mean()): target for face, target in zip(batch.image, batch.target, strict=True)}
    assert faces.classes == EIGHT and sorted(read) == [0, 40]
    assert read[0].argmax() == 1 and read[40].tolist() == pytest.approx([0, 0, 3 / 9, 6 / 9, 0, 0, 0, 0], abs=1e-5)
    assert faces.index.left_out["without a label"] == (1 if pixels else 2)
    assert faces.index.left_out["whose label is no emotion"] == 1
    found = list(Labelled([path], EIGHT, (), clean=True))
    assert [one.truth for one in found] == ["happiness", "sadness"] and found[1].votes.tolist()[2:4] == [3, 6]
    assert [one.truth for one in Labelled([path], EIGHT, (), clean=True, majority=True)] == ["happiness", "sadness"]


def test_a_list_without_all_ten_columns_has_no_votes(tmp_path):
    path = _voted(tmp_path, pixels=False, heading=(*FERPLUS_VOTES[:9], "nobody"))
    with pytest.raises(UsageError, match="unknown add up to 10, not 1"):
        FaceDataset([path])
    (tmp_path / "names.csv").write_text("file,label\n0.png,happy\n1.png,sad\n")
    with pytest.raises(UsageError, match="--protocol majority needs the ten"):
        list(Labelled([tmp_path / "names.csv"], EIGHT, (), clean=True, majority=True))


@pytest.mark.parametrize("labels", [("happy", "sad", None), ([0.8, 0.2], [0, 1], None), (True, False, None)])
def test_json_lines(labels, tmp_path):
    """As `datasets` writes an image folder, metadata.jsonl; keys may lack, and a list of CSV beside says the same."""
    pictures(tmp_path / "train", "0.png", "1.png", "2.png", "3.png")
    rows = [{"file_name": f"{row}.png", "subject": row, "label": label} for row, label in enumerate(labels)]
    path = tmp_path / "train" / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"file_name": "3.png"}]))
    faces = FaceDataset([tmp_path], order=("happy", "sad"))
    assert len(faces) == 2 and faces.index.left_out == {"without a label": 2}
    assert faces.index.counts().tolist() == [1, 1]
    assert sorted(faces.index.tables[0].column("person"), key=str) == ["0", "1", "2", None]
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label\n0.png,happy\n1.png,sad\n")
    assert len(FaceDataset([tmp_path])) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"file": "0.png"', "line 1, is no JSON"),
        ('{"file": "0.png", "label": "sad"}\n[1]', "line 2, is no object like"),
        ('{"picture_id": 3}', "has the columns picture_id: give the pictures' files"),
        ("", "has no lines"),
        ('{"file": ' + "[" * 100_000, "line 1, is no JSON"),
        ('{"pixels": "1 2 3", "label": "sad"}', "as CSV with commas"),
        ('{"file": "0.png", "label": "sad"}\n{"file": "0.png", "label": {"a": [1]}}', "mixes kinds of labels"),
    ],
)
def test_json_lines_that_are_no_list(text, why, tmp_path):
    pictures(tmp_path, "0.png")
    (tmp_path / "list.jsonl").write_text(text)
    with pytest.raises(InputError, match=why):
        FaceDataset([tmp_path / "list.jsonl"])


def test_what_is_taken_for_fer2013_s_is_told(tmp_path):
    """Classes of one's own in its columns are told apart from it by the name of the column."""
    row = " ".join(["9"] * 144)
    path = tmp_path / "three.csv"

    def write(column, labels):
        path.write_text("\n".join([f"{column},pixels", *(f"{label},{row}" for label in labels)]))

    def notes(**more):
        return " ".join(FaceDataset([path], **more).index.lines())

    write("emotion", [0, 1, 2])
    told = "its labels are taken as its (0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral)"
    assert told in notes()
    assert "not as --order says" in notes(order=("calm", "sad", "glad"))
    write("emotion", range(7))
    assert "taken as" not in notes() and "taken as" not in notes(order=("fer2013",))
    write("emotion", [0, 7])  # CK+, as it goes round in these columns
    with pytest.raises(UsageError, match=r"labels of FER2013 are 0 to 6, not 7\. If they mean something else, call"):
        FaceDataset([path])
    write("label", [0, 1, 2])
    with pytest.raises(UsageError, match="--order"):
        FaceDataset([path])
    assert FaceDataset([path], order=("calm", "sad", "glad")).classes == ("sadness", "calm", "glad")


def test_lines_of_pixels_that_do_not_fit_their_heading_are_named(tmp_path):
    row = " ".join(["9"] * 144)
    (tmp_path / "fer.csv").write_text(f"emotion,pixels,Usage\n0,{row},Training\n1,{row[:9]}")
    with pytest.raises(InputError, match="line 3, has 2 columns, and its heading 3"):
        FaceDataset([tmp_path / "fer.csv"])


def test_what_is_unclear_in_a_list_is_told(tmp_path):
    """Two columns of labels, a picture with two labels, and numbers that count from 1."""
    pictures(tmp_path, "0.png", "1.png", "2.png")
    path = tmp_path / "list.csv"
    path.write_text(",file,label,emotion\n0,0.png,happy,3\n1,1.png,sad,4\n2,1.png,happy,3\n3,2.png,sad,4\n")
    told = " ".join(FaceDataset([path]).index.lines())
    assert "labels are taken from its column label, not from emotion" in told
    assert "1 are there more than once, 1 of them with another label" in told
    table = pa.table({"image": [flat_png(0), flat_png(1)], "label": ["happy", "sad"], "emotion": [3, 4]})
    pq.write_table(table, tmp_path / "list.parquet")
    told = " ".join(FaceDataset([tmp_path / "list.parquet"]).index.lines())
    assert "labels are taken from its column label, not from emotion" in told and "more than once" not in told
    path.write_text("file,label\n0.png,1.0\n1.png,2.0\n2.png,3.0\n1.png,2.0\n0.png,nan\n")
    with pytest.raises(UsageError, match="numbers from 1 to 3, and a b c counts from 0: subtract 1"):
        FaceDataset([path], order=("a", "b", "c"))
    told = " ".join(FaceDataset([path], order=tuple("abcd")).index.lines())
    assert told.endswith("1 are there more than once")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_that_are_also_in_another_part(kind, tmp_path):
    """A column of lists as of Parquet files; marks of nothing are no part."""
    also_in = ["test", None, "val+test", "", "False", "nan"]
    pictures(tmp_path, *(f"{row}.png" for row in range(6)))
    path = tmp_path / f"list.{kind}"
    rows = [{"file": f"{row}.png", "label": ("happy", "sad")[row % 2], "also_in": it} for row, it in enumerate(also_in)]
    if kind == "csv":
        path.write_text(
            "file,label,Also_in\n" + "".join(",".join(str(v or "") for v in r.values()) + "\n" for r in rows)
        )
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        images = [flat_png(row) for row in range(6)]
        pq.write_table(pa.table({"image": images, **{k: [r[k] for r in rows] for k in ("label", "also_in")}}), path)
    faces = FaceDataset([path])
    assert len(faces) == 4 and faces.index.left_out == {"that are in another part too": 2}
    assert len(FaceDataset([path], clean=False)) == 6
    for clean, count in ((True, 4), (False, 6)):
        measured = Labelled([path], EIGHT, (), clean=clean)
        read = {int(one.image.mean()) for one in measured}
        assert len(read) == count and measured.leaked == 6 - count and (0 in read) != clean


def test_a_list_beside_class_folders_is_told(tmp_path):
    pictures(tmp_path, "train/happy/0.png", "train/sad/1.png", "test/happy/2.png", "test/sad/3.png")
    (tmp_path / "train_labels.csv").write_text("file,label\n0.png,sad\n1.png,happy\n")
    told = choose([tmp_path], TRAIN).notes
    assert f"{tmp_path}: labels are the names of its folders; not read: train_labels.csv" in told


@pytest.mark.parametrize(("heading", "told"), [("x,y,w,h", True), ("bbox,a,b,c", True), ("x,y,a,b", False),
                                                ("face_x,face_y,face_width,face_height", False)])  # fmt: skip
def test_boxes_that_are_not_read_are_told(heading, told, tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    (tmp_path / "list.csv").write_text(f"file,label,{heading}\n0.png,happy,2,2,9,9\n1.png,sad,2,2,9,9\n")
    notes = " ".join(FaceDataset([tmp_path / "list.csv"]).index.lines())
    assert ("are not read, and pictures are taken whole" in notes) == told


def test_classes_that_differ_in_case_are_one(tmp_path):
    """Also in several files, and where they are validated and measured."""
    for folder, names in (("a", ("Calm", "Smiling")), ("b", ("calm", "SMILING", "odd"))):
        pictures(tmp_path, *(f"{folder}/{name}/0.png" for name in names), first=10 * (folder == "b"))
    faces = FaceDataset([tmp_path / "a", tmp_path / "b"])
    assert faces.classes == ("Calm", "Smiling", "odd") and faces.index.counts().tolist() == [2, 2, 1]
    held = FaceDataset([tmp_path / "b"], ("Calm", "Smiling"))
    assert held.index.counts().tolist() == [1, 1] and held.index.left_out["of other classes"] == 1
    measured = Labelled([tmp_path / "b"], ("Calm", "Smiling"), (), clean=True)
    assert {int(one.image.mean()): one.truth for one in measured} == {10: "Calm", 11: "Smiling"}
    assert {"Calm", "Smiling"} <= measured.classes and measured.unlabelled == 1


def test_fer2013_as_parquet(tmp_path):
    """As pandas writes Kaggle's table; it was read in FER+'s order. `--order` still says otherwise."""
    path = tmp_path / "fer.parquet"
    text = [" ".join([str(row)] * 100) for row in range(7)]
    pq.write_table(pa.table({"emotion": list(range(7)), "pixels": text}), path)
    faces = FaceDataset([path])
    assert faces.classes == ORDERS["fer2013"][-1:] + SEVEN[1:]
    read = {int(one.image.mean()): one.truth for one in Labelled([path], EIGHT, (), clean=True)}
    assert tuple(read[row] for row in range(7)) == ORDERS["fer2013"]
    assert "has the columns of fer2013: its labels are taken as its (0 anger" in " ".join(faces.index.lines())
    ours = {int(one.image.mean()): one.truth for one in Labelled([path], EIGHT, ("ferplus",), clean=True)}
    assert tuple(ours[row] for row in range(7)) == SEVEN


@pytest.mark.parametrize("outer", ["", "faces", "faces/faces", "data", "train_and_test"])
def test_parts_below_other_folders(outer, tmp_path):
    """`faces` may be a part, but not where it holds parts: its train and test were taken for classes."""
    for first, part in enumerate(("train", "test")):
        classes(tmp_path / "set" / outer / part, 10 * first)
    assert max(brightness([tmp_path / "set"], TRAIN)) < 10 <= min(brightness([tmp_path / "set"], HELD_OUT))
    assert not {"train", "test"} & {*FaceDataset([tmp_path / "set"]).classes}


def test_parts_that_were_unpacked_twice(tmp_path):
    for first, part in enumerate(("train", "test")):
        classes(tmp_path / part / part, 10 * first)
    assert max(brightness([tmp_path], TRAIN)) < 10 <= min(brightness([tmp_path], HELD_OUT))
    assert not {"train", "test"} & {*FaceDataset([tmp_path]).classes}


def test_folders_that_differ_by_a_number_are_no_classes(tmp_path):
    """Folds or people with classes of one's own below them; the folders of people below classes are no classes."""
    pictures(tmp_path / "folds", *(f"fold_{fold}/{name}/a.png" for fold in (1, 2) for name in ("calm", "tired")))
    with pytest.raises(InputError, match=r"holds fold_1, fold_2, \.\.\. and these the folders of classes \(calm, "):
        FaceDataset([tmp_path / "folds"])
    pictures(tmp_path / "people", *(f"class{name}/p{one}/a.png" for name in "12" for one in (1, 2)))
    assert FaceDataset([tmp_path / "people"]).classes == ("class1", "class2")
    pictures(tmp_path / "own", *(f"class{name}/{one}/a.png" for name, one in (("1", "ann"), ("2", "ben"))))
    assert FaceDataset([tmp_path / "own"]).classes == ("class1", "class2")


def test_a_list_with_labels_beside_folders_of_no_emotion_is_asked_about(tmp_path):
    """Folders may be there to hold a thousand pictures each."""
    pictures(tmp_path, "images/aa/0.png", "images/ab/1.png")
    (tmp_path / "labels.csv").write_text("file,label\nimages/aa/0.png,happy\nimages/ab/1.png,sad\n")
    with pytest.raises(UsageError, match=r"holds folders of pictures \(aa, ab, \.\.\.\) and, with labels, labels\.csv"):
        FaceDataset([tmp_path])
    assert len(FaceDataset([tmp_path], labelled=False)) == 2
    assert FaceDataset([tmp_path / "labels.csv"]).classes == ("happiness", "sadness")
    for text in ("epoch,loss\n1,2\n", "file,label\nelsewhere/0.png,happy\n"):
        (tmp_path / "labels.csv").write_text(text)
        assert FaceDataset([tmp_path]).classes == ("aa", "ab")


def test_what_lies_beside_parquet_files_is_told(tmp_path):
    table(tmp_path / "faces.parquet")
    assert choose([tmp_path], TRAIN).notes == []
    pictures(tmp_path, "happy/0.png", "sad/1.png")
    (tmp_path / "labels.csv").write_text("file,label\n")
    told = f"{tmp_path}: its Parquet files are read; not read: happy, sad, labels.csv"
    assert choose([tmp_path], TRAIN).notes == [told] and len(FaceDataset([tmp_path])) == 3


def test_a_list_that_is_none_beside_another(tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    (tmp_path / "labels.csv").write_text("file,label\n0.png,happy\n1.png,sad\n")
    (tmp_path / "results.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(InputError, match=r"results\.csv has the columns epoch, loss: .* or name the list to read, in"):
        FaceDataset([tmp_path])


@pytest.mark.parametrize(
    ("name", "column"), [("set", [0, 1, 0]), ("set", ["A", "B", None]), ("is_train", ["A", "B", None])]
)
def test_a_column_of_parts_that_names_none_is_told(name, column, tmp_path):
    table = pa.table({"image": [flat_png(row) for row in range(3)], "label": ["happy", "sad", "sad"], name: column})
    pq.write_table(table, tmp_path / "faces.parquet")
    faces = FaceDataset([tmp_path / "faces.parquet"])
    assert len(faces) == 3
    assert f"faces.parquet: not looked at: {name}; a column called part gives each row's part" in faces.index.notes[0]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["dataset", "group", "Subset", "my_column"])
def test_columns_of_other_names_that_hold_parts(name, kind, tmp_path):
    """Everything was trained on. `group` is a column of people, too."""
    pictures(tmp_path, *(f"{row}.png" for row in range(6)))
    rows = [{"file": f"{row}.png", "label": ("happy", "sad")[row % 2]} for row in range(6)]
    rows = [row | {name: ("Training", "train_set", "PrivateTest")[place // 2]} for place, row in enumerate(rows)]
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        path.write_text("\n".join(",".join(row) for row in [[*rows[0]], *(row.values() for row in rows)]))
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        columns = {key: [row[key] for row in rows] for key in ("label", name)}
        pq.write_table(pa.table({"image": [flat_png(row) for row in range(6)], **columns}), path)
    (found,) = choose([path], HELD_OUT).found
    assert found.part == "test" and {int(one.image.mean()) for one in Labelled([found], EIGHT, (), True)} == {4, 5}
    faces = FaceDataset([path])
    assert len(faces) == 4 and faces.index.tables[0].column("person") is None
    assert len(FaceDataset([path], parts=HELD_OUT)) == 2


def test_two_columns_of_parts_are_told(tmp_path):
    pictures(tmp_path, "0.png", "1.png")
    (tmp_path / "list.csv").write_text(
        "file,label,split,Usage,is_test\n0.png,happy,train,test,1\n1.png,sad,train,test,1\n"
    )
    told = " ".join(FaceDataset([tmp_path / "list.csv"]).index.notes)
    assert "parts are taken from its column split, not from Usage, is_test" in told
    (tmp_path / "list.csv").write_text("file,label,is_train\n0.png,happy,1\n1.png,sad,2\n")
    told = " ".join(FaceDataset([tmp_path / "list.csv"]).index.notes)
    assert "not looked at: is_train; a column called part" in told


def test_which_of_several_columns_names_the_pictures(tmp_path):
    """The one whose files are there; paths that Windows wrote are found in tables, too."""
    pictures(tmp_path, "img/0.png", "img/1.png")
    (tmp_path / "list.csv").write_text("image,face,path,label\n1,0,img/0.png,happy\n2,0,img\\1.png,sad\n")
    assert len(FaceDataset([tmp_path / "list.csv"])) == 2
    table = pa.table({"image": ["img\\0.png", "img\\1.png"], "label": ["happy", "sad"]})
    pq.write_table(table, tmp_path / "list.parquet")
    assert len(FaceDataset([tmp_path / "list.parquet"])) == 2
    assert len([*Labelled([tmp_path / "list.parquet"], EIGHT, (), True)]) == 2


def test_classes_beside_parts(tmp_path):
    """They were passed over without a word; a part without classes was taken for one."""
    pictures(tmp_path / "mixed", "train/happy/0.png", "train/sad/1.png", "happy/2.png", "loose/3.png")
    faces = FaceDataset([tmp_path / "mixed"])
    assert len(faces) == 2 and f"{tmp_path / 'mixed'}: left out, beside its parts: happy, loose" in faces.index.notes
    for part, own in (("test", ("happy", "sad")), ("Val", ("happy", "sad")), ("train", ("calm", "tired"))):
        pictures(tmp_path / part, f"{own[0]}/0.png", f"{own[1]}/1.png", f"{part}/2.png")
        with pytest.raises(InputError, match=f"holds the folders of classes and, beside them, {part}, called like a"):
            FaceDataset([tmp_path / part])
    pictures(tmp_path / "own", "valid/0.png", "invalid/1.png")
    assert FaceDataset([tmp_path / "own"]).classes == ("invalid", "valid")
