"""Who may import what: reading never loads torch, the model knows nothing of us, verbs do not know each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pfvit.__main__ import VERBS

SOURCE = Path(__file__).parents[1] / "src" / "pfvit"
READING = {"batch", "evaluate", "poker", "predict", "prepare", "serve", "video"}
HEAVY = ["torch", "onnx", "onnxscript", "pyarrow", "lightning_fabric", "jaxtyping", "safetensors", "tensorboard"]
NEVER = {"torchvision", "timm", "litdata"}


def modules_after(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(told.stdout.split())


def test_importing_the_package_does_nothing():
    loaded = modules_after("import pfvit")
    assert not loaded & {*HEAVY, "onnxruntime", "numpy", "PIL", "rich", "tyro"}


@pytest.mark.parametrize(
    "module", [*(f"pfvit.{verb}" for verb in sorted(READING)), "pfvit.data.faces", "pfvit.emotions"]
)
def test_the_reading_world_loads_no_torch(module):
    assert not modules_after(f"import {module}") & set(HEAVY)


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.ImportFrom):
            found.add(f"relative import in {path.name}")
    return found


def ours(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, as in `data.faces`."""
    names = {name.removeprefix("pfvit.") for name in imports(path) if name.startswith("pfvit.")}
    known = {str(p.relative_to(SOURCE).with_suffix("")).replace("/", ".") for p in SOURCE.rglob("*.py")}
    known |= {name.removesuffix(".__init__") for name in known}
    return names & known


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_who_imports_whom(path):
    names = imports(path)
    assert not {name.split(".")[0] for name in names} & NEVER
    assert not {name for name in names if name.startswith("relative")}
    if path.parent.name == "model":
        assert all(name.startswith("model") for name in ours(path)), "the paper's model knows nothing of ours"
        outside = {name.split(".")[0] for name in names} - {"pfvit", "typing", "collections", "itertools", "math"}
        assert outside <= {"torch", "jaxtyping", "numpy"}
    verbs = set(VERBS) - {"predict"} if path.name == "__init__.py" else set(VERBS)
    if path.stem in verbs or path.parent.name in ("data", "sets", "weights", "model"):
        assert not ours(path) & (verbs - {path.stem}), "verbs do not import each other, nor does what they share"


def test_the_table_above_sees_what_it_should():
    assert "model.encoder" in ours(SOURCE / "model" / "__init__.py") and "torch" in imports(SOURCE / "train.py")
    assert len(FILES) > 30
