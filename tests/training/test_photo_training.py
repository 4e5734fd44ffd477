"""The photo model's training, on made-up faces with made-up points: it runs, it learns, it resumes to the bit."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import inside, pfvit, png
from helpers import plain_face

from pfvit.config import TrainPhoto
from pfvit.datasets import mesh_points as mesh
from pfvit.errors import InputError, UsageError
from pfvit.inference import network
from pfvit.model.movement import MovementMaps
from pfvit.model.photo import SIZE
from pfvit.training.movement_losses import (
    face_regions,
    kept_losses,
    light_losses,
    lip_signs,
    mouth_crops,
    movement_losses,
    region_measures,
)
from pfvit.training.photo_data import PhotoFaces, points_of
from pfvit.training.photo_trainer import PhotoTrainer

#: As many as the teacher of movement wants to see points of, and those of them that a run learns from.
FACES, LEARNT_FROM = 160, 40
QUICK = (
    "--batch", "4", "--masked-batch", "8", "--log-every", "1", "--hardware.precision", "32", "--hardware.threads", "1",
    "--discriminator-widths", "8", "8", "8", "8", "--limit", str(LEARNT_FROM),
)  # fmt: skip
AMOUNTS = ("--masked-faces", "16", "--movement-faces", "12", "--adversarial-faces", "12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Faces of 48 px whose mouth is a bar as wide as their points say, and the points."""
    folder = tmp_path_factory.mktemp("photo")
    rng = np.random.default_rng(0)
    smiling = np.arange(FACES) % 2 == 1
    points = np.repeat(plain_face()[None], FACES, 0) + rng.normal(0, 0.003, (FACES, mesh.POINTS, 2))
    points[:, 14] = points[:, 13]
    lips = [*mesh.OUTER_UPPER, *mesh.INNER_UPPER, *mesh.INNER_LOWER, *mesh.OUTER_LOWER]
    points[np.ix_(smiling, lips, [0])] *= 1.5
    axis, origin = np.array([0.5, 0.0]), np.array([0.5, 0.4])
    cells = []
    for face in points:
        picture = np.full((48, 48, 3), 140, np.uint8) + rng.integers(0, 20, (48, 48, 1), dtype=np.uint8)
        half = mesh.mouth_width(face[None])[0] * 0.25
        picture[38:42, int(48 * (0.5 - half)) : int(48 * (0.5 + half))] = (200, 30, 30)
        cells.append({"bytes": png(picture), "path": ""})
    pq.write_table(pa.table({"image": cells}), folder / "faces_color.parquet")
    flat = points.reshape(FACES, -1)
    _, _, v = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    shares = np.full((FACES, 8), 0.0005, np.float32)
    shares[np.arange(FACES), smiling.astype(int)] = 0.99
    np.savez(
        folder / "points.npz", mean=flat.mean(0), V=v.T, utk_coef=(flat - flat.mean(0)) @ v.T,
        utk_oa=np.tile([*origin, *axis], (FACES, 1)), utk_ok=np.ones(FACES, bool), utk_share=shares,
    )  # fmt: skip
    return folder


def words(folder: Path, out: Path, *more: object) -> list[object]:
    return ["train-photo", "--data", folder / "faces_color.parquet", "--points", folder / "points.npz", "--out", out,
            *QUICK, *more]  # fmt: skip


