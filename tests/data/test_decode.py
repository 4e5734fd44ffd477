"""One decoder: the same odd pictures through every way in give the same pixels."""

import io
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pfvit.config import Prepare
from pfvit.config.presets import NANO
from pfvit.data import images, pictures
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.decode import decode_square
from pfvit.data.labelled import Labelled
from pfvit.datasets import manifest, pipeline
from pfvit.emotions import EIGHT
from pfvit.export.calibration import held_out_faces

WIDE, HIGH, SIDE = 40, 32, 24
ORIENTATION = 0x0112


def shades() -> np.ndarray:
    """Smooth, unlike in each quarter, so that a turn, a mirror and a lost channel all show."""
    y, x = np.mgrid[:HIGH, :WIDE]
    return (30 + 3 * x + 2 * y + 40 * ((x > WIDE / 2) & (y < HIGH / 2))).astype(np.uint8)


def colours() -> np.ndarray:
    return np.dstack([shades(), shades()[::-1], 255 - shades()])


def encoded(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def turned(form: str, orientation: int, gray: bool = False) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = shades() if gray else colours()
    return encoded(Image.fromarray(pixels), form, exif=exif, **({"quality": 97} if form != "PNG" else {}))


def cut_out(mode: str) -> Image.Image:
    """A disc; what lies beneath the transparent rest is black."""
    y, x = np.mgrid[:HIGH, :WIDE]
    alpha = np.where((x - WIDE / 2) ** 2 + (y - HIGH / 2) ** 2 < 150, 255, 0).astype(np.uint8)
    layers = [shades() * (alpha > 0)] if mode == "LA" else list((colours() * (alpha > 0)[..., None]).transpose(2, 0, 1))
    return Image.merge(mode, [Image.fromarray(layer.astype(np.uint8)) for layer in (*layers, alpha)])


def palette(transparent: bool) -> bytes:
    picture = Image.fromarray(colours()).quantize(32)
    return encoded(picture, "PNG", **({"transparency": 3} if transparent else {}))


def odd() -> dict[str, bytes]:
    rgb, gray, deep = Image.fromarray(colours()), Image.fromarray(shades()), shades().astype(np.uint16)
    one_bit = Image.fromarray(((shades() > 120) * 255).astype(np.uint8)).convert("1", dither=Image.Dither.NONE)
    made = {
        "plain": encoded(rgb),
        "gray": encoded(gray),
        "jpeg": encoded(rgb, "JPEG", quality=97),
        "gray jpeg": encoded(gray, "JPEG", quality=97),
        "progressive": encoded(rgb, "JPEG", quality=97, progressive=True),
        "cmyk": encoded(rgb.convert("CMYK"), "JPEG", quality=97),
        "16 bits": encoded(Image.fromarray(deep * 257)),
        "12 of 16 bits": encoded(Image.fromarray(deep * 16)),
        "10 of 16 bits": encoded(Image.fromarray(deep * 4)),
        "16-bit TIFF": encoded(Image.fromarray(deep * 257), "TIFF"),
        "32-bit TIFF": encoded(Image.fromarray(deep.astype(np.int32) * 257), "TIFF"),
        "float TIFF from 0 to 1": encoded(Image.fromarray(shades().astype(np.float32) / 255), "TIFF"),
        "float TIFF from 0 to 255": encoded(Image.fromarray(shades().astype(np.float32)), "TIFF"),
        "alpha": encoded(cut_out("RGBA")),
        "gray with alpha": encoded(cut_out("LA")),
        "alpha, WebP": encoded(cut_out("RGBA"), "WEBP", lossless=True),
        "alpha, TIFF": encoded(cut_out("RGBA"), "TIFF"),
        "opaque alpha": encoded(rgb.convert("RGBA")),
        "a colour that is transparent": encoded(rgb, transparency=tuple(colours()[0, 0].tolist())),
        "a gray that is transparent": encoded(gray, transparency=int(shades()[0, 0])),
        "palette": palette(transparent=False),
        "palette with a transparent colour": palette(transparent=True),
        "gray palette": encoded(gray.quantize(16)),
        "one bit": encoded(one_bit),
        "GIF": encoded(rgb.quantize(64), "GIF"),
        "animated GIF": encoded(rgb.quantize(64), "GIF", save_all=True, append_images=[gray.quantize(16)]),
        "animated PNG": encoded(rgb, "PNG", save_all=True, append_images=[gray.convert("RGB")]),
        "BMP": encoded(rgb, "BMP"),
        "PPM": encoded(rgb, "PPM"),
        "PGM": encoded(gray, "PPM"),
        "WebP": encoded(rgb, "WEBP", lossless=True),
        "YCbCr TIFF": encoded(rgb.convert("YCbCr"), "TIFF"),
        "a colour profile": encoded(rgb, "PNG", icc_profile=b"\0" * 16 + b"RGB " + b"\0" * 120),
        "text beside the pixels": encoded(rgb, "PNG", dpi=(72, 72)),
        "damaged EXIF": encoded(rgb, "JPEG", quality=97, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    }
    made |= {f"turned {turn}": turned("JPEG", turn) for turn in (1, 2, 3, 4, 5, 6, 7, 8)}
    made |= {"turned PNG": turned("PNG", 6), "turned WebP": turned("WEBP", 8), "turned gray": turned("JPEG", 6, True)}
    return made


ODD = odd()


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What `pfvit predict` sees of each, at the side of the model."""
    return {name: images.small(pictures.load(file).pixels, SIDE, 3) * 255 for name, file in ODD.items()}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """All in one Parquet file, every one twice in turn, as calibration takes every second row."""
    names = [name for name in ODD for _ in range(2)]
    path = tmp_path_factory.mktemp("odd") / "odd.parquet"
    cells = [{"bytes": ODD[name], "path": None} for name in names]
    pq.write_table(pa.table({"image": cells, "label": [0, 1] * len(ODD)}), path)
    return path


def same(ours: np.ndarray, name: str, expected: dict[str, np.ndarray], tolerance: float = 0.51) -> None:
    difference = np.abs(ours.astype(np.float64) - expected[name])
    # JPEG's own two ways to colour differ by a level or two; anything else must be the same picture.
    assert difference.mean() <= tolerance and difference.max() < 4, f"{name}: {difference.mean():.1f} of 255"


def test_there_are_forty():
    assert len(ODD) >= 40


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ODD)
def test_what_training_decodes_is_what_predict_sees(name, channels):
    ours = decode_square(ODD[name], SIDE, channels)
    theirs = images.small(images.decode(ODD[name]), SIDE, channels).transpose(2, 0, 1) * 255
    assert np.abs(ours - theirs).mean() <= 0.51 and np.abs(ours - theirs).max() < 4


def test_training_and_validation(table, expected):
    faces = read_all(FaceDataset([table], EIGHT, order=["ferplus"]), SIDE, 3)
    for place, name in enumerate(ODD):
        same(faces.image[2 * place].permute(1, 2, 0).numpy(), name, expected)


def test_calibration(table, expected):
    sizes = {"image_size": SIDE, "channels": 3}
    faces = held_out_faces(type(NANO)(**{**vars(NANO), **sizes}), table, True, (), EIGHT)
    for place, name in enumerate(ODD):
        same(faces.image[place].permute(1, 2, 0).numpy(), name, expected)


def test_measuring(table, expected):
    samples = list(Labelled([table], EIGHT, (), clean=True))
    for place, name in enumerate(ODD):
        same(images.small(samples[2 * place].image, SIDE, 3) * 255, name, expected, 1e-3)


@pytest.mark.parametrize("way", ["folders", "list"])
def test_files_in_folders_and_lists(way, tmp_path, expected):
    endings = {"TIFF": "tif", "WebP": "webp", "GIF": "gif", "BMP": "bmp"}
    lines = []
    for place, name in enumerate(ODD):
        ending = next((end for word, end in endings.items() if word in name), "png")
        file = tmp_path / ("happy" if place % 2 else "sad") / f"{place}.{ending}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(ODD[name])
        lines.append(f"{file.parent.name}/{file.name},{file.parent.name}\n")
    path = tmp_path
    if way == "list":
        path = tmp_path / "list.csv"
        path.write_text("file,label\n" + "".join(lines))
    faces = read_all(FaceDataset([path]), SIDE, 3)
    assert len(faces.name) == len(ODD)
    for pixels, name in zip(faces.image, faces.name, strict=True):
        place = int(name.rpartition("/")[2].partition(".")[0])
        same(pixels.permute(1, 2, 0).numpy(), list(ODD)[place], expected)


def test_prepare(tmp_path, expected):
    for place, name in enumerate(ODD):
        file = tmp_path / "source" / ("happy" if place % 2 else "sad") / f"{place}.png"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(ODD[name])
    shutil.copytree(tmp_path / "source", tmp_path / "parts" / "train")
    pipeline.prepare(Prepare("folders", tmp_path / "parts", tmp_path / "out", jobs=1, hash_distance=0))
    (path,) = manifest.shards(tmp_path / "out", "train")
    faces = read_all(FaceDataset([path]), SIDE, 3)
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == len(ODD) == len(faces.name)
    for pixels, row in zip(faces.image, rows, strict=True):
        name = list(ODD)[int(row["name"].rpartition("/")[2].partition(".")[0])]
        same(pixels.permute(1, 2, 0).numpy(), name, expected)
        with images.QUIET, Image.open(io.BytesIO(row["image"]["bytes"])) as kept:
            plain = np.asarray(kept.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        same(plain, name, expected)  # also for software that knows neither turns nor transparency


def test_the_short_way_is_taken_by_plain_pictures_alone(monkeypatch):
    def refuse(*_):
        raise AssertionError("the long way")

    monkeypatch.setattr(images, "decode", refuse)
    for name in ("plain", "gray", "jpeg", "gray jpeg", "progressive", "turned 1", "text beside the pixels"):
        decode_square(ODD[name], SIDE, 1)
    for name in ("16 bits", "alpha", "turned 6", "palette", "cmyk", "a gray that is transparent", "GIF"):
        with pytest.raises(AssertionError, match="the long way"):
            decode_square(ODD[name], SIDE, 1)


@pytest.mark.parametrize("file", [b"", b"junk", ODD["jpeg"][:200], ODD["plain"][:90], encoded(Image.new("L", (4, 4)))])
def test_what_is_no_picture_is_refused_under_its_name(file):
    with pytest.raises(images.PictureError, match=r"^row 7 is "):
        decode_square(file, SIDE, 1, "row 7")
