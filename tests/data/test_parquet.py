"""Parquet files that end, stop or fill the process that reads them: others go on."""

import os
import random
import signal
import sys

import hostile
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png

from pfvit.data import parquet, sources
from pfvit.errors import InputError, PictureError

CROP = png(np.full((20, 20, 3), 90, np.uint8))


def table(path, rows: int = 100, **options: object):
    images = [{"bytes": CROP + os.urandom(500), "path": f"{n}.png"} for n in range(rows)]
    names = [f"face {n % 7}" for n in range(rows)]
    pq.write_table(pa.table({"image": images, "name": names, "label": list(range(rows))}), path, **options)
    return path


def test_a_value_that_comes_again_and_again_is_passed_over(tmp_path):
    """2 kB whose dictionary has one value of 45 MB, for 64 rows: 2.9 GB if they are read together."""
    image = pa.array([CROP, *[bytes(45_000_000)] * 3], pa.binary())
    pq.write_table(pa.table({"image": image}), tmp_path / "bomb.parquet", compression="zstd")
    first, *others = [row["image"] for row in parquet.rows(tmp_path / "bomb.parquet")]
    assert first == CROP and len(others) == 3
    assert all(isinstance(cell, PictureError) and "has a cell of 45 MB" in str(cell) for cell in others)
    items = list(sources.items([tmp_path / "bomb.parquet"]))
    assert items[0].picture == CROP and "bomb.parquet#3 has a cell of 45 MB" in str(items[3].picture)


@pytest.mark.skipif(sys.platform != "linux", reason="bounds its memory by the system")
def test_more_memory_than_a_reader_may_have(tmp_path):
    import resource

    pq.write_table(pa.table({"image": [bytes(45_000_000)]}), tmp_path / "big.parquet", compression="zstd")
    good = table(tmp_path / "good.parquet")
    assert len(list(parquet.rows(good))) == 100
    resource.prlimit(parquet._idle[0].process.pid, resource.RLIMIT_DATA, (60_000_000, 60_000_000))
    with pytest.raises(InputError, match=r"big.parquet cannot be read as Parquet"):
        list(parquet.rows(tmp_path / "big.parquet"))
    assert len(list(parquet.rows(good))) == 100


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "why"), [(signal.SIGABRT, "its reader ended: Aborted"), (signal.SIGSTOP, "stood")])
def test_a_reader_that_ends_or_stops(tmp_path, monkeypatch, number, why):
    monkeypatch.setattr(parquet, "PATIENCE", 1.0)
    path = table(tmp_path / "t.parquet", 20_000)
    readers = []
    ask = parquet._Reader.ask

    def noted(self, *words):
        readers.append(self)
        return ask(self, *words)

    monkeypatch.setattr(parquet._Reader, "ask", noted)
    rows = parquet.rows(path, ["image"])
    next(rows)
    os.kill(readers[-1].process.pid, number)
    with pytest.raises(InputError, match=f"t.parquet cannot be read as Parquet after row .*{why}"):
        list(rows)
    assert readers[-1].process.poll() is not None
    assert len(list(parquet.rows(path, ["label"]))) == 20_000


def test_one_process_reads_file_after_file(tmp_path):
    paths = [table(tmp_path / f"{n}.parquet", 30) for n in range(3)]
    list(parquet.rows(paths[0]))
    (idle,) = parquet._idle
    for path in paths:
        assert parquet.column_names(path) == ["image", "name", "label"] and len(list(parquet.rows(path))) == 30
    assert parquet._idle == [idle]
    rows = parquet.rows(table(tmp_path / "long.parquet", 5_000))
    next(rows)
    rows.close()  # who stops early leaves nothing behind that still reads
    assert idle.process.poll() is not None


def test_rows_without_end(tmp_path):
    pq.write_table(pa.table({"image": pa.nulls(300_000, pa.binary())}), tmp_path / "t.parquet")
    rows = parquet.rows(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet cannot be read as Parquet after row 9999: it has more rows than"):
        list(rows)


@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_give_rows_or_say_so(tmp_path, seed):
    rng = random.Random(seed)
    made = [
        table(tmp_path / f"{compression}.parquet", 40, compression=compression).read_bytes()
        for compression in ("none", "snappy", "zstd")
    ]
    path = tmp_path / "damaged.parquet"
    for _ in range(40):
        content = rng.choice(made)
        cut = rng.choice((0, len(content) - 1500))  # its beginning, or its footer
        path.write_bytes(content[:cut] + hostile.damaged(content[cut:], rng))
        try:
            for item in sources.items([path]):
                assert isinstance(item.picture, (bytes, PictureError))
        except InputError as problem:
            assert "damaged.parquet" in str(problem)
