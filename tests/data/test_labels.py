"""Labels are read for what they are, by training and by measuring alike; what cannot be known is asked for."""

import json
import time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import flat_png

from pfvit.data import labels
from pfvit.data.dataset import FaceDataset
from pfvit.data.labelled import Labelled
from pfvit.data.labels import Cells, classes_of
from pfvit.emotions import EIGHT, ORDERS, SEVEN, named
from pfvit.errors import InputError, UsageError

ALPHABET = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
OURS = tuple(named(name) for name in ALPHABET)
#: Row -> the class that it shows; each form below says the same.
SHOWN = (3, 0, 6, 4, 1)


def write(path, column, feature=None, **more):
    """A Parquet file as `datasets` writes it, with a label column and what the metadata say of it."""
    pictures = [{"bytes": flat_png(20 * row), "path": None} for row in range(len(column))]
    table = pa.table({"image": pictures, "label": column, **more})
    features = {"image": {"_type": "Image"}} | ({} if feature is None else {"label": feature})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    return path


@pytest.mark.parametrize("cell", [-(10**30), "-" + "9" * 40, -1e300, [1, 10**400], {"happy": 10**400}])
def test_numbers_that_are_too_large_are_no_labels(cell):
    with pytest.raises(UsageError, match="is no class"):
        labels.read(Cells([cell], "a.csv"), ("affectnet8",))


def test_a_column_of_more_classes_than_anyone_tells_apart_is_refused():
    names = [f"n{number}" for number in range(6_000)]
    with pytest.raises(UsageError, match="tells 6,000 classes apart in 6,000 rows: is it the one with the labels"):
        labels.read(Cells(names, "a.csv")).targets(names, hard=False)
    with pytest.raises(UsageError, match="tells 6,000 classes apart in 6,000 rows: is it the one with the labels"):
        labels.read(Cells([{name: 1.0, "b": 0.5} for name in names[:-1]] + [{}], "a.csv"))


@pytest.mark.parametrize("cell", [{}, []])
def test_a_column_without_classes_is_told(cell):
    with pytest.raises(UsageError, match="the lists or tables in its label column name no class"):
        labels.read(Cells([cell, None], "a.csv"))


def test_long_space_in_a_label_takes_no_time():
    began = time.process_time()
    labels.read(Cells(["1" + " " * 20_000 + "x", "a"], "a.csv"))
    assert time.process_time() - began < 1


def class_label(names):
    return {"names": list(names), "_type": "ClassLabel"}


def onehot(count=7, on=1.0):
    return pa.array([[on * (shown == place) for place in range(count)] for shown in SHOWN])


