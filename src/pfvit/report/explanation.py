"""Where the recogniser looks and where the poker face moves, against what the Facial Action Coding System names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.images import at_size
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError
from pfvit.evaluation import metrics
from pfvit.inference.movement import Movement
from pfvit.inference.network import Network
from pfvit.inference.reader import Reader
from pfvit.rendering import heat_over
from pfvit.report.collect import Faces
from pfvit.report.section import Section
from pfvit.report.sheets import grid
from pfvit.utils.cores import cores

Array = NDArray[np.floating]

#: Left, right, top, bottom in a crop, as shares of its sides: around the places of `pfvit.inference.movement`.
REGIONS = {
    "brows": (0.18, 0.82, 0.18, 0.31),
    "eyes": (0.18, 0.82, 0.31, 0.44),
    "nose": (0.38, 0.62, 0.44, 0.64),
    "mouth": (0.26, 0.74, 0.64, 0.88),
}
#: The action units of each emotion (EMFACS: Friesen and Ekman, 1983), and the regions in which their muscles show.
ACTION_UNITS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "happiness": ("6, 12", ("eyes", "mouth")),
    "surprise": ("1, 2, 5, 26", ("brows", "eyes", "mouth")),
    "sadness": ("1, 4, 15", ("brows", "mouth")),
    "anger": ("4, 5, 7, 23", ("brows", "eyes", "mouth")),
    "disgust": ("9, 15, 16", ("nose", "mouth")),
    "fear": ("1, 2, 4, 5, 7, 20, 26", ("brows", "eyes", "mouth")),
    "contempt": ("12, 14", ("mouth",)),
}
GRID = 96  # places along each side at which maps are compared
MOST = 24  # faces of an emotion
CLEAR = 0.001  # smaller differences of densities are rounding
FEW = 5  # faces, below which a bootstrap interval is far too narrow for a verdict
WHERE = np.mgrid[:GRID, :GRID][::-1] / GRID + 0.5 / GRID
INSIDE = {
    name: (WHERE[0] >= left) & (WHERE[0] < right) & (WHERE[1] >= top) & (WHERE[1] < bottom)
    for name, (left, right, top, bottom) in REGIONS.items()
}


def explanation(faces: Faces, reader: Reader) -> Section:
    """Return attention and movement of each emotion by region, beside each other."""
    section = Section(
        "explanation",
        "Explanation",
        "Attention rollout (Abnar and Zuidema, 2020) says where the recogniser looks, the expression map where the "
        "face moves to become its poker face. Densities are shares of a map that lie in a region, over the region's "
        "share of the crop: 1 is chance. Regions are where they lie in most crops, not measured in each face.",
    )
    chosen = {
        name: [face for face in faces.pixels if faces.names[faces.truth[face]] == name][:MOST]
        for name in faces.names
        if name in ACTION_UNITS
    }
    chosen = {name: found for name, found in chosen.items() if found}
    if not chosen:
        section.note("No face shows an expression whose muscles FACS names: there is nothing to explain.")
        return section
    maps: dict[str, dict[str, Array]] = {}
    try:
        attention = Attention(faces.generator.encoder)
        maps["attention"] = {name: attention.maps(faces, found) for name, found in chosen.items()}
    except InputError as problem:
        section.note(f"Attention cannot be computed: {problem}")
    try:
        maps["movement"] = {
            name: np.stack([_at_grid(faces.read(reader, face).expression_map) for face in found])
            for name, found in chosen.items()
        }
    except InputError as problem:
        section.note(f"Movement cannot be computed: {problem}")
    if maps:
        _tables(section, chosen, maps)
        _sheet(section, faces, chosen, maps)
    _directions(section, faces, chosen, reader)
    return section


class Attention:
    """A recogniser that also gives its attention: the softmax of every block becomes an output of its graph."""

    def __init__(self, encoder: Network):
        import onnx  # only here, as it takes a second
        import onnxruntime

        model = onnx.load(encoder.path)
        there = {output.name for output in model.graph.output}
        self.names = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
        self.names = [name for name in self.names if name not in there]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.names)
        if not self.names:
            raise InputError(f"{encoder.path.name} has no attention in its graph")
        self.encoder = encoder
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = encoder.threads or cores()
        self.session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def maps(self, faces: Faces, found: Sequence[int]) -> Array:
        """Return the rollout of faces that are kept as they are, [faces, GRID, GRID]."""
        images = np.stack([at_size(faces.pixels[face], self.encoder.size) for face in found])
        told: list[Array] = [one for one in self.session.run(self.names, {"image": images}) if one.ndim == 4]
        told = [one for one in told if one.shape[2] == one.shape[3]]
        side = round(np.sqrt(told[0].shape[3] - 1)) if told else 0
        if not told or side * side != told[0].shape[3] - 1:
            raise InputError(f"{self.encoder.path.name} has no attention between a class token and a square of patches")
        return np.stack([_at_grid(one) for one in rollout(told).reshape(-1, side, side)])


def rollout(attention: Sequence[Array]) -> Array:
    """Return how much the class token takes from each patch, [faces, patches], through all blocks' attention.

    `attention` is [faces, heads, tokens, tokens] for each block, the first first. Heads are averaged, and half of each
    token is what the block's shortcut hands on.
    """
    tokens = attention[0].shape[-1]
    flow = np.eye(tokens)
    for one in attention:
        flow = (one.mean(1) + np.eye(tokens)) / 2 @ flow
    patches = flow[:, 0, 1:]
    return patches / patches.sum(1, keepdims=True)


def _at_grid(values: Array) -> Array:
    image = Image.fromarray(values.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float64)


def densities(values: Array, regions: Sequence[str]) -> Array:
    """Return the density of maps [faces, GRID, GRID] in some regions together, [faces]; NaN for an empty map."""
    inside = np.any([INSIDE[name] for name in regions], axis=0)
    total = values.sum((1, 2))
    share = values[:, inside].sum(1) / np.where(total > 0, total, np.nan)
    return share / inside.mean()


def _tables(section: Section, chosen: Mapping[str, list[int]], maps: Mapping[str, Mapping[str, Array]]) -> None:
    rows: list[list[Any]] = []
    verdicts: list[list[Any]] = []
    for name in chosen:
        units, named = ACTION_UNITS[name]
        others = [region for region in REGIONS if region not in named]
        for what, of in maps.items():
            means = [_mean(densities(of[name], [region])) for region in REGIONS]
            rows.append([name, units, ", ".join(named), what, len(of[name]), *means])
            there, elsewhere = densities(of[name], named), densities(of[name], others)
            gain = (there - elsewhere)[~np.isnan(there)]
            ends = metrics.bootstrap_mean(gain) if len(gain) else (float("nan"), float("nan"))
            told = "yes" if ends[0] > CLEAR else "no" if ends[1] < -CLEAR else "cannot be said"
            told = told if len(gain) >= FEW else "too few faces"
            verdicts.append([name, what, len(gain), _mean(there), _mean(elsewhere), _mean(gain), *ends, told])
    header = ("emotion", "action units", "their regions", "map", "faces", *REGIONS)
    section.tell("regions", "Density of each map in each region; 1 is chance.", header, rows)
    header = ["emotion", "map", "faces", "in named regions", "in the others"]
    header += ["difference", "difference low", "difference high", "points there"]
    caption = (
        "Do the maps point to the regions that FACS names, rather than to the others? 95% bootstrap intervals of the "
        "difference of densities."
    )
    section.tell("facs", caption, header, verdicts)


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _sheet(
    section: Section, faces: Faces, chosen: Mapping[str, list[int]], maps: Mapping[str, Mapping[str, Array]]
) -> None:
    rows = []
    for name, found in chosen.items():
        face = faces.pixels[found[0]]
        first = [of[name][0].astype(np.float32) for of in maps.values()]
        heated = [np.asarray(heat_over(face, one / max(float(one.max()), 1e-9))) for one in first]
        rows.append((name, [face, *heated]))
    caption = (
        "Attention and movement of the first face of each emotion, unpicked; each map is brightest at its largest."
    )
    section.show("maps", caption, grid(["face", *maps], rows))


def _directions(section: Section, faces: Faces, chosen: Mapping[str, list[int]], reader: Reader) -> None:
    """Add in which direction each region moves, if there is a photo model."""
    rows: list[list[Any]] = []
    neutral = [face for face in faces.pixels if faces.names[faces.truth[face]] == NEUTRAL][:MOST]
    for name, found in {NEUTRAL: neutral, **chosen}.items():
        moved = [faces.read(reader, face).movement for face in found]
        known = np.array([one for one in moved if one is not None])
        if len(known):
            for place, region in enumerate(Movement._fields):
                values = known[:, place]
                rows.append([name, region, len(known), float(values.mean()), *metrics.bootstrap_mean(values)])
    if not rows:
        section.note("There is no photo model beside these weights: directions of movement cannot be computed.")
        return
    header = ("emotion", "region", "faces", "movement", "low", "high")
    caption = "Mean movement, in shares of the distance between the eyes; positive: raised, wider, more open."
    section.tell("directions", caption, header, rows)
