"""A part of a batch read and written: what each process, or each Ray actor, of `pfvit batch` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pfvit.batch.partition import Cell, Part, Pictures
from pfvit.config import Batch
from pfvit.data.filesystem import place
from pfvit.data.images import Pixels
from pfvit.errors import InputError
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading
from pfvit.utils.prefetch import BYTES_AT_ONCE, PICTURES_AT_ONCE

#: Columns of faces/ before the probabilities, and those of failed/, with their Arrow types.
FACES = {
    "file": "string", "row": "int64", "source": "string", "face": "int32", "left": "int32", "top": "int32",
    "width": "int32", "height": "int32", "score": "float32", "emotion": "string", "unsure": "bool_",
    "entropy": "float32",
}  # fmt: skip
FAILED = {"file": "string", "row": "int64", "source": "string", "error": "string"}


class Done(NamedTuple):
    """What came of a part."""

    number: int
    rows: int
    faces: int
    failed: int


class Worker:
    """Reads parts; each process or actor has one."""

    def __init__(self, config: Batch) -> None:
        self.reader = Reader(config.weights, threads=config.threads, providers=(config.provider,))
        self.pictures = Pictures()
        self.whole = config.whole
        self.out = place(config.out)

    def work(self, part: Part) -> Done:
        """Read a part and write its files; what cannot be read goes to failed/, which is written first."""
        faces: list[tuple[Cell, Reading | None]] = []
        failed: list[tuple[Cell, str]] = []
        for some in _gathered(self.pictures.of(part)):
            good: list[tuple[Cell, Pixels]] = []
            for cell in some:
                if isinstance(cell.content, InputError):
                    failed.append((cell, str(cell.content)))
                else:
                    good.append((cell, cell.content))
            for cell, read in self._read(good):
                if isinstance(read, str):
                    failed.append((cell, read))
                else:
                    faces += [(cell, reading) for reading in read] or [(cell, None)]
        name = f"part-{part.number:05}.parquet"
        if failed:
            self._write(f"failed/{name}", _failed_columns(sorted(failed, key=lambda pair: pair[0].row)), FAILED)
        labels = self.reader.recogniser.labels
        self._write(f"faces/{name}", _face_columns(faces, labels), FACES | dict.fromkeys(labels, "float32"))
        return Done(part.number, part.rows, sum(reading is not None for _, reading in faces), len(failed))

    def _read(self, good: Sequence[tuple[Cell, Pixels]]) -> Iterator[tuple[Cell, list[Reading] | str]]:
        """Yield the faces of each picture, or why it has none; one that cannot be read does not harm the others."""
        try:
            found = self.reader.read_batch(
                [pixels for _, pixels in good], self.whole, [cell.source for cell, _ in good]
            )
        except Exception as problem:
            if len(good) > 1:
                for one in good:
                    yield from self._read([one])
                return
            yield good[0][0], f"{type(problem).__name__}: {problem}"
            return
        yield from zip((cell for cell, _ in good), found, strict=True)

    def _write(self, name: str, columns: dict[str, list], types: dict[str, str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        schema = pa.schema([(column, getattr(pa, kind)()) for column, kind in types.items()])
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
        self.out.below(name).put(sink.getvalue().to_pybytes(), remedy="; --resume goes on with it")


def _gathered(cells: Iterator[Cell]) -> Iterator[list[Cell]]:
    """Yield cells in lists that are read together: not too many, nor too large."""
    some: list[Cell] = []
    size = 0
    for cell in cells:
        some.append(cell)
        size += 0 if isinstance(cell.content, InputError) else cell.content.nbytes
        if len(some) >= PICTURES_AT_ONCE or size >= BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _face_columns(faces: Sequence[tuple[Cell, Reading | None]], labels: Sequence[str]) -> dict[str, list]:
    columns: dict[str, list] = {name: [] for name in (*FACES, *labels)}
    nothing = (None,) * (len(FACES) - 3 + len(labels))
    for cell, one in faces:
        said = nothing if one is None else (
            one.face, *one.box, one.score, one.emotion, one.unsure, one.entropy, *one.probabilities.values()
        )  # fmt: skip
        for name, value in zip(columns, (cell.file, cell.row, cell.source, *said), strict=True):
            columns[name].append(value)
    return columns


def _failed_columns(failed: Sequence[tuple[Cell, str]]) -> dict[str, list]:
    rows = [(cell.file, cell.row, cell.source, why) for cell, why in failed]
    return dict(zip(FAILED, map(list, zip(*rows, strict=True)), strict=True))