FORMS = {
    "names in the metadata": (pa.array(SHOWN), class_label(ALPHABET), ()),
    "names in the metadata, whatever --order says": (pa.array(SHOWN), class_label(ALPHABET), ("rafdb",)),
    "small unsigned numbers": (pa.array(SHOWN, pa.uint8()), class_label(ALPHABET), ()),
    "text": (pa.array([ALPHABET[k] for k in SHOWN]), None, ()),
    "text with capitals and spaces": (pa.array([f" {ALPHABET[k].title()} " for k in SHOWN]), None, ()),
    "large text": (pa.array([ALPHABET[k] for k in SHOWN], pa.large_string()), None, ()),
    "bytes": (pa.array([ALPHABET[k].encode() for k in SHOWN]), None, ()),
    "a dictionary": (pa.array([ALPHABET[k] for k in SHOWN]).dictionary_encode(), None, ()),
    "whole floats": (pa.array([float(k) for k in SHOWN]), class_label(ALPHABET), ()),
    "numbers as text": (pa.array([str(k) for k in SHOWN]), None, ALPHABET),
    "numbers, their names given": (pa.array(SHOWN), None, ALPHABET),
    "numerals for names, so the order is given": (pa.array(SHOWN), class_label("0123456"), ALPHABET),
    "one-hot, their names given": (onehot(), None, ALPHABET),
    "one-hot of whole numbers": (onehot(on=1), None, ALPHABET),
    "shares in percent": (onehot(on=100.0), None, ALPHABET),
    "lists of class numbers": (
        pa.array([[k] for k in SHOWN]),
        {"feature": class_label(ALPHABET), "_type": "Sequence"},
        (),
    ),
    "lists of names": (pa.array([[ALPHABET[k]] for k in SHOWN]), None, ()),
    "one-hot where numbers of classes are meant to be": (
        onehot(on=1),
        {"feature": class_label(ALPHABET), "_type": "Sequence"},
        (),
    ),
    "numerals for names are what the numbers stand for": (
        pa.array([6 - k for k in SHOWN]),
        class_label("6543210"),
        ALPHABET,
    ),
    "one-hot as text": (pa.array([str([int(k == n) for n in range(7)]) for k in SHOWN]), None, ALPHABET),
    "one-hot as text without brackets": (
        pa.array([" ".join(str(int(k == n)) for n in range(7)) for k in SHOWN]),
        None,
        ALPHABET,
    ),
    "shares as text with commas": (
        pa.array([", ".join(str(float(k == n)) for n in range(7)) for k in SHOWN]),
        None,
        ALPHABET,
    ),
    "one-hot as numpy prints it": (pa.array([f"{np.eye(7)[k]}" for k in SHOWN]), None, ALPHABET),
    "a name with its score": (pa.array([{"label": ALPHABET[k], "score": 0.9} for k in SHOWN]), None, ()),
    "a number with its name": (pa.array([{"id": k, "name": ALPHABET[k]} for k in SHOWN]), None, ()),
    "a number in a table": (pa.array([{"label": k} for k in SHOWN]), None, ALPHABET),
    "names with shares, in a list": (
        pa.array([[{"label": ALPHABET[k], "score": 1.0}, {"label": ALPHABET[k - 1], "score": 0.0}] for k in SHOWN]),
        None,
        (),
    ),
    "names with shares, as a map": (
        pa.array([[(ALPHABET[k], 1.0)] for k in SHOWN], pa.map_(pa.string(), pa.float64())),
        None,
        (),
    ),
    "names with shares, as text": (pa.array([str({ALPHABET[k]: 1.0}) for k in SHOWN]), None, ()),
    "decimal numbers": (pa.array([Decimal(k) for k in SHOWN]), None, ALPHABET),
    "names with a word beside": (pa.array([f"{ALPHABET[k]} face" for k in SHOWN]), None, ()),
    "names with shares": (pa.array([{n: float(n == ALPHABET[k]) for n in ALPHABET} for k in SHOWN]), None, ()),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_label_is_read_for_what_it_is(form, tmp_path):
    column, feature, order = FORMS[form]
    path = write(tmp_path / "f.parquet", column, feature)
    faces = FaceDataset([path], order=order)
    (group,) = faces.groups
    assert [faces.classes[k] for k in group.targets.argmax(1)] == [OURS[k] for k in SHOWN]
    assert set(np.unique(group.targets)) == {0, 1}
    assert [sample.truth for sample in Labelled([path], EIGHT, order, clean=True)] == [OURS[k] for k in SHOWN]


def test_numbers_without_a_word_are_ferplus_s_and_that_is_told(tmp_path):
    path = write(tmp_path / "f.parquet", pa.array([0, 1, 6]))
    faces = FaceDataset([path])
    assert faces.classes == EIGHT and faces.groups[0].targets.argmax(1).tolist() == [0, 1, 6]
    said = " ".join(faces.index.lines())
    assert "f.parquet: what its labels 0 to 6 mean is not said; taken as FER+'s (0 neutral, 1 happiness" in said
    assert "none shows surprise, sadness, anger, disgust, contempt" in said


@pytest.mark.parametrize(
    ("column", "order", "what"),
    [
        (pa.array([1, 7, 3]), (), "RAF-DB counts so (--order rafdb: 1 surprise"),
        (pa.array([0, 8]), (), "#1: labels of ferplus are 0 to 7, not 8: say with --order"),
        (pa.array([0, 7]), ("rafdb",), "labels of rafdb are 0 to 6, not 7"),
        (pa.array([1, 9, 3]), ("rafdb",), "#1: labels of rafdb are 0 to 6, not 9 (its own list counts from 1 to 7)"),
        (pa.array([0, 7, 3]), ("rafdb",), "(its own list counts from 1 to 7); here they are from 0 to 7"),
        (pa.array([1, 8]), ("affectnet8",), "numbers from 1 to 8, and affectnet8 counts from 0: subtract 1"),
        (pa.array([1, 7]), ("affectnet7",), "numbers from 1 to 7, and affectnet7 counts from 0: subtract 1"),
        (pa.array([0, 11]), ("affectnet7",), "labels of affectnet7 are 0 to 10, not 11"),
        (pa.array([0, 2]), ("sad", "glad"), "labels of sad glad are 0 to 1, not 2"),
        (pa.array([0.5, 1.0]), (), "a label of 0.5 is no class"),
        (pa.array([0.25, 0.75]), (), "a label of 0.25 is no class"),
        (pa.array([[0.1, 0.9, 0.0]] * 2), (), "lists of 3 shares, and their names are not said"),
        (pa.array([[1.0, 0.0], [1.0]]), (), "differ in length"),
        (pa.array([[0.5, -0.5]] * 2), ("no", "yes"), "shares are 0 or more"),
        (pa.array(["3", "sad"]), (), "mixes kinds of labels"),
        (pa.array([0, 2**64 - 1], pa.uint64()), (), "#1: a label of 18446744073709551615 is no class"),
        (pa.array([0, 2**40]), (), "#1: a label of 1099511627776 is no class"),
        (pa.array(["0", "9" * 30]), (), "is no class: labels are names, whole numbers, true or false, or lists"),
        (pa.array([[1.0, float("inf")]] * 2), ("no", "yes"), "#0: shares are 0 or more, not inf"),
        (pa.array([{"happy": "yes", "sad": "no"}]), (), "#0: a label of {'happy': 'yes', 'sad': 'no'} is no class"),
        (pa.array([[[1, 0], [0, 1]]]), (), "#0: a label of [[1, 0], [0, 1]] is no class"),
    ],
)
def test_what_cannot_be_known_is_asked_for(column, order, what, tmp_path):
    path = write(tmp_path / "f.parquet", column)
    for reading in (
        lambda: FaceDataset([path], order=order),
        lambda: list(Labelled([path], EIGHT, order, clean=True)),
    ):
        with pytest.raises(UsageError) as said:
            reading()
        assert what in str(said.value) and "\n" not in str(said.value)


def test_numbers_that_need_not_be_emotions_are_asked_for_where_they_are_learnt(tmp_path):
    """Five classes may be anybody's. Where the reader knows the emotions alone, they are FER+'s, and that is told."""
    path = write(tmp_path / "f.parquet", pa.array([0, 1, 4, 2, 3]))
    for classes in (None, 5):
        with pytest.raises(UsageError, match="the labels are numbers from 0 to 4; say with --order"):
            FaceDataset([path], classes)
    assert FaceDataset([path], order=tuple("abcde")).classes == tuple("abcde")
    assert len(FaceDataset([path], 7)) == len(FaceDataset([path], EIGHT)) == 5
    measured = [one.truth for one in Labelled([path], EIGHT, (), clean=True)]
    assert measured == ["neutral", "happiness", "anger", "surprise", "sadness"]
    own = ("neutral", "tired", "bored", "happiness", "anger")
    for reading in (lambda: FaceDataset([path], own), lambda: list(Labelled([path], own, (), clean=True))):
        with pytest.raises(UsageError, match="numbers from 0 to 4; say with --order"):
            reading()


def test_what_stands_for_no_emotion_is_no_class_in_any_form(tmp_path):
    names = ("happy", "unknown", "sad")
    for column, feature in (
        (pa.array(["happy", "unknown", "sad"]), None),
        (pa.array([0, 1, 2]), class_label(names)),
        (pa.array([[0], [1], [2]]), {"feature": class_label(names), "_type": "Sequence"}),
        (pa.array([{"happy": 8, "unknown": 2, "sad": 0}, {"happy": 0, "unknown": 9, "sad": 1}, {"sad": 9}]), None),
    ):
        path = write(tmp_path / "f.parquet", column, feature)
        faces = FaceDataset([path])
        assert faces.classes == ("happiness", "sadness") and faces.index.left_out == {labels.NO_EMOTION: 1}
        assert faces.groups[0].targets.tolist() == [[1, 0], [0, 0], [0, 1]]
        assert [one.truth for one in Labelled([path], EIGHT, (), clean=True)] == ["happiness", "sadness"]


def test_marks_of_missing_values_are_no_classes(tmp_path):
    path = write(tmp_path / "f.parquet", pa.array(["happy", "?", "-", "--", ".", "N/A", " ", "sad"]))
    faces = FaceDataset([path])
    assert faces.classes == ("happiness", "sadness") and faces.index.left_out == {labels.NO_LABEL: 6}


def test_names_that_look_the_same_are_one_class(tmp_path):
    """macOS writes an umlaut as two characters, other systems as one."""
    path = write(tmp_path / "f.parquet", pa.array(["fro\u0308hlich", "fr\u00f6hlich", "sad"]))
    assert FaceDataset([path]).classes == ("sadness", "fr\u00f6hlich")
    path = write(tmp_path / "f.parquet", pa.array([1, 0]), class_label(["fro\u0308hlich", "sad"]))
    assert FaceDataset([path]).classes == ("sadness", "fr\u00f6hlich")


def test_ages_in_years_are_names(tmp_path):
    assert FaceDataset([write(tmp_path / "f.parquet", pa.array(["18-25", "26-40"]))]).classes == ("18-25", "26-40")


def test_a_column_that_is_not_found_is_asked_for(tmp_path):
    pq.write_table(pa.table({"image": [flat_png(1)], "what": ["sad"]}), tmp_path / "f.parquet")
    for reading in (
        lambda path: FaceDataset([path]),
        lambda path: list(Labelled([path], EIGHT, (), clean=True)),
    ):
        with pytest.raises(InputError, match="its columns are image, what: call the one with the labels label"):
            reading(tmp_path / "f.parquet")


def test_numbers_of_classes_in_lists_are_checked(tmp_path):
    feature = {"feature": class_label(ALPHABET), "_type": "Sequence"}
    path = write(tmp_path / "f.parquet", pa.array([[3], [-1], [0, 3], []]), feature)
    faces = FaceDataset([path])
    assert faces.index.left_out == {labels.NO_LABEL: 2} and sorted(faces.groups[0].targets[2])[-2:] == [0.5, 0.5]
    assert [one.truth for one in Labelled([path], EIGHT, (), clean=True)] == ["happiness", "happiness"]
    path = write(tmp_path / "f.parquet", pa.array([[3], [7]]), feature)
    with pytest.raises(UsageError, match="#1: labels of the names in the file are 0 to 6, not 7"):
        FaceDataset([path])


def test_folders_named_by_numbers_that_datasets_counted_anew_are_read_as_they_were_named(tmp_path):
    """RAF-DB's folders 1 to 7 become the numbers 0 to 6 whose names are 1 to 7."""
    path = write(tmp_path / "f.parquet", pa.array([0, 6, 3]), class_label("1234567"))
    with pytest.raises(UsageError, match="RAF-DB counts so"):
        FaceDataset([path])
    faces = FaceDataset([path], order=("rafdb",))
    assert [faces.classes[k] for k in faces.groups[0].targets.argmax(1)] == ["surprise", "neutral", "happiness"]


def test_labels_of_each_data_set_are_put_in_our_order():
    def classes(numbers, order):
        read = labels.read(Cells(np.array(numbers), "f"), (order,))
        return [read.names[code] if code >= 0 else "" for code in read.codes]

    assert classes([0, 6, 3], "fer2013") == ["anger", "neutral", "happiness"]
    assert classes([0, 6, 3], "rafdb") == ["surprise", "neutral", "happiness"]
    assert classes([1, 7, 4], "rafdb") == ["surprise", "neutral", "happiness"], "as RAF-DB's own list counts"
    assert classes([1, 6, 4], "rafdb") == ["fear", "neutral", "sadness"], "as copies of it count, which is told"
    assert classes([7, 8, 10, 0], "affectnet8") == ["contempt", "", "", "neutral"]
    assert classes([7, 6], "affectnet7") == ["", "anger"]


def test_numbers_that_may_be_rafdb_s_or_those_of_its_copies_are_told(tmp_path):
    """Without 0 and 7 nobody knows from where they count."""
    path = write(tmp_path / "f.parquet", pa.array([1, 4, 6]))
    told = FaceDataset([path], order=("rafdb",)).index.notes[0]
    advice = "--order none surprise fear disgust happiness sadness anger neutral"
    assert "its labels 1 to 6 are taken as those of copies of RAF-DB that count from 0" in told and advice in told
    faces = FaceDataset([path], order=tuple(advice.split()[1:]))
    assert [faces.classes[k] for k in faces.groups[0].targets.argmax(1)] == ["surprise", "happiness", "anger"]
    assert faces.classes == SEVEN and not faces.index.notes
    assert [one.truth for one in Labelled([path], EIGHT, advice.split()[1:], clean=True)] == [
        "surprise", "happiness", "anger"
    ]  # fmt: skip


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    for name, column in (
        ("numbers", pa.array([3, None, -1, 1])),
        ("floats", pa.array([3.0, None, float("nan"), 1.0])),
        ("text", pa.array(["sad", None, " ", "happy"])),
        ("dictionary", pa.array(["sad", None, "", "happy"]).dictionary_encode()),
        ("lists", pa.array([[0, 0, 0, 1, 0, 0, 0, 0], None, [0] * 8, [0, 1, 0, 0, 0, 0, 0, 0]])),
    ):
        path = write(tmp_path / f"{name}.parquet", column)
        faces = FaceDataset([path])
        assert "left out: 2 without a label" in list(faces.index.lines())[-1], name
        assert [faces.classes[k] for k in faces.groups[0].targets[[0, 3]].argmax(1)] == ["sadness", "happiness"]
        measured = Labelled([path], EIGHT, (), clean=True)
        assert [sample.truth for sample in measured] == ["sadness", "happiness"]
        assert measured.left_out() == {"leaked": 0, "no_emotion": 0, "no_label": 2, "unreadable": 0}


def test_votes_that_nobody_gave_are_no_label(tmp_path):
    columns = {name: pa.array([0, None, 4 * (name == "fear")], pa.int8()) for name in (*EIGHT, "unknown", "NF")}
    pq.write_table(pa.table({"image": [flat_png(k) for k in (1, 2, 3)], **columns}), tmp_path / "v.parquet")
    faces = FaceDataset([tmp_path / "v.parquet"], hard=True)
    assert len(faces) == 1 and faces.index.left_out == {labels.NO_LABEL: 2}
    measured = Labelled([tmp_path / "v.parquet"], EIGHT, (), clean=True)
    assert [sample.truth for sample in measured] == ["fear"] and measured.no_label == 2


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        (pa.float64(), [0.25, 0.75, 0.8]),  # shares of the ten annotators
        (pa.float32(), [2.5, 7.5, 8]),
        (pa.string(), ["3", "9", "8"]),
        (pa.uint8(), [2, 6, 8]),
    ],
)
def test_votes_of_any_kind_are_counts(kind, some, tmp_path):
    columns = {name: pa.array([None, None], kind) for name in (*EIGHT, "unknown", "NF")}
    columns |= {"anger": pa.array([some[0], None], kind), "fear": pa.array([some[1], some[2]], kind)}
    pq.write_table(pa.table({"image": [flat_png(k) for k in (1, 2)], **columns}), tmp_path / "v.parquet")
    (group,) = FaceDataset([tmp_path / "v.parquet"]).groups
    expected = [[0.25, 0.75], [0, 1]]
    assert group.targets[:, [EIGHT.index("anger"), EIGHT.index("fear")]].tolist() == expected
    measured = list(Labelled([tmp_path / "v.parquet"], EIGHT, (), clean=True))
    assert [(one.truth, one.agreed) for one in measured] == [("fear", True), ("fear", True)]


