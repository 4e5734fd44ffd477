"""Which files hold pictures: read where they can be, counted and named where they cannot, never passed over."""

import inspect
import io
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image, features

from pfvit.data import formats, images, pictures, sources
from pfvit.data.locate import locate
from pfvit.errors import InputError, PictureError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
SMOOTH = np.linspace(20, 220, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)


def encoded(form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMOOTH).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "kind", "off", "options"),
    [
        ("AVIF", "AVIF", 40, {"quality": 95}),
        ("JPEG2000", "JPEG2000", 2, {}),
        ("MPO", "JPEG", 40, {"quality": 95, "save_all": True, "append_images": [Image.new("RGB", (32, 32))]}),
        ("PPM", "PPM", 0, {}),
        ("TIFF", "TIFF", 0, {}),
    ],
)
def test_rarer_formats_are_recognised_and_read(form, kind, off, options):
    if kind in images.RARE and not features.check(images.RARE[kind]):
        pytest.skip(f"this Pillow has no {form}")
    content = encoded(form, **options)
    assert formats.kind_of(content[: formats.HEAD]) == kind
    assert np.abs(images.decode(content).astype(int) - SMOOTH).max() <= off


def test_a_format_that_this_pillow_lacks_is_named(monkeypatch):
    content = encoded("JPEG2000")
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(PictureError, match=r"a\.jp2 is of the format JPEG2000, which this Pillow was built without"):
        images.decode(content, "a.jp2")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt  " + bytes(40), "a video, not a picture: `pfvit video` reads it"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx " + bytes(40), "a raw file"),
        (b"\xff\x0a" + bytes(40), "a JPEG XL"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"hello, this is text\n" * 10, "not a picture that can be read"),
        (b"<!doctype html>", "a web page, not a picture: download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS, not a picture: run git lfs pull"),
        (b"", "empty"),
    ],
)
def test_what_is_no_picture_is_named(content, why):
    with pytest.raises(PictureError, match=f"x is {why}"):
        images.decode(content, "x")


def test_heic_is_read_where_a_package_for_it_is_there_and_else_named(monkeypatch):
    for package in images.HEIF_PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PictureError, match=r'a\.heic is a HEIC picture: pip install "pfvit\[heic\]" reads it'):
        images.decode(HEIC, "a.heic")
    taught = []
    monkeypatch.setitem(sys.modules, "pi_heif", SimpleNamespace(register_heif_opener=lambda: taught.append("pi_heif")))
    opened, real = [], Image.open

    def open_it(file, formats):
        opened.append(formats)
        return Image.fromarray(SMOOTH) if formats == ("HEIF",) else real(file, formats=formats)

    monkeypatch.setattr(Image, "open", open_it)
    assert (images.decode(HEIC, "a.heic") == SMOOTH).all() and taught == ["pi_heif"] and opened[-1] == ("HEIF",)


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="no ../shared/cases")
def test_a_real_heic():
    pytest.importorskip("pi_heif")
    folder = SHARED / "cases" / "08-heic-folder-silent"
    one, other = (pictures.load(folder / name).pixels for name in ("base.heic", "base.jpg"))
    assert one.shape == other.shape and np.abs(one.astype(int) - other).mean() < 6


