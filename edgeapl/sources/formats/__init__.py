"""Look into an image file before it is decoded.

OpenCV gives a picture for many broken files: half a JPEG (4.10), a JPEG with a hole, a corrupt LZW
strip. So each format's structure is checked here first, to its end; one module per format.
"""

from __future__ import annotations

from edgeapl.errors import InputError
from edgeapl.sources.formats import bmp, jpeg, png, tiff
from edgeapl.sources.formats.header import ImageHeader

_OTHER_FORMATS = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?": "Radiance HDR",
    b"GIF8": "GIF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
    b"%PDF": "PDF",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
    b"\x59\xa6\x6a\x95": "Sun raster",
    b"8BPS": "Photoshop",
}
_TEXT = frozenset({*range(0x20, 0x7F), *b"\t\n\r\f"})


def read_header(data: bytes, name: str, max_pixels: int) -> ImageHeader:
    """Check the structure of a PNG, JPEG, TIFF or BMP file.

    Parameters
    ----------
    data : all bytes of the file.
    name : how to call it in an error.
    max_pixels : more are refused by the caller; a TIFF's strips are then not looked at.

    Raises InputError for any other format and for everything that is cut off, damaged, not 8-bit
    colour, or more than one image.
    """
    if data.startswith(png.SIGNATURE):
        return png.read_header(data, name)
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.read_header(data, name)
    if data.startswith(tiff.SIGNATURES):
        return tiff.read_header(data, name, max_pixels)
    if data.startswith(bmp.SIGNATURE):
        return bmp.read_header(data, name)
    found = _name_of(data)
    raise InputError(
        f"not an image that can be read ({found})", name, "give PNG, JPEG, TIFF or BMP"
    )


def _name_of(data: bytes) -> str:
    for start, called in _OTHER_FORMATS.items():
        if data.startswith(start):
            return called
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "AVIF or HEIF" if data[8:12] in (b"avif", b"heic", b"mif1") else "a video"
    if data[128:132] == b"DICM":
        return "DICOM"
    return "text" if _TEXT.issuperset(data[:512]) else "unknown format"
