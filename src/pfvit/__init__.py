"""PF-ViT: read facial expressions, and make faces neutral.

`pfvit.read("photo.jpg")` is the whole of it; importing this package loads neither torch nor onnxruntime.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from pfvit.errors import InputError, PictureError

if TYPE_CHECKING:
    from pfvit.api import FrameResult, evaluate, pretrain, read_video, train
    from pfvit.data.pictures import Item
    from pfvit.detection.base import Face
    from pfvit.inference.reader import Reader, Result, read
    from pfvit.inference.reading import Reading, annotate

# onnxruntime's own builds look up a host of Microsoft's and write a device id and events into the user's home. It
# reads this variable when it is loaded, so it must be set before; child processes inherit it. To keep the telemetry:
# PFVIT_ORT_TELEMETRY=1.
if os.environ.get("PFVIT_ORT_TELEMETRY") != "1":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Ray, if it is installed, reports its use to its makers unless told not to. To let it: RAY_USAGE_STATS_ENABLED=1.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

__version__ = "0.1.0"
__all__ = [
    "Face",
    "FrameResult",
    "InputError",
    "Item",
    "PictureError",
    "Reader",
    "Reading",
    "Result",
    "__version__",
    "annotate",
    "evaluate",
    "pretrain",
    "read",
    "read_video",
    "train",
]


#: Name -> module that has it; loaded when first asked for, as reading a picture takes numpy and onnxruntime.
_LAZY = {
    "Face": "pfvit.detection.base",
    "FrameResult": "pfvit.api",
    "Item": "pfvit.data.pictures",
    "Reader": "pfvit.inference.reader",
    "Reading": "pfvit.inference.reading",
    "Result": "pfvit.inference.reader",
    "annotate": "pfvit.inference.reading",
    "evaluate": "pfvit.api",
    "pretrain": "pfvit.api",
    "read": "pfvit.inference.reader",
    "read_video": "pfvit.api",
    "train": "pfvit.api",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'pfvit' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all public names, also those that are not loaded yet: what a notebook offers after `pfvit.`"""
    return sorted({*globals(), *_LAZY})
