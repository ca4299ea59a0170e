"""Names an unsupported file format, and says what to do with it."""

from __future__ import annotations

from edgeapl.errors import InputError

_OURS = "give PNG, JPEG, TIFF or BMP"
_UNPACK = "unpack it"
_PICTURES = "save its pictures as PNG or TIFF"
_WATCH = "examine it with edgeapl watch FILE"

# first bytes: (what it is, what to do)
_STARTS = {
    b"\0\0\0\x0cjP  ": ("JPEG 2000", _OURS),
    b"\xff\x4f\xff\x51": ("JPEG 2000", _OURS),
    b"\x76\x2f\x31\x01": ("OpenEXR", _OURS),
    b"#?": ("Radiance HDR", _OURS),
    b"GIF8": ("GIF", _OURS),
    b"II+\0": ("BigTIFF", _OURS),
    b"MM\0+": ("BigTIFF", _OURS),
    b"%PDF": ("PDF", _PICTURES),
    b"PK\x03\x04": ("ZIP", _UNPACK),
    b"\x1f\x8b": ("gzip", _UNPACK),
    b"BZh": ("bzip2", _UNPACK),
    b"\xfd7zXZ\0": ("xz", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("7z", _UNPACK),
    b"Rar!": ("RAR", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("Zstandard", _UNPACK),
    b"\x59\xa6\x6a\x95": ("Sun raster", _OURS),
    b"8BPS": ("Photoshop", _OURS),
    b"\x1a\x45\xdf\xa3": ("a film", _WATCH),
}
_TEXT = frozenset({*range(0x20, 0x7F), *b"\t\n\r\f"})


def not_read(data: bytes, name: str) -> InputError:
    """Return the error for a file in none of the supported formats."""
    found, mend = _what(data)
    return InputError(f"not an image that can be read ({found})", name, mend)


def _what(data: bytes) -> tuple[str, str]:
    for start, said in _STARTS.items():
        if data.startswith(start):
            return said
    if (data[:4] == b"RIFF" and data[8:12] == b"AVI ") or data[4:8] == b"ftyp":
        return "a film", _WATCH
    if data[128:132] == b"DICM":
        return "DICOM", _OURS
    if data[257:262] == b"ustar":
        return "tar", _UNPACK
    return ("text" if _TEXT.issuperset(data[:512]) else "unknown format"), _OURS