@pytest.mark.parametrize(
    ("cell", "told"), [(-1, "#0: votes are 0 or more, not -1"), ("few", "hold something else than numbers")]
)
def test_votes_that_are_none_are_refused(cell, told, tmp_path):
    columns = {name: pa.array([cell]) for name in (*EIGHT, "unknown", "NF")}
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"image": [flat_png(1)], **columns}), path)
    for reading in (lambda: FaceDataset([path]), lambda: list(Labelled([path], EIGHT, (), clean=True))):
        with pytest.raises(UsageError, match=told):
            reading()


def test_shares_are_soft_targets(tmp_path):
    path = write(tmp_path / "f.parquet", pa.array([[1.0, 3.0], [2.0, 2.0]]))
    order = ("neutral", "smile")
    assert FaceDataset([path], order=order).groups[0].targets.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert FaceDataset([path], order=order, hard=True).groups[0].targets.tolist() == [[0, 1], [1, 0]]
    several = write(tmp_path / "s.parquet", pa.array([["sad", "angry"], ["sad"]]))
    assert FaceDataset([several]).groups[0].targets.tolist() == [[0.5, 0.5], [1, 0]]


@pytest.mark.parametrize(
    ("column", "feature", "classes"),
    [
        (pa.array([True, False, True]), None, ("no", "yes")),
        (pa.array(["True", "false", None]), None, ("no", "yes")),
        (pa.array(["smile", "none", "Smile"]), None, ("none", "smile")),
        (pa.array([0, 1, 2]), class_label(["Happily_Surprised", "neutral", "not_happy"]),
         ("neutral", "Happily_Surprised", "not_happy")),
        (pa.array(["sad", "neutral", "happy", "angry", "tired"]), None,
         ("neutral", "happiness", "sadness", "anger", "tired")),
    ],
)  # fmt: skip
def test_names_and_number_come_from_the_data(column, feature, classes, tmp_path):
    path = write(tmp_path / "f.parquet", column, feature)
    assert FaceDataset([path]).classes == classes
    assert {sample.truth for sample in Labelled([path], classes, (), clean=True)} == set(classes)


