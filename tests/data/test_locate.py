"""What `--data` names: parts are told apart, harmless files are passed over, and what is missing is said."""

import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import flat_png
from PIL import Image

from pfvit.data import parquet
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.labelled import Labelled
from pfvit.data.locate import HELD_OUT, TESTED, TRAIN, UNLABELLED, choose
from pfvit.data.parts import part_of
from pfvit.emotions import EIGHT, SEVEN
from pfvit.errors import InputError, UsageError
from pfvit.evaluation.cross_dataset import test_set as data_of  # not a test
from pfvit.training.faces import tell

NAMES = ("happy", "sad", "neutral")


def table(path, first: int = 0, rows: int = 3):
    """Faces of brightnesses that no other file has, so that the pixels say which file they are from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": flat_png(first + row), "path": None} for row in range(rows)]
    pq.write_table(pa.table({"image": cells, "label": [NAMES[row % 3] for row in range(rows)]}), path)
    return path


def classes(folder, first: int = 0, names=NAMES):
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for row in range(2):
            (folder / name / f"{first}{row}.png").write_bytes(flat_png(first + 2 * place + row))
    return folder


def brightness(paths, parts, labelled=True) -> set[int]:
    faces = FaceDataset(paths, labelled=labelled, parts=parts, clean=False)
    return {int(face.float().mean()) for face in read_all(faces, 12, 1).image}


def prepared(folder):
    splits = {}
    for place, part in enumerate(("train", "val", "test")):
        table(folder / f"{part}-00000.parquet", 50 * place)
        splits[part] = {"files": [{"name": f"{part}-00000.parquet"}]}
    said = {"format": "pfvit-data-1", "name": "mine", "splits": splits, "labels": {}}
    (folder / "manifest.json").write_text(json.dumps(said))


def files(*names):
    def make(folder):
        for place, name in enumerate(names):
            table(folder / name, 50 * place)

    return make


def folders(*names):
    def make(folder):
        for place, name in enumerate(names):
            classes(folder / name, 50 * place)

    return make


def fer2013(folder):
    lines = ["emotion,pixels,Usage\n"]
    for place, usage in enumerate(("Training", "PublicTest", "PrivateTest")):
        lines += [f"{3 + row},{' '.join([str(50 * place + row)] * 144)},{usage}\n" for row in range(3)]
    (folder / "fer2013.csv").write_text("".join(lines))


#: Layouts in which the first is for training, and what is to be measured comes second (val, if there is one) or third.
LAYOUTS = {
    "pfvit prepare": prepared,
    "names before a dash": files("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "test-0.parquet"),
    "underscores": files("ferplus_train.parquet", "ferplus_val.parquet", "ferplus_test.parquet"),
    "a hub's data folder": files("data/train-0-of-1.parquet", "data/validation-0-of-1.parquet", "data/test-0.parquet"),
    "a hub's converted branch": files(*(f"default/{part}/0.parquet" for part in ("train", "validation", "test"))),
    "class folders": folders("train", "valid", "test"),
    "Kaggle's class folders": folders("Training", "PublicTest", "PrivateTest"),
    "an archive's folder": folders("set/train", "set/dev", "set/testing"),
    "FER2013's table": fer2013,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_and_measuring_take_different_parts_of_a_folder(layout, tmp_path):
    LAYOUTS[layout](tmp_path)
    parts = [brightness([tmp_path], wanted) for wanted in (TRAIN, HELD_OUT, TESTED)]
    assert [{value // 50 for value in part} for part in parts] == [{0}, {1}, {2}]
    assert {value // 50 for value in brightness([tmp_path], UNLABELLED, labelled=False)} == {0}
    measured = Labelled(data_of(tmp_path).files, EIGHT, (), clean=True)
    assert {int(sample.image.mean()) // 50 for sample in measured} == {2}
    notes = " ".join(choose([tmp_path], TRAIN).notes)
    assert "--data takes its part train; left out: val, test" in notes


def test_without_parts_all_is_taken_and_without_a_training_part_nothing(tmp_path):
    files("a.parquet", "b.parquet")(tmp_path / "plain")
    assert {value // 50 for value in brightness([tmp_path / "plain"], TRAIN)} == {0, 1}
    files("test-0.parquet", "val-0.parquet")(tmp_path / "held")
    with pytest.raises(InputError, match="holds the parts test, val, and none of train"):
        choose([tmp_path / "held"], TRAIN)
    assert brightness([tmp_path / "held"], HELD_OUT) == {50, 51, 52}
    assert brightness([tmp_path / "held" / "test-0.parquet"], TRAIN) == {0, 1, 2}, "named itself"
    files("labelled.parquet", "held-out.parquet")(tmp_path / "two")
    assert [brightness([tmp_path / "two"], wanted) for wanted in (TRAIN, HELD_OUT)] == [{0, 1, 2}, {50, 51, 52}]
    folders("train")(tmp_path / "half")
    assert len(brightness([tmp_path / "half" / "train"], HELD_OUT)) == 6, "named itself"
    with pytest.raises(InputError, match="none of val or test"):
        choose([tmp_path / "half"], HELD_OUT)


def test_test_files_beside_training_files_are_refused(tmp_path):
    files("train-0.parquet", "train-1.parquet", "test-0.parquet", "val-0.parquet")(tmp_path)
    every = sorted(tmp_path.glob("*.parquet"))
    with pytest.raises(UsageError, match=r"beside them, .*test-0\.parquet: what is to be tested"):
        FaceDataset(every)
    with pytest.raises(UsageError, match="must not be trained on"):
        FaceDataset(every, labelled=False)
    chosen = choose([path for path in every if "test" not in path.name], TRAIN)
    assert len(chosen.found) == 3 and "takes validation files together" in chosen.notes[0]
    folders("train", "test")(tmp_path / "f")
    with pytest.raises(UsageError, match="must not be trained on"):
        FaceDataset([tmp_path / "f" / "train", tmp_path / "f" / "test"])


def test_files_that_share_pictures_are_told(tmp_path):
    one, other = table(tmp_path / "a.parquet", 0, 6), table(tmp_path / "b.parquet", 4, 6)
    faces, others = FaceDataset([one]), FaceDataset([other])
    assert faces.index.shared_with(others.index) == 2 and others.index.shared_with(faces.index) == 2
    both = FaceDataset([one, other])
    assert "2 are there more than once" in list(both.index.lines())[-1]


def test_small_faces_are_the_same_in_whatever_form_they_are_stored(tmp_path):
    """FER2013 is passed on as a list of gray values, and as PNG files of several writers."""
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    lines = [f"{place},{' '.join(map(str, face.ravel()))},Training" for place, face in enumerate(faces)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")
    cells = []
    for level, face in enumerate(faces[:3]):
        file = io.BytesIO()
        Image.fromarray(face).save(file, "PNG", compress_level=level)
        cells.append(file.getvalue())
    pq.write_table(pa.table({"image": cells, "label": list(NAMES)}), tmp_path / "a.parquet")
    folder = classes(tmp_path / "folders")
    Image.fromarray(faces[0]).convert("RGB").save(folder / NAMES[0] / "again.png", optimize=True)
    listed, stored, own = (FaceDataset([tmp_path / name]) for name in ("fer2013.csv", "a.parquet", "folders"))
    assert listed.index.shared_with(stored.index) == stored.index.shared_with(listed.index) == 3
    assert stored.index.shared_with(own.index) == 1


def test_files_that_are_sorted_by_class_are_told(tmp_path):
    def faces(labels, size=10):
        path = tmp_path / "s.parquet"
        cells = [{"bytes": flat_png(row % 256), "path": None} for row in range(len(labels))]
        pq.write_table(pa.table({"image": cells, "label": labels}), path, row_group_size=size)
        return FaceDataset([path])

    def index(labels, size=10):
        return faces(labels, size).index

    ordered = [name for name in NAMES for _ in range(60)]
    assert index(ordered).is_sorted()
    assert not index(ordered, 30).is_sorted(), "all row groups are mixed"
    mixed = [ordered[place] for place in np.random.default_rng(0).permutation(len(ordered))]
    assert not index(mixed).is_sorted() and not index(mixed, 1).is_sorted()
    assert not index([NAMES[0]] * 175 + [NAMES[1]] * 5).is_sorted(), "nearly all faces are of one class"
    said = []
    tell([faces(ordered)], {}, said.append)
    assert "--data: the rows are sorted by class, and 8 row groups are mixed at a time" in said[-1]


def test_hidden_and_foreign_files_are_passed_over(tmp_path):
    table(tmp_path / "a.parquet")
    for name in ("._a.parquet", ".a.parquet", ".a.part.parquet"):
        (tmp_path / name).write_text("junk")
    (tmp_path / "README.md").write_text("hello")
    shutil.copytree(tmp_path, tmp_path / ".cache")
    assert brightness([tmp_path], TRAIN) == {0, 1, 2}
    classes(tmp_path / "c")
    (tmp_path / "c" / ".DS_Store").write_text("junk")
    (tmp_path / "c" / "sad" / "._0.png").write_text("junk")
    (tmp_path / "c" / ".hidden").mkdir()
    (tmp_path / "c" / ".hidden" / "x.png").write_bytes(flat_png(99))
    assert len(brightness([tmp_path / "c"], TRAIN)) == 6


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda folder: None, "is not there; give Parquet files with an image column"),
        (lambda folder: folder.mkdir(), "holds neither Parquet files nor pictures"),
        (lambda folder: folder.write_text("a,b\n"), "is neither Parquet nor a list that ends in .csv"),
        (
            lambda folder: (folder.mkdir(), (folder / "l.csv").write_text("file,label\n")),
            "l.csv names no pictures: give lines of file,label",
        ),
        (lambda folder: files("one/a.parquet", "two/b.parquet")(folder), "in several folders: name one of"),
    ],
)
def test_what_is_missing_is_said(make, what, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(InputError) as said:
        FaceDataset([tmp_path / "x"])
    assert what in str(said.value)


def test_pictures_without_classes_are_for_stage_one(tmp_path):
    for row in range(3):
        (tmp_path / f"{row}.png").write_bytes(flat_png(row))
    assert brightness([tmp_path], UNLABELLED, labelled=False) == {0, 1, 2}
    with pytest.raises(InputError, match="holds pictures without labels: put them in one folder for each class"):
        FaceDataset([tmp_path])


def test_folders_with_numbers_need_an_order(tmp_path):
    classes(tmp_path / "rafdb", names=[str(number) for number in range(1, 8)])
    with pytest.raises(UsageError, match=r"RAF-DB counts so .--order rafdb: 1 surprise, 2 fear"):
        FaceDataset([tmp_path / "rafdb"])
    faces = FaceDataset([tmp_path / "rafdb"], order=("rafdb",))
    read = read_all(faces, 12, 1)
    shown = {
        int(image.float().mean()): faces.classes[k] for image, k in zip(read.image, read.target.argmax(1), strict=True)
    }
    assert faces.classes == SEVEN and (shown[0], shown[1], shown[12]) == ("surprise", "surprise", "neutral")
    classes(tmp_path / "five", names=list("01234"))
    with pytest.raises(UsageError, match="numbers from 0 to 4; say with --order"):
        FaceDataset([tmp_path / "five"])
    assert len(FaceDataset([tmp_path / "five"], order=tuple("abcde")).classes) == 5


def test_own_class_names(tmp_path):
    classes(tmp_path, names=("Happily_Surprised", "not_happy", "Neutral"))
    assert FaceDataset([tmp_path]).classes == ("neutral", "Happily_Surprised", "not_happy")


def test_an_own_list_with_people_and_parts(tmp_path):
    classes(tmp_path / "pictures")
    rows = [
        (f"pictures/{name}/{file}.png", name, f"p{place}", part)
        for place, name in enumerate(NAMES)
        for file, part in (("00", "train"), ("01", "test"))
    ]
    for heading, separator in (("file,label,person,part", ","), ("Path;Emotion;Subject;Split", ";"), ("", ",")):
        lines = [heading] if heading else []
        lines += [separator.join(row) for row in rows]
        (tmp_path / "list.csv").write_text("\ufeff" + "\n".join(lines) + "\n")
        assert brightness([tmp_path / "list.csv"], TRAIN) == {0, 2, 4}, heading
        assert brightness([tmp_path / "list.csv"], HELD_OUT) == {1, 3, 5}, heading
        faces = FaceDataset([tmp_path / "list.csv"])
        assert sorted(faces.index.tables[0].column("person")) == ["p0", "p1", "p2"]
    (tmp_path / "list.csv").write_text(
        "file,label\nnowhere.png,sad\npictures/sad/00.png,sad\npictures/happy/00.png,happy\n"
    )
    assert "left out: 1 without a picture" in list(FaceDataset([tmp_path / "list.csv"]).index.lines())[-1]
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has the columns a, b: give the pictures' files in one called file"):
        FaceDataset([tmp_path / "list.csv"])


def test_affectnet_s_own_lists(tmp_path):
    """The face is cut out by its box; 8 to 10 are no emotions."""
    photo = np.zeros((60, 80, 3), np.uint8)
    photo[10:40, 20:50] = 200
    (tmp_path / "Manually_Annotated_Images" / "3").mkdir(parents=True)
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    (tmp_path / "Manually_Annotated_Images" / "3" / "a.png").write_bytes(file.getvalue())
    heading = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    line = "3/a.png,20,10,30,30,1;2,{},0.1,0.2"
    for lines in ([heading], []):  # the validation list has no heading
        text = "\n".join(lines + [line.format(label) for label in (0, 1, 7, 10)])
        (tmp_path / "validation.csv").write_text(text)
        faces = FaceDataset([tmp_path / "validation.csv"])
        read = read_all(faces, 12, 3)
        assert {faces.classes[k] for k in read.target.argmax(1)} == {"neutral", "happiness", "contempt"}
        assert read.image.float().mean() == 200 and faces.index.left_out == {"whose label is no emotion": 1}


def test_pictures_by_path_and_rows_without_any(tmp_path):
    folder = tmp_path / "data"
    (folder / "img").mkdir(parents=True)
    for row in range(4):
        (folder / "img" / f"{row} x.png").write_bytes(flat_png(row))
    names = [f"img/{row} x.png" for row in range(4)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    gone = [{"bytes": None, "path": name} for name in [*names[:3], "img/none.png"]]
    forms = {
        "struct": pa.array([{"bytes": None, "path": name} for name in names], struct),
        "text": pa.array(names),
        "some gone": pa.array(gone, struct),
        "null": pa.array(
            [{"bytes": flat_png(0), "path": "x"}, None, {"bytes": flat_png(2), "path": None}, None], struct
        ),
        "bytes": pa.array([flat_png(0), None, flat_png(2), b""]),
        "pixels": pa.array([np.full((12, 12), row).tolist() for row in range(4)]),
        "colours": pa.array([np.full((12, 12, 3), row).tolist() for row in range(4)]),
        "FER2013's text": pa.array([" ".join([str(row)] * 144) for row in range(4)]),
    }
    for name, column in forms.items():
        path = folder / "f.parquet"
        pq.write_table(pa.table({"image": column, "label": ["sad", "happy", "sad", "happy"]}), path, row_group_size=2)
        expected = {"some gone": {0, 1, 2}, "null": {0, 2}, "bytes": {0, 2}}.get(name, {0, 1, 2, 3})
        assert brightness([path], TRAIN, labelled=False) == expected, name
        measured = Labelled([path], EIGHT, (), clean=True)
        assert {int(sample.image.mean()) for sample in measured} == expected and len(
            expected
        ) + measured.unreadable == 4
    pq.write_table(pa.table({"image": pa.array(["a/none.png"] * 2), "label": ["sad", "happy"]}), folder / "n.parquet")
    with pytest.raises(InputError, match=r"names a/none\.png, which is not there \(looked for beside the file"):
        FaceDataset([folder / "n.parquet"])


def test_data_are_known_by_their_content_wherever_they_lie(tmp_path):
    one = table(tmp_path / "a.parquet", 0, 6)
    (tmp_path / "b").mkdir()
    shutil.copy(one, tmp_path / "b" / "other.parquet")
    assert FaceDataset([one]).index.content() == FaceDataset([tmp_path / "b" / "other.parquet"]).index.content()
    assert FaceDataset([one]).index.content() != FaceDataset([table(tmp_path / "c.parquet", 1, 6)]).index.content()
    classes(tmp_path / "x" / "f")
    shutil.copytree(tmp_path / "x", tmp_path / "y")
    content = FaceDataset([tmp_path / "x" / "f"]).index.content()
    assert content == FaceDataset([tmp_path / "y" / "f"]).index.content()
    (tmp_path / "y" / "f" / "sad" / "00.png").unlink()
    assert content != FaceDataset([tmp_path / "y" / "f"]).index.content()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train-00000-of-00002-ab12.parquet", "train"), ("ferplus_val.parquet", "val"), ("PrivateTest", "test"),
        ("valid", "val"), ("test1.parquet", "test"), ("latest.parquet", ""), ("training_set.csv", "train"),
        ("contest.parquet", ""), ("train_and_test.parquet", ""), ("faces.parquet", "faces"), ("strain", ""),
        ("held-out.parquet", "test"), ("fer_held_out-0.parquet", "test"), ("holdout", "test"),
        ("TestSet.parquet", "test"), ("withheld-out.parquet", ""),
    ],
)  # fmt: skip
def test_which_part_a_name_tells(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Training", "PublicTest", "PrivateTest")])
def test_a_column_of_a_parquet_file_tells_its_parts(names, tmp_path):
    """Rows are mixed, as tables have them; what no row says, and words that are no parts, change nothing."""
    path = table(tmp_path / "f.parquet", rows=9)
    whole = pq.read_table(path)
    pq.write_table(whole.append_column("Split", pa.array([names[row % 3] for row in range(9)])), path, row_group_size=4)
    for wanted, expected in ((TRAIN, {0, 3, 6}), (HELD_OUT, {1, 4, 7}), (TESTED, {2, 5, 8})):
        for place in (path, tmp_path):
            assert brightness([place], wanted) == expected
    assert brightness([path], UNLABELLED, labelled=False) == {0, 3, 6}
    assert {int(sample.image.mean()) for sample in Labelled(data_of(path).files, SEVEN, (), clean=True)} == {2, 5, 8}
    assert "--data takes its part train; left out: val, test" in choose([path], TRAIN).notes[0]
    pq.write_table(whole.append_column("split", pa.array([*[names[0]] * 4, None, *[names[2]] * 4])), path)
    assert brightness([path], TRAIN) == {0, 1, 2, 3}
    assert "left out: test, rows of no part (1)" in choose([path], TRAIN).notes[0]
    for column in ([names[2]] * 9, list("abcabcabc"), list(range(9))):
        pq.write_table(whole.append_column("set", pa.array(column)), path)
        assert len(brightness([path], TRAIN)) == 9, "named itself, or a column that tells something else"


def test_a_download_that_is_no_table_is_called_by_its_name(tmp_path):
    for content, told in (
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not a Parquet file: run git lfs"),
        (b"<!DOCTYPE html><html>", "is a web page, not a Parquet file"),
        (b"", "is empty: download it again"),
    ):
        (tmp_path / "f.parquet").write_bytes(content)
        with pytest.raises(InputError, match=told):
            FaceDataset([tmp_path / "f.parquet"])
        with pytest.raises(InputError, match=told):
            parquet.column_names(tmp_path / "f.parquet")


def test_pictures_that_lie_elsewhere_or_are_text(tmp_path):
    (tmp_path / "a.png").write_bytes(flat_png(3))
    pq.write_table(pa.table({"image": [{"path": "a.png"}] * 2, "label": ["happy", "sad"]}), tmp_path / "f.parquet")
    assert brightness([tmp_path / "f.parquet"], TRAIN) == {3}
    for cell, told in (
        ("https://a.example/b.png", r"names https://a\.example/b\.png, an address: download it first"),
        ("a b/" * 500, r"names (a b/){50}\.\.\., which is not there"),
        ("iVBORw0KGgo" * 500, r"holds a picture as base64 text: write the bytes that base64\.b64decode makes of it"),
        ("data:image/png;base64,iVBO", "holds a picture as base64 text"),
        ({"data": b"x", "format": "png"}, "holds data, format: call what holds the file's content bytes"),
    ):
        pq.write_table(pa.table({"image": [cell] * 2, "label": ["happy", "sad"]}), tmp_path / "f.parquet")
        with pytest.raises(InputError, match=told):
            FaceDataset([tmp_path / "f.parquet"])
    turned = np.zeros((3, 16, 16), int).tolist()
    pq.write_table(pa.table({"image": [turned] * 2, "label": ["happy", "sad"]}), tmp_path / "f.parquet")
    with pytest.raises(InputError, match=r"2 whose picture is damaged; .*channels come last"):
        FaceDataset([tmp_path / "f.parquet"])
