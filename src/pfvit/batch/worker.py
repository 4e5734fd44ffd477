"""A partition of a batch read and written: what each process, or each Ray actor, of `pfvit batch` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pfvit.batch.partition import Partition, Pictures
from pfvit.config import Batch
from pfvit.data.filesystem import place
from pfvit.inference.reader import Reader, Result
from pfvit.inference.reading import Reading
from pfvit.utils.text import utf8

#: Columns of faces/ before the probabilities, and those of failed/, with their Arrow types.
FACES = {
    "file": "string",
    "row": "int64",
    "source": "string",
    "face": "int32",
    "left": "int32",
    "top": "int32",
    "width": "int32",
    "height": "int32",
    "score": "float32",
    "emotion": "string",
    "unsure": "bool_",
    "entropy": "float32",
}
FAILED = {"file": "string", "row": "int64", "source": "string", "error": "string"}


class Done(NamedTuple):
    """What came of a partition."""

    number: int
    rows: int
    faces: int
    failed: int


class Worker:
    """Reads partitions; each process or actor has one."""

    def __init__(self, config: Batch) -> None:
        self.reader = Reader(config.weights, threads=config.threads, providers=(config.provider,), look=config.look)
        self.pictures = Pictures()
        self.whole = config.whole
        self.out = place(config.out)

    def work(self, part: Partition) -> Done:
        """Read a partition and write its files; what cannot be read goes to failed/, which is written first."""
        faces: list[tuple[Result, Reading | None]] = []
        failed: list[Result] = []
        for result in self.reader.stream(self.pictures.of(part), self.whole):
            result = result._replace(image=None)  # only what is written is kept of a whole partition
            if result.problem is not None:
                failed.append(result)
            else:
                faces += [(result, reading) for reading in result.faces] or [(result, None)]
        name = f"part-{part.number:05}.parquet"
        if failed:
            self._write(f"failed/{name}", _failed_columns(failed), FAILED)
        labels = self.reader.recogniser.labels
        self._write(f"faces/{name}", _face_columns(faces, labels), FACES | dict.fromkeys(labels, "float32"))
        return Done(part.number, part.rows, sum(reading is not None for _, reading in faces), len(failed))

    def _write(self, name: str, columns: dict[str, list], types: dict[str, str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        schema = pa.schema([(column, getattr(pa, kind)()) for column, kind in types.items()])
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
        self.out.below(name).put(sink.getvalue().to_pybytes(), remedy="; --resume goes on with it")


def _face_columns(faces: Sequence[tuple[Result, Reading | None]], labels: Sequence[str]) -> dict[str, list]:
    columns: dict[str, list] = {name: [] for name in (*FACES, *labels)}
    nothing = (None,) * (len(FACES) - 3 + len(labels))
    for (source, *_, key), one in faces:
        values = nothing
        if one is not None:
            values = one.face, *one.box, one.score, one.emotion, one.unsure, one.entropy, *one.probabilities.values()
        for name, value in zip(columns, (utf8(key.file), key.row, source, *values), strict=True):
            columns[name].append(value)
    return columns


def _failed_columns(failed: Sequence[Result]) -> dict[str, list]:
    rows = [(utf8(one.key.file), one.key.row, one.source, utf8(str(one.problem))) for one in failed]
    return dict(zip(FAILED, map(list, zip(*rows, strict=True)), strict=True))
