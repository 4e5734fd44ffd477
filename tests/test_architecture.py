"""Who may import whom: rooms in an order, no circles, and reading that never loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "pfvit"
#: Rooms (folders, and the files that lie flat) from the outside in: each may import from those below it alone; rooms
#: on one line do not know each other. docs/architecture.md shows the same table.
ORDER = (
    {"__main__", "api", "commands"},
    {"export"},
    {"report", "training", "service"},
    {"evaluation", "batch"},
    {"inference"},
    {"datasets", "video"},
    {"detection", "rendering"},
    {"data"},
    {"config", "utils"},
    {"model", "weights", "emotions", "errors"},
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
#: The package itself gives `read`, `Reader`, what they return and their errors, `pretrain`, `train` and `evaluate`;
#: `__version__` may be imported by all.
PACKAGE = {"api", "data", "detection", "errors", "inference"}
#: Rooms, and files of mixed rooms, in which torch is not to be found: `pip install pfvit` reads without it.
TORCH_FREE = {
    *("api", "batch", "config", "datasets", "detection", "emotions", "errors", "evaluation", "inference", "rendering"),
    *("report", "service", "utils", "video", "weights"),
    *(
        f"data.{name}"
        for name in ("filesystem", "formats", "images", "pictures", "labelled", "labels", "label_schemes")
    ),
    *(
        "data.class_columns",
        "data.columns",
        "data.decode",
        "data.folders",
        "data.label_cells",
        "data.list_files",
        "data.picture_places",
        "data.lists",
        "data.locate",
    ),
    *(
        "data.header_readers",
        "data.parquet",
        "data.parts",
        "data.parquet_process",
        "data.picture_cost",
        "data.pixel_memory",
        "data.reader_process",
        "data.sources",
        "data.text_lists",
        "data.views",
        "data.votes",
    ),
    *(f"commands.{verb}" for verb in ("batch", "evaluate", "image_inputs", "output_files", "poker", "predict")),
    *(f"commands.{verb}" for verb in ("prepare", "report", "result_table", "serve", "video")),
}
HEAVY = {"torch", "onnx", "onnxscript", "lightning_fabric", "jaxtyping", "safetensors", "tensorboard"}
NEVER = {"torchvision", "timm", "litdata"}
MOST_FLAT = 8


def module_of(path: Path) -> str:
    """`src/pfvit/data/images.py` -> `data.images`; a package is called by its folder, pfvit itself by ''."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


FILES = {module_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import: write it out"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, as in `data.images`."""
    found = set()
    for name in imports(path):
        if name == "pfvit" or name.startswith("pfvit."):
            inner = name.removeprefix("pfvit").removeprefix(".")
            while inner and inner not in FILES:  # a function or a class of a module
                inner = inner.rpartition(".")[0]
            if inner:
                found.add(inner)
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def refused(module: str, others: set[str]) -> list[str]:
    """Return a sentence for each import that the order forbids."""
    said = []
    for other in sorted(others):
        here, there = room(module), room(other)
        allowed = there in PACKAGE if not here else (here == there or LEVEL[here] < LEVEL[there])
        if not allowed:
            said.append(f"pfvit.{module} imports pfvit.{other}: `{here or 'pfvit'}` may not see `{there}`")
    return said


@pytest.mark.parametrize("module", FILES)
def test_rooms_import_only_from_rooms_below(module):
    assert not refused(module, ours(FILES[module])), "\n".join(refused(module, ours(FILES[module])))
    assert not {name.partition(".")[0] for name in imports(FILES[module])} & NEVER


def test_commands_are_entered_by_the_command_line_alone():
    shared = {"commands.image_inputs", "commands.output_files", "commands.result_table"}
    for module, path in FILES.items():
        if module != "__main__":
            verbs = {other for other in ours(path) if room(other) == "commands"} - shared - {"commands"}
            assert not verbs, f"pfvit.{module} imports {verbs}: a verb is entered by pfvit.__main__ alone"


def test_there_are_no_circles():
    graph = {module: ours(path) - {module} for module, path in FILES.items()}
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "a circle: " + " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in graph[module]:
                walk(other, (*way, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_the_model_knows_nothing_of_ours():
    for module, path in FILES.items():
        if room(module) == "model":
            assert all(room(other) == "model" for other in ours(path))
            outside = {name.partition(".")[0] for name in imports(path)}
            assert outside <= {"pfvit", "torch", "jaxtyping", "numpy", "typing", "collections", "itertools", "math"}


def test_few_files_lie_flat():
    flat = [module for module, path in FILES.items() if path.parent == SOURCE]
    assert len(flat) <= MOST_FLAT, flat


def modules_after(code: str) -> set[str]:
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(said.stdout.split())


def test_importing_the_package_does_nothing():
    assert not modules_after("import pfvit") & {*HEAVY, "onnxruntime", "numpy", "PIL", "rich", "tyro", "pyarrow"}


def test_rooms_without_torch_load_no_torch():
    """In one process, and so in any order: what none of them loads, no one of them does."""
    modules = [m for m in FILES if m and {m, room(m)} & TORCH_FREE and m != "service.ray_serve"]
    assert len(modules) > 50
    loaded = modules_after("\n".join(f"import pfvit.{module}" for module in modules))
    assert not loaded & HEAVY


@pytest.mark.parametrize("verb", ["predict", "poker", "video", "evaluate", "prepare", "serve"])
def test_reading_needs_no_pyarrow(verb):
    assert "pyarrow" not in modules_after(f"import pfvit.commands.{verb}")


def test_the_table_sees_what_it_should():
    assert "model.encoder" in ours(FILES["model"]) and "torch" in imports(FILES["training.trainer"])
    assert refused("data.images", {"inference.reader"}) == [
        "pfvit.data.images imports pfvit.inference.reader: `data` may not see `inference`"
    ]
    assert refused("detection.base", {"rendering"}) and not refused("commands.train", {"training.trainer"})
    assert refused("", {"commands.predict"}) and len(FILES) > 100


def test_the_weights_of_the_wheel_stay_small():
    """Everything in weights/ but what training can start from, which pyproject.toml leaves out of the wheel."""
    files = [path for path in (SOURCE / "weights").iterdir() if path.suffix == ".onnx"]
    assert len(files) > 4 and sum(path.stat().st_size for path in files) <= 20_000_000
