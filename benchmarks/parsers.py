"""Our own parsers, for fuzzing guided by what they run: the parts of `benchmarks/guided.py`.

A part is given a folder, and returns good inputs and a function that reads bytes. It may raise `InputError`; anything
else is a fault. Where several texts belong together, NUL stands between them.
"""

import asyncio
import io
import json
import random
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fake_weights
import hostile
import layouts
import numpy as np

from pfvit.config import Prepare
from pfvit.data import columns, formats, list_files, lists, locate, picture_cost
from pfvit.data import labels as meaning
from pfvit.datasets import SETS, manifest
from pfvit.errors import InputError
from pfvit.inference import network, weight_file

Part = tuple[Sequence[bytes], Callable[[bytes], None]]


def headers(folder: Path) -> Part:
    """What pictures of all formats will cost."""

    def read(content: bytes) -> None:
        formats.kind_of(content[: formats.HEAD])
        formats.mistaken_for("a picture", content[: formats.HEAD])
        header = picture_cost.check(io.BytesIO(content), "a")
        assert header is None or header.memory >= 0, header

    return [*hostile.good().values(), *hostile.greedy().values()], read


def onnx(folder: Path) -> Part:
    """Weight files, field by field."""
    path = fake_weights.write(folder)
    good = [file.read_bytes() for file in folder.glob("*.onnx")]

    def read(content: bytes) -> None:
        path.write_bytes(content)
        weight_file.check(path)

    return good, read


