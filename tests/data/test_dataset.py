import io
from collections import Counter
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SHARED, faces_table, png, write_faces
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pfvit.data.dataset import FaceDataset, Stream, loader, read_all, resampled
from pfvit.data.decode import decode_square
from pfvit.data.votes import vote_targets
from pfvit.emotions import FERPLUS_VOTES
from pfvit.errors import InputError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return [
        write_faces(folder / "a.parquet", 50, seed=1, group=8),
        write_faces(folder / "b.parquet", 37, seed=2, group=16),
    ]


def stream(faces, batch=6, start=0, rank=0, world=1, seed=3):
    return Stream(faces, batch, 24, 1, seed, start, rank, world)


@given(st.integers(1, 5), st.integers(1, 13), st.integers(0, 3))
@settings(deadline=None, max_examples=15)
def test_every_row_exactly_once_per_epoch_for_any_ranks(files, world, batch, seed):
    faces = FaceDataset(files)
    batch *= world
    steps = -(-2 * len(faces) // batch)
    seen: list[tuple[int, int, str]] = []
    for rank in range(world):
        for step, part in enumerate(islice(stream(faces, batch, rank=rank, world=world, seed=seed), steps)):
            seen += [(step, place, name) for place, name in zip(part.place, part.name, strict=True)]
    names = [name for _, _, name in sorted(seen)]
    for epoch in range(2):
        assert sorted(names[epoch * len(faces) : (epoch + 1) * len(faces)]) == sorted(set(names))
    assert len(set(names)) == len(faces) == 87


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_order_does_not_depend_on_the_number_of_workers(files, workers):
    faces = FaceDataset(files)
    direct = [part.name for part in islice(stream(faces), 20)]
    loaded = [part.name for part in islice(loader(stream(faces), workers, pin=False), 20)]
    assert loaded == direct


@given(st.integers(0, 40))
@settings(deadline=None, max_examples=15)
def test_starting_at_a_step_continues_the_same_sequence(files, start):
    faces = FaceDataset(files)
    whole = [part.name for part in islice(stream(faces), start + 3)]
    assert [part.name for part in islice(stream(faces, start=start), 3)] == whole[start:]


def test_a_batch_that_ranks_cannot_share_evenly_is_refused(files):
    with pytest.raises(InputError, match="cannot be shared evenly"):
        stream(FaceDataset(files), batch=7, world=2)


def test_epochs_and_seeds_differ(files):
    faces = FaceDataset(files)
    orders = [
        [
            (groups[i].index, row)
            for groups, which, rows in faces.pools(seed, epoch)
            for i, row in zip(which, rows, strict=True)
        ]
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] != orders[1] != orders[2]


def test_leaking_rows_are_out_by_default_and_rows_without_emotion_always(tmp_path):
    table = faces_table(6).to_pydict()
    table["also_in"][1] = "val"
    for column in ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"):
        table[column][2] = 0
    table["NF"][2] = 10
    pq.write_table(pa.table(table), tmp_path / "f.parquet")
    assert len(FaceDataset([tmp_path / "f.parquet"])) == 4
    assert len(FaceDataset([tmp_path / "f.parquet"], clean=False)) == 5
    assert len(FaceDataset([tmp_path / "f.parquet"], labelled=False)) == 5


def test_vote_targets():
    votes = np.zeros((4, 10), dtype=np.int8)
    votes[0, [0, 1, 4]] = [6, 3, 1]  # the single vote is dropped
    votes[1, [0, 9]] = [4, 6]  # not a face
    votes[2, [3, 0]] = [5, 5]  # a tie goes to the first column
    votes[3, 2] = 1  # a single vote is all there is
    soft = vote_targets(votes, 8, hard=False)
    np.testing.assert_allclose(soft[0], [6 / 9, 3 / 9, 0, 0, 0, 0, 0, 0], rtol=1e-6)
    assert soft[1].sum() == 0
    assert soft[3].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    hard = vote_targets(votes, 8, hard=True)
    assert hard[0].argmax() == 0 and hard[1].sum() == 0 and hard[2].argmax() == 0
    votes[0] = [0, 0, 0, 0, 0, 0, 0, 9, 1, 0]
    assert vote_targets(votes, 7, hard=True)[0].sum() == 0, "contempt is not among seven emotions"


def test_colour_and_other_sizes_are_converted():
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[..., 0] = 255
    assert decode_square(png(pixels), 24, 1).shape == (1, 24, 24)
    assert (decode_square(png(pixels), 24, 1) == 76).all()  # 0.299 of 255
    assert decode_square(png(pixels), 24, 3).shape == (3, 24, 24)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        FaceDataset([tmp_path / "none.parquet"])
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        FaceDataset([tmp_path / "text.parquet"])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no image column"):
        FaceDataset([tmp_path / "x.parquet"])
    pq.write_table(faces_table(4).select(["image"]), tmp_path / "i.parquet")
    with pytest.raises(InputError, match="neither the ten"):
        FaceDataset([tmp_path / "i.parquet"])


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_dictionary_without_what_rows_name_is_told(column, tmp_path):
    """pyarrow reads it, and raises an IndexError where a row is looked at: training ended in a traceback."""
    cells = {"image": [b"one"] * 40 + [b"other"] * 40, "label": ["fear"] * 40 + ["anger"] * 40}
    table = {name: pa.array(of).dictionary_encode() if name == column else of for name, of in cells.items()}
    pq.write_table(pa.table(table), tmp_path / "d.parquet", compression="none", use_dictionary=[column])
    content = (tmp_path / "d.parquet").read_bytes()
    assert content.count(b"P\0P\1") == 1  # 40 rows of the first, 40 of the second
    (tmp_path / "d.parquet").write_bytes(content.replace(b"P\0P\1", b"P\0P\7"))
    with pytest.raises(InputError, match=r"d\.parquet.* cannot be read: .*Dictionary indices invalid"):
        FaceDataset([tmp_path / "d.parquet"])


def test_a_damaged_picture_is_left_out_and_named_before_the_first_step(tmp_path):
    table = faces_table(4).to_pydict()
    table["image"][2] = {"bytes": b"not a picture", "path": "bad.png"}
    table["image"][3] = {"bytes": table["image"][3]["bytes"][:200], "path": "cut.png"}
    pq.write_table(pa.table(table), tmp_path / "bad.parquet")
    faces = FaceDataset([tmp_path / "bad.parquet"])
    assert read_all(faces, 24, 1).name == ["bad.parquet#0:0", "bad.parquet#0:1"]
    said = list(faces.index.lines())
    assert said[0].startswith("bad.parquet#0:2 is not a picture") and "bad.parquet#0:3 is damaged" in said[1]
    assert "left out: 2 whose picture is damaged" in said[2]


def test_the_next_row_stands_in_for_a_picture_that_is_found_damaged_later(tmp_path, monkeypatch):
    """What lies between a whole beginning and a whole end, or in more data than can be looked at, shows when it is
    decoded; the same row stands in for any number of ranks."""
    table = faces_table(8).to_pydict()
    table["image"][2]["bytes"] = table["image"][2]["bytes"][:60] + b"\0" * 40 + table["image"][2]["bytes"][100:]
    table["image"][7] = {"bytes": b"not a picture", "path": "bad.png"}
    pq.write_table(pa.table(table), tmp_path / "bad.parquet")
    monkeypatch.setattr("pfvit.data.index.LOOKED_AT", 0)
    faces = FaceDataset([tmp_path / "bad.parquet"])
    assert len(faces) == 8
    whole = next(iter(stream(faces, 8)))
    names = dict(zip(whole.place, whole.name, strict=True))
    assert sorted(whole.name) == [f"bad.parquet#0:{row}" for row in (0, 0, 1, 3, 3, 4, 5, 6)] and len(whole.passed) == 2
    assert torch.equal(whole.image[whole.name.index("bad.parquet#0:3")], read_all(faces, 24, 1).image[2])
    for rank in range(2):
        part = next(iter(stream(faces, 8, rank=rank, world=2)))
        assert part.name == [names[place] for place in part.place]
    assert len(read_all(faces, 24, 1).name) == 6, "measuring takes no row twice"


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared faces are not here")
def test_the_real_files_have_the_published_counts():
    train = SHARED / "data" / "ferplus_train.parquet"
    counts = Counter()
    faces = FaceDataset([train], hard=True, clean=False)
    for group in faces.groups:
        counts.update(group.targets[np.asarray(group.rows)].argmax(1).tolist())
    assert [counts[i] for i in range(8)] == [10308, 7528, 3562, 3515, 2467, 191, 652, 165]
    first = read_all(faces, 48, 1, limit=3)
    assert first.image.shape == (3, 1, 48, 48) and first.image.dtype == torch.uint8


def test_pictures_are_resampled_as_pillow_does():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BILINEAR))
    assert (decode_square(png(pixels), 24, 1)[0] == expected).all()