def test_the_number_of_classes_that_is_asked_for():
    assert classes_of([EIGHT], None) == EIGHT and classes_of([EIGHT], 7) == SEVEN
    assert classes_of([ORDERS["rafdb"]], None) == SEVEN and classes_of([SEVEN], 8) == EIGHT
    assert classes_of([("sadness", "neutral"), ("neutral", "smile")], 3) == ("neutral", "sadness", "smile")
    with pytest.raises(UsageError, match=r"--model.classes 5: .* 7 classes apart"):
        classes_of([SEVEN], 5)
    with pytest.raises(UsageError, match="two or more"):
        classes_of([("smile",)], None)


def test_files_that_label_differently_go_together(tmp_path):
    """Votes, our numbers, names: each file is read by what it says, and --order is for the one that says nothing."""
    paths = [
        write(tmp_path / "a.parquet", pa.array([5, 3, 0])),  # RAF-DB's: anger, happiness, surprise
        write(tmp_path / "b.parquet", pa.array([3, 0]), class_label(ALPHABET)),
        write(tmp_path / "c.parquet", pa.array([2, 7]), feature=None, neutral=[0, 0]),
    ]
    schema = pq.read_schema(paths[2]).with_metadata({"pfvit.emotions": json.dumps(EIGHT)})
    pq.write_table(pq.read_table(paths[2]).cast(schema), paths[2])
    faces = FaceDataset(paths, order=("rafdb",))
    shown = [[faces.classes[k] for k in group.targets.argmax(1)] for group in faces.groups]
    assert shown == [["anger", "happiness", "surprise"], ["happiness", "anger"], ["surprise", "contempt"]]
    measured = Labelled(paths, EIGHT, ("rafdb",), clean=True)
    assert [sample.truth for sample in measured] == [name for names in shown for name in names]


