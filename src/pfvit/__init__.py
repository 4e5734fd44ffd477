"""PF-ViT: read facial expressions, and take them off a face.

`pfvit.read("photo.jpg")` is the whole of it; importing this package loads neither torch nor onnxruntime.
"""

import os
from typing import TYPE_CHECKING

from pfvit.errors import InputError

if TYPE_CHECKING:
    from pfvit.predict import Reader, Reading, read, transfer

# onnxruntime's own builds look up a host of Microsoft's and write a device id and events into the user's home. It reads
# this variable when it is loaded, so it must be set before; child processes inherit it. PFVIT_ORT_TELEMETRY=1 leaves it.
if os.environ.get("PFVIT_ORT_TELEMETRY") != "1":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
__all__ = ["InputError", "Reader", "Reading", "__version__", "read", "transfer"]


def __getattr__(name: str) -> object:
    if name in ("Reader", "Reading", "read", "transfer"):
        from pfvit import predict

        return getattr(predict, name)
    raise AttributeError(f"module 'pfvit' has no attribute {name!r}")
