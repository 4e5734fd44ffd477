"""Labelled and unlabelled faces in the same batches: the order of each is that of its own stream."""

from itertools import islice

import numpy as np
import pytest
import torch
from conftest import write_faces

from pfvit.data.dataset import FaceDataset, Stream, check_windows, loader, read_all
from pfvit.data.face_batch import joined
from pfvit.data.mixture import MixedStream, Mixture
from pfvit.errors import UsageError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    return [
        write_faces(folder / "labelled.parquet", 50, seed=1, group=8),
        write_faces(folder / "other.parquet", 37, seed=2, group=16),
    ]


def mixture(files, **more) -> Mixture:
    labelled, other = FaceDataset(files[:1], **more), FaceDataset(files[1:], labelled=False, **more)
    other.teach({(g.path, g.index): np.full((16, 8), 1 / 8, np.float32) for g in other.groups}, 0.5)
    return Mixture((labelled, 4), (other, 2))


def test_labelled_faces_come_first_and_as_they_would_alone(files):
    mixed = list(islice(MixedStream(mixture(files), 24, 1, 3), 20))
    alone = list(islice(Stream(FaceDataset(files[:1]), 4, 24, 1, 3), 20))
    for both, one in zip(mixed, alone, strict=True):
        assert both.name[:4] == one.name and torch.equal(both.image[:4], one.image)
        assert all(name.startswith("other") for name in both.name[4:]) and both.place == list(range(6))
        assert torch.equal(both.target[4:], torch.full((2, 8), 1 / 8))
    assert len({name for batch in mixed for name in batch.name[4:]}) == 37, "every unlabelled face in its epoch"


def test_any_ranks_workers_and_starts_see_the_same(files):
    whole = list(islice(MixedStream(mixture(files), 24, 1, 3), 12))
    for rank in range(2):
        part = list(islice(MixedStream(mixture(files), 24, 1, 3, 5, rank, 2), 7))
        assert [batch.name for batch in part] == [batch.name[rank::2] for batch in whole[5:]]
        assert part[0].place == list(range(rank, 6, 2))
    loaded = islice(loader(MixedStream(mixture(files), 24, 1, 3), 2, pin=False), 12)
    assert [batch.name for batch in loaded] == [batch.name for batch in whole]
    kept = mixture(files)
    kept.keep(24, 1, torch.device("cpu"))
    for one, other in zip(islice(MixedStream(kept, 24, 1, 3), 12), whole, strict=True):
        assert one.name == other.name and torch.equal(one.target, other.target) and torch.equal(one.image, other.image)
        assert one.place == other.place


def test_processes_need_faces_of_both_kinds(files):
    with pytest.raises(UsageError, match="cannot be shared evenly by 4"):
        MixedStream(mixture(files), 24, 1, 0, world=4)
    with pytest.raises(UsageError, match="each of 3 processes needs"):
        MixedStream(mixture(files), 24, 1, 0, world=3)


def test_answers_are_mixed_into_targets(files):
    faces = FaceDataset(files[:1])
    plain = read_all(faces, 24, 1).target
    answers = {(g.path, g.index): np.tile(np.eye(8, dtype=np.float32)[3], (8, 1)) for g in faces.groups}
    faces.teach(answers, 0.25)
    torch.testing.assert_close(read_all(faces, 24, 1).target, 0.75 * plain + 0.25 * torch.eye(8)[3])


def test_emotions_that_teachers_see_rarely_are_shown_more_often(files):
    faces = FaceDataset(files[1:], labelled=False, oversample=1.0)
    answers = {}
    for group in faces.groups:
        answers[group.path, group.index] = np.tile(np.eye(8, dtype=np.float32)[1], (16, 1))
        answers[group.path, group.index][0] = np.eye(8)[4]
    faces.teach(answers, 0.5)
    targets = torch.cat([batch.target for batch in islice(Stream(faces, 37, 24, 1, 0), 20)])
    assert targets[:, 4].mean() == pytest.approx(0.5, abs=0.05), "three faces of 37"


def test_windows_belong_to_files(files):
    faces = FaceDataset(files, labelled=False, windows={"other": (0.5, -0.1)})
    batch = read_all(faces, 24, 1)
    assert batch.window is not None
    assert batch.window[:50].unique(dim=0).tolist() == [[1, 0]]
    torch.testing.assert_close(batch.window[50:].unique(dim=0), torch.tensor([[0.5, -0.1]]))
    both = joined([read_all(FaceDataset(files[:1], labelled=False), 24, 1), batch.pick([60, 61])])
    assert both.window is not None and both.window.shape == (52, 2) and both.window[0].tolist() == [1, 0]
    check_windows({"other": (0.5, 0)}, faces)
    with pytest.raises(UsageError, match="--window faces: no such file; there are labelled, other"):
        check_windows({"faces": (0.5, 0)}, faces)
