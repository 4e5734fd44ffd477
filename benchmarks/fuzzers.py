"""Damaged inputs of every kind, without end, and what reads each: the parts of `benchmarks/attack.py`.

A part yields bytes and a function that reads them. It may raise `InputError`; anything else is a fault.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fake_weights
import hostile
import layouts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pfvit.batch.partition import Partition, Pictures
from pfvit.batch.row_groups import UnreadableError
from pfvit.config import Prepare
from pfvit.data import images, sources
from pfvit.data.parquet import FEW_ROWS
from pfvit.datasets import SETS
from pfvit.errors import InputError, PictureError
from pfvit.inference.network import generator_path, open_generator, open_recogniser

Read = Callable[[bytes], None]
Inputs = Iterator[tuple[bytes, Read]]


def pictures(folder: Path, rng: random.Random) -> Inputs:
    """Damaged pictures of every format."""
    files = [*hostile.good().values(), *hostile.greedy().values()]

    def read(content: bytes) -> None:
        images.decode(content)

    while True:
        yield hostile.damaged(rng.choice(files), rng), read


def parquet(folder: Path, rng: random.Random) -> Inputs:
    """Damaged Parquet files, as `predict` reads them."""
    path = folder / "a.parquet"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        for item in sources.items([path]):
            if isinstance(item.picture, PictureError):
                raise item.picture

    for content in _tables(path, rng):
        yield content, read


def row_groups(folder: Path, rng: random.Random) -> Inputs:
    """Damaged Parquet files, as `batch` reads them."""
    path, pictures = folder / "a.parquet", Pictures()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            rows = sum(pictures.groups.footer(str(path)).sizes)
        except UnreadableError as problem:
            raise InputError(str(problem)) from None
        if not 0 <= rows <= FEW_ROWS:
            raise InputError("more rows than bytes")  # as `partition` says
        for start in range(0, rows, 7):
            part = Partition(0, str(path), start, min(start + 7, rows))
            items = list(pictures.of(part))
            assert [item.key.row for item in items] == list(range(start, part.stop))
            if problem := next((item.picture for item in items if isinstance(item.picture, PictureError)), None):
                raise problem

    for content in _tables(path, rng):
        yield content, read


def _tables(path: Path, rng: random.Random) -> Iterator[bytes]:
    made = []
    cells = [{"bytes": content, "path": name} for name, content in hostile.good().items()]
    table = pa.table({"image": cells, "name": [cell["path"] for cell in cells], "label": list(range(len(cells)))})
    for compression in ("none", "snappy", "zstd", "gzip"):
        pq.write_table(table, path, compression=compression, row_group_size=10)
        made.append(path.read_bytes())
    while True:
        content = rng.choice(made)
        cut = rng.choice((0, len(content) - rng.randrange(100, 4000)))
        yield content[:cut] + hostile.damaged(content[cut:], rng)


def weights(folder: Path, rng: random.Random) -> Inputs:
    """Damaged weight files."""
    path = fake_weights.write(folder)
    content = path.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        open_recogniser(path)

    while True:
        yield hostile.damaged(content, rng), read


#: What a weight file may say instead of what it should.
ODD = (
    "", " ", "0", "-5", "1e9", "1000000000", "9" * 400, "nan", "inf", "-inf", "1.5", "true", "null", "[]", "{}", "[[]]",
    '["a", "a"]', '["a"]', "[1, 2]", '{"neutral": 1}', "\0", "\ud7ff", "é" * 1000, "[" * 5000, '"neutral"', "1_0", "٣",
)  # fmt: skip


def metadata(folder: Path, rng: random.Random) -> Inputs:
    """Weight files that say odd things of themselves; the generator too, and what they draw."""
    import onnx

    recogniser = fake_weights.write(folder)
    generator = generator_path(recogniser)
    whole = {path: onnx.load(path) for path in (recogniser, generator)}
    face = np.full((20, 20, 3), 90, np.uint8)
    for path in (recogniser, generator):
        path.write_bytes(whole[path].SerializeToString())

    while True:
        path = rng.choice((recogniser, generator))
        model = onnx.ModelProto()
        model.CopyFrom(whole[path])
        for _ in range(rng.choice((1, 1, 2, 5))):
            props = model.metadata_props
            one = rng.randrange(len(props))
            kind = rng.randrange(4)
            if kind == 0:
                del props[one]
            elif kind == 1:
                props.add(key=props[one].key, value=rng.choice(ODD))
            elif kind == 2:
                props[one].value = rng.choice(ODD)
            else:
                at = rng.randrange(len(props[one].value) + 1)
                props[one].value = props[one].value[:at] + rng.choice(ODD) + props[one].value[at + rng.randrange(3) :]

        def read(content: bytes, path: Path = path) -> None:
            path.write_bytes(content)
            try:
                opened = open_recogniser(recogniser)
                answer = opened.run(("probabilities", "emotion", "residue"), image=face[None])
                assert np.isfinite(answer["probabilities"]).all()
                about = open_generator(opened)
                assert 0 < about.emphasis <= 100 and len(set(about.labels)) == len(about.labels) > 0
            finally:
                path.write_bytes(whole[path].SerializeToString())

        yield model.SerializeToString(), read


SIZES = {
    "image_size": 12,
    "width": 4,
    "depth": 1,
    "heads": 1,
    "decoder_width": 4,
    "decoder_depth": 1,
    "decoder_heads": 1,
}
RECORD = {"stage": "train", "step": 3, "config": {"model": SIZES}, "classes": ["neutral", "fear"]}


def checkpoints(folder: Path, rng: random.Random) -> Inputs:
    """Damaged checkpoints of runs, and weights that others made, with pickles in them or without."""
    import torch
    from safetensors.torch import save_file

    from pfvit.training import checkpoint, pretrained

    ours, theirs, pickled = (folder / name for name in ("run.safetensors", "vit.safetensors", "vit.pth"))
    tensors = {"encoder.cls_token": torch.zeros(1, 1, 4), "step": torch.tensor(3), "half": torch.ones(40).bfloat16()}
    checkpoint.save(ours, tensors, RECORD)
    public = {"cls_token": torch.zeros(1, 1, 4), "pos_embed": torch.zeros(1, 5, 4), "norm.weight": torch.ones(4)}
    public["patch_embed.proj.weight"] = torch.zeros(4, 3, 2, 2)
    save_file(public, theirs)
    torch.save({"model": public, "epoch": 3}, pickled)
    made = {path: _in_order(path.read_bytes()) for path in (ours, theirs)} | {pickled: pickled.read_bytes()}

    def read_ours(content: bytes) -> None:
        ours.write_bytes(content)
        pretrained.is_public(ours)
        checkpoint.load(ours)
        checkpoint.record_of(ours)

    def read_theirs(content: bytes, path: Path) -> None:
        path.write_bytes(content)
        public = pretrained.read(path)
        public.statistics()

    reads = {
        ours: read_ours,
        theirs: lambda content: read_theirs(content, theirs),
        pickled: lambda content: read_theirs(content, pickled),
    }
    while True:
        path = rng.choice(list(made))
        yield hostile.damaged(made[path], rng), reads[path]


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file whose header is the same each time; its library's is not."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def lists(folder: Path, rng: random.Random) -> Inputs:
    """Damaged lists of data sets."""
    made = []
    for number, (name, lay, files) in enumerate(LISTS):
        source = getattr(layouts, lay)(folder / str(number))
        made += [(name, source, source / file, (source / file).read_bytes()) for file in files]

    while True:
        name, source, file, content = rng.choice(made)

        def read(content: bytes, name=name, source=source, file=file) -> None:
            before = file.read_bytes()
            file.write_bytes(content)
            try:
                for item in SETS[name].listing(source, Prepare(name, source, folder / "out")):
                    path = getattr(item, "path", None)
                    assert path is None or (".." not in path.parts and path.is_relative_to(source)), path
            finally:
                file.write_bytes(before)

        yield hostile.damaged(content, rng), read


LISTS = (
    ("affectnet8", "affectnet_tables", ["training.csv", "validation.csv"]),
    ("expw", "expw", ["label/label.lst"]),
    ("ferplus", "ferplus", ["fer2013.csv", "fer2013new.csv"]),
)


def films(folder: Path, rng: random.Random) -> Inputs:
    """Damaged films of every container, read to their end and written again with their sound."""
    import av

    from pfvit.video.io import VideoFrame, VideoReader
    from pfvit.video.writer import VideoWriter, suffix_for

    made = {name: film(folder / f"good.{name}", *codecs) for name, codecs in FILMS.items()}

    def read(content: bytes, ending: str) -> None:
        path = folder / f"film.{ending}"
        path.write_bytes(content)
        reader = VideoReader(str(path))
        writer = None
        try:
            frames = 0
            for item in reader.frames(sound=True):
                if isinstance(item, VideoFrame):
                    if writer is None:
                        out = folder / f"written{suffix_for(reader.audio)}"
                        writer = VideoWriter(out, reader.rate, item.image.shape[1::-1], reader.audio)
                    writer.show(item.image, item.time)
                    frames += 1
                elif writer is not None:
                    writer.sound(item)
                if frames > 200:
                    break
            if writer is not None:
                writer.finish()
                writer = None
        finally:
            if writer is not None:
                writer.discard()
            reader.close()

    av.logging.set_level(av.logging.PANIC)
    while True:
        ending = rng.choice(list(made))
        yield hostile.damaged(made[ending], rng), lambda content, ending=ending: read(content, ending)


#: Endings, with codecs of pictures and sound.
FILMS = {
    "mp4": ("libx264", "aac"),
    "mov": ("mpeg4", "pcm_s16le"),
    "mkv": ("libx264", "flac"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mjpeg", "mp2"),
    "ts": ("mpeg2video", "mp2"),
    "gif": ("gif", None),
}


def film(path: Path, codec: str, sound: str | None, frames: int = 12) -> bytes:
    """Write a film of so many frames, and return its bytes."""
    import av

    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=25)
        video.width, video.height = 64, 48
        video.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        audio = file.add_stream(sound, rate=48_000) if sound else None
        for number in range(frames):
            pixels = np.full((48, 64, 3), 20 * number % 251, np.uint8)
            pixels[number % 40 : number % 40 + 9, 10:30] = (200, 90, 40)
            file.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            if audio is not None:
                samples = np.zeros((1, 1920 * audio.channels), np.int16)
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=audio.layout.name)
                frame.sample_rate, frame.pts = 48_000, number * 1920
                file.mux(audio.encode(frame))
        for stream in (video, audio):
            if stream is not None:
                file.mux(stream.encode(None))
    return path.read_bytes()


def requests(folder: Path, rng: random.Random) -> Inputs:
    """Damaged HTTP requests, one or several on a connection, in pieces as they come."""
    from fuzz_requests import inputs

    yield from inputs(rng)


PARTS = {
    part.__name__: part
    for part in (pictures, parquet, row_groups, weights, metadata, checkpoints, lists, films, requests)
}
