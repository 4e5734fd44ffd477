"""Pictures in: formats and modes, refusals, folders and Parquet files."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png
from PIL import Image

from pfvit.data import images, parquet, pictures, sources
from pfvit.errors import InputError, PictureError

NOISE = np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)


def scene(height: int = 24, width: int = 32) -> np.ndarray:
    """Smooth colours, so that lossy formats come close: red to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 6 * x, 30 + 8 * y, np.full_like(x, 90)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("shape", [(3000, 1700), (40, 30_000), (2300, 112)])
def test_large_crops_are_resampled_as_pillow_does_it_in_one_piece(shape):
    crop = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    wanted = Image.fromarray(crop).resize((112, 112), Image.Resampling.BILINEAR)
    assert np.array_equal(images.at_size(crop, 112), np.asarray(wanted))
    mirrored = Image.fromarray(np.ascontiguousarray(crop[:, ::-1])).resize((112, 112), Image.Resampling.BILINEAR)
    assert np.array_equal(images.at_size(crop[:, ::-1], 112), np.asarray(mirrored))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


LOSS = [("PNG", 0), ("TIFF", 0), ("BMP", 0), ("WEBP", 20), ("JPEG", 12), ("GIF", 40)]


@pytest.mark.parametrize(("form", "off"), LOSS)
def test_formats_decode_to_what_was_drawn(form, off):
    pixels = images.decode(encoded(Image.fromarray(scene()), form))
    assert pixels.shape == (24, 32, 3) and pixels.dtype == np.uint8 and pixels.flags.writeable
    assert np.abs(pixels.astype(int) - scene()).max() <= off


def test_gif_gives_its_first_frame():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    pixels = images.decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (pixels == [255, 0, 0]).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_turns_are_undone(turn):
    upright = Image.fromarray(scene())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> the Transpose that a camera would have applied
    stored = upright.transpose(Image.Transpose(undo[turn])) if turn > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    assert (images.decode(encoded(stored, "PNG", exif=exif)) == scene()).all()


