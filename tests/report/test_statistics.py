"""Intervals, tests and ceilings of the report, against values worked by hand or by a library."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from pfvit.evaluation import metrics
from pfvit.report import statistics
from pfvit.report.explanation import GRID, INSIDE, densities, rollout
from pfvit.report.separation import nearest, nearest_probe, tsne


@pytest.fixture(scope="module")
def answered():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 400)
    return truth, np.where(rng.random(400) < 0.7, truth, rng.integers(0, 5, 400))


def test_recall_precision_and_f1_are_the_library_s(answered):
    truth, answer = answered
    each = statistics.per_class(metrics.confusion_matrix(truth, answer, 5))
    precision, recall, f1, _ = precision_recall_fscore_support(truth, answer, labels=range(5), zero_division=np.nan)
    assert each.recall[:4] == pytest.approx(recall[:4]) and np.isnan(each.recall[4])  # class 4 never occurs
    assert each.precision == pytest.approx(precision) and each.f1[:4] == pytest.approx(f1[:4])
    for values, ends in ((each.recall[:4], each.recall_ends[:4]), (each.precision, each.precision_ends)):
        assert (ends[:, 0] <= values).all() and (values <= ends[:, 1]).all()
    assert np.isnan(each.recall_ends[4]).all()


def test_intervals_of_a_class_are_as_wide_as_its_standard_error_says(answered):
    truth, answer = answered
    matrix = metrics.confusion_matrix(truth, answer, 5)
    each, faces = statistics.per_class(matrix, draws=4000), matrix.sum(1)[:4]
    error = np.sqrt(each.recall[:4] * (1 - each.recall[:4]) / faces)
    assert np.diff(each.recall_ends[:4], axis=1)[:, 0] == pytest.approx(2 * 1.96 * error, rel=0.12)


def test_the_interval_of_mean_recall_is_that_of_redrawn_faces(answered):
    truth, answer = answered
    ours = statistics.uar_ends(metrics.confusion_matrix(truth, answer, 5))
    assert ours == pytest.approx(metrics.bootstrap(truth, np.eye(5)[answer])["uar"], abs=0.01)


def test_wilson_by_hand():
    # (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) for 8 of 10, z = 1.96.
    assert statistics.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert np.isnan(statistics.wilson(0, 0)).all()


def test_mcnemar_by_hand():
    truth = np.zeros(20, int)
    first, second = truth.copy(), truth.copy()
    first[:8] = 1  # the second alone has eight right, the first alone two
    second[8:10] = 1
    told = statistics.paired(truth, first, second, 2)
    assert (told.first_alone, told.second_alone) == (2, 8)
    assert told.p == pytest.approx(2 * (1 + 10 + 45) / 1024)  # two tails of the binomial of 10 at one half
    assert told.war == pytest.approx(6 / 20) == told.uar
    assert told.war_ends[0] < 0.3 < told.war_ends[1]


def test_the_bootstrap_of_a_difference_is_as_wide_as_its_standard_error_says(answered):
    """The variance of a difference of paired shares is (b + c - (b - c)^2 / n) / n^2 (Agresti, section 11.1.1)."""
    truth, answer = answered
    other = np.where(np.random.default_rng(5).random(len(truth)) < 0.2, truth, answer)
    other[:20] = (truth[:20] + 1) % 4
    told, n = statistics.paired(truth, answer, other, 5, draws=3000), len(truth)
    b, c = told.first_alone, told.second_alone
    error = np.sqrt((b + c - (b - c) ** 2 / n) / n**2)
    assert b > 5 and c > 5 and told.war == pytest.approx((c - b) / n)
    assert np.diff(told.war_ends)[0] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_recogniser_is_no_better_than_itself(answered):
    truth, answer = answered
    told = statistics.paired(truth, answer, answer, 5)
    assert (told.p, told.war, told.uar) == (1, 0, 0) and told.war_ends == told.uar_ends == (0, 0)


def test_paired_differences_are_narrower_than_unpaired_ones(answered):
    truth, answer = answered
    other = answer.copy()
    other[:12] = truth[:12]
    told = statistics.paired(truth, answer, other, 5)
    low, high = metrics.bootstrap(truth, np.eye(5)[answer])["war"]
    assert told.war_ends[1] - told.war_ends[0] < (high - low) / 2


def test_the_ceiling_of_labels_by_hand():
    """Three annotators, two emotions, shares 2/3 and 1/3: a panel has the first with p^3 + 3 p^2 q = 20/27."""
    votes = np.tile([2.0, 1.0], (300, 1))
    ceiling = statistics.noise_ceiling(votes, panels=400)
    reader = 20 / 27
    assert ceiling.one == pytest.approx(2 / 3)
    assert ceiling.reader == pytest.approx(reader, abs=0.005)
    assert ceiling.panel == pytest.approx(reader**2 + (1 - reader) ** 2, abs=0.005)


def test_where_all_agree_the_ceiling_is_one():
    assert statistics.noise_ceiling(np.eye(3) * 10) == pytest.approx((1, 1, 1))


def test_likely_mislabelled_by_hand():
    ones = np.array([0.1, 0.2, 0.9, 0.35, 0.7])  # probability of class 1
    probabilities = np.stack([1 - ones, ones], axis=1)
    truth = np.array([0, 0, 0, 1, 1])
    # In the mean faces of 1 have 0.525 for class 1, those of 0 have (0.9 + 0.8 + 0.1) / 3 = 0.6 for class 0:
    # face 2 has 0.9 for class 1, and face 3 has 0.65 for class 0.
    assert statistics.likely_mislabelled(probabilities, truth).tolist() == [2, 3]
    assert not len(statistics.likely_mislabelled(probabilities, (ones > 0.5).astype(int)))


def test_a_temperature_is_taken_back():
    logits = np.random.default_rng(0).normal(size=(6, 4))

    def softmax(values):
        return np.exp(values) / np.exp(values).sum(1, keepdims=True)

    assert statistics.untempered(softmax(logits / 0.7), 0.7) == pytest.approx(softmax(logits))


def test_the_linear_probe_is_nearly_the_library_s():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    values = rng.normal(size=(300, 6))
    values[:, :3] += np.eye(3)[truth]
    right = 0
    for fit in (0, 1):
        inside = np.arange(300) % 2 == fit
        scaler = StandardScaler().fit(values[inside])
        # The same L2: decay / 2 |w|^2 beside the mean loss.
        model = LogisticRegression(C=1 / (0.01 * inside.sum())).fit(scaler.transform(values[inside]), truth[inside])
        right += (model.predict(scaler.transform(values[~inside])) == truth[~inside]).sum()
    assert metrics.linear_probe(values, truth, 3) == pytest.approx(right / 300, abs=0.01)


def test_probes_and_neighbours_find_groups():
    rng = np.random.default_rng(1)
    truth = np.arange(120) // 2 % 3
    values = np.eye(3)[truth] * 8 + rng.normal(size=(120, 3))
    assert nearest_probe(values, truth) == 1
    assert nearest_probe(rng.normal(size=(120, 3)), truth) < 0.6
    near = nearest(values, 5)
    assert near.shape == (120, 5) and (truth[near] == truth[:, None]).all()
    assert (near != np.arange(120)[:, None]).all()
    places = tsne(values)
    assert places.shape == (120, 2)
    assert (truth[nearest_in_plane(places)] == truth).mean() > 0.95
    assert tsne(np.ones((10, 3))) is None


def nearest_in_plane(places):
    distance = ((places[:, None] - places) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    return distance.argmin(1)


def test_rollout_by_hand():
    """A class token and two patches; in the first block the second patch reads the first, in the second all read 1."""
    first, second = np.eye(3), np.tile([0.0, 0.0, 1.0], (3, 1))
    first[2] = [0, 1, 0]
    # Class token: half itself, half patch 1 (of 0 and 1), which is half of itself and half of patch 0.
    assert rollout([first[None, None], second[None, None]]) == pytest.approx(np.array([[0.5, 0.5]]))
    assert rollout([second[None, None]]) == pytest.approx(np.array([[0.0, 1.0]]))


def test_density_is_one_by_chance_and_more_where_a_map_points():
    even = np.ones((1, GRID, GRID))
    assert densities(even, ["mouth"]) == pytest.approx([1]) == densities(even, ["eyes", "nose"])
    mouth = INSIDE["mouth"][None].astype(float)
    assert densities(mouth, ["mouth"]) == pytest.approx([1 / INSIDE["mouth"].mean()])
    assert densities(mouth, ["brows"]) == pytest.approx([0])
    assert np.isnan(densities(np.zeros((1, GRID, GRID)), ["brows"])).all()
