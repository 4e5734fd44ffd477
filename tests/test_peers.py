"""The parts of benchmarks/peers.py that a wrong table would come from."""

import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import faces_table

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers.py"


@pytest.fixture(scope="module")
def peers():
    spec = importlib.util.spec_from_file_location("peers", PEERS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_accuracy_and_mean_recall(peers):
    truth = ["neutral", "neutral", "neutral", "fear"]
    assert peers.score(truth, ["neutral", "neutral", "fear", "fear"]) == pytest.approx((75, (200 / 3 + 100) / 2))
    assert peers.score(truth, ["contempt"] * 4) == (0, 0)


def test_only_clean_faces_that_all_tools_can_name(peers, tmp_path):
    table = faces_table(60)
    emotions = [max(peers.VOTES, key=lambda name: row[name]) for row in table.select(peers.VOTES).to_pylist()]
    others = ["train" if number % 5 == 0 else "" for number in range(60)]
    table = table.set_column(table.schema.get_field_index("also_in"), "also_in", pa.array(others))
    pq.write_table(table, tmp_path / "faces.parquet")
    faces, truth = peers.faces_of(tmp_path / "faces.parquet")
    kept = [name for name, other in zip(emotions, others, strict=True) if not other and name != "contempt"]
    assert truth == kept and len(faces) == len(kept) < 48


def test_a_package_is_what_stands_in_a_folder_of_packages(peers, tmp_path):
    for name in ("a", "@scope/b", "a/inner"):
        (tmp_path / "face-api" / "node_modules" / name).mkdir(parents=True)
        (tmp_path / "face-api" / "node_modules" / name / "package.json").write_text("{}" * 500_000)
    size, packages = peers.weight(tmp_path, "face-api")
    assert packages == 2 and size == pytest.approx(3)


def test_the_table_goes_into_the_page(peers):
    row = {"war": 80.1, "uar": 70, "one_ms": 1.2, "rate": 900, "cold": 0.4, "memory": 100, "size": 240, "packages": 9}
    page = peers.renewed("before\n<!-- peers -->\nearlier\n<!-- peers -->\nafter\n", peers.table({"us": row}))
    assert page.startswith("before\n<!-- peers -->\n| | accuracy") and page.endswith("<!-- peers -->\nafter\n")
    assert "| us | 80.1% | 70.0% | 1.2 | 900 |" in page and "earlier" not in page
