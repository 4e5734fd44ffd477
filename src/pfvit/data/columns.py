"""Which columns of a table hold pictures, labels, people and parts, and what Hugging Face's metadata say of them."""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pfvit.data import images
from pfvit.data.class_columns import class_columns
from pfvit.data.formats import is_address
from pfvit.data.gray_values import eight_bits
from pfvit.data.images import Pixels
from pfvit.data.label_cells import NULLS, Cells
from pfvit.data.parts import flag_of
from pfvit.emotions import EIGHT, EMOTIONS_KEY, FERPLUS_VOTES
from pfvit.errors import InputError, PictureError, UsageError
from pfvit.utils.files import read_file
from pfvit.utils.text import parsed, shortened

#: Digits of a pixel that is read as a number.
LONGEST_PIXEL = 9
#: Columns of a table or a list: each is looked at several times.
MOST_COLUMNS = 10_000
#: Names of columns, first choice first; case does not matter.
PICTURES = ("image", "img", "picture", "photo", "face", "file_name", "filename", "file", "path", "image_path",
            "image_name", "subdirectory_filepath", "file_path", "filepath", "img_path", "img_name",
            "image_file", "image_id", "pth", "pixels")  # fmt: skip
LABELS = ("label", "labels", "emotion", "expression", "class", "target", "fer_label")
PEOPLE = ("person", "subject", "person_id", "subject_id", "identity", "group", "actor")
PARTS = ("part", "split", "usage", "set")
ALSO_IN = "also_in"
#: What `also_in` says of rows that are in no other part.
NOWHERE = NULLS | {"0", "0.0", "false", "no", "none"}
#: Another way to give labels, for messages.
OR_CLASS_COLUMNS = "or give each class a column with 1 or 0, or its share, called after an emotion or as --order says"
SHORT, LONGEST = 32, 200  # letters of a cell that are looked at, and shown
#: Text that holds a picture: an address that is the picture itself, or more letters than a file's name may have.
BASE64 = re.compile(r"data:image/|[A-Za-z0-9+/]{256}")


class Columns(NamedTuple):
    """The columns of a table that are looked at; None or none for those that it lacks."""

    image: str
    label: str | None
    votes: tuple[str, ...]
    """The ten vote columns of FER+."""
    also_in: str | None
    people: tuple[str, ...]
    """Those that may name each row's person, first choice first."""
    names: tuple[str, ...]
    """What the file says that labels 0, 1, 2, ... mean."""
    several: bool
    """Whether a label is a list of classes."""
    distinct: tuple[str, ...] | None
    """Of a file of `pfvit prepare`: the classes that it tells apart."""
    note: str = ""
    """What to say of other columns that may hold labels."""
    like: str = ""
    """fer2013 if it has the columns of Kaggle's table and does not say what its numbers mean."""
    others: tuple[str, ...] = ()
    """All columns but that of the pictures."""

    def cells(self, values: Any, place: str) -> Cells:
        """Return the label column, given its values and what to call the file in messages."""
        return Cells(values, place, self.names, self.several, self.distinct, like=self.like, note=self.note)


def columns_of(names: Sequence[str], metadata: Mapping[bytes, bytes] | None, place: Path) -> Columns:
    """Return the columns of a Parquet file; InputError if none holds pictures, or several may."""
    if len(names) > MOST_COLUMNS:
        raise InputError(f"{place} has {len(names):,} columns: pictures need a few")
    metadata = metadata or {}
    features = _features(metadata)
    image = _image(names, features, place)
    votes = FERPLUS_VOTES if set(FERPLUS_VOTES) <= set(names) else ()
    others = [name for name in names if name != image]
    classed = [name for name in others if _class_names(features.get(name))]
    label = first(LABELS, others) or (classed[0] if len(classed) == 1 else None)
    emotions = metadata.get(EMOTIONS_KEY.encode())
    prepared = None if emotions is None else _prepared(emotions, place)
    feature = None if label is None else features.get(label)
    class_names = _class_names(feature)
    if prepared is not None and not class_names:  # its numbers are in our order
        class_names = EIGHT
    several = bool(class_names) and _type(feature) != "ClassLabel" and prepared is None
    people = tuple(name for one in PEOPLE if (name := first((one,), others)) is not None)
    also_in = first((ALSO_IN,), others)
    note = other_labels(label, others, place.name) if prepared is None else ""  # else `emotion` says the same in words
    like = "fer2013" if (image, label) == ("pixels", "emotion") and not class_names else ""
    return Columns(image, label, votes, also_in, people, class_names, several, prepared, note, like, tuple(others))


