"""The command line: `pfvit VERB ...`. A verb's module is imported only when that verb runs, not for its help."""

import difflib
import errno
import importlib
import io
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any, NamedTuple

from pfvit import __version__
from pfvit.errors import InputError, UsageError
from pfvit.utils.text import message


class Verb(NamedTuple):
    """What the command line knows of a verb before its module is imported."""

    summary: str
    settings: str
    """The class in `pfvit.config` that its words are parsed into, and that checks them."""
    function: str
    """`module:name` of what runs: settings in, exit status out (None is 0)."""
    examples: tuple[str, ...]
    extra: str = ""
    """What has to be installed for it: `pip install "pfvit[EXTRA]"`."""
    presets: bool = False
    """Whether its first word names a preset, whose sizes the flags override."""


VERBS = {
    "predict": Verb(
        "find faces in pictures and read their expressions",
        "Predict",
        "pfvit.commands.predict:predict",
        ("pfvit predict photo.jpg holiday/", "pfvit predict holiday/ --output faces.csv"),
    ),
    "poker": Verb(
        "remove the expression from faces in pictures",
        "Poker",
        "pfvit.commands.poker:poker",
        ("pfvit poker photo.jpg --out calm", "pfvit poker photo.jpg --out calm --in-photo --strength 0.5"),
    ),
    "video": Verb(
        "follow faces through a video, and remove their expressions",
        "Video",
        "pfvit.commands.video:video",
        ("pfvit video film.mp4 --out seen", "pfvit video webcam --out seen"),
        extra="video",
    ),
    "batch": Verb(
        "read millions of pictures on all cores or a Ray cluster",
        "Batch",
        "pfvit.commands.batch:batch",
        ("pfvit batch faces/ more.parquet --out read",),
        extra="batch",
    ),
    "serve": Verb(
        "start a web page and an HTTP API",
        "Serve",
        "pfvit.commands.serve:serve",
        ("pfvit serve --port 8000",),
        extra="serve",
    ),
    "evaluate": Verb(
        "measure recognition and poker faces on labelled faces",
        "Evaluate",
        "pfvit.commands.evaluate:evaluate",
        ("pfvit evaluate --data ferplus_val.parquet --json",),
    ),
    "report": Verb(
        "write the figures and pictures that a paper would print",
        "Report",
        "pfvit.commands.report:report",
        ("pfvit report --data ferplus_val.parquet --out report",),
        extra="report",
    ),
    "prepare": Verb(
        "turn a data set's official download into checked Parquet files",
        "Prepare",
        "pfvit.commands.prepare:prepare",
        ("pfvit prepare rafdb RAF-DB/basic data/rafdb",),
    ),
    "info": Verb(
        "print the size and cost of a preset",
        "Info",
        "pfvit.commands.info:info",
        ("pfvit info compact", "pfvit info list"),
        extra="train",
    ),
    "pretrain": Verb(
        "stage one: pre-train a masked autoencoder on unlabelled faces",
        "Pretrain",
        "pfvit.commands.pretrain:pretrain",
        ("pfvit pretrain compact --data faces.parquet --out runs/one",),
        extra="train",
        presets=True,
    ),
    "train": Verb(
        "stage two: train recognition, separation and generation",
        "Train",
        "pfvit.commands.train:train",
        ("pfvit train compact --data labelled.parquet --start runs/one --out runs/two",),
        extra="train",
        presets=True,
    ),
    "train-photo": Verb(
        "train the photo model, which moves the pixels of photos",
        "TrainPhoto",
        "pfvit.commands.train_photo:train_photo",
        ("pfvit train-photo --data faces_color.parquet --points points.npz --out runs/photo",),
        extra="train",
    ),
    "reproduce": Verb(
        "train and measure a recipe: shipped weights, the ablation, the paper's test sets",
        "Reproduce",
        "pfvit.commands.reproduce:reproduce",
        (
            "pfvit reproduce shipped --data data/ferplus --out runs/shipped",
            "pfvit reproduce rafdb --data data/rafdb --out runs/rafdb",
        ),
        extra="train",
    ),
    "export": Verb(
        "turn a training run into the .onnx files that predict and poker read",
        "Export",
        "pfvit.commands.export:export",
        ("pfvit export runs/two --out mine.onnx",),
        extra="train",
    ),
    "convert": Verb(
        "write stage one's weights in Hugging Face's format",
        "Convert",
        "pfvit.commands.convert:convert",
        ("pfvit convert runs/one --out vit-mae",),
        extra="train",
    ),
}
#: Of the verbs that train, the flags that matter first; the presets' own help has all of them.
FIRST_FLAGS = {
    "data": "--data PATH ...        what to learn from: a folder of class folders, a CSV list, Parquet files",
    "validation": "--validation PATH ...  what to measure on: the same folder gives its validation or test part",
    "out": "--out RUN              folder for checkpoints, figures and curves",
    "start": "--start RUN or FILE    weights to start from: a run of stage one, a public ViT, `shipped`",
    "epochs": "--epochs NUMBER        how often each face is seen",
    "best": "--best FIGURE          also keep the checkpoint with the best war, uar or loss of the validation",
    "resume": "--resume RUN           continue a run that was stopped; no other word is needed",
}
#: Modules that only come with an extra; of two extras with a module, the verb's own.
EXTRAS = {
    "batch": {"pyarrow", "fsspec"},
    "cluster": {"ray"},
    "serve": {"fastapi", "starlette", "pydantic", "uvicorn", "httptools", "uvloop", "multipart", "prometheus_client"},
    "report": {"matplotlib", "sklearn", "scipy", "onnx"},
    "video": {"av", "lap"},
    "train": {"torch", "lightning_fabric", "pyarrow", "safetensors", "tensorboard", "onnx", "onnxscript", "jaxtyping"},
}
HELP, VERSION = ("-h", "--help"), ("-V", "--version")
#: Extras whose verbs see to signals themselves: the server, and training in several processes.
OWN_SIGNALS = ("serve", "train")
#: A full or read-only disk, wherever it is noticed.
NO_ROOM = {errno.ENOSPC, errno.EROFS, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EROFS}


