"""The recipes that `pfvit reproduce NAME` runs: what ships, the ablation, and the paper's four test sets."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pfvit.config.gan import Gan
from pfvit.config.paper_recipes import AFFECTNET7, AFFECTNET8, FERPLUS, RAFDB
from pfvit.config.photo import TrainPhoto
from pfvit.config.presets import architecture
from pfvit.config.recipe import Measurement, PhotoRecipe, Recipe
from pfvit.config.training import Hardware, Pretrain, Train

_pretrain = partial(Pretrain, data=(), hardware=Hardware(resident=True))
_train = partial(Train, data=(), hardware=Hardware(resident=True))
_SMALL = architecture("small-conv")
_MUON: dict[str, Any] = {"batch": 96, "optimizer": "muon", "layer_decay": 1.0, "label_smoothing": 0.0}

#: All faces, without labels.
_PRETRAINED = _pretrain(out=Path("pretrain"), epochs=2.0, batch=96, optimizer="muon", lr=3e-3, warmup=0.2, model=_SMALL)
#: Recognition, with as much reconstruction beside it as keeps the pixels in the representation.
_RECOGNITION = _train(
    out=Path("recognition"),
    start=Path("pretrain"),
    epochs=28.0,
    lr=5e-3,
    weight_decay=0.1,
    warmup=0.3,
    mixup=0.2,
    cutmix=0.1,
    random_erasing=0.2,
    drop_path=0.1,
    model=_SMALL,
    **_MUON,
    gan=Gan(
        batch=32,
        every=4,
        discriminator_start=1.0,
        encoder_gradient=1.0,
        reconstruction=5.0,
        neutral_identity=5.0,
    ),
)
_WIDE = replace(_SMALL, stem=(64, 128, 256), width=256, heads=4)
#: The square that frames a face as FER2013 does, in files of unlabelled faces by these names.
_WINDOWS = ("faces_color_112=0.92,-0.08",)
_teacher = partial(
    _train,
    lr=2.5e-3,
    weight_decay=0.1,
    warmup=0.65,
    mixup=0.2,
    cutmix=0.2,
    random_erasing=0.25,
    drop_path=0.1,
    zoom=(0.85, 1.25),
    degrees=15.0,
    shift=0.08,
    gan=Gan(every=0),
    **(_MUON | {"batch": 384}),
)
_TEACHERS = tuple(Path(f"teacher-{number}") for number in (1, 2, 3))
_TAUGHT: dict[str, Any] = {"views": "wild", "window": _WINDOWS, "random_erasing": 0.0}
#: What they answered, as the first run that asks them keeps it.
_ANSWERS = (Path("recognition", "teachers.safetensors"),)
_STUDENT = replace(
    _RECOGNITION,
    teacher=_ANSWERS,
    mixup=0.1,
    cutmix=0.0,
    gan=replace(_RECOGNITION.gan, every=6),
    **_TAUGHT,
)

#: The adversarial stage, while recognition stays as it is.
_GENERATION = _train(
    out=Path("generation"),
    start=Path("refit"),
    epochs=3.0,
    batch=32,
    lr=6e-3,
    warmup=0.05,
    layer_decay=1.0,
    freeze=("encoder", "separator", "classifier"),
    model=_SMALL,
    gan=Gan(
        batch=32,
        discriminator_start=0.0,
        discriminator_ramp=0.05,
        feature_matching=0.0,
        max_adversarial_gradient=1.5,
        emotion=0.06,
        neutral_identity=2.0,
        cycle=0.5,
        cycle_emotion=0.03,
    ),
)

SHIPPED = Recipe(
    title="The weights in the wheel: a student of three teachers, on faces as users' pictures show them",
    data_set="ferplus",
    preset="small-conv",
    # All but the last four ran on a GPU, with schedules on its clock: their epochs are those that came out.
    runs=(
        replace(_PRETRAINED, batch=192, warmup=0.03, window=_WINDOWS),
        replace(_PRETRAINED, out=Path("pretrain-wide"), batch=192, warmup=0.03, window=_WINDOWS, model=_WIDE, seed=1),
        # Plain classifiers of two widths; the third is the first with another seed.
        *(
            _teacher(out=out, start=Path(start), epochs=epochs, model=replace(model, separator="none"), seed=seed)
            for out, start, model, epochs, seed in zip(
                _TEACHERS,
                ("pretrain-wide", "pretrain", "pretrain-wide"),
                (_WIDE, _SMALL, _WIDE),
                (43.2, 43.2, 46.2),
                (100, 200, 300),
                strict=True,
            )
        ),
        # Taught half by votes and half by the teachers' mean answer, a third of each step unlabelled.
        replace(_STUDENT, epochs=40.4, lr=2.5e-3, batch=384, warmup=0.6, teacher=_TEACHERS),
        replace(_STUDENT, out=Path("recognition-more"), start=_STUDENT.out, epochs=15.0, lr=1.2e-3, batch=192, seed=5),
        # The encoder is frozen from here on: the emotion's subspace, fitted now, stays right; the classifier is refit.
        _train(
            out=Path("refit"),
            start=Path("recognition-more"),
            epochs=1.5,
            batch=96,
            lr=4e-3,
            warmup=0.1,
            mixup=0.0,
            layer_decay=1.0,
            label_smoothing=0.0,
            freeze=("encoder",),
            fit_emotion_subspace=0.0,
            teacher=_ANSWERS,
            model=_SMALL,
            gan=Gan(every=0),
            **_TAUGHT,
        ),
        _GENERATION,
        replace(_GENERATION, out=Path("generation-more"), start=Path("generation"), epochs=0.86),
    ),
    rows=(
        *(Measurement(f"{path}", str(path)) for path in _TEACHERS),
        # Logit adjustment and change gain were chosen with experiments/choose.py (lab book).
        Measurement(
            "shipped",
            "generation-more",
            trained="generator",
            logit_adjustment=0.6,
            change_gain=2.0,
            mild_smiles=0.04,
            compact=True,
        ),
    ),
    source="docs/lab-book.md, the fifth and the sixth weights",
    expected="WAR 0.846 and UAR 0.699 in 8 bits, one seed",
    hours=3,
    hardware="a GPU like the H100 for all but the last four runs (10 minutes), a core with bf16 (AMX) for those",
    tested_on="val",
    calibrated=True,
    license="research use: trained on FER2013 (no open licence, FER+ votes MIT), UTKFace (non-commercial), LFW, "
    "FairFace (CC BY 4.0)",
)

_brief = partial(_train, epochs=6.0, lr=5e-3, weight_decay=0.1, warmup=0.2, mixup=0.0, random_erasing=0.1, **_MUON)
_FROM = {"start": Path("pretrain")}
_PLAIN = replace(_SMALL, separator="none")
_GAN = Gan(batch=32, every=4, discriminator_start=0.4, encoder_gradient=0.1, reconstruction=5.0)
#: Of the ablation: label, how far it trains the model, and the run.
_VARIANTS: tuple[tuple[str, Any, Train], ...] = (
    ("a: from scratch, classifier only", "classifier", _brief(out=Path("a"), model=_PLAIN, gan=Gan(every=0))),
    ("b: a with masked pre-training", "classifier", _brief(out=Path("b"), model=_PLAIN, gan=Gan(every=0), **_FROM)),
    ("c: b with the separator", "separator", _brief(out=Path("c"), model=_SMALL, gan=Gan(every=0), **_FROM)),
    ("d: full PF-ViT", "generator", _brief(out=Path("d"), model=_SMALL, gan=_GAN, **_FROM)),
    (
        "e1: d without the adversary",
        "generator",
        _brief(
            out=Path("e1"), model=_SMALL, gan=replace(_GAN, adversarial=0.0, feature_matching=0.0, emotion=0.0), **_FROM
        ),
    ),
    (
        "e2: d without orthogonality",
        "generator",
        _brief(out=Path("e2"), model=replace(_SMALL, separator="soft"), gan=_GAN, **_FROM),
    ),
)
#: How far rare emotions are favoured in the second row of each variant: as in the wheel, chosen long before.
_ADJUSTMENT = 0.2
_LABELS = {label.partition(":")[0]: label for label, _, _ in _VARIANTS}

ABLATION = Recipe(
    title="What each part adds",
    data_set="ferplus",
    preset="small-conv",
    runs=(replace(_PRETRAINED, epochs=1.5), *(run for _, _, run in _VARIANTS)),
    rows=tuple(
        row
        for label, trained, run in _VARIANTS
        for row in (
            Measurement(label, str(run.out), trained=trained),
            Measurement(f"{label}, adjusted", str(run.out), logit_adjustment=_ADJUSTMENT),
        )
    ),
    source="docs/paper.md, section 7: the shortest list that tests the paper's claims",
    expected="accuracy of a 81.3 ± 0.4, of d 81.5 ± 0.2",
    hours=5,
    hardware="two cores with bf16 (AMX)",
    tested_on="val",
    calibrated=True,
    seeds=3,
    compared=tuple((_LABELS[one], _LABELS[other]) for one, other in ("ba", "cb", "da", "db", ("d", "e1"), ("d", "e2"))),
)

PHOTO = PhotoRecipe(
    title="The photo model in the wheel",
    training=TrainPhoto(data=(), points=Path(), out=Path("photo")),
    source="docs/paper.md, section 8; docs/lab-book.md, the photo model",
    expected="looks like a photograph (look at the sheets); experiments/measure_poker.py measures it on pairs",
    hours=20,
    hardware="two cores with bf16 (AMX), or 15 minutes of a GPU like the H100",
    license="research use: trained on UTKFace (non-commercial), FairFace (CC BY 4.0), LFW, FER2013 (no open licence)",
)

RECIPES: Mapping[str, Recipe] = {
    "shipped": SHIPPED,
    "ablation": ABLATION,
    "rafdb": RAFDB,
    "affectnet7": AFFECTNET7,
    "affectnet8": AFFECTNET8,
    "ferplus": FERPLUS,
}

Stage = TypeVar("Stage", Pretrain, Train)


def defaults(kind: type[Stage], preset: str) -> Stage:
    """Return the settings that `pfvit pretrain PRESET` or `pfvit train PRESET` begin with, data and folder left open.

    They are the plain ones, but for the preset of the recipe that ships: its pre-training, and recognition without a
    teacher.
    """
    if preset != SHIPPED.preset:
        return kind(data=(), out=Path(), model=architecture(preset))
    run = next(run for run in (_PRETRAINED, _RECOGNITION) if isinstance(run, kind))
    return replace(run, out=Path(), start=None, hardware=Hardware())