def class_names_of(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Return what the numbers of columns mean, as far as a Parquet file says it."""
    found = {name: _class_names(feature) for name, feature in _features(metadata).items()}
    return {name: names for name, names in found.items() if names}


def unlabelled(path: Path, names: Sequence[str]) -> str:
    """Return what to say of a table whose labels are asked for, and are not there."""
    there = f"its columns are {', '.join(names)}: call the one with the labels label"
    return f"{path} has neither the ten FER+ vote columns nor a label column; {there}, {OR_CLASS_COLUMNS}"


def first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first of the wanted names that is there, in any case, with any space around it and for `_`."""
    there = {_folded(name): name for name in reversed(names)}
    return next((there[_folded(name)] for name in wanted if _folded(name) in there), None)


def _folded(name: str) -> str:
    return re.sub(r"[ _-]+", "_", name.strip().casefold())


def other_labels(label: str | None, names: Sequence[str], place: str) -> str:
    """Return what to say where several columns may hold the labels, of which `label` is taken; "" if no other may."""
    if label is None:
        return ""
    others = [name for name in names if name != label and name.strip().casefold() in LABELS]
    others += [name for name in class_columns(names) if name != label]
    return f"{place}: labels are taken from its column {label}, not from {', '.join(others)}" if others else ""


def person_of(cell: object) -> str | None:
    """Return the person that a cell names; None if it is empty."""
    return str(cell).strip() or None if cell is not None and cell == cell else None  # NaN differs from itself


def tells_copies(name: str) -> bool:
    """Return whether a column names the other parts that hold the same picture."""
    return _folded(name) == ALSO_IN


def unread_parts(part: str | None, names: Sequence[str], place: str, said: Sequence[str] = ()) -> str:
    """Return what to say of columns that may tell parts and are not `part`, which does; "" if none may.

    `said` are those whose cells are parts.
    """
    others = [name for name in names if name in said or name.strip().casefold() in PARTS or flag_of(name)]
    others = [name for name in others if name != part]
    if not others:
        return ""
    if part is not None:
        return f"{place}: parts are taken from its column {part}, not from {', '.join(others)}"
    return f"{place}: not looked at: {', '.join(others)}; a column called part gives each row's part, train or test"


def flags_read(names: Sequence[str], place: str) -> str:
    """Return what to say of columns like `is_train`, by which rows were put into parts."""
    return f"{place}: parts are taken from its {'columns' if len(names) > 1 else 'column'} {', '.join(names)}"


def is_elsewhere(cell: object) -> bool:
    """Return whether a cell of `also_in` names another part."""
    return bool(cell) and cell == cell and str(cell).strip().casefold() not in NOWHERE  # NaN differs from itself


def _prepared(said: bytes, place: Path) -> tuple[str, ...]:
    """Return the classes that a file of `pfvit prepare` tells apart."""
    try:
        names = parsed(said)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{place} does not say which emotions it tells apart: prepare it again")
    return tuple(names)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        features = parsed(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _image(names: Sequence[str], features: Mapping[str, Any], place: Path) -> str:
    typed = [name for name in names if _type(features.get(name)) == "Image"]
    if "image" in names or not typed:
        found = first(PICTURES, names)
    else:
        found = typed[0] if len(typed) == 1 else first(PICTURES, typed)
    if found is None and len(typed) > 1:
        raise InputError(f"{place} has several columns of pictures, {', '.join(typed)}: call the one to read image")
    if found is None:
        raise UsageError(f"{place} has no image column, only {', '.join(names)}: call the one with the pictures image")
    return found


def _type(feature: object) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, Mapping) else ""


def _class_names(feature: object) -> tuple[str, ...]:
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if isinstance(feature, Mapping) and isinstance(feature.get("feature"), Mapping):
        feature = feature["feature"]
    if not isinstance(feature, Mapping) or _type(feature) != "ClassLabel":
        return ()
    names = feature.get("names")
    return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()


def picture_in(cell: object, beside: Path, name: str) -> bytes | Pixels:
    """Return the picture in a cell: a file's bytes, or pixels [height, width, 3].

    A cell holds bytes, the struct that Hugging Face `datasets` writes, a path (looked for from the folder `beside` and
    the one above), or pixels as nested lists or as FER2013's text. PictureError, beginning with `name`, if it has none.
    """
    if isinstance(cell, Mapping):
        if not {"bytes", "path"} & {*cell}:
            raise PictureError(f"{name} holds {shortened(map(str, cell))}: call what holds the file's content bytes")
        content, path = cell.get("bytes"), cell.get("path")
        cell = path if content is None else content
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, PictureError):  # of a file that is read in a process of its own
        raise cell
    if isinstance(cell, str) and cell:
        return pixels_of(_numbers(cell), name) if _is_pixels(cell) else file_beside(cell, beside, name)
    if isinstance(cell, Sequence | np.ndarray) and len(cell):
        return pixels_of(cell, name)
    raise PictureError(f"{name} has no picture bytes")


