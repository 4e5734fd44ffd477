"""An .onnx file opened by onnxruntime. One that does not ship is looked at first, and its memory is bounded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pfvit.errors import InputError
from pfvit.inference.providers import check_started, named
from pfvit.inference.weight_file import check
from pfvit.utils.cores import cores
from pfvit.utils.memory import give_back
from pfvit.weights import SHIPPED

#: Bytes that weights which do not ship may take, and more for large files.
MEMORY, SHARE_OF_FILE = 700_000_000, 8


def open_session(path: Path, threads: int | None, providers: Sequence[str]) -> Any:
    """Return onnxruntime's session; InputError for what it cannot open, or should not."""
    import onnxruntime  # here, as it takes longer to import than to answer `pfvit predict --help`

    names = named(providers)
    options = onnxruntime.SessionOptions()
    more: dict[str, Any] = {}
    if path.parent != SHIPPED.parent:
        if not check(path):
            more["disabled_optimizers"] = ["ConstantFolding"]
        _bound_memory(path.stat().st_size)
        options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and said in our words
    try:
        session = onnxruntime.InferenceSession(path, options, providers=names, **more)
    except Exception as problem:  # onnxruntime has a class for each way to fail, none of them public
        raise InputError(f"{path} is damaged, or no ONNX file: {str(problem).partition(chr(10))[0]}") from problem
    check_started(names, session.get_providers())
    give_back()  # what folding constants took
    return session


#: The size of the first file that was bounded; empty before it.
_BOUNDED: list[int] = []


def _bound_memory(size: int) -> None:
    """Let the weights that do not ship take so much memory together: a small file may ask for gigabytes.

    Called with the size of a file; onnxruntime takes one bound for a process, so that of the first one counts.
    """
    import onnxruntime

    if _BOUNDED:
        return
    _BOUNDED.append(size)
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    where = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    default = -1
    bound = {
        "max_mem": MEMORY + SHARE_OF_FILE * size,
        "arena_extend_strategy": default,
        "initial_chunk_size_bytes": default,
        "max_dead_bytes_per_chunk": default,
    }
    onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg(bound))
