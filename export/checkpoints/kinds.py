"""Tell by content what a file is, so that every other kind is refused by its name."""

from __future__ import annotations

import io
import struct
import zipfile
from enum import Enum
from pathlib import Path

from edgeapl.errors import BundleError

SAVE = "save model.state_dict() with torch.save, or write .safetensors"
AGAIN = "copy or download it again"


DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What readers of pickles and zips raise on damaged bytes; they promise nothing narrower."""


class Kind(str, Enum):
    """Kinds of checkpoint that can be read."""

    STATE_DICT = "state-dict"
    SAFETENSORS = "safetensors"
    TORCHSCRIPT = "torchscript"
    ARCHIVE = "archive"


STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "only a Git LFS pointer, not the checkpoint", "run git lfs pull"),
    (b"<", "a web page, not a checkpoint", "the download failed: " + AGAIN),
    (b"\x89HDF", "a Keras or HDF5 file", "port the weights to the PyTorch module first"),
    (b"\x93NUMPY", "a NumPy file", SAVE),
    (b"GGUF", "a GGUF file", SAVE),
)
"""First bytes of files that people take for checkpoints: what they are, how to mend it."""

LEGACY_PICKLE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""Magic number with which torch.save began its files before version 1.6."""


def kind_of(path: Path, data: bytes) -> Kind:
    """Tell the kind of a checkpoint from its bytes; its name counts for nothing.

    Raises BundleError that says what the file is instead.
    """
    if not data:
        raise BundleError("checkpoint is empty", path, AGAIN)
    if data.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path, data)
    for start, what, mend in STARTS:
        if data.lstrip().startswith(start):
            raise BundleError(f"this is {what}", path, mend)
    if len(data) > 8 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return Kind.SAFETENSORS
    if data.startswith(b"\x80"):
        return Kind.STATE_DICT
    if b"onnx" in data[:64] or b"pytorch" in data[:64]:
        raise BundleError("this is an ONNX file", path, "give the PyTorch checkpoint it came from")
    raise BundleError("this is no PyTorch checkpoint", path, SAVE)


def _kind_of_zip(path: Path, data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except DAMAGE as error:
        raise BundleError("checkpoint is cut off or damaged", path, AGAIN) from error
    inside = {name.partition("/")[2] for name in names}
    program = {"serialized_exported_program.json", "models/model.json", "archive_format"}
    if program & (inside | set(names)):
        return Kind.ARCHIVE
    if "constants.pkl" in inside and "data.pkl" in inside:
        return Kind.TORCHSCRIPT
    if "data.pkl" in inside:
        return Kind.STATE_DICT
    if "config.json" in names and "metadata.json" in names:
        raise BundleError("this is a Keras file", path, "port the weights to PyTorch first")
    raise BundleError("this is a zip file, but no PyTorch checkpoint", path, SAVE)
