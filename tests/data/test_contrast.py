"""Dark and faint pictures get the contrast of others, gradually, and others stay as they are."""

from pathlib import Path

import numpy as np
import pytest

import pfvit
from pfvit.data import images
from pfvit.data.contrast import CLEAR, FAINT, MOST_GAIN, contrast_of, in_good_light


def between(dark: float, bright: float) -> np.ndarray:
    """A picture of all values between two."""
    return np.linspace(dark, bright, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)


def test_a_clear_picture_stays_as_it_is():
    picture = between(30, 30 + 1.1 * CLEAR)
    assert in_good_light(picture) is picture and contrast_of(picture) is None


@pytest.mark.parametrize(("dark", "bright"), [(0, 0.9 * FAINT), (100, 150), (190, 255)])
def test_a_faint_picture_spans_black_to_white(dark, bright):
    lit = in_good_light(between(dark, bright))
    assert lit.min() <= 5 and lit.max() >= 250 and lit.dtype == np.uint8


def test_contrast_grows_gradually_as_pictures_get_fainter():
    """In a film a face would flicker where it is let through a bound."""
    gains = [
        1.0 if (found := contrast_of(between(20, 20 + span))) is None else found.gain for span in range(140, 40, -1)
    ]
    assert gains[0] == 1 and np.all(np.diff(gains) >= 0) and np.diff(gains).max() < 0.2
    levels = contrast_of(between(20, 20 + (FAINT + CLEAR) / 2)).levels.astype(int)
    assert np.all(np.diff(levels) >= 0) and 0 < levels[20] < 20


def test_noise_grows_no_further_and_an_even_picture_stays():
    picture = np.full((40, 40, 3), 100, np.uint8)
    assert in_good_light(picture) is picture
    picture[::2] += 2
    assert in_good_light(picture) is picture
    picture[::2] += 8
    assert contrast_of(picture).gain == MOST_GAIN and np.ptp(in_good_light(picture)) == 10 * MOST_GAIN


def test_a_lamp_in_the_dark_does_not_count():
    picture = between(0, 40)
    picture[:3, :8] = 255
    assert np.quantile(in_good_light(picture), 0.98) > 240


@pytest.mark.parametrize(("share", "haze"), [(0.15, 0), (0.25, 90)], ids=["dark", "faint"])
def test_faces_are_read_and_calmed_as_in_good_light(share, haze):
    photo = images.decode((Path(__file__).parents[2] / "assets" / "astronaut.jpg").read_bytes())
    faint = np.rint(photo * share + haze).astype(np.uint8)
    (clear,), (face,) = pfvit.read(photo), pfvit.read(faint)
    assert face.emotion == clear.emotion
    assert list(face.probabilities.values()) == pytest.approx(list(clear.probabilities.values()), abs=0.06)
    change, wanted = (
        (pixels.astype(float) - before)
        for pixels, before in (
            (face.paste_back(faint), faint),
            (clear.paste_back(photo) * share + haze, photo * share + haze),
        )
    )
    where = np.abs(wanted).max(axis=2) > 40 * share
    assert where.sum() > 300
    assert np.abs(change - wanted)[where].mean() < 0.3 * np.abs(wanted)[where].mean()
