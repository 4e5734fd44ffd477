"""Which faces set the ranges of an 8-bit recogniser."""

import numpy as np

from pfvit.export.quantize import CALIBRATION_FACES, FaceReader


def given(faces: np.ndarray) -> list[np.ndarray]:
    reader = FaceReader(faces)
    return [batch["image"] for batch in iter(reader.get_next, None)]


def test_ranges_are_set_by_faces_from_all_over_the_data():
    faces = np.arange(1000, dtype=np.uint16)[:, None, None, None]  # sorted by class, as class folders are
    batches = given(faces)
    assert len({len(batch) for batch in batches}) == 1 and sum(map(len, batches)) == CALIBRATION_FACES
    taken = np.concatenate(batches).ravel()
    assert taken[0] == 0 and taken[-1] == 999 and np.diff(taken.astype(int)).max() == 4


def test_few_faces_are_all_taken():
    assert [batch.ravel().tolist() for batch in given(np.arange(3, dtype=np.uint8)[:, None, None, None])] == [[0, 1, 2]]