def test_a_large_jpeg_is_decoded_at_its_half_and_looks_the_same():
    coarse = np.random.default_rng(0).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((112, 112), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        small = np.asarray(picture.resize((48, 48), Image.Resampling.BILINEAR), dtype=np.float32)
    ours = decode_square(file.getvalue(), 48, 3).transpose(1, 2, 0)
    assert np.abs(ours - small).mean() < 4 and np.abs(ours.mean() - small.mean()) < 1
    assert decode_square(file.getvalue(), 150, 1).shape == (1, 150, 150)


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=60), st.floats(0, 1, exclude_max=True))
def test_resampling_takes_each_as_often_as_its_weight_says(weights, offset):
    weights = np.array(weights)
    counts = np.bincount(resampled(weights, offset), minlength=len(weights))
    due = weights / weights.sum() * len(weights)
    assert counts.sum() == len(weights)
    assert (np.abs(counts - due) < 1 + 1e-9).all()


def skewed(path):
    """100 faces of FER+'s votes: 80 neutral, 15 happy, 5 sad, in no order."""
    write_faces(path, 100, seed=5, group=25)
    table = pq.read_table(path)
    emotion = np.random.default_rng(0).permutation([0] * 80 + [1] * 15 + [3] * 5)
    for i, name in enumerate(FERPLUS_VOTES):
        column = pa.array((emotion == i) * 10, pa.int64())
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path, row_group_size=25)
    return path


