"""Checks an image file before it is decoded.

OpenCV returns a picture for many broken files: half a JPEG (4.10), a JPEG with a hole, a corrupt
LZW strip. So each format's structure is checked here first, to its end, with one module per format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from edgeapl.sources.formats import bmp, jpeg, jpeg_xl, microscopes, pillow, png, tiff
from edgeapl.sources.formats.header import ImageHeader, Still
from edgeapl.sources.formats.opencv import decoded
from edgeapl.sources.formats.unsupported import not_read

_ONE_IMAGE = {
    (png.SIGNATURE,): png.read_header,
    (jpeg.SIGNATURE,): jpeg.read_header,
    (bmp.SIGNATURE,): bmp.read_header,
}


_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, str], Iterator[Still]]], ...] = (
    (lambda data: data.startswith(tiff.SIGNATURES), tiff.read_stills),
    (pillow.is_webp, pillow.read_webp),
    (pillow.is_avif, pillow.read_avif),
    (pillow.is_heif, pillow.read_heif),
    (jpeg_xl.is_jpeg_xl, jpeg_xl.read_jpeg_xl),
    (microscopes.is_nd2, microscopes.read_nd2),
    (microscopes.is_czi, microscopes.read_czi),
    (microscopes.is_lif, microscopes.read_lif),
)


def read_stills(data: bytes, name: str) -> Iterator[Still]:
    """Check the structure of an image file, and yield its pictures, not yet decoded.

    Parameters
    ----------
    data : all bytes of the file.
    name : used in errors.

    Raises InputError for any other format and for files that are truncated, damaged or without
    colour.
    """
    for begins, read in _READERS:
        if begins(data):
            yield from read(data, name)
            return
    for starts, read_header in _ONE_IMAGE.items():
        if data.startswith(starts):
            header: ImageHeader = read_header(data, name)
            yield Still(header, partial(decoded, data, header))
            return
    raise not_read(data, name)
