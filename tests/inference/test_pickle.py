"""Readings and readers travel: copied, pickled, sent to other processes, where their files are opened again."""

import copy
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor

import fake_weights
import numpy as np
import pytest

from pfvit import InputError, Reader
from pfvit.weights import SHIPPED

CROP = np.full((30, 30, 3), 48, np.uint8)


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    return fake_weights.write(tmp_path / "weights")


def arrived(content: bytes):
    return pickle.loads(content)  # noqa: S301 (it was made here)


def read_in_a_process(reader: Reader) -> tuple:
    (reading,) = reader.read(CROP, whole=True)
    return reading, os.getpid()


def test_a_reader_goes_to_another_process_and_its_readings_come_back(weights):
    reader = Reader(weights, threads=1)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        reading, process = pool.submit(read_in_a_process, reader).result()
    (here,) = reader.read(CROP, whole=True)
    assert process != os.getpid() and reading.to_dict() == here.to_dict()
    assert np.array_equal(reading.poker_face(), here.poker_face()) and not np.array_equal(reading.poker_face(), CROP)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: arrived(pickle.dumps(one))])
def test_a_copy_draws_what_the_reading_draws(copied, weights):
    (reading,) = Reader(weights, threads=1).read(CROP, whole=True)
    expected = reading.poker_face(0.5)
    other = copied(reading)
    assert np.array_equal(other.poker_face(0.5), expected) and np.array_equal(other.crop, reading.crop)


def test_many_readings_open_a_file_once(weights):
    (reading,) = Reader(weights, threads=1).read(CROP, whole=True)
    one, other = (arrived(pickle.dumps(reading)) for _ in range(2))
    assert "session" not in vars(one.generator.recogniser)
    one.poker_face(), other.poker_face()
    assert one.generator.recogniser.session is other.generator.recogniser.session


def test_weights_are_found_from_another_folder_and_the_shipped_ones_wherever_they_are(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(weights.parent)
    travelling = pickle.dumps(Reader(weights.name, threads=1).read(CROP, whole=True)[0])
    monkeypatch.chdir(tmp_path)
    arrived(travelling).poker_face()
    if SHIPPED.is_file():
        shipped = pickle.dumps(Reader(threads=1).recogniser)
        assert str(SHIPPED.parent).encode() not in shipped
        assert arrived(shipped).path.parent == SHIPPED.parent


def test_weights_that_changed_or_went_are_told(weights):
    (reading,) = Reader(weights, threads=1).read(CROP, whole=True)
    travelling = pickle.dumps(reading)
    fake_weights.write(weights.parent, pair="other")
    with pytest.raises(InputError, match="has changed since this face was read: read it again"):
        arrived(travelling).poker_face()
    weights.unlink()
    with pytest.raises(InputError, match="is not there"):
        arrived(travelling).poker_face()
