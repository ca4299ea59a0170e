"""Look into an image file before it is decoded.

OpenCV gives a picture for many broken files: half a JPEG (4.10), a JPEG with a hole, a corrupt LZW
strip. So each format's structure is checked here first, to its end; one module per format.
"""

from __future__ import annotations

from edgeapl.sources.formats import bmp, jpeg, png, tiff
from edgeapl.sources.formats.header import ImageHeader
from edgeapl.sources.formats.others import not_read


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
    raise not_read(data, name)
