import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import face
from PIL import Image

from pfvit.datasets import duplicates
from pfvit.datasets.duplicates import code, near_pairs, overlaps, repeated


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return sum((int(a) ^ int(b)).bit_count() for a, b in zip(one, other, strict=True))


def hashes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random hashes, half of them others with a few bits turned."""
    looks = rng.integers(0, 2**63, (count, 2), dtype=np.uint64)
    for row in range(count // 2, count):
        looks[row] = looks[row - count // 2]
        for bit in rng.integers(0, 128, rng.integers(1, 24)):
            looks[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return looks


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 7, 10, 16]))
@settings(deadline=None, max_examples=20)
def test_all_near_pairs_are_found_and_no_others(seed, near):
    looks = hashes(np.random.default_rng(seed), 60)
    found = {
        tuple(sorted(pair)) for a, b in near_pairs(looks, near) for pair in zip(a.tolist(), b.tolist(), strict=True)
    }
    expected = {(i, j) for j in range(60) for i in range(j) if distance(looks[i], looks[j]) <= near}
    assert found == expected


def test_counting_bits_is_the_same_with_old_and_new_numpy(monkeypatch):
    words = np.random.default_rng(0).integers(0, 2**63, 50, dtype=np.uint64)
    new = duplicates._ones(words)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert (duplicates._ones(words) == new).all() and new[0] == int(words[0]).bit_count()


def test_a_resized_brighter_reencoded_face_is_near_and_another_is_not():
    pixels = face(1, "happiness", 96)
    small = np.asarray(Image.fromarray(pixels).resize((70, 70), Image.Resampling.BICUBIC))
    brighter = np.clip(pixels.astype(int) + 20, 0, 255).astype(np.uint8)
    original = np.array(code(pixels), dtype=np.uint64)
    for other in (small, brighter):
        seen = np.array(code(other), dtype=np.uint64)
        assert (seen[:2] != original[:2]).any() and distance(seen[2:], original[2:]) <= 10
    assert distance(np.array(code(face(2, "happiness", 96)), dtype=np.uint64)[2:], original[2:]) > 16
    assert code(pixels) == code(pixels.copy())
    assert code(pixels)[:2] != code(pixels.reshape(48, 192, 3))[:2], "the shape is part of the pixels"


def rows(*faces: tuple[int, int]) -> np.ndarray:
    """Codes of (digest, hash)."""
    return np.array([[digest, 0, look, 0] for digest, look in faces], dtype=np.uint64)


def test_marks_name_the_other_parts_and_exact_comes_before_near():
    codes = rows((1, 0b111000), (2, 0b111001), (1, 0b111000), (3, 0b111000), (9, 1 << 60), (8, 0), (7, 0))
    part = np.array([0, 0, 1, 2, 2, 0, 1])
    exact, near = overlaps(codes, part, hash_distance=1)
    assert exact.tolist() == [0b010, 0, 0b001, 0, 0, 0, 0]
    # Row 3 has the look of rows 0 and 2, and row 1 is a bit away. Flat pictures (0) have no look.
    assert near.tolist() == [0b100, 0b110, 0b100, 0b011, 0, 0, 0]
    exact, near = overlaps(codes, part, hash_distance=0)
    assert exact.any() and not near.any()


@pytest.mark.parametrize(("near", "dropped"), [(0, [1]), (1, [1, 2, 3]), (2, [1, 2, 3, 4])])
def test_repeats_keep_the_first_and_do_not_chain(near, dropped):
    """0b0111 is two bits from the first and one from the second, which goes: at one bit it stays."""
    codes = rows((1, 0b0001), (1, 0b0001), (2, 0b0001), (3, 0b0011), (4, 0b0111), (5, 0), (6, 0))
    assert np.flatnonzero(repeated(codes, near)).tolist() == dropped
