"""Pictures and tables out: names that overwrite nothing they should not, and files that are whole or not there."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pfvit.commands.image_inputs import Inputs
from pfvit.data.images import Metadata
from pfvit.data.sources import OUTPUT_MARK, STANDARD_INPUT
from pfvit.errors import OutputError
from pfvit.inference.reading import Reading
from pfvit.rendering import with_alpha
from pfvit.utils.console import say
from pfvit.utils.files import atomic_write
from pfvit.utils.text import counted

LONGEST_STEM = 180  # bytes; file systems take 255, and numbers are added


class Namer:
    """Gives each face its file in a folder: `<source stem>_<face>.png`, or each photo `<source stem>.png`.

    Never the same name for two faces, nor that of an input: then the stem gets `~2`, `~3`, ..., and it is said so.
    Files of an earlier run are replaced, and it is said how many.
    """

    def __init__(self, folder: Path, inputs: Inputs, what: str, made: set[str] | None = None):
        """`what` is written, in the singular, as messages call it; `made` is one set for all that write in this run."""
        self.folder, self.what = folder, what
        self.written = 0
        self.replaced = 0
        self.taken: set[str] = set()
        self.made = set() if made is None else made
        self.protected = {file.resolve() for file in inputs.files if isinstance(file, Path)}
        self.stem = ""
        self.source: str | None = None

    def name(self, reading: Reading, numbered: bool = True) -> Path:
        """Return where the picture of a face goes; to be called once per face, in the order of reading.

        Not `numbered` it is the file of the whole photo.
        """
        end = f"_{reading.face}.png" if numbered else ".png"
        if not numbered or reading.face == 0 or self.source != reading.source:
            self.source = reading.source
            self.stem = self._free(stem_of(reading.source), end)
        elif self._is_input(self.stem, end) or self._is_made(self.stem, end):
            self.stem = self._free(stem_of(reading.source), end)
        path = self.folder / f"{self.stem}{end}"
        self.made.add(_key(path))
        self.written += 1
        self.replaced += path.exists()
        return path

    def report(self) -> None:
        """Say what was written."""
        older = f" ({self.replaced} replaced)" if self.replaced else ""
        say(f"{counted(self.written, self.what)} in {self.folder}{older}")

    def _is_input(self, stem: str, end: str) -> bool:
        return (self.folder / f"{stem}{end}").resolve() in self.protected

    def _is_made(self, stem: str, end: str) -> bool:
        """Return whether this run has written it: a_0.png is the face of a.jpg, and the photo a_0.jpg with boxes."""
        return _key(self.folder / f"{stem}{end}") in self.made

    def _free(self, stem: str, end: str) -> str:
        """Return the stem, or the first of `stem~2`, ... that is no other picture's, and say why it is not its own."""
        count, chosen, why = 1, stem, ""
        while (other := chosen.casefold() in self.taken or self._is_made(chosen, end)) or self._is_input(chosen, end):
            why = why or ("is another picture's" if other else "is an input, which is not overwritten")
            count += 1
            chosen = f"{stem}~{count}"
        self.taken.add(chosen.casefold())
        if why:
            say(f"{self.source}: {self.folder / stem}{end} {why}; it is written as {chosen}{end}")
        return chosen


def _key(path: Path) -> str:
    return str(path.resolve()).casefold()  # some file systems take A and a for the same


def stem_of(source: str) -> str:
    """Return a source's name without folders and ending, fit for a file name.

    `file#row` keeps its row, and standard input is called `stdin`.
    """
    if source == str(STANDARD_INPUT):
        return "stdin"
    name = source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    base, mark, row = name.rpartition("#")
    stem = f"{Path(base).stem}#{row}" if mark and base and row.isdigit() else Path(name).stem
    stem = "".join(c if c.isprintable() and c not in '/:*?"<>|' else "_" for c in stem)
    stem = stem.encode("utf-8", "replace")[:LONGEST_STEM].decode("utf-8", "ignore")
    return stem or "picture"


def make_folder(folder: Path) -> Path:
    """Make a folder to write into; InputError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as problem:
        raise OutputError(f"{folder} cannot be a folder: a file is in the way") from problem
    except OSError as problem:
        raise OutputError(f"{folder} cannot be made: {problem.strerror}") from problem
    return folder


def save(picture: Image.Image | np.ndarray, path: Path, metadata: Metadata | None = None) -> None:
    """Write a PNG, whole or not at all, with a photo's colour profile, EXIF and opacity; OutputError if it cannot be.

    EXIF loses its orientation, as pixels are upright. A mark says that it was made here (`sources.is_output`).
    """
    # Photos have few repetitions to search for: a third of the time for files 3 to 20% larger (Z_RLE).
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    kept = metadata or Metadata()
    if (alpha := kept.alpha) is not None and alpha.shape == (image.height, image.width):
        image = Image.fromarray(with_alpha(np.asarray(image), alpha))
    mark = PngInfo()
    mark.add_text(*OUTPUT_MARK)
    with atomic_write(path) as new:
        image.save(new, "PNG", pnginfo=mark, compress_type=zlib.Z_RLE, **kept.save_options())
