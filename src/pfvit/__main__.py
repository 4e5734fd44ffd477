"""The command line: `pfvit VERB ...`. A verb's module is imported only when that verb is called."""

import atexit
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from pfvit import __version__
from pfvit.errors import InputError

#: verb -> (module, what it does). Each module has `main(arguments) -> exit status`.
VERBS = {
    "predict": ("pfvit.commands.predict", "find faces in pictures and read their expressions"),
    "video": ("pfvit.commands.video", "follow faces through a video, and take their expressions off"),
    "batch": ("pfvit.commands.batch", "read a great many pictures on all cores or a Ray cluster"),
    "poker": ("pfvit.commands.poker", "take the expression off faces in pictures"),
    "serve": ("pfvit.commands.serve", "a page in the browser and an API over HTTP"),
    "evaluate": ("pfvit.commands.evaluate", "measure recognition and poker faces on labelled faces"),
    "prepare": ("pfvit.commands.prepare", "turn a data set's official download into checked Parquet files"),
    "info": ("pfvit.commands.info", "print the size and cost of a preset"),
    "pretrain": ("pfvit.commands.pretrain", "stage one: masked autoencoding of unlabelled faces"),
    "train": ("pfvit.commands.train", "stage two: recognition and the poker-face game"),
    "reproduce": ("pfvit.commands.reproduce", "repeat the paper on one of its test sets, its row beside ours"),
    "export": ("pfvit.commands.export", "turn a training run into the .onnx files that predict and poker read"),
    "convert": ("pfvit.commands.convert", "write stage one's weights in Hugging Face's format"),
}
#: Modules that only come with an extra, `pip install "pfvit[EXTRA]"`; of two extras with a module, the verb's own.
EXTRAS = {
    "batch": {"pyarrow", "fsspec"},
    "cluster": {"ray"},
    "serve": {
        "fastapi", "starlette", "pydantic", "uvicorn", "httptools", "uvloop", "multipart", "prometheus_client",
    },
    "video": {"av", "lap"},
    "train": {
        "torch", "lightning_fabric", "pyarrow", "safetensors", "tensorboard", "onnx", "onnxscript", "jaxtyping",
    },
}  # fmt: skip


def usage() -> str:
    """Return the text of `pfvit --help`."""
    rows = "\n".join(f"  {verb:<9} {what}" for verb, (_, what) in VERBS.items())
    return (
        "usage: pfvit VERB [options]\n\n"
        f"Read facial expressions, and take them off a face.\n\nverbs:\n{rows}\n\n"
        "`pfvit VERB --help` tells a verb's options; `pfvit --version` the version."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 all well, 1 some input failed, 2 wrong command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(usage(), file=sys.stderr if not words else sys.stdout)
        return 2 if not words else 0
    if words[0] in ("-V", "--version"):
        print(__version__)  # noqa: T201
        return 0
    if words[0] not in VERBS:
        print(f"pfvit: there is no verb {words[0]!r}\n\n{usage()}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        module = importlib.import_module(VERBS[words[0]][0])
        return module.main(words[1:])
    except InputError as problem:
        print(f"pfvit {words[0]}: {problem}", file=sys.stderr)  # noqa: T201
        return problem.status
    except ModuleNotFoundError as missing:
        name = (missing.name or "").split(".")[0]
        holding = [extra for extra, modules in EXTRAS.items() if name in modules]
        if not holding:
            raise
        extra = words[0] if words[0] in holding else holding[-1]
        print(f'pfvit {words[0]} needs {missing.name}: pip install "pfvit[{extra}]"', file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201
        return 130


def run(call: Callable[[], int] = main) -> None:
    """Run the command line as a process of its own."""
    status: list[int] = []
    atexit.register(_end, status)  # the first to register is the last to run
    status.append(call())
    sys.exit(status[0])


def _end(status: list[int]) -> None:
    """End one of several processes without taking the interpreter down, which gloo's threads do not always survive."""
    scale = sys.modules.get("pfvit.training.distributed")
    if status and scale is not None and scale.has_left:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status[0])


if __name__ == "__main__":
    run()