def about(folder: Path) -> Part:
    """What weight files say of themselves, as lines of KEY=VALUE."""
    path = fake_weights.write(folder)
    true = network.open_recogniser(path)
    said = dict(true.about)

    class Session:
        """One that says something else."""

        get_inputs, get_outputs = true.session.get_inputs, true.session.get_outputs

        def get_modelmeta(self) -> "Session":
            self.custom_metadata_map = said
            return self

        def run(self, names: Sequence[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            count = len(true.labels)
            return [np.full((len(inputs["image"]), count), 1 / count, np.float32) for _ in names]

    network.open_session = lambda *_: Session()  # type: ignore[assignment]

    def read(content: bytes) -> None:
        said.clear()
        for line in content.decode(errors="replace").split("\n"):
            key, _, value = line.partition("=")
            said[key] = value
        opened = network.open_recogniser(path)
        assert opened.labels and 0 < opened.size <= network.MOST_SIDE and opened.emphasis > 0

    return ["\n".join(f"{key}={value}" for key, value in true.about.items()).encode()], read


def labelled_lists(folder: Path) -> Part:
    """Lists of pictures with labels; what comes before the first NUL is how the file's name ends."""
    layouts.save(folder / "a.png", np.zeros((20, 20, 3), np.uint8))

    def read(content: bytes) -> None:
        ending, _, text = content.partition(b"\0")
        path = folder / f"list.{ending.decode()}" if ending in ENDINGS else folder / "list.csv"
        path.write_bytes(text)
        listing = list_files.read_list(path)
        lists.elsewhere(listing)
        lists.without_labels(path, listing)
        list_files.unread_box(path, listing.heading)
        cells = lists.labels_of(listing, path)
        if isinstance(cells, meaning.Cells):
            _mean(cells)
        for row in listing.rows[:5]:
            if isinstance(row.picture, tuple):
                lists.picture_of(row, path, "a")

    return [ending + b"\0" + text for ending, text in LISTS], read


ENDINGS = (b"csv", b"tsv", b"jsonl", b"txt")
PIXELS = b" ".join([b"7"] * 64)
LISTS = (
    (b"csv", b"file,label,person,part\na.png,happy,me,train\nb.png,sad,,test\n"),
    (b"csv", b"a.png,0\nb.png,1\n"),
    (b"csv", b'image;emotion\n"a;b.png";3\na.png;0,0\n'),
    (b"csv", b"emotion,pixels,Usage\n0," + PIXELS + b",Training\n6," + PIXELS + b",PublicTest\n"),
    (b"csv", ",".join(list_files.AFFECTNET_COLUMNS).encode() + b"\n1/a.png,1,2,30,40,1;2,3,0.1,0.2\n"),
    (b"csv", ",".join(list_files.FERPLUS_COLUMNS).encode() + b'\na.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0\n'),
    (b"csv", b"file,neutral,happiness,is_train,also_in\na.png,0.5,.5,1,\nb.png,1,0,0,test\n"),
    (b"tsv", b"path\ttarget\na.png\t[0.1, 0.9]\nb.png\t[1. 0.]\n"),
    (b"tsv", b"path\tlabel\na.png\t{'happy': 0.5, 'sad': 0.5}\n"),
    (b"jsonl", b'{"file": "a.png", "label": "happy"}\n{"file": "b.png", "label": {"label": "sad", "score": 0.9}}\n'),
    (b"jsonl", b'{"file_name": "a.png", "labels": [0.5, 0.5], "split": "train"}\n{"file_name": "b", "labels": null}\n'),
    (b"txt", b"# of mine\na b.png 5 me\nb.jpg 4 you\n"),
)


def _mean(cells: meaning.Cells) -> None:
    """Read a column of labels as training does, with an order and without."""
    for order in ((), ("affectnet8",)):
        try:
            read = meaning.read(cells, order)
            classes = meaning.classes_of([cells.distinct or read.names], None)
        except InputError:
            if order:
                raise
            continue
        targets = read.called_as(classes).targets(classes, hard=False)
        assert np.isfinite(targets).all() and (targets >= 0).all()


def published_lists(folder: Path) -> Part:
    """Lists of the field's data sets; the first byte says which."""
    out, made, good = folder / "out", [], []
    for number, (name, lay, files) in enumerate(PUBLISHED):
        source = getattr(layouts, lay)(folder / str(number))
        for file in files:
            good.append(bytes([len(made)]) + (source / file).read_bytes())
            made.append((name, source, source / file, (source / file).read_bytes()))

    def read(content: bytes) -> None:
        name, source, file, whole = made[content[0] % len(made) if content else 0]
        file.write_bytes(content[1:])
        try:
            for item in SETS[name].listing(source, Prepare(name, source, out)):
                path = getattr(item, "path", None)
                assert path is None or (".." not in path.parts and path.is_relative_to(source)), path
        finally:
            file.write_bytes(whole)

    return good, read


PUBLISHED = (
    ("rafdb", "rafdb", ["EmoLabel/list_patition_label.txt"]),
    ("affectnet8", "affectnet_tables", ["training.csv", "validation.csv"]),
    ("expw", "expw", ["label/label.lst"]),
    ("ferplus", "ferplus", ["fer2013.csv", "fer2013new.csv"]),
)


def descriptions(folder: Path) -> Part:
    """What Parquet files say: columns; Hugging Face's text; ours; and a column of labels, as JSON."""
    path = folder / "a.parquet"

    def read(content: bytes) -> None:
        names, hugging_face, ours, values = (content + bytes(3)).split(b"\0", 3)
        said = {b"huggingface": hugging_face} | ({b"pfvit.emotions": ours} if ours else {})
        found = columns.columns_of(names.decode(errors="replace").split("\n"), said, path)
        columns.class_names_of(said)
        try:
            cells = json.loads(values.rstrip(b"\0"))
        except (ValueError, RecursionError):
            return
        if isinstance(cells, list):
            for cell in cells[:3]:
                columns.holds_picture(cell, folder)
                columns.is_elsewhere(cell)
                columns.person_of(cell)
            _mean(found.cells(cells, "a.parquet"))

    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["happy", "sad", "neutral"], "_type": "ClassLabel"},
        "several": {"feature": {"names": ["joy", "none"], "_type": "ClassLabel"}, "_type": "Sequence"},
    }
    said = json.dumps({"info": {"features": features}}).encode()
    names, emotions = b"image\nlabel\nalso_in\nperson", b'["neutral", "happiness"]'
    values = (
        b"[0, 1, null, 2]",
        b'["happy", "SAD", ""]',
        b"[[0.5, 0.25], [1, null]]",
        b'[{"happy": 1}, {}]',
        b"[true]",
    )
    good = [b"\0".join((names, said, ours, one)) for one in values for ours in (b"", emotions)]
    return [*good, b"\0".join((b"img\nseveral", said.replace(b'"label"', b'"other"'), b"", b"[[0], [1, 0]]"))], read


