"""Is the emotion in the emotional component alone? Maps, probes and retrieval on representation, emotion, residue."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pfvit.evaluation import metrics
from pfvit.report import statistics, style
from pfvit.report.collect import Faces, encodes
from pfvit.report.section import Section
from pfvit.report.sheets import grid

Array = NDArray[np.floating]

#: t-SNE takes a minute for so many faces; more would be no clearer.
MAPPED = 1500
PERPLEXITY = 30.0
DIMENSIONS = 50  # that are left of a component before t-SNE, as its authors advise
NEIGHBOURS = 5

RETRIEVED = 6
LEAST = 4  # faces


def separation(faces: Faces) -> Section:
    """Return maps, probes and retrieval of the three components."""
    section = Section(
        "separation",
        "Separation",
        "The representation is the sum of the emotional component and the residue. Each is described by its class "
        "token and its mean patch. If separation works, the emotion can be read off the emotional component and not "
        "off the residue.",
    )
    if not encodes(faces.generator):
        section.note(f"Separation cannot be measured: {faces.drawing}")
        return section
    emotion, residue = (faces.tally[name].astype(np.float64) for name in ("emotion", "residue"))
    parts = {"representation": emotion + residue, "emotion": emotion, "residue": residue}
    if len(faces.truth) < LEAST:
        section.note(f"Fewer than {LEAST} faces: nothing can be computed.")
        return section
    _maps(section, faces, parts)
    if len(set(faces.truth.tolist())) == 1:
        section.note("All faces show one emotion: there is nothing for probes to tell apart.")
    else:
        _probes(section, faces, parts)
    _retrieval(section, faces, {name: parts[name] for name in ("emotion", "residue")})
    return section


def _maps(section: Section, faces: Faces, parts: Mapping[str, Array]) -> None:
    some = np.sort(np.random.default_rng(0).permutation(len(faces.truth))[:MAPPED])
    truth = faces.truth[some]
    figure, panels = style.axes(3, width=style.PAGE, height=3.1)
    counts = np.bincount(truth, minlength=len(faces.names))
    rows: list[list[Any]] = []
    for axis, (name, values) in zip(panels, parts.items(), strict=True):
        places = tsne(values[some])
        axis.set(title=name, xticks=[], yticks=[])
        if places is None:
            section.note(f"{name}: all faces have the same values, so there is no map of it.")
            continue
        for k in np.flatnonzero(counts).tolist():
            shown = places[truth == k]
            look: dict[str, Any] = {"color": style.COLOURS[k % 8], "marker": style.MARKERS[k % 8]}
            look |= {"zorder": 2 + (counts > counts[k]).sum()}  # rare emotions lie above frequent ones
            size = 20 if len(some) < MAPPED / 3 else 12
            axis.scatter(*shown.T, s=size, linewidths=0, alpha=0.8, label=faces.names[k], rasterized=True, **look)
        for face, (x, y) in zip(some, places.tolist(), strict=True):
            rows.append([faces.places[face], faces.names[faces.truth[face]], name, x, y])
    if rows:
        handles, names = panels[[bool(axis.collections) for axis in panels].index(True)].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, markerscale=1.7)
        caption = (
            f"t-SNE of {len(some)} of {len(faces.truth)} faces, drawn at random; a colour and a marker for each "
            "emotion. Distances between groups mean nothing; whether emotions lie apart is what to look at."
        )
        section.draw("tsne", caption, figure)
        section.tell("tsne", "Where t-SNE puts each face.", ("face", "emotion", "of", "x", "y"), rows, hidden=True)


def tsne(values: Array) -> Array | None:
    """Return places in the plane, [faces, 2]; None if all rows are the same."""
    spread = values.std(0)
    if not (spread > 1e-9 * (np.abs(values).max() + 1e-12)).any():
        return None
    scaled = StandardScaler().fit_transform(values)
    kept = min(DIMENSIONS, *scaled.shape)
    fewer = PCA(kept, random_state=0).fit_transform(scaled)
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    return TSNE(perplexity=perplexity, init="random", random_state=0).fit_transform(fewer.astype(np.float32))


def _probes(section: Section, faces: Faces, parts: Mapping[str, Array]) -> None:
    classes, total = len(faces.names), len(faces.truth)
    rows: list[list[Any]] = []
    for name, values in parts.items():
        for probe, share in (
            ("linear", metrics.linear_probe(values, faces.truth, classes)),
            ("nearest neighbours", nearest_probe(values, faces.truth)),
        ):
            right = round(share * total)
            rows.append([name, probe, total, share, *statistics.wilson(right, total)])
    usual = float(np.bincount(faces.truth).max() / total)
    rows.append(["none", "always the most frequent emotion", total, usual, None, None])
    header = ("component", "probe", "faces", "accuracy", "low", "high")
    caption = (
        "How well the emotion is read off each component by a probe that was fitted on other faces: a linear "
        f"classifier, and the majority of the {NEIGHBOURS} nearest neighbours. Wilson intervals."
    )
    section.tell("probes", caption, header, rows)
    figure, (axis,) = style.axes(height=2.8)
    for place, probe in enumerate(("linear", "nearest neighbours")):
        some = [row for row in rows if row[1] == probe]
        x = np.arange(len(some)) + (place - 0.5) * 0.38
        axis.bar(x, [row[3] for row in some], 0.36, color=style.COLOURS[place], hatch=("", "///")[place], label=probe)
        axis.vlines(x, [row[4] for row in some], [row[5] for row in some], color=style.INK)
    axis.axhline(usual, color=style.INK, linestyle="--", linewidth=1, label="always the most frequent emotion")
    axis.set_xticks(range(len(parts)), list(parts))
    axis.set(ylim=(0, 1), ylabel="right answers")
    style.percent(axis, y=True)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    section.draw("probes", caption, figure)


def nearest_probe(values: Array, truth: NDArray[np.integer]) -> float:
    """Return the accuracy of nearest neighbours among the other half of the faces, on standardised features."""
    halves = [(np.arange(len(truth)) % 2 == fit).nonzero()[0] for fit in (0, 1)]
    folds = [(halves[0], halves[1]), (halves[1], halves[0])]
    neighbours = min(NEIGHBOURS, len(truth) // 2)
    probe = make_pipeline(StandardScaler(), KNeighborsClassifier(neighbours))
    return float((cross_val_predict(probe, values, truth, cv=folds) == truth).mean())


def _retrieval(section: Section, faces: Faces, parts: Mapping[str, Array]) -> None:
    rows: list[list[Any]] = []
    for name, values in parts.items():
        near = nearest(values, min(RETRIEVED, len(values) - 1))
        same = faces.truth[near] == faces.truth[:, None]
        rows.append([name, near.shape[1], float(same.mean()), _by_chance(faces.truth)])
        shown = []
        for emotion, found in faces.first.items():
            for face in found[:1]:
                shown.append((emotion, [faces.thumb(face), *map(faces.thumb, near[face].tolist())]))
        columns = ["face", *(f"{place + 1}" for place in range(near.shape[1]))]
        caption = f"Retrieval by {name}: the faces nearest to the first face of each emotion, unpicked (cosine)."
        section.show(f"by-{name}", caption, grid(columns, shown))
    header = ("by", "neighbours", "of the same emotion", "by chance")
    section.tell("retrieval", "Shares of the nearest faces that show the same emotion.", header, rows)


def nearest(values: Array, count: int) -> NDArray[np.integer]:
    """Return the `count` other faces with the largest cosine to each, [faces, count]; nearest first."""
    centred = values - values.mean(0)
    unit = (centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    found = []
    for start in range(0, len(unit), 512):  # a few rows of the matrix of all pairs at a time
        rows = np.arange(start, min(start + 512, len(unit)))
        likeness = unit[rows] @ unit.T
        likeness[np.arange(len(rows)), rows] = -np.inf
        found.append(np.argsort(-likeness, axis=1, kind="stable")[:, :count])
    return np.concatenate(found)


def _by_chance(truth: NDArray[np.integer]) -> float:
    """Return how often another face, taken at random, shows the same emotion."""
    counts = np.bincount(truth)
    return float((counts * (counts - 1)).sum() / (len(truth) * (len(truth) - 1)))
