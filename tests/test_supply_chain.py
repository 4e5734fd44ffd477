"""What pfvit consists of: licences that are listed, a bill of materials, hashes for what is pinned."""

import json
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import lock
import sbom

ROOT = Path(__file__).parents[1]


def test_the_licences_of_all_packages_are_listed():
    rows = re.findall(r"^\| ([\w.-]+) \| (.+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    listed = {name: licence for name, licence, _ in rows}
    needed = {name for name in sbom.needed(sbom.EXTRAS) if name} | {"pi-heif"}
    assert needed <= set(listed), "python scripts/sbom.py --table makes the table anew"
    assert "GPL-2.0-or-later" in listed["av"] and "not said" not in listed.values()


def test_the_bill_of_materials_is_whole():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sbom.py", "--extras", "serve"], capture_output=True, text=True, check=True
    )
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    there = {one["bom-ref"]: one for one in bill["components"]}
    names = {one["name"] for one in there.values()}
    assert {"numpy", "onnxruntime", "pillow", "fastapi", "starlette", "pydantic-core"} <= names
    assert "torch" not in names and "av" not in names, "the service needs neither"
    own = bill["metadata"]["component"]["bom-ref"]
    edges = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(edges) == {own, *there} and {one for several in edges.values() for one in several} == set(there)
    assert all(one["licenses"] and one["version"] and one["purl"] for one in there.values())


def test_what_is_locked_is_what_is_pinned_and_has_hashes():
    text = (ROOT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    tested = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    assert pinned and all(tested.get(name) == version for name, version in pinned.items()), "run scripts/lock.py"
    for entry in re.split(r"\n(?=\S)", text.strip())[1:]:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry
    needed = {name for name in sbom.needed(lock.EXTRAS) if name}
    assert needed <= set(pinned), "run scripts/lock.py"
