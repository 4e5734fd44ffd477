"""Faces that are there twice: exactly, by a digest of the pixels, and nearly, by a perceptual hash of 128 bits.

The hash is dHash (N. Krawetz, 2013) in both directions: whether each of 8 x 8 cells is brighter than the one to its
left, and than the one above. Between FER+'s training and validation part it separates well: of the pairs whose hashes
differ in at most 10 bits nearly all are crops, re-encodings or watermarked copies of one picture, and from 16 bits on
mere likeness takes over.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.images import Pixels

#: [rows, 4]: two words of the pixels' digest, two of the perceptual hash.
Codes = NDArray[np.uint64]
Words = NDArray[np.uint64]
GRID = 8
WORD_BITS = 64


def code(pixels: Pixels) -> list[int]:
    """Return a face's digest and hash, as a row of Codes."""
    digest = blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    gray = Image.fromarray(pixels).convert("L")
    words = []
    for axis, size in ((1, (GRID + 1, GRID)), (0, (GRID, GRID + 1))):
        cells = np.asarray(gray.resize(size, Image.Resampling.BOX), dtype=np.int16)
        words.append(int.from_bytes(np.packbits(np.diff(cells, axis=axis) > 0).tobytes()))
    return [int.from_bytes(digest[:8]), int.from_bytes(digest[8:]), *words]


class Overlaps(NamedTuple):
    """For each row, the other parts that hold the same face: bit k of the mask stands for part k."""

    exact: NDArray[np.int64]
    near: NDArray[np.int64]
    """Those with a near duplicate and no exact one."""


def overlaps(codes: Codes, part: NDArray[np.int64], hash_distance: int) -> Overlaps:
    """Find each row's duplicates in other parts.

    `part`, int64 [rows], is the number of each row's part, below 63. Near duplicates are rows whose hashes differ in
    at most `hash_distance` bits; with 0 only exact duplicates are found.
    """
    own = np.int64(1) << part.astype(np.int64)
    exact = _together(_group(codes[:, :2]), own) & ~own
    hashes, which = np.unique(codes[:, 2:], axis=0, return_inverse=True)
    which = which.reshape(-1)
    holds = np.zeros(len(hashes), dtype=np.int64)
    np.bitwise_or.at(holds, which, own)
    found = holds.copy()
    for one, other in near_pairs(hashes, hash_distance):
        np.bitwise_or.at(found, one, holds[other])
        np.bitwise_or.at(found, other, holds[one])
    found[~hashes.any(axis=1)] = 0  # flat pictures
    near = found[which] & ~own & ~exact if hash_distance else np.zeros_like(own)
    return Overlaps(exact, near)


def repeated(codes: Codes, hash_distance: int) -> NDArray[np.bool_]:
    """Return bool [rows]: whether a row is a duplicate of an earlier row that is kept.

    A row is kept unless it is within `hash_distance` bits of a kept one, so that duplicates do not chain.
    """
    _, first, which = np.unique(codes[:, :2], axis=0, return_index=True, return_inverse=True)
    dropped = first[which.reshape(-1)] != np.arange(len(codes))
    if not hash_distance:
        return dropped
    hashes, first, which = np.unique(codes[:, 2:], axis=0, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    dropped |= (first[which] != np.arange(len(codes))) & codes[:, 2:].any(axis=1)  # a flat picture has no hash
    pairs = [
        np.sort(np.stack([first[one], first[other]], axis=1), axis=1)
        for one, other in near_pairs(hashes, hash_distance)
    ]
    if pairs:
        together = np.unique(np.concatenate(pairs), axis=0)
        for earlier, later in together[np.lexsort((together[:, 0], together[:, 1]))].tolist():
            dropped[later] |= not dropped[earlier]
    return dropped


def near_pairs(hashes: Words, hash_distance: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield index arrays of the pairs of different hashes, uint64 [rows, 2], that differ in at most `hash_distance`
    bits; a pair may come more than once.

    The 128 bits are divided into hash_distance + 1 groups. Two such hashes are equal in at least one group, so only
    rows that are equal in a group are compared.
    """
    usable = np.flatnonzero(hashes.any(axis=1))
    for group in range(hash_distance + 1 if hash_distance else 0):
        key = np.zeros(len(usable), dtype=np.uint64)
        for place, bit in enumerate(range(group, 2 * WORD_BITS, hash_distance + 1)):
            word, shift = divmod(bit, WORD_BITS)
            key |= (hashes[usable, word] >> np.uint64(shift) & np.uint64(1)) << np.uint64(place)
        order = np.argsort(key, kind="stable")
        key, rows = key[order], usable[order]
        # Rows that are equal in this group are neighbours now. Rows `apart` places apart are compared all at once; they
        # can be equal only where rows one place less apart were.
        start, apart = np.arange(len(rows) - 1), 1
        while len(start):
            start = start[start + apart < len(rows)]
            start = start[key[start] == key[start + apart]]
            one, other = rows[start], rows[start + apart]
            close = _ones(hashes[one, 0] ^ hashes[other, 0]) + _ones(hashes[one, 1] ^ hashes[other, 1]) <= hash_distance
            if close.any():
                yield one[close], other[close]
            apart += 1


def _ones(words: Words) -> NDArray[np.int64]:
    """Count the bits that are set."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(words).astype(np.int64)
    return np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1, dtype=np.int64)


def _group(digests: Words) -> NDArray[np.intp]:
    return np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1)


def _together(group: NDArray[np.intp], own: NDArray[np.int64]) -> NDArray[np.int64]:
    masks = np.zeros(group.max(initial=-1) + 1, dtype=np.int64)
    np.bitwise_or.at(masks, group, own)
    return masks[group]