def records(folder: Path) -> Part:
    """What checkpoints say of themselves; the first byte tells the format."""
    from pfvit.training import checkpoint

    def read(content: bytes) -> None:
        form = checkpoint.FORMER_FORMAT if content[:1] == b"1" else checkpoint.FORMAT
        record = checkpoint._record({"format": form, "record": content[1:].decode(errors="replace")}, folder / "a")
        checkpoint.architecture_of(record)
        checkpoint.classes_of(record)

    model = {"image_size": 48, "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "classes": 8, "critic_depth": 2}
    config = {"model": model, "rate": 0.1, "encoder_stays": True, "game": {"alone": True, "rate": 0.1, "start": 1}}
    said = json.dumps({"stage": "train", "step": 3, "config": config, "classes": ["neutral", "fear"]}).encode()
    return [b"1" + said, b"2" + said.replace(b"critic_depth", b"discriminator_depth")], read


def folders_of_weights(folder: Path) -> Part:
    """Hugging Face's folders: the list of files with weights, and two tables of settings."""
    import torch
    from safetensors.torch import save_file

    from pfvit.training import pretrained

    public = {"cls_token": torch.zeros(1, 1, 4), "pos_embed": torch.zeros(1, 5, 4), "norm.weight": torch.ones(4)}
    public["patch_embed.proj.weight"] = torch.zeros(4, 3, 2, 2)
    save_file(public, folder / "model-00001-of-00001.safetensors")
    files = ("model.safetensors.index.json", "config.json", "preprocessor_config.json")

    def read(content: bytes) -> None:
        for name, text in zip(files, (content + bytes(2)).split(b"\0", 2), strict=True):
            (folder / name).write_bytes(text.rstrip(b"\0"))
        pretrained.is_public(folder)
        pretrained.read(folder).statistics()

    index = b'{"metadata": {}, "weight_map": {"cls_token": "model-00001-of-00001.safetensors"}}'
    half = b"[0.5, 0.5, 0.5]"
    config = b'{"num_attention_heads": 2, "norm_pix_loss": true, "pretrained_cfg": {"mean": %b, "std": %b}}' % (
        half,
        half,
    )
    return [b"\0".join((index, config, b'{"image_mean": %b, "image_std": %b}' % (half, half)))], read


def manifests(folder: Path) -> Part:
    """What `pfvit prepare` writes of a folder."""
    (folder / "train.parquet").write_bytes(b"PAR1")

    def read(content: bytes) -> None:
        (folder / manifest.NAME).write_bytes(content)
        said = manifest.load(folder)
        manifest.verify(folder, said)
        list(manifest.lines(said))
        manifest.shards(folder, "train")
        locate.locate(folder)

    file = {"name": "train.parquet", "bytes": 4, "sha256": manifest.digest(folder / "train.parquet"), "rows": 3}
    other = {"exact": 1, "near": 0}
    split = {"rows": 3, "files": [file], "emotions": {"fear": 3}, "also_in": {"val": other}, "repeated": 1}
    said = {
        "format": manifest.FORMAT,
        "name": "rafdb",
        "labels": {},
        "settings": {"dataset": "rafdb", "near": 4},
        "splits": {"train": split},
    }
    said |= {"counts": {"train": {"fear": 3}}, "dropped": {"twice": 1}, "gray": 1, "colour": 2, "first": {"gray": "a"}}
    said |= {"differs": [], "published": {"train": {"fear": 3}}, "note": "", "bad": 0}
    return [json.dumps(said).encode()], read


def forms(folder: Path) -> Part:
    """Bodies of multipart/form-data, in pieces."""
    from fuzz_requests import FORM

    from pfvit.service.errors import Problem
    from pfvit.service.uploads import _form

    async def pieces(content: bytes) -> AsyncIterator[bytes]:
        rng = random.Random(content)
        at = 0
        while at < len(content):
            size = rng.choice((1, 7, 100, len(content)))
            yield content[at : at + size]
            at += size

    def read(content: bytes) -> None:
        try:
            made = asyncio.run(_form(pieces(content), "XX", 3))
            assert 0 < len(made) <= 3 and all("/" not in one.source and one.source.isprintable() for one in made)
        except Problem as problem:
            raise InputError(str(problem)) from None

    return [FORM, FORM.replace(b'filename="a.png"', b"filename*=UTF-8''%e2%82%ac.png")], read


def requests(folder: Path) -> Part:
    """What comes over a connection of the service, in pieces."""
    from fuzz_requests import GOOD, inputs

    _, read = next(made := inputs(random.Random(0)))
    KEPT.append(made)  # its end would close the loop that `read` needs
    return [*GOOD, GOOD[0] + GOOD[5] + GOOD[3], GOOD[5] * 3], read


KEPT: list[object] = []
PARSERS = {
    part.__name__: part
    for part in (
        *(headers, onnx, about, labelled_lists, published_lists, descriptions, records, folders_of_weights),
        *(manifests, forms, requests),
    )
}
