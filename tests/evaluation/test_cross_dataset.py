"""Train on one set, test on another: fake recognisers whose answers are known, on prepared folders."""

import json
import shutil

import fake_weights
import layouts
import numpy as np
import onnx
import pytest
from helpers import flat_png, voted

from pfvit.__main__ import main
from pfvit.emotions import EIGHT, SEVEN

CENTRE = dict(zip(EIGHT, fake_weights.CENTRES.tolist(), strict=True))


def shades(path, shown: dict[str, tuple[str, ...]]):
    """A folder per emotion with flat pictures that look, to the fake recogniser, like the emotions given."""
    for emotion, looks in shown.items():
        for number, look in enumerate(looks):
            layouts.save(path / "test" / emotion / f"{number}.png", np.full((12, 12), CENTRE[look], np.uint8))
    return path


@pytest.fixture
def sets(tmp_path):
    """Two prepared folders: `six` knows six emotions, contempt among them; `all` is FER+'s votes in one file."""
    shown = {name: (name,) for name in EIGHT[:5]} | {"contempt": ("contempt", "neutral")}
    assert main(["prepare", "folders", str(shades(tmp_path / "s", shown)), str(tmp_path / "six"), "--jobs", "1"]) == 0
    rows = [(flat_png(CENTRE[name]), {name: 9}, "") for name in EIGHT]
    return tmp_path / "six", voted(tmp_path / "all.parquet", rows)


@pytest.fixture
def weights(tmp_path):
    """One recogniser of eight emotions, and one that never heard of contempt."""
    eight = fake_weights.write(tmp_path, "eight")
    seven = fake_weights.write(tmp_path, "seven")
    model = onnx.load(seven)
    for entry in model.metadata_props:
        if entry.key == "pfvit.labels":
            entry.value = json.dumps(SEVEN)
    for constant in model.graph.initializer:
        if constant.name == "centres":
            constant.CopyFrom(onnx.numpy_helper.from_array(fake_weights.CENTRES[:7], "centres"))
    onnx.save(model, seven)
    return eight, seven


def cross(capsys, weights, sets, *more):
    words = ["evaluate", "--cross", *map(str, weights), "--data", *map(str, sets), *more]
    status = main([*words, "--json"])
    out = capsys.readouterr().out
    assert status == 0, out
    return {(r["weights"], r["data"]): r for r in json.loads(out)["cross"]}


def test_every_recogniser_on_every_set(sets, weights, capsys):
    capsys.readouterr()
    cells = cross(capsys, weights, sets)
    assert set(cells) == {(w, d) for w in ("eight.onnx", "seven.onnx") for d in ("folders (test)", "all")}
    own = cells["eight.onnx", "folders (test)"]
    assert own["n"] == 7 and own["war"] == pytest.approx(6 / 7) and own["uar"] == pytest.approx((5 + 0.5) / 6)
    assert own["emotions"] == [*EIGHT[:5], "contempt"] and own["not_answered"] == ["disgust", "fear"]
    less = cells["seven.onnx", "folders (test)"]
    assert less["n"] == 5 and less["war"] == 1 and less["faces_left_out"] == {"contempt": 2}
    assert cells["seven.onnx", "all"]["faces_left_out"] == {"contempt": 1} and cells["seven.onnx", "all"]["n"] == 7
    assert cells["eight.onnx", "all"]["war"] == 1


def test_merged_emotions_count_as_one_on_both_sides(sets, weights, capsys):
    capsys.readouterr()
    cells = cross(capsys, weights, sets, "--merge", "contempt=neutral")
    own = cells["eight.onnx", "folders (test)"]
    assert own["n"] == 7 and own["war"] == 1 and "contempt" not in own["emotions"]
    less = cells["seven.onnx", "folders (test)"]
    assert less["n"] == 7 and less["faces_left_out"] == {}
    assert less["war"] == pytest.approx(6 / 7), "contempt's brightness is nearest to fear's, which is not told apart"


def test_what_people_see(sets, weights, capsys):
    capsys.readouterr()
    assert main(["evaluate", "--cross", *map(str, weights), "--data", *map(str, sets)]) == 0
    said = capsys.readouterr().out
    assert "85.7 / 91.7" in said
    assert "seven.onnx on folders (test): 5 faces, 5 emotions; 2 of contempt left out, unknown to the weights" in said
    assert "disgust never answered, not distinguished there" in said


def test_files_of_one_name_have_a_row_and_a_column_each(sets, weights, tmp_path, capsys):
    (tmp_path / "b").mkdir()
    again = shutil.copy(weights[0], tmp_path / "b" / weights[1].name)
    data = [sets[1], shutil.copy(sets[1], tmp_path / "b")]
    capsys.readouterr()
    assert main(["evaluate", "--cross", str(weights[1]), str(again), "--data", *map(str, data)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split() == ["1:", "all", "1:", "all,", "majority", "2:", "all", "2:", "all,", "majority"]
    assert table[2].split()[:2] == ["1:", "seven.onnx"] and table[3].split()[:2] == ["2:", "seven.onnx"]
    assert any(line.startswith("1: seven.onnx on 2: all: 7 faces") for line in table)


def test_labels_of_a_set_are_explained(tmp_path, weights, capsys):
    source = layouts.rafdb(tmp_path / "basic")
    main(["prepare", "rafdb", str(source), str(tmp_path / "raf"), "--jobs", "1"])
    capsys.readouterr()
    assert main(["evaluate", "--cross", str(weights[0]), "--data", str(tmp_path / "raf")]) == 0
    assert "labels of rafdb (test): 1 surprise, 2 fear, 3 disgust" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("merge", "what"), [("contempt=joy", "not contempt=joy"), ("contempt", "not contempt="), ("x=fear", "not x=fear")]
)
def test_wrong_merges_are_explained(merge, what, sets, weights, capsys):
    capsys.readouterr()
    assert main(["evaluate", "--cross", str(weights[0]), "--data", str(sets[0]), "--merge", merge]) == 2
    assert what in capsys.readouterr().err


def test_a_prepared_folder_stands_for_its_test_part(sets, weights, tmp_path, capsys):
    capsys.readouterr()
    words = ["evaluate", "--weights", str(weights[0]), "--no-faces", "--json", "--data"]
    assert main([*words, str(sets[0])]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n"] == 7 and report["labels"] == [*EIGHT[:5], "contempt"]
    (tmp_path / "empty").mkdir()
    assert main([*words, str(tmp_path / "empty")]) == 1
    assert "empty holds neither Parquet files nor pictures" in capsys.readouterr().err