@pytest.mark.parametrize("column", ["labels", "Emotion", "expression", "what_it_shows"])
def test_the_label_column_is_found_by_its_name_or_its_metadata(column, tmp_path):
    pictures = [{"bytes": flat_png(k), "path": None} for k in (1, 2)]
    features = {"img": {"_type": "Image"}, column: class_label(ALPHABET)}
    table = pa.table({"id": [7, 8], "img": pictures, column: [3, 4]})
    said = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(said), tmp_path / "f.parquet")
    faces = FaceDataset([tmp_path / "f.parquet"])
    assert [faces.classes[k] for k in faces.groups[0].targets.argmax(1)] == ["happiness", "neutral"]
    assert [s.truth for s in Labelled([tmp_path / "f.parquet"], EIGHT, (), True)] == ["happiness", "neutral"]


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        ("Happy", "happiness"), ("AN_anger", "anger"), ("3_surprise", "surprise"), ("04 - Sad", "sadness"),
        ("sur_surprised", "surprise"), ("neutral", "neutral"), ("FEAR", "fear"),
        ("neutral face", "neutral"), ("Suprised", "surprise"), ("faces_happy", "happiness"),
        ("not_happy", None), ("non-neutral", None), ("Happily_Surprised", None), ("Sadly_Fearful", None),
        ("contempt_or_disgust", None), ("happy or sad", None), ("un-surprised", None), ("no anger", None),
        ("less_fear", None), ("unhappy", None), ("angrily disgusted", None), ("very happy", None), ("joyless", None),
        ("sad/neutral", None), ("3", None), ("", None),
    ],
)  # fmt: skip
def test_a_name_is_an_emotion_s_only_if_it_says_nothing_else(name, emotion):
    assert named(name) == emotion


def test_label_schemes_need_votes(tmp_path):
    """Shares stayed shares under --labels mv."""
    cells = pa.array([[0.6, 0.4], [0.1, 0.9]])
    path = tmp_path / "shares.parquet"
    pq.write_table(pa.table({"image": [flat_png(0), flat_png(1)], "label": cells}), path)
    with pytest.raises(UsageError, match="--labels mv needs FER"):
        FaceDataset([path], order=("happy", "sad"), scheme="mv")
    assert len(FaceDataset([path], order=("happy", "sad"), hard=True)) == 2