def holds_picture(cell: object, beside: Path) -> bool:
    """Return whether a cell holds anything that `picture_in` could read, without decoding it."""
    if isinstance(cell, Mapping):
        content, path = cell.get("bytes"), cell.get("path")
        cell = path if content is None else content
    if isinstance(cell, str) and not _is_pixels(cell):
        # `isfile` is False for names that are too long: pictures as text.
        places = (folder / one for one in _spelled(cell) for folder in (beside, beside.parent))
        return bool(cell) and any(os.path.isfile(place) for place in places)  # noqa: PTH113
    return isinstance(cell, Sequence | np.ndarray) and len(cell) > 0


def _is_pixels(text: str) -> bool:
    """Return whether a cell's text is FER2013's: numbers with spaces between them."""
    words = text[:SHORT].split()
    return len(words) > 1 and all(word.isdecimal() for word in words[:-1])


def _numbers(text: str) -> list[int]:
    return [int(word) if word.isdecimal() and len(word) <= LONGEST_PIXEL else -1 for word in text.split()]


def _spelled(path: str) -> tuple[str, ...]:
    """Return a path as it is, and as it is meant if Windows wrote it."""
    return (path, path.replace("\\", "/")) if "\\" in path else (path,)


def file_beside(path: str, beside: Path, name: str) -> bytes:
    """Return the content of a file that a cell names; PictureError if it is not there."""
    for folder, there in ((folder, one) for one in _spelled(path) for folder in (beside, beside.parent)):
        try:
            return read_file(folder / there)
        except FileNotFoundError:
            continue
        except OSError as problem:
            if problem.errno == errno.ENAMETOOLONG:  # a picture as text, say
                continue
            raise PictureError(f"{name}: {folder / path} cannot be opened: {problem.strerror}") from problem
    if BASE64.match(path):
        raise PictureError(f"{name} holds a picture as base64 text: write the bytes that base64.b64decode makes of it")
    shown = path if len(path) <= LONGEST else f"{path[:LONGEST]}..."
    if is_address(path):
        raise PictureError(f"{name} names {shown}, an address: download it first")
    raise PictureError(f"{name} names {shown}, which is not there (looked for beside the file, in {beside})")


def pixels_of(values: object, name: str) -> Pixels:
    """Return pixels kept as numbers from 0 to 255: [height, width], [height, width, 3], or a square's in a row."""
    try:
        array = np.array(values.tolist() if isinstance(values, np.ndarray) else values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as problem:
        raise PictureError(f"{name} holds neither a picture nor numbers of one") from problem
    side = round(array.size**0.5)
    if array.ndim == 1 and side * side == array.size:
        array = array.reshape(side, side)
    if not (np.isfinite(array).all() and array.min(initial=0) >= 0 and array.max(initial=0) <= 255):
        raise PictureError(f"{name} holds pixels that are not from 0 to 255")
    whole = bool((array == np.rint(array)).all())
    return images.from_array(array.astype(np.uint8) if whole else eight_bits(array), name)
