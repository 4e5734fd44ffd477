"""PF-ViT: read facial expressions, and take them off a face.

`pfvit.read("photo.jpg")` is the whole of it; importing this package loads neither torch nor onnxruntime.
"""

from typing import TYPE_CHECKING

from pfvit.errors import InputError

if TYPE_CHECKING:
    from pfvit.predict import Reader, Reading, read, transfer

__version__ = "0.1.0"
__all__ = ["InputError", "Reader", "Reading", "__version__", "read", "transfer"]


def __getattr__(name: str) -> object:
    if name in ("Reader", "Reading", "read", "transfer"):
        from pfvit import predict

        return getattr(predict, name)
    raise AttributeError(f"module 'pfvit' has no attribute {name!r}")