def losses(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> Path:
    """A run of two steps of each phase: 8, then 4 + 1 + 1 faces."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = pfvit(*words(folder, out, *AMOUNTS), timeout=600)
    assert done.returncode == 0, done.stderr
    return out


def test_three_phases_export_and_reading(whole, tmp_path):
    lines = losses(whole)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert "flow" not in lines[1] and "flow" in lines[2] and "realism" not in lines[3] and "mouth_realism" in lines[4]
    assert list((whole / "sheets").glob("*.png"))
    done = pfvit("export", whole, "--out", tmp_path / "mine-photo.onnx", timeout=600)
    assert done.returncode == 0, done.stderr
    photo = network._open(tmp_path / "mine-photo.onnx", "photo", 1, network.OUTPUTS["photo"], ())
    assert photo.run(image=np.zeros((1, SIZE, SIZE, 3), np.uint8))["maps"].shape == (1, 9, 56, 56)


def test_a_run_that_was_stopped_goes_on_to_the_bit(whole, folder, tmp_path):
    stopped = pfvit(*words(folder, tmp_path / "cut", *AMOUNTS, "--minutes", "0.0000001"), timeout=600)
    assert stopped.returncode == 0 and "1 of 6 steps" in stopped.stderr
    done = pfvit(*words(folder, tmp_path / "cut", *AMOUNTS, "--resume"), timeout=600)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "cut") == losses(whole)


def test_the_encoder_is_held_once_the_subspace_is_set(folder):
    config = TrainPhoto(
        data=(folder / "faces_color.parquet",), points=folder / "points.npz", out=Path(), masked_faces=0,
        movement_faces=0, adversarial_faces=18, batch=4, masked_batch=16, discriminator_widths=(8, 8, 8, 8),
        fit_emotion_subspace=0.34, limit=LEARNT_FROM,
    )  # fmt: skip
    trainer = PhotoTrainer(config, torch.device("cpu"), bf16=False)
    encoder, separator = trainer.model.encoder, trainer.model.separator
    fresh = encoder.patch_embed.proj.weight.clone()
    trainer.step(0)
    learnt, axes = encoder.patch_embed.proj.weight.clone(), separator.basis.clone()
    assert not torch.equal(learnt, fresh)
    trainer.step(1)
    averaged, fitted = encoder.patch_embed.proj.weight.clone(), separator.basis.clone()
    assert not torch.equal(averaged, learnt) and not torch.equal(fitted, axes)
    trainer.step(2)
    assert torch.equal(encoder.patch_embed.proj.weight, averaged) and torch.equal(separator.basis, fitted)
    # On the faces that the subspace was fitted on, the mean residues of the emotions are the same.
    kinds, means = [], []
    chosen = torch.randperm(LEARNT_FROM, generator=torch.Generator().manual_seed(1_000_003 * config.seed + 1))
    for number, indices in enumerate(chosen.split(config.masked_batch)):
        face, shares = trainer.faces.plain(0, indices, whole=number % 2 == 1)
        with torch.no_grad():
            means.append([part.mean(1) for part in trainer.average.separate(face)])
        kinds.append(shares[:, 1] > 0.5)
    smiling = torch.cat(kinds)
    apart = [
        (parts[smiling].mean(0) - parts[~smiling].mean(0)).norm().item()
        for parts in (torch.cat(values) for values in zip(*means, strict=True))
    ]
    assert apart[1] < 1e-3 * apart[0]


def test_an_earlier_model_is_kept_on_colour_faces(whole, folder, tmp_path):
    done = pfvit(
        *words(folder, tmp_path / "two", "--masked-faces", "0", "--movement-faces", "6", "--adversarial-faces", "6"),
        "--start", whole, "--keep", whole, "--fit-emotion-subspace", "0", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = losses(tmp_path / "two")
    assert first["kept"] == pytest.approx(0, abs=1e-3) and second["kept"] > first["kept"]  # it starts as that model is


def test_a_plain_view_is_framed_by_the_eyes(folder):
    faces = PhotoFaces([folder / "faces_color.parquet"], folder / "points.npz", 0.6, torch.device("cpu"), 4)
    face, shares = faces.plain(0, torch.tensor([0, 3]))
    assert face.shape == (2, 3, SIZE, SIZE) and torch.equal(shares, faces.sets[0].shares[[0, 3]])
    # Eyes 0.5 of the side apart lie 0.51 of it apart; the mouth's bar is at 40 of 48 rows, 0.433 below the eyes at 0.4.
    red = (face[1, 0] - face[1, 1] > 0.5).nonzero()[:, 0].float().mean() / SIZE
    assert red.item() == pytest.approx(0.375 + 0.433 / (0.5 / 0.51), abs=0.02)
    face, _ = faces.plain(0, torch.tensor([3]), whole=True)
    assert ((face[0, 0] - face[0, 1] > 0.5).nonzero()[:, 0].float().mean() / SIZE).item() == pytest.approx(
        40 / 48, abs=0.02
    )


def test_what_is_wrong_is_said(folder, tmp_path, capsys):
    assert points_of(Path("faces_fair_160.parquet")) == "fair" and points_of(Path("mine.parquet")) is None
    odd = tmp_path / "mine.parquet"
    odd.write_bytes((folder / "faces_color.parquet").read_bytes())
    with pytest.raises(InputError, match=r"no mesh points are known for mine\.parquet: .*color: utk, .*rename"):
        PhotoFaces([odd], folder / "points.npz", 0.6, torch.device("cpu"), None)
    with pytest.raises(UsageError, match="nothing to train"):
        TrainPhoto(data=(), points=Path(), out=Path(), masked_faces=0, movement_faces=0, adversarial_faces=0)
    with pytest.raises(UsageError, match=r"--movement-faces 95 are too few for one step, which takes 96: .* --batch"):
        TrainPhoto(data=(), points=Path(), out=Path(), movement_faces=95)
    said = inside(capsys, "reproduce", "photo", "--data", folder, "--out", tmp_path / "out")
    assert said.returncode == 2 and "--points" in said.stderr


def square_points(count: int = 2) -> torch.Tensor:
    """Points of plain faces in pictures: eyes at (0.25, 0.4) and (0.75, 0.4)."""
    place = plain_face() * 0.5 + [0.5, 0.4]
    return torch.from_numpy(place.astype(np.float32))[None].repeat(count, 1, 1)


def maps(**given: torch.Tensor) -> MovementMaps:
    still = {"base": 2, "split": 2, "height": 1, "gate": 1, "light": 3}
    return MovementMaps(**{name: given.get(name, torch.zeros(2, count, 56, 56)) for name, count in still.items()})


def test_maps_that_say_what_the_teacher_says_cost_nothing():
    q = square_points()
    regions = face_regions(q, torch.ones(2))
    known, moving = torch.ones(2, dtype=torch.bool), torch.zeros(2)
    right = maps(base=torch.full((2, 2, 56, 56), 0.06), height=regions.line)
    terms = movement_losses(right, q + 0.03, q, known, moving, regions, torch.ones(2))
    assert float(terms["flow"]) == pytest.approx(0, abs=1e-5) and float(terms["line"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["roughness"]) == 0 and float(terms["split_outside"]) == 0
    wrong = movement_losses(maps(height=regions.line), q + 0.03, q, known, moving, regions, torch.ones(2))
    assert float(wrong["flow"]) > 0.1
    unknown = movement_losses(maps(), q + 0.03, q, ~known, moving, regions, torch.ones(2))
    assert float(unknown["flow"]) == 0 and float(unknown["line"]) == 0


def test_lips_part_by_the_split():
    q = square_points()
    p = q.clone()
    p[..., 1] -= 0.02 * lip_signs()
    regions, known = face_regions(q, torch.ones(2)), torch.ones(2, dtype=torch.bool)
    split = torch.zeros(2, 2, 56, 56)
    split[:, 1] = -0.04
    parted = movement_losses(maps(split=split), p, q, known, torch.zeros(2), regions, torch.ones(2))
    whole = movement_losses(maps(), p, q, known, torch.zeros(2), regions, torch.ones(2))
    assert float(parted["flow"]) < 1e-5 < float(whole["flow"]) and float(parted["split_outside"]) > 0


def test_the_lip_line_by_hand_and_mirrored():
    q = square_points(1)
    regions = face_regions(q, torch.ones(1))
    row = 0.4 + 0.83 * 0.5  # of the line of the lips, in shares of the side
    middle = regions.line[0, 0, :, 28]
    heights = row - (torch.arange(56) + 0.5) / 56
    assert torch.allclose(middle, heights, atol=1e-4)
    assert int(regions.mouth[0, 0, :, 28].argmin()) == int(row * 56)
    mirrored = q.clone()
    mirrored[..., 0] = 1 - q[..., 0]
    flipped = face_regions(mirrored, -torch.ones(1))
    for one, other in zip(regions, flipped, strict=True):
        assert torch.allclose(one, other.flip(3), atol=1e-4)


def test_brows_count_where_lips_would_hardly():
    q = square_points()
    regions, known, moving = face_regions(q, torch.ones(2)), torch.ones(2, dtype=torch.bool), torch.zeros(2)
    costs = []
    for points in (mesh.BROWS, mesh.LIPS):
        p = q.clone()
        p[:, points, 1] += 0.001
        costs.append(
            float(movement_losses(maps(height=regions.line), p, q, known, moving, regions, torch.ones(2))["flow"])
            / len(points)
        )
    assert costs[0] > 3 * costs[1]  # though lips weigh more


def test_regions_are_measured_as_the_mesh_is_mirrored_and_turned():
    q = square_points(1)
    change = torch.from_numpy(np.random.default_rng(0).normal(size=q.shape).astype(np.float32)) * 0.02
    change[:, mesh.EYES] = 0  # the teacher's faces share their eyes' corners
    before, after = (mesh.to_face_units(points.numpy().astype(np.float64))[0] for points in (q, q + change))
    wanted = [
        sign * (mesh.describe(after)[name] - mesh.describe(before)[name])[0]
        for name, sign in {"brow height": 1, "eye opening": 1, "corner drop": 1}.items()
    ]
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    mirror = torch.tensor([-1.0, 1.0])
    seen = region_measures(change, q, torch.ones(1))
    assert torch.allclose(seen[0, :3], torch.tensor(wanted, dtype=torch.float32), atol=1e-6)
    assert torch.allclose(seen, region_measures(change @ turn, q @ turn, torch.ones(1)), atol=1e-6)
    assert torch.allclose(seen, region_measures(change * mirror, q * mirror, -torch.ones(1)), atol=1e-6)
    wider = torch.zeros_like(q)
    wider[:, mesh.CORNERS, 0] = torch.tensor([-0.01, 0.01])
    assert region_measures(wider, q, torch.ones(1))[0, 3] == pytest.approx(0.04)  # 1 is the distance of the eyes, 0.5


def test_kept_maps_cost_by_what_is_typical_and_not_around_the_eyes():
    q = square_points()
    regions, kept = face_regions(q, torch.ones(2)), torch.tensor([True, False])
    wanted = maps(height=regions.line)

    def cost(**changed: torch.Tensor) -> float:
        return float(kept_losses(wanted._replace(**changed), wanted, kept, q, regions))

    assert cost() == 0
    other = torch.zeros(2, 3, 56, 56)
    other[1] = 1.0
    assert cost(light=other) == 0  # the second face is free
    assert cost(light=torch.full((2, 3, 56, 56), 0.03)) == pytest.approx(1, rel=1e-4)
    assert cost(height=regions.line + 0.03) == pytest.approx(1, rel=1e-4)
    mouth, brows = torch.zeros(2, 2, 56, 56), torch.zeros(2, 2, 56, 56)
    places = (q[0, :, :] * 56).long()
    mouth[:, :, places[mesh.LIPS, 1], places[mesh.LIPS, 0]] = 0.01
    brows[:, :, places[mesh.BROWS, 1], places[mesh.BROWS, 0]] = 0.01
    assert cost(base=mouth) > 0.002 and cost(base=brows) < 0.1 * cost(base=mouth)
    assert cost(split=brows) > 0


def test_light_is_free_only_where_it_does_nothing():
    regions = face_regions(square_points(), torch.ones(2))
    dark, bright = torch.zeros(2, 3, 56, 56), torch.full((2, 3, 56, 56), 0.1)
    assert float(light_losses(dark, torch.zeros(2), regions)) == 0
    assert (
        float(light_losses(bright, torch.ones(2), regions)) > float(light_losses(bright, torch.zeros(2), regions)) > 0
    )


def test_mouths_are_cut_where_they_are():
    face = torch.zeros(1, 3, 112, 112)
    face[:, :, 88:96, 40:72] = 1  # the mouth: rows around 0.82 of the side
    cut = mouth_crops(face, square_points(1))
    assert cut.shape == (1, 3, 56, 56) and float(cut[0, 0, 24:32, 20:36].mean()) > 0.9


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--start", "none.safetensors"), "none.safetensors cannot be read as weights of the photo model"),
        (("--keep", "faces_color.parquet"), "faces_color.parquet cannot be read as weights of the photo model"),
        (("--data", "gone_color.parquet"), "gone_color.parquet cannot be read as a Parquet file of faces"),
        (("--data", "text_color.parquet"), "text_color.parquet cannot be read as a Parquet file of faces"),
    ],
)
def test_files_that_cannot_be_read_are_told(words, what, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    Path("text_color.parquet").write_text("no Parquet")
    more = words if "--data" not in words else ()
    told = ["train-photo", "--points", "points.npz", "--out", tmp_path / "run", *QUICK, *AMOUNTS, *more]
    done = inside(capsys, *told, "--data", words[1] if "--data" in words else "faces_color.parquet")
    assert done.returncode == 1 and what in done.stderr, done.stderr


def test_a_folder_without_faces_is_told():
    with pytest.raises(InputError, match="there are no faces to train on: give Parquet files with one of color, fair"):
        PhotoFaces((), Path("points.npz"), 0.6, torch.device("cpu"), None)
