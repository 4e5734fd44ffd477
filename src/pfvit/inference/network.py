"""The self-describing .onnx files that ship with the package, or that a person names, opened for reading.

`NAME.onnx` is the recogniser and `NAME-generator.onnx` beside it the generator; `NAME-int8.onnx`, if it is there, gives
the same answers in 8 bits, twice as fast, but no components to draw from. `NAME-photo.onnx`, if it is there, is the
photo model, and `NAME-photo-drawing.onnx` draws from its components. What they need to know (labels, size, temperature,
licence, training data) is inside them, written by `pfvit export`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from pfvit.data.contrast import in_good_light
from pfvit.detection.libfacedetection import lean_run
from pfvit.errors import InputError
from pfvit.inference.providers import CPU
from pfvit.inference.session import open_session
from pfvit.inference.unsure import RELIABILITY, of_both, second_look, unsure
from pfvit.utils.text import parsed
from pfvit.weights import CHECKPOINT, LAST, SHIPPED

FORMAT = "1"
INT8 = "-int8"
#: What goes in and comes out of each kind of file.
INPUTS = {
    "recogniser": {"image"},
    "generator": {"emotion", "residue", "strength"},
    "photo": {"image"},
    "photo-drawing": {"tokens"},
}
ANSWERS = {"logits", "probabilities"}
OUTPUTS = {
    "recogniser": ANSWERS | {"emotion", "residue"},
    "generator": {"face"},
    "photo": {"maps", "probabilities", "emotion", "residue"},
    "photo-drawing": {"face"},
}
#: Faces that go through a recogniser together: on a processor more than eight are no faster, and take memory (13 MB
#: for 8, 58 MB for 32); other devices want more.
AT_ONCE, AT_ONCE_CPU = 32, 8
#: Largest side of a face that a model sees, and how many times a change may be applied.
MOST_SIDE, MOST_EMPHASIS = 2048, 100.0
Answers = tuple[NDArray[np.float32], NDArray[np.float32] | None]
#: Characters of a label, and those that none has: they would steer a terminal.
LONGEST_LABEL, CONTROL = 200, re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Network:
    """One opened weight file and what it says of itself."""

    path: Path
    kind: str
    """recogniser, generator, photo or photo-drawing."""
    name: str
    labels: tuple[str, ...]
    """Names of the emotions in the order of the probabilities."""
    size: int
    """Side in pixels of the faces that the model sees and draws."""
    channels: int
    """1 for gray, 3 for colour."""
    pair: str
    """Equal in a recogniser and the generator that was trained with it."""
    emphasis: float
    """Of a generator: how many times its change is applied to a face (`pfvit.inference.drawn_change`)."""
    about: Mapping[str, str] = field(repr=False)
    """All that the file says: licence, training data, metrics, temperature."""
    threads: int | None = None
    """Processor threads; all cores if None."""
    providers: tuple[str, ...] = ()
    """What it runs on (`pfvit.inference.providers`)."""

    @cached_property
    def session(self) -> Any:
        """onnxruntime's session. A network that was pickled opens its file again when it first runs."""
        return _reopened(self)

    def __copy__(self) -> Self:
        return self  # it does not change

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("session", None)  # it lives in one process
        # The shipped weights are wherever the package is; anything else must be found from another folder too.
        state["path"] = Path(self.path.name) if self.path.parent == SHIPPED.parent else self.path.absolute()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        path = state["path"]
        self.__dict__.update(state, path=path if path.is_absolute() else SHIPPED.with_name(path.name))

    @property
    def gives(self) -> set[str]:
        """The names of what it can return."""
        return {output.name for output in self.session.get_outputs()}

    def run(self, outputs: Sequence[str] | None = None, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name: all of them if not given.

        A recogniser takes `image`, uint8 [batch, height, width, 3] of any size, and gives `logits` and
        `probabilities` [batch, labels] and `emotion` and `residue` [batch, tokens, width]. A generator takes the
        last two and `strength` [batch] from 0 (reconstruction) to 1 (poker face) and gives `face`, float32
        [batch, size, size, channels] from 0 to 1. InputError if it answers with anything else: weights of others may.
        """
        names = sorted(self.gives) if outputs is None else outputs
        try:
            answers = dict(zip(names, self.session.run(names, inputs), strict=True))
        except Exception as problem:  # onnxruntime has a class for each way to fail, none of them public
            if self.path.parent == SHIPPED.parent:
                raise
            said = str(problem).partition("\n")[0]
            raise InputError(f"{self.path} cannot be run: {said}; export it anew") from problem
        for name, answer in answers.items():
            rest = {"face": (self.size, self.size, self.channels), "probabilities": (len(self.labels),)}.get(name)
            shape = (len(next(iter(inputs.values()))), *(answer.shape[1:] if rest is None else rest))
            if answer.shape != shape or answer.dtype.kind != "f" or not np.isfinite(answer).all():
                raise InputError(f"{self.path} does not answer each face with finite numbers ({name}): export it anew")
        return answers

    def give_back(self) -> None:
        """Give back the memory that a network of images has kept for its next run, by running it on nothing."""
        blank = np.zeros((1, self.size, self.size, 3), np.uint8)
        self.session.run([self.session.get_outputs()[0].name], {"image": blank}, lean_run())

    def each(self, images: Sequence[NDArray[np.uint8]], outputs: Sequence[str]) -> list[tuple[np.ndarray, ...]]:
        """Return these outputs of a recogniser for each uint8 [height, width, 3], in order; equal sizes go together."""
        most = AT_ONCE if any(word != CPU for word in self.providers) else AT_ONCE_CPU
        alike: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            alike.setdefault(image.shape, []).append(index)
        answers: dict[int, tuple[np.ndarray, ...]] = {}
        for same in alike.values():
            for start in range(0, len(same), most):
                some = same[start : start + most]
                out = self.run(outputs, image=np.stack([images[index] for index in some]))
                answers |= dict(zip(some, zip(*(out[name] for name in outputs), strict=True), strict=True))
        return [answers[index] for index in range(len(images))]

    def probabilities(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return what a recogniser answers to each face, float32 [faces, labels]."""
        return self.answers(images)[0]

    def answers(self, images: Sequence[NDArray[np.uint8]]) -> Answers:
        """Return what a recogniser answers to each face, and how probable it is that it is right, [faces].

        The second is None for files that do not say it. Others look again at faces whose answer is unsure, and answer
        with the mean. It is more often right, but stays unsure: a mild smile may be seen in the first look alone.
        """
        answers, reliability = self._first_answers(images)
        if reliability is None:
            return answers, None
        doubtful = np.flatnonzero(unsure(answers, reliability))
        again, said = self._first_answers([second_look(images[face]) for face in doubtful.tolist()])
        if said is not None:
            answers[doubtful] = of_both(answers[doubtful], again)
            right = np.stack([reliability[doubtful], said])
            reliability[doubtful] = np.minimum(right[0], of_both(*np.stack([right, 1 - right], axis=-1))[:, 0])
        return answers, reliability

    def _first_answers(self, images: Sequence[NDArray[np.uint8]]) -> Answers:
        outputs = ("probabilities", RELIABILITY) if RELIABILITY in self.gives else ("probabilities",)
        ships = self.path.parent == SHIPPED.parent  # others may have been trained on faint faces as they are
        answers = self.each([in_good_light(image) if ships else image for image in images], outputs)
        if not answers:
            return np.zeros((0, len(self.labels)), np.float32), None
        probabilities, *reliability = map(np.stack, zip(*answers, strict=True))
        return probabilities, reliability[0] if reliability else None


def open_recogniser(
    path: Path | None = None, threads: int | None = None, components: bool = True, providers: Sequence[str] = ()
) -> Network:
    """Open a recogniser (the shipped one if not given); InputError if it is not there or is none.

    Without `components` it need not give emotion and residue: enough for one that only judges. `providers` are what it
    runs on, first choice first (`pfvit.inference.providers`); the processor if not given.
    """
    wanted = OUTPUTS["recogniser"] if components else ANSWERS
    return _open(SHIPPED if path is None else path, "recogniser", threads, wanted, providers)


def open_generator(recogniser: Network, threads: int | None = None, providers: Sequence[str] = ()) -> Network:
    """Open the generator beside a recogniser; InputError if it is not there or was not trained with it."""
    path = generator_path(recogniser.path)
    generator = _open(path, "generator", threads, OUTPUTS["generator"], providers)
    if generator.pair != recogniser.pair:
        raise InputError(f"{path} was not trained with {recogniser.path}: take both files from one export")
    return generator


def open_photo(recogniser: Network, threads: int | None = None, providers: Sequence[str] = ()) -> Network | None:
    """Open the photo model beside a recogniser; None if there is none."""
    path = photo_path(recogniser.path)
    return _open(path, "photo", threads, OUTPUTS["photo"], providers) if path.is_file() else None


def open_photo_drawing(recogniser: Network, threads: int | None = None, providers: Sequence[str] = ()) -> Network:
    """Open what draws from the photo model's components; InputError if it is not there."""
    path = drawing_path(photo_path(recogniser.path))
    return _open(path, "photo-drawing", threads, OUTPUTS["photo-drawing"], providers)


def open_answering(path: Path | None = None, threads: int | None = None, providers: Sequence[str] = ()) -> Network:
    """Open what answers for a recogniser (the shipped one if not given): its 8-bit form if that is beside it.

    The 8-bit form is made for processors; anything else takes the full precision.
    """
    full = SHIPPED if path is None else path
    if full.stem.endswith(INT8):  # named itself
        return open_recogniser(full, threads, components=False, providers=providers)
    if not int8_path(full).is_file() or any(word != CPU for word in providers):
        return open_recogniser(full, threads, providers=providers)
    return open_recogniser(int8_path(full), threads, components=False)


def open_whole(answering: Network, threads: int | None = None, providers: Sequence[str] = ()) -> Network:
    """Return the recogniser with components that an answering one stands for; InputError if it is not beside it."""
    if answering.gives >= OUTPUTS["recogniser"]:
        return answering
    full = answering.path.with_name(f"{answering.path.stem.removesuffix(INT8)}.onnx")
    whole = open_recogniser(full, threads, providers=providers)
    if whole.pair != answering.pair:
        raise InputError(f"{answering.path} is not the 8-bit form of {full}: take both files from one export")
    return whole


def is_run(path: Path) -> bool:
    """Return whether a path is a checkpoint of `pfvit train` or a folder with one, and no exported file."""
    return path.suffix == CHECKPOINT.suffix or (path / LAST).is_file()


def int8_path(recogniser: Path) -> Path:
    """Return where the 8-bit form of a recogniser stands."""
    return recogniser.parent / f"{recogniser.stem}{INT8}.onnx"


def photo_path(recogniser: Path) -> Path:
    """Return where the photo model of a recogniser stands."""
    return recogniser.with_name(f"{recogniser.stem.removesuffix(INT8)}-photo.onnx")


def drawing_path(photo: Path) -> Path:
    """Return where the drawing half of a photo model's generator stands."""
    return photo.with_name(f"{photo.stem}-drawing.onnx")


def generator_path(recogniser: Path) -> Path:
    """Return where the generator of a recogniser stands."""
    return recogniser.with_name(f"{recogniser.stem.removesuffix(INT8)}-generator.onnx")


def _open(path: Path, kind: str, threads: int | None, wanted: set[str], providers: Sequence[str]) -> Network:
    if not path.is_file():
        if path.parent == SHIPPED.parent:
            raise InputError(f"this build of pfvit ships without {path.name}; name an exported .onnx with --weights")
        if path.is_dir():
            if (path / "fold-1").is_dir():
                raise InputError(f"{path} holds the runs of several folds: name one, {path / 'fold-1'} for instance")
            raise InputError(f"{path} is a folder; `pfvit export {path} --out NAME.onnx` makes a weight file of a run")
        raise InputError(f"{path} is not there; a {kind} is written by `pfvit export`")
    session = open_session(path, threads, providers)
    try:
        about = session.get_modelmeta().custom_metadata_map
        ins = {value.name for value in session.get_inputs()}
        outs = {value.name for value in session.get_outputs()}
    except UnicodeDecodeError as problem:
        raise InputError(f"{path} is damaged: its names are no text; export it anew") from problem
    form = about.get("pfvit.format")
    if form is None:
        raise InputError(f"{path} is an ONNX file of something else: give one that `pfvit export` wrote")
    if form != FORMAT:
        raise InputError(f"{path} has format {form}; this pfvit reads format {FORMAT}: update pfvit, or export anew")
    said = about.get("pfvit.kind")
    if said != kind:
        raise InputError(f"{path} is a {said}, not a {kind}")
    try:
        said_labels = parsed(about["pfvit.labels"])
        labels = tuple(map(str, said_labels))
        if not isinstance(said_labels, list) or any(isinstance(one, (list, dict)) for one in said_labels):
            raise ValueError("its labels are no list of names")
        network = Network(
            path,
            kind,
            about.get("pfvit.name", path.stem),
            labels,
            int(about["pfvit.size"]),
            int(about["pfvit.channels"]),
            about["pfvit.pair"],
            float(about.get("pfvit.emphasis", "1")),
            about,
            threads,
            tuple(providers),
        )
        network.__dict__["session"] = session
    except (KeyError, ValueError, TypeError) as problem:
        raise InputError(f"{path} does not say all that it should of itself ({problem}): export it anew") from problem
    if ins != INPUTS[kind] or not outs >= wanted or not labels or network.channels not in (1, 3):
        raise InputError(f"{path} is not a {kind} that this pfvit can use: export it anew")
    _check_said(network)
    if wanted and path.parent != SHIPPED.parent:
        _check_answer(network)
    return network


def _check_said(network: Network) -> None:
    """Refuse what no file says that `pfvit export` wrote."""
    wrong = ""
    if not 1 <= network.size <= MOST_SIDE:
        wrong = f"a size of {network.size}"
    elif len(set(network.labels)) < len(network.labels):
        wrong = "a label twice"
    elif any(len(label) > LONGEST_LABEL or CONTROL.search(label) for label in network.labels):
        wrong = "a label that is no name"
    elif not 0 < network.emphasis <= MOST_EMPHASIS:  # which NaN is not either
        wrong = f"an emphasis of {network.emphasis}"
    if wrong:
        raise InputError(f"{network.path} says {wrong}: export it anew")


def _check_answer(network: Network) -> None:
    """Refuse a recogniser that does not answer, or whose answers are no probabilities: tried with a gray face."""
    if network.kind != "recogniser":
        return
    network.probabilities([np.full((network.size, network.size, 3), 128, np.uint8)])


#: Sessions of networks that were pickled, by file and how they run: a thousand readings open it once.
_REOPENED: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()


def _reopened(network: Network) -> Any:
    """Open the file of a network that comes from elsewhere; InputError if it is another one here."""
    how = (network.path, network.threads, network.providers)
    session = _REOPENED.get(how)
    if session is None:
        there = _open(network.path, network.kind, network.threads, set(), network.providers)
        if there.pair != network.pair:
            raise InputError(f"{network.path} has changed since this face was read: read it again")
        session = _REOPENED[how] = there.session
    return session