class Terminated(KeyboardInterrupt):
    """A request to end (SIGTERM): the process cleans up as after Ctrl-C."""


def usage() -> str:
    """Return the text of `pfvit --help`."""
    wide = max(map(len, VERBS)) + 2
    rows = "\n".join(
        f"  {name:<{wide}}{verb.summary}" + (f"  [{verb.extra}]" if verb.extra else "") for name, verb in VERBS.items()
    )
    return (
        "usage: pfvit VERB [options]\n\n"
        f"Read facial expressions, and make faces neutral.\n\nverbs:\n{rows}\n\n"
        'A verb with a word in brackets needs an extra: pip install "pfvit[WORD]".\n'
        "`pfvit VERB --help` lists a verb's options, `pfvit --version` prints the version."
    )


def meant(word: str) -> str:
    """Return what a word that is no verb may have been meant as, to end a message with; empty if nothing is like it."""
    if os.path.exists(word):  # noqa: PTH110
        return f": to read it, write pfvit predict {shlex.quote(word)}"
    close = difflib.get_close_matches(word, VERBS, 1)
    return f"; did you mean {close[0]}?" if close else ""


def parse(name: str, words: Sequence[str]) -> Any:
    """Return a verb's settings; SystemExit after help (0) or what cannot be parsed (2), UsageError for bad values."""
    import tyro

    verb = VERBS[name]
    settings = getattr(importlib.import_module("pfvit.config"), verb.settings)
    if {*HELP} & {*words}:
        importlib.import_module("pfvit.utils.help_text").unwrap(settings)
    examples = "\n".join(f"  {example}" for example in verb.examples)
    needs = f'\n\nneeds: pip install "pfvit[{verb.extra}]"' if verb.extra else ""
    common = {"prog": f"pfvit {name}", "args": words}
    text = f"{settings.__doc__}\n\nexamples:\n{examples}{needs}"
    if verb.presets:
        first = "\n".join(f"  {line}" for flag, line in FIRST_FLAGS.items() if flag in settings.__dataclass_fields__)
        text += f"\n\nmost used (pfvit {name} PRESET --help lists all flags):\n{first}"
        if any(word.partition("=")[0] == "--resume" for word in words) and not {*HELP} & {*words}:
            from pfvit.training import resume

            run, rest = resume.words_of(words)
            if resume.is_run(run):
                default, rest = resume.settings_of(run, settings, rest)
                return tyro.cli(settings, default=default, description=text, prog=common["prog"], args=rest)
            if "--out" not in rest:
                raise UsageError(
                    f"--resume {run}: there is no checkpoint in it; name a run folder, or begin the run anew with "
                    "the words of its first start"
                )
        from pfvit.config import presets, recipes

        choice = {
            preset: (summary, replace(recipes.defaults(settings, preset), data=tyro.MISSING, out=tyro.MISSING))
            for preset, summary in presets.SUMMARIES.items()
        }
        if not words or words[0] in HELP:
            return tyro.extras.overridable_config_cli(choice, description=text, **common)
        if words[0].startswith("-"):
            raise UsageError(f"name a preset first, as in pfvit {name} small-conv: {', '.join(choice)}")
        presets.architecture(words[0])  # so that a name which is none is told
        text, default = choice[words[0]]  # this one alone: tyro would name help of others that is not there
        common, readable = {"prog": f"pfvit {name} {words[0]}", "args": words[1:]}, (tyro.conf.AvoidSubcommands,)
        return tyro.cli(settings, default=default, description=text, config=readable, **common)
    readable = (tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    return tyro.cli(settings, description=text, config=readable, **common)


def perform(name: str, words: Sequence[str]) -> int:
    """Run one verb and return its exit status."""
    verb = VERBS[name]
    place, _, function = verb.function.partition(":")
    try:
        with printing():
            config = parse(name, words)
    except SystemExit as end:
        if end.code and (files := [word for word in words if word.startswith("-") and os.path.isfile(word)]):  # noqa: PTH113
            print(f"{files[0]} is a file whose name begins as an option does: write ./{files[0]}", file=sys.stderr)  # noqa: T201
        raise
    status = getattr(importlib.import_module(place), function)(config) or 0
    importlib.import_module("pfvit.utils.console").flush()
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 all well, 1 some input failed, 2 wrong command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:  # a process may be started with them closed
            setattr(sys, stream, open(os.devnull, mode))  # noqa: SIM115, PTH123
    name = words[0] if words else ""
    if name not in (*VERBS, *HELP, *VERSION):
        wrong = f"pfvit: there is no verb {name!r}{meant(name)}\n\n" if name else ""
        print(f"{wrong}{usage()}", file=sys.stderr)  # noqa: T201
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal takes every file name
    try:
        if name not in VERBS:
            with printing():
                print(usage() if name in HELP else __version__)  # noqa: T201
            return 0
        with ended_by_sigterm() if VERBS[name].extra not in OWN_SIGNALS else nullcontext():
            return perform(name, words[1:])
    except InputError as problem:
        print(message(f"pfvit {name}: {problem}"), file=sys.stderr)  # noqa: T201
        return problem.status
    except ModuleNotFoundError as missing:
        module = (missing.name or "").split(".")[0]
        holding = [extra for extra, modules in EXTRAS.items() if module in modules]
        if not holding:
            raise
        extra = VERBS[name].extra if VERBS[name].extra in holding else holding[-1]
        print(f'pfvit {name} needs {missing.name}: pip install "pfvit[{extra}]"', file=sys.stderr)  # noqa: T201
        return 1
    except BrokenPipeError:  # whoever read it has enough, as in `pfvit predict ... | head`
        return 1
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        what = problem.filename or "what it writes"
        print(f"pfvit {name}: {what} cannot be written: {problem.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)  # noqa: T201
        return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    finally:
        let_go_of_stdout()


@contextmanager
def printing() -> Iterator[None]:
    """Raise InputError if what is printed on stdout cannot be written."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise InputError(f"standard output cannot be written: {problem.strerror or problem}") from problem


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let a request to end (SIGTERM) clean up as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only that one may set signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def let_go_of_stdout() -> None:
    """Drop what stdout does not take, as Python would complain once more when it flushes at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Run the command line as a process of its own."""
    sys.exit(main())


if __name__ == "__main__":
    run()