def folder_of(tmp_path: Path, **files: bytes) -> Path:
    folder = tmp_path / "d"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_nothing_in_a_folder_is_passed_over_in_silence(tmp_path):
    folder = folder_of(tmp_path, **{
        "a.jpg": encoded("JPEG"), "IMG_1.HEIC": HEIC, "b.mpo": encoded("JPEG"), "c.jpg_large": encoded("JPEG"),
        "d": encoded("PNG"), "e.DNG": encoded("TIFF"), "f.jxl": b"\xff\x0a", "g.xyz": b"whatever", "h.psd": b"8BPS",
        "README": b"see the other folder", "list.csv": b"a,b", "clip.mov": bytes(50), ".hidden.jpg": b"",
    })  # fmt: skip
    files, notes = sources.find([folder])
    assert [path.name for path in files if isinstance(path, Path)] == [
        "IMG_1.HEIC", "a.jpg", "b.mpo", "c.jpg_large", "d", "e.DNG",
    ]  # fmt: skip
    (missing,) = (path for path in files if isinstance(path, sources.Missing))
    assert missing.source == str(folder)
    assert f"{folder}: 3 files of a kind that cannot be read (1 " in str(missing.problem)
    for kind in ("JXL", "XYZ", "PSD"):
        assert f"1 {kind}" in str(missing.problem)
    (note,) = notes
    assert "3 files without pictures left out" in note and all(f"1 {kind}" in note for kind in ("CSV", "MOV"))
    read, unread = [], {}
    for item in sources.items(files):
        try:
            if isinstance(item.picture, InputError):
                raise item.picture
            read.append(Path(item.source).name) if pictures.load(item.picture, item.source) else None
        except InputError as problem:
            unread[Path(item.source).name] = str(problem)
    assert read == ["a.jpg", "b.mpo", "c.jpg_large", "d"] and set(unread) == {"IMG_1.HEIC", "e.DNG", "d"}
    assert "HEIC" in unread["IMG_1.HEIC"] and "raw file: develop it" in unread["e.DNG"]


def test_one_file_of_an_unknown_kind_is_named_by_it(tmp_path):
    files, _ = sources.find([folder_of(tmp_path, **{"photo.xyz": bytes(9)})])
    assert [str(missing.problem) for missing in files] == [
        f"{tmp_path / 'd'}: 1 file of a kind that cannot be read (XYZ)"
    ]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_integers_are_scaled_by_the_bits_that_hold_them(bits, kind, tmp_path):
    ramp = np.linspace(0, 2**bits - 1, 256).round().astype(kind).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    pixels = pictures.load(tmp_path / "a.tif").pixels
    assert np.abs(pixels[:, :, 0].astype(int) - np.arange(256).reshape(16, 16)).max() <= 1
    # Ordinary pictures seldom reach the brightest value that the bits hold.
    Image.fromarray((ramp * 0.8).astype(kind)).save(tmp_path / "b.tif")
    assert 150 < pictures.load(tmp_path / "b.tif").pixels.max() <= 255


def test_what_a_file_says_beside_its_pixels_is_known():
    profile = b"\0" * 16 + b"RGB " + b"\0" * 100
    exif = Image.Exif()
    exif[0x010E] = "a description"
    photo = images.decode_photo(encoded("PNG", icc_profile=profile, exif=exif))
    assert photo.metadata.icc_profile == profile and b"a description" in photo.metadata.exif
    gray = images.decode_photo(encoded("PNG", icc_profile=b"\0" * 16 + b"GRAY" + b"\0" * 100))
    assert gray.metadata == images.Metadata(), "a profile for gray is of no use to RGB"
    opaque, cut_out = np.dstack([SMOOTH, np.full((32, 32), 255, np.uint8)]), np.dstack([SMOOTH, SMOOTH[:, :, 0]])
    for pixels, alpha in ((opaque, None), (cut_out, SMOOTH[:, :, 0])):
        kept = images.as_photo(Image.fromarray(pixels)).metadata.alpha
        assert (kept is None) if alpha is None else (kept == alpha).all()


def test_folders_that_lie_deep_in_each_other_take_no_time(tmp_path):
    deep = tmp_path.joinpath("deep", *["n"] * 700)
    deep.mkdir(parents=True)
    began = time.process_time()
    files, _ = sources.find([tmp_path / "deep"], [tmp_path])
    assert time.process_time() - began < 1 and len(files) == 1
    found = sources.find([tmp_path / "deep"], [deep])
    assert found.notes == [f"{deep} is left out: this run writes there"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python looks through folders of any depth")
def test_folders_that_lie_too_deep_in_each_other_are_told(tmp_path):
    tmp_path.joinpath("deep", *["n"] * 150).mkdir(parents=True)
    frames = len(inspect.stack())
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(frames + 100)
    try:
        (missing,) = sources.find([tmp_path / "deep"]).files
        with pytest.raises(InputError, match="has folders that lie too deep in each other"):
            locate(tmp_path / "deep")
    finally:
        sys.setrecursionlimit(before)
    assert isinstance(missing, sources.Missing) and "too deep in each other" in str(missing.problem)
