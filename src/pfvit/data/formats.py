"""Kinds of files, by their endings and first bytes: which hold pictures that are read, and what to say of others."""

import re
from collections.abc import Callable


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


#: Endings of pictures that are read, and of Parquet files with pictures in them.
PICTURES = _endings(
    "jpg jpeg jpe jfif png apng webp gif tif tiff bmp dib ppm pgm pbm pnm mpo avif avifs heic heif hif jp2 j2k jpx"
)
TABLES = _endings("parquet")
#: Endings of cameras' raw files: many begin as a TIFF does, and hold no more than a thumbnail that Pillow can read.
RAW = _endings(
    "3fr ari arw cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
)
#: Endings of pictures that are not read.
UNREAD = _endings("ai cdr dds eps exr hdr icns ico jxl jxr pcx pdf ps psb psd qoi svg svgz tga wdp wmf xcf")
#: Endings of what lies beside pictures and holds none: they are counted, but are no failure.
OTHERS = _endings(
    "7z aac aae avi bak bat c cfg cpp css csv db doc docx flac gz h htm html ini ipynb js json jsonl lnk lock log m4a "
    "m4v md mkv mov mp3 mp4 mpg npy npz odt ogg onnx part pkl pt pth py pyc rar rst rtf safetensors sh sqlite tar tgz "
    "thm toml tsv txt url wav webm wmv xls xlsx xml xmp yaml yml zip"
)
#: First bytes that are looked at.
HEAD = 64
_AVIF, _HEIF = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/{1,2}\S")


def kind_of(head: bytes) -> str | None:
    """Return Pillow's name for what a file is by its first bytes (or a name of ours that Pillow lacks), or None."""
    if head[4:8] == b"ftyp":
        return _boxed(head)
    for kind, begins in _BEGINNINGS:
        if begins(head):
            return kind
    return None


def mistaken_for(what: str, head: bytes) -> str:
    """Return what a file is that was taken for `what`, by its first bytes, and what to do; "" if they do not tell."""
    if not head:
        return "is empty: download it again"
    if head.startswith(b"version https://git-lfs"):
        return f"is a pointer of Git LFS, not {what}: run git lfs pull, or download the file"
    pages = (b"<!doctype", b"<html") if what == "a picture" else (b"<!doctype", b"<html", b"<?xml")  # an SVG, say
    if head.lstrip().lower().startswith(pages):
        return f"is a web page, not {what}: download the file itself (its raw or resolve address)"
    return ""


def _boxed(head: bytes) -> str:
    """Return the kind of a file in the ISO base media format; its first box lists its brands."""
    end = min(int.from_bytes(head[:4]), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF:
        return "AVIF"
    if brands & _HEIF:
        return "HEIF"
    return "raw file" if head[8:12] == b"crx " else "video"


def starts(*first: bytes) -> Callable[[bytes], bool]:
    """Return what tells whether a file's first bytes are some of these."""
    return lambda head: head.startswith(first)


_BEGINNINGS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("JPEG", starts(b"\xff\xd8\xff")),
    ("PNG", starts(b"\x89PNG\r\n\x1a\n")),
    ("GIF", starts(b"GIF87a", b"GIF89a")),
    ("WEBP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    ("TIFF", starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (
        "BMP",
        lambda head: head[:2] == b"BM" and head[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"),
    ),
    ("PPM", lambda head: head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()),
    ("JPEG2000", starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("JPEG XL", starts(b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")),
    ("PDF", starts(b"%PDF")),
    ("video", starts(b"\x1a\x45\xdf\xa3")),
)


def is_address(name: str) -> bool:
    """Return whether a name is an address (a URL) and no path; pathlib makes one slash of its two."""
    return _ADDRESS.match(name) is not None
