"""Check a TIFF: one 8-bit colour image, and every strip or tile as long as it must be."""

from __future__ import annotations

import re

from edgeapl.errors import InputError
from edgeapl.sources.formats.header import (
    ImageHeader,
    cut_off,
    damaged,
    grey,
    many,
    sound_scale,
    too_deep,
    unsupported,
)
from edgeapl.sources.formats.pieces import Layout, check_pieces
from edgeapl.sources.formats.tags import (
    ORIENTATION,
    TagList,
    TagsError,
    byte_order,
    first_list_at,
    read_tags,
)

SIGNATURES = (b"II*\0", b"MM\0*")

_WIDTH, _HEIGHT, _BITS, _PACKING, _COLOURS = 256, 257, 258, 259, 262
_FILL_ORDER, _DESCRIPTION, _STRIPS, _CHANNELS, _ROWS, _STRIP_BYTES = 266, 270, 273, 277, 278, 279
_X_RESOLUTION, _Y_RESOLUTION, _PLANAR, _UNIT, _PREDICTOR = 282, 283, 284, 296, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_WANTED = {
    *(_WIDTH, _HEIGHT, _BITS, _PACKING, _COLOURS, _FILL_ORDER, _DESCRIPTION, _STRIPS, _CHANNELS),
    *(_ROWS, _STRIP_BYTES, _X_RESOLUTION, _Y_RESOLUTION, _PLANAR, _UNIT, _PREDICTOR, ORIENTATION),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT),
}
_GREY = (0, 1)
_RGB, _PALETTE, _CMYK = 2, 3, 5
_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre
_OTHER_PACKINGS = {2: "fax", 3: "fax", 4: "fax", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000"}
_OTHER_PACKINGS |= {34892: "lossy DNG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}


def read_header(data: bytes, name: str, max_pixels: int) -> ImageHeader:
    """Check a TIFF file and give its header; raises InputError.

    Strips are only looked at when the image has at most `max_pixels`.
    """
    try:
        order = byte_order(data)
        tags = _only_list(data, order, name)
        width, height = _one(tags, _WIDTH), _one(tags, _HEIGHT)
        channels = _check_kind(tags, name)
        header = ImageHeader("TIFF", width, height, alpha=channels == 4, um_per_px=_scale(tags))
        if 0 < width * height <= max_pixels:
            check_pieces(data, _layout(tags, width, height, channels, name), name)
    except TagsError as error:
        # A list that points past the end is what half a file looks like.
        raise cut_off(name, f"TIFF: {error}") from error
    return header


def _only_list(data: bytes, order: str, name: str) -> TagList:
    at = first_list_at(data, order)
    first = read_tags(data, order, at, _WANTED)
    seen = {at}
    following = first.next_at
    while following:
        if following in seen:
            raise damaged(name, "TIFF images point at each other in a ring")
        seen.add(following)
        following = read_tags(data, order, following, set()).next_at
    if len(seen) > 1:
        raise many(name, len(seen))
    return first


def _check_kind(tags: TagList, name: str) -> int:
    """Refuse all but upright 8-bit RGB and palette images; give the channels stored per pixel."""
    channels = _one(tags, _CHANNELS, 1)
    colours = _one(tags, _COLOURS)
    bits = _all(tags, _BITS, 1)
    formats = _all(tags, _SAMPLE_FORMAT, 1)
    if any(value != 1 for value in formats):
        kind = {2: "signed numbers", 3: "floating-point numbers"}
        raise unsupported(name, f"as {kind.get(formats[0], 'unusual numbers')}")
    if max(bits) > 8:
        raise too_deep(name, max(bits))
    if colours in _GREY:
        raise grey(name)
    if colours == _CMYK:
        raise InputError("image has print colours (CMYK)", name, "convert it to RGB")
    if colours not in (_RGB, _PALETTE):
        raise unsupported(name, f"as TIFF with colour kind {colours}")
    if set(bits) != {8} or channels not in ((3, 4) if colours == _RGB else (1,)):
        raise unsupported(name, f"as TIFF with {channels} channels of {bits[0]} bits")
    if _one(tags, ORIENTATION, 1) != 1:
        raise InputError("TIFF is stored turned", name, "save it upright, orientation 1")
    if _one(tags, _FILL_ORDER, 1) != 1:
        raise unsupported(name, "as TIFF with reversed bits")
    if _one(tags, _PREDICTOR, 1) not in (1, 2):
        raise unsupported(name, "as TIFF with an unusual predictor")
    return channels


def _layout(tags: TagList, width: int, height: int, channels: int, name: str) -> Layout:
    packing = _one(tags, _PACKING, 1)
    if packing in _OTHER_PACKINGS:
        raise unsupported(name, f"as TIFF with {_OTHER_PACKINGS[packing]} compression")
    planar = _one(tags, _PLANAR, 1) == 2
    tiled = _TILES in tags.numbers
    if tiled:
        size = (_one(tags, _TILE_WIDTH), _one(tags, _TILE_HEIGHT))
    else:
        size = (width, min(_one(tags, _ROWS, height), height))
    if 0 in size:
        raise damaged(name, "TIFF strips without size")
    starts = _all(tags, _TILES if tiled else _STRIPS)
    lengths = _all(tags, _TILE_BYTES if tiled else _STRIP_BYTES)
    if len(starts) != len(lengths):
        raise damaged(name, "TIFF strips without length")
    places = tuple(zip(starts, lengths, strict=True))
    return Layout(width, height, channels, packing, planar, tiled, size, places)


def _scale(tags: TagList) -> float | None:
    """Give µm per px from an OME or ImageJ description, else from the resolution tags."""
    text = tags.texts.get(_DESCRIPTION, b"").decode("utf-8", "replace")
    if "<OME" in text:
        return _ome_scale(text)
    x = tags.numbers.get(_X_RESOLUTION, (0,))[0]
    y = tags.numbers.get(_Y_RESOLUTION, (0,))[0]
    unit = _UNIT_UM.get(_one(tags, _UNIT, 2))
    if text.startswith("ImageJ="):
        microns = re.search(r"^unit=(micron|um|µm|\\u00B5m)\s*$", text, re.MULTILINE)
        unit = 1.0 if microns else None
    if unit is None or min(x, y) <= 0 or max(x, y) == float("inf"):
        return None
    return sound_scale(unit / x, unit / y)


def _ome_scale(text: str) -> float | None:
    sizes = []
    for side in "XY":
        found = re.search(rf'\sPhysicalSize{side}="([0-9]{{1,6}}(?:\.[0-9]{{1,12}})?)"', text)
        unit = re.search(rf'\sPhysicalSize{side}Unit="([^"]*)"', text)
        if found is None or (unit is not None and unit[1] not in ("µm", "μm", "um")):
            return None
        sizes.append(float(found[1]))
    return sound_scale(sizes[0], sizes[1])


def _one(tags: TagList, tag: int, default: int | None = None) -> int:
    return _all(tags, tag, default)[0]


def _all(tags: TagList, tag: int, default: int | None = None) -> tuple[int, ...]:
    values = tags.numbers.get(tag, ())
    if values:
        return tuple(int(value) for value in values)
    if default is None:
        raise TagsError(f"tag {tag} is missing")
    return (default,)