def shown(faces, epochs=40, batch=10, **more):
    steps = islice(stream(faces, batch, **more), epochs * len(faces) // batch)
    return torch.cat([part.target for part in steps]).mean(0)


def test_rare_emotions_are_shown_as_often_as_asked(tmp_path):
    path = skewed(tmp_path / "skewed.parquet")
    assert shown(FaceDataset([path]), 1)[[0, 1, 3]].tolist() == pytest.approx([0.8, 0.15, 0.05])
    even = shown(FaceDataset([path], oversample=1.0))
    assert even[[0, 1, 3]].tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    half = shown(FaceDataset([path], oversample=0.5))
    root = np.sqrt([0.8, 0.15, 0.05])
    assert half[[0, 1, 3]].tolist() == pytest.approx((root / root.sum()).tolist(), abs=0.02)


def test_oversampling_resumes_exactly_and_does_not_depend_on_the_ranks(tmp_path):
    faces = FaceDataset([skewed(tmp_path / "skewed.parquet")], oversample=1.0)
    whole = [part.name for part in islice(stream(faces, 10), 23)]
    assert [part.name for part in islice(stream(faces, 10, start=13), 10)] == whole[13:]
    halves = [[part.name for part in islice(stream(faces, 10, rank=rank, world=2), 23)] for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(names) for names in whole]