def test_damaged_exif_does_not_matter():
    content = encoded(Image.fromarray(scene()), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert images.decode(content).shape == (24, 32, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_modes_become_rgb(mode):
    gray = Image.fromarray(np.where(np.arange(256).reshape(16, 16) < 128, 0, 255).astype(np.uint8))
    form = {"1": "PNG", "L": "PNG", "P": "PNG", "CMYK": "TIFF", "YCbCr": "TIFF", "HSV": None}[mode]
    image = gray.convert("RGB").convert(mode) if mode != "1" else gray.convert("1")
    pixels = images.decode(encoded(image, form)) if form else images.as_photo(image).pixels
    assert np.abs(pixels.astype(int) - np.asarray(gray)[:, :, None]).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut(form):
    deep = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    pixels = images.decode(encoded(Image.fromarray(deep), form))
    assert (pixels == np.arange(256).reshape(16, 16, 1)).all()


def test_float_pictures_have_two_ranges():
    unit = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    for values in (unit, unit * 255):
        pixels = images.decode(encoded(Image.fromarray(values), "TIFF"))
        assert np.abs(pixels[:, :, 0] - np.arange(256.0).reshape(16, 16)).max() <= 1


@pytest.mark.parametrize(("least", "most"), [(-1, 1), (-1, 0.1), (-0.5, 0.5), (-2.1, 2.6), (-128, 127), (-1000, 3000)])
def test_gray_values_whose_black_is_not_zero_are_refused(least, most):
    """Faces normalised for a network lost their darker half without a word; what resampling leaves is no such thing."""
    values = np.linspace(least, most, 256, dtype=np.float32).reshape(16, 16)
    for kept in [values, values.astype(np.int32)][: 2 if least < -2.1 else 1]:
        with pytest.raises(PictureError, match=r"a\.tif has gray values from -.*save it as PNG"):
            images.decode(encoded(Image.fromarray(kept), "TIFF"), "a.tif")
    with pytest.raises(PictureError, match="gray values from"):
        pictures.load(Image.fromarray(values))
    values = np.linspace(-0.1, 1, 256, dtype=np.float32).reshape(16, 16)
    values[0, 0] = -np.inf
    pixels = images.decode(encoded(Image.fromarray(values), "TIFF"))
    assert pixels[0, 0, 0] == 0 and pixels[15, 15, 0] == 255


def test_floats_beyond_one_are_no_black_pictures():
    """Resampled shares of white go a little beyond 1, bright pictures some way; both are cut off."""
    unit = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    unit[0, :3] = np.inf, np.nan, -np.inf
    for values in (unit, unit * 1.03):
        pixels = images.decode(encoded(Image.fromarray(values), "TIFF"))
        assert pixels[0, :3, 0].tolist() == [255, 0, 0]
        assert np.abs(pixels[1:, :, 0] - np.clip(np.rint(values[1:] * 255), 0, 255)).max() <= 1
    bright = images.decode(encoded(Image.fromarray(unit * 4), "TIFF"))
    assert (bright[8:] == 255).all() and bright[1, 0, 0] == round(255 * 4 * 16 / 255)


def as_tiff(values, photometric=1, planes=1):
    """A TIFF file without compression, as Pillow does not write it."""
    height, width, colours = *values.shape, 1
    tags = {256: width, 257: height, 258: 8 * values.dtype.itemsize, 259: 1, 262: photometric, 273: 200, 277: colours}
    tags |= {278: height, 279: values.nbytes, 284: planes, 339: {"u": 1, "i": 2, "f": 3}[values.dtype.kind]}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(200, b"\0") + values.tobytes()


def test_numbers_in_tiff_files_are_what_their_tags_say():
    ramp = np.arange(256, dtype=np.uint32).reshape(16, 16)
    for values, photometric in (
        ((ramp * 257).astype("<u2"), 1),
        ((65535 - ramp * 257).astype("<u2"), 0),  # white is zero, as scanners write it
        ((ramp * 16_843_009).astype("<u4"), 1),
        ((ramp * 128).astype("<i2"), 1),
        ((ramp * 8_388_608).astype("<i4"), 1),
    ):
        for picture in (as_tiff(values, photometric), Image.open(io.BytesIO(as_tiff(values, photometric)))):
            pixels = pictures.load(picture).pixels
            assert np.abs(pixels[:, :, 0] - np.arange(256.0).reshape(16, 16)).max() <= 1, (values.dtype, photometric)


def test_planes_of_more_than_eight_bits_are_refused():
    """Pillow takes every byte for a colour of its own."""
    picture = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    file = io.BytesIO()
    picture.save(file, "TIFF", tiffinfo={284: 1})
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        opened.tag_v2[284], opened.tag_v2[258] = 2, (16, 16, 16)
        with pytest.raises(PictureError, match="x: its colours have more than 8 bits, each colour in a plane"):
            pictures.load(opened, "x")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(mode):
    cut_out = np.zeros((16, 16, 4), np.uint8)
    cut_out[4:12, 4:12] = (60, 60, 60, 255)
    pixels = images.decode(encoded(Image.fromarray(cut_out).convert(mode), "PNG"))
    assert (pixels[0, 0] == 255).all() and (pixels[8, 8] == 60).all()


def bomb(side: int) -> bytes:
    """A PNG header that claims a size, with next to nothing behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bomb(30_000), "too large"),
        (bomb(13_500), "too large"),
        (b"hello, this is text\n" * 10, "not a picture"),
        (b"", "empty"),
        (as_tiff(np.zeros((16, 16))), "begins as a TIFF, and is damaged or a kind of it that is not read"),
        (encoded(Image.fromarray(scene(200, 200)), "JPEG")[:1500], "damaged or cut short"),
        (encoded(Image.fromarray(NOISE), "PNG")[:9000], "damaged"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "1x1.*too small"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "not a picture"),
    ],
    ids=["bomb", "smaller bomb", "text", "empty", "TIFF", "cut JPEG", "cut PNG", "1x1", "PostScript"],
)
def test_bad_pictures_are_refused_by_name(content, why):
    with pytest.raises(InputError, match=f"cat.jpg.*({why})"):
        images.decode(content, "cat.jpg")


def test_arrays_are_checked():
    gray = np.zeros((16, 20), np.uint8)
    assert images.from_array(gray).shape == images.from_array(gray[:, :, None]).shape == (16, 20, 3)
    for bad in (gray.astype(np.float32), np.zeros((16, 16, 4), np.uint8), np.zeros((3, 16, 16), np.uint8)):
        with pytest.raises(InputError):
            images.from_array(bad)
    with pytest.raises(InputError, match="too large"):
        images.check_size(*gray.shape, "gray", 300)


def test_folders_are_read_in_order_without_hidden_files(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/y.webp", ".hidden.png", ".git/x.png", "notes.txt", "a/rows.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    files, found_notes = sources.find([tmp_path])
    *files, broken = files
    found = [path.relative_to(tmp_path).as_posix() for path in files]
    assert found == ["a/rows.parquet", "a/y.webp", "a/z.JPG", "b.png", "link.png"]
    assert broken.source.endswith("gone.png") and "link to something" in str(broken.problem)
    link = f"{tmp_path / 'a' / 'loop'} is a link to a folder and is left out: name it too to read it"
    assert found_notes == [link, f"{tmp_path}: 1 file without pictures left out (TXT)"]


def test_paths_that_stand_for_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_suffix").write_bytes(png(scene()))
    os_error = "x" * 5000
    found, _ = sources.find(
        ["", tmp_path / "no.jpg", tmp_path / "empty", "/dev/null", os_error, tmp_path / "no_suffix"]
    )
    assert [isinstance(item, sources.Missing) for item in found] == [True] * 5 + [False]
    reasons = ["empty", "not there", "without pictures", "neither", "cannot be looked at"]
    for item, why in zip(found, reasons, strict=False):
        assert why in str(item.problem)


def decoded(paths) -> list[tuple[str, np.ndarray | InputError]]:
    """Return the source and the pixels of each picture, or why there are none."""
    found = []
    for item in sources.items(paths):
        try:
            if isinstance(item.picture, InputError):
                raise item.picture
            found.append((item.source, pictures.load(item.picture, item.name or item.source).pixels))
        except InputError as problem:
            found.append((item.source, problem))
    return found


def write_table(path, images, **columns):
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=2)
    return path


@pytest.mark.parametrize("kind", ["struct", "binary", "large_binary"])
def test_parquet_rows_are_pictures(tmp_path, kind):
    good = png(scene())
    contents = [good, b"broken", None, good]
    if kind == "struct":
        contents = [None if c is None else {"bytes": c, "path": None} for c in contents]
        images = pa.array(contents, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    else:
        images = pa.array(contents, getattr(pa, kind)())
    path = write_table(tmp_path / "t.parquet", images, name=["one", "two", "three", None])
    read = decoded([path])
    assert [source for source, _ in read] == ["one", "two", "three", f"{path}#3"]
    assert (read[0][1] == scene()).all() and (read[3][1] == scene()).all()
    assert "t.parquet#1 (two)" in str(read[1][1]) and "t.parquet#2" in str(read[2][1])


def test_parquet_without_names_or_pictures(tmp_path):
    path = write_table(tmp_path / "t.pq", [png(scene())] * 3)  # known by its first bytes
    assert [source for source, _ in decoded([path])] == [f"{path}#{row}" for row in range(3)]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    (_, problem), *rest = decoded([tmp_path / "a.parquet"])
    assert "no image column" in str(problem) and not rest


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "none"])
def test_tables_give_python_values(tmp_path, compression):
    path = tmp_path / "t.parquet"
    table = pa.table({"x": pa.array([1, None, 3], pa.int8()), "y": [1.5, 2.5, 3.5], "z": ["a", None, "ü"]})
    pq.write_table(table, path, compression=compression)
    assert parquet.column_names(path) == ["x", "y", "z"]
    assert list(parquet.rows(path)) == table.to_pylist()
    assert list(parquet.rows(path, ["z", "x"])) == table.select(["z", "x"]).to_pylist()
    with pytest.raises(InputError, match="no column w, only x, y, z"):
        list(parquet.rows(path, ["w"]))


def test_damaged_tables_say_so_and_nothing_else(tmp_path, capfd):
    path = write_table(tmp_path / "t.parquet", [png(scene())] * 200)
    whole = path.read_bytes()
    footer = bytearray(whole)
    footer[-300:-100] = bytes(200)
    for content in (whole[: len(whole) // 2], bytes(footer), b"PAR1", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"t\.parquet cannot be read as Parquet"):
            list(parquet.rows(path))
    assert capfd.readouterr().err == ""  # arro3 would print a backtrace


def test_rows_before_the_damage_are_given(tmp_path):
    path = write_table(tmp_path / "t.parquet", [png(scene())] * 200)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = b"\xff" * 300
    path.write_bytes(content)
    read = decoded([path])
    good = [pixels for _, pixels in read if not isinstance(pixels, InputError)]
    assert 20 < len(good) < 199 and "cannot be read as Parquet after row" in str(read[-1][1])
