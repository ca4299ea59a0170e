"""Identifies files by content, so that every other format is refused by name."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from enum import Enum
from pathlib import Path

from edgeapl.errors import BundleError

SAVE = "save model.state_dict() with torch.save, or write .safetensors"
AGAIN = "copy or download it again"
OF_TENSORFLOW = "load it with tf.keras.models.load_model and give what save_weights('w.h5') writes"


DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
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
"""Exceptions of pickle and zip readers on damaged bytes; they guarantee nothing narrower."""


class Kind(str, Enum):
    """Formats of checkpoints that can be read."""

    STATE_DICT = "state-dict"
    SAFETENSORS = "safetensors"
    TORCHSCRIPT = "torchscript"
    ARCHIVE = "archive"
    KERAS = "keras"


STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "only a Git LFS pointer, not the checkpoint", "run git lfs pull"),
    (b"<", "a web page, not a checkpoint", "the download failed: " + AGAIN),
    (b"\x93NUMPY", "a NumPy file", SAVE),
    (b"GGUF", "a GGUF file", SAVE),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
)
"""First bytes of files mistaken for checkpoints: what they are, and how to fix it."""

LEGACY_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"
"""First number in files that torch.save wrote before version 1.6 (torch.serialization)."""

ZIP_START = b"PK\x03\x04"

MOST_HEADER = 100_000_000
"""Longest header, in bytes, that the safetensors library reads."""

ONNX_FIELDS = (b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a", b"\x42")
"""Tags of the fields that can follow ir_version (tag 8) in an ONNX file (onnx.proto)."""

MOST_UNPACKED = 4
"""torch.save compresses nothing, torch.jit.save only its code, so an unpacked checkpoint is hardly
larger. A zip that grows more than this many times (and by more than 64 MiB) is a bomb."""


def kind_of(path: Path, data: bytes) -> Kind:
    """Identify the format of a checkpoint by its bytes; its name does not matter.

    Raises BundleError that says what the file is instead.
    """
    if not data:
        raise BundleError("checkpoint is empty", path, AGAIN)
    if data.startswith(ZIP_START):
        return _kind_of_zip(path, data)
    # Before the others: the header's length comes first, and its bytes can be anything, even " <".
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= MOST_HEADER:
        return Kind.SAFETENSORS
    text = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what, mend in STARTS:
        if text.startswith(start):
            raise BundleError(f"this is {what}", path, mend)
    if data.startswith(b"\x89HDF"):
        return Kind.KERAS
    if data.startswith(b"\x80"):
        if LEGACY_MAGIC not in data[:32]:
            raise BundleError("this is a pickle that torch.save did not write", path, SAVE)
        return Kind.STATE_DICT
    if path.name == "saved_model.pb":
        raise BundleError("this is a TensorFlow SavedModel", path, OF_TENSORFLOW)
    if data[:1] == b"\x08" and data[2:3] in ONNX_FIELDS:
        raise BundleError("this is an ONNX file", path, "give the PyTorch checkpoint it came from")
    raise BundleError("this is not a PyTorch checkpoint", path, SAVE)


def _kind_of_zip(path: Path, data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except DAMAGE as error:
        raise BundleError("checkpoint is cut off or damaged", path, AGAIN) from error
    if unpacked > MOST_UNPACKED * len(data) + (64 << 20):
        raise BundleError("zip file unpacks to far more than its size", path, SAVE)
    inside = {name.partition("/")[2] for name in names}
    program = {"serialized_exported_program.json", "models/model.json", "archive_format"}
    if program & (inside | set(names)):
        return Kind.ARCHIVE
    if "constants.pkl" in inside and "data.pkl" in inside:
        return Kind.TORCHSCRIPT
    if "data.pkl" in inside:
        return Kind.STATE_DICT
    if "config.json" in names and "metadata.json" in names:
        return Kind.KERAS
    raise BundleError("this is a zip file, but not a PyTorch checkpoint", path, SAVE)


def some(names: list[str], most: int = 10) -> str:
    """Name the first items of a list and count the rest."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(one_line(name) for name in names[:most]) + more


def one_line(name: str, most: int = 80) -> str:
    """Return a name from a file, made safe for one line of a terminal."""
    shown = name if name.isprintable() else ascii(name)
    return shown if len(shown) <= most else f"{shown[:most]}..."
