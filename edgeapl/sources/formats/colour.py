"""Converts colours to sRGB, on which networks were trained.

The same numbers mean other colours in another colour space: read as sRGB, a wide one looks washed
out and a network answers differently. LittleCMS, through Pillow, converts by ICC profile; colour
spaces described in other ways are written as such a profile first.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Remark, UInt8

if TYPE_CHECKING:
    from PIL import ImageCms

MOST_BYTES = 16 << 20
"""Largest profile; those of printers have about 2 MB."""

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
"""Chromaticities x, y of red, green, blue and white (IEC 61966-2-1)."""

DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290))
BT_2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.3290))
ADOBE_GAMMA = 563 / 256

_PRIMARIES = {1: SRGB, 2: SRGB, 9: BT_2020, 12: DISPLAY_P3}
_TRANSFERS: dict[int, float | None] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15)),
    4: 2.2,
    5: 2.8,
    8: 1.0,
}

SAME = 3
"""Steps of 255 by which a colour may change if its space counts as sRGB: profiles that are all
called sRGB differ by as much, and pixels then stay unchanged.
"""

_D50 = (0.96420, 1.0, 0.82491)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_CURVE_POINTS = 1024
_ROWS = 512
_DOUBT = "its colours were taken for sRGB, which they may not be"

Chromaticities = Sequence[tuple[float, float]]


class ColourError(ValueError):
    """An impossible colour space."""


def profile_of(
    chromaticities: Chromaticities = SRGB, gamma: float | None = None, name: str = "file's colours"
) -> bytes:
    """Write an ICC profile (ICC.1:2001-04, version 2) of a colour space described otherwise.

    Parameters
    ----------
    chromaticities : x, y of red, green, blue and white.
    gamma : light is the value to this power; None for the curve of sRGB.

    Raises ColourError.
    """
    if gamma is not None and not 0.2 <= gamma <= 10:
        raise ColourError(f"gamma {gamma:.3g}")
    columns = _to_d50(chromaticities)
    curve = _curve(gamma)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode("ascii")
        + b"\0" + bytes(12 + 67 + 1),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
        b"rXYZ": _xyz(columns[:, 0]), b"gXYZ": _xyz(columns[:, 1]), b"bXYZ": _xyz(columns[:, 2]),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table = struct.pack(">I", len(tags))
    body = b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4xI", size, 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", *(round(value * 65536) for value in _D50))
    return head.ljust(128, b"\0") + table + body


def profile_of_codes(primaries: int, transfer: int) -> bytes:
    """Return the profile of code points of ITU-T H.273, empty for sRGB. Raises ColourError.

    Code 2 means unspecified, and the television curves (1, 6, 14, 15) mean sRGB's in still images.
    """
    chromaticities = _PRIMARIES.get(primaries)
    if chromaticities is None or transfer not in _TRANSFERS:
        raise ColourError(f"colour codes {primaries}, {transfer}")
    gamma = _TRANSFERS[transfer]
    if chromaticities is SRGB and gamma is None:
        return b""
    return profile_of(chromaticities, gamma, f"colour codes {primaries} {transfer}")


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """From the colour space of an ICC profile to sRGB, for one picture or for many parts of one.

    remarks : whether colours are changed, or why not.
    turn : converts uint8 (H, W, 3); None where nothing is changed.
    """

    remarks: tuple[Remark, ...] = ()
    turn: Callable[[UInt8], UInt8] | None = None

    def of(self, pixels: UInt8) -> UInt8:
        """Return pixels, uint8 (H, W, 3), in sRGB; the same array where nothing is changed."""
        if self.turn is None:
            return pixels
        made = np.empty_like(pixels)
        for top in range(0, len(pixels), _ROWS):
            made[top : top + _ROWS] = self.turn(np.ascontiguousarray(pixels[top : top + _ROWS]))
        return made


def to_srgb(pixels: UInt8, icc: bytes) -> tuple[UInt8, tuple[Remark, ...]]:
    """Convert pixels, uint8 (H, W, 3), from the space of an ICC profile to sRGB.

    Returns the same pixels and no remark if the space is sRGB. An unusable profile leaves them
    unchanged, with a remark that bars CLEAR.
    """
    conversion = conversion_of(icc)
    return conversion.of(pixels), conversion.remarks


def conversion_of(icc: bytes) -> Conversion:
    """Return how `to_srgb` converts colours with this profile."""
    from PIL import Image, ImageCms  # noqa: PLC0415

    if len(icc) > MOST_BYTES:
        return Conversion((Remark("colour", f"the colour profile is too large; {_DOUBT}", True),))
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc))
        said = _name_of(profile)
        if profile.profile.xcolor_space.strip() != "RGB":
            text = f"the colour profile ({said}) is not for RGB; {_DOUBT}"
            return Conversion((Remark("colour", text, True),))
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        text = f"the colour profile cannot be read ({error or type(error).__name__}); {_DOUBT}"
        return Conversion((Remark("colour", " ".join(text.split()), True),))

    def turned(part: UInt8) -> UInt8:
        image = ImageCms.applyTransform(Image.fromarray(part), transform)
        assert image is not None
        return np.asarray(image, dtype=np.uint8)

    grid = _grid()
    change = np.abs(turned(grid).astype(np.int16) - grid).max()
    if change <= SAME:
        return Conversion()
    return Conversion((Remark("colour", f"colours were turned into sRGB from: {said}"),), turned)


def _name_of(profile: ImageCms.ImageCmsProfile) -> str:
    said = profile.profile.profile_description or ""
    return " ".join("".join(char for char in said if char.isprintable()).split())[:60] or "no name"


def _grid() -> UInt8:
    """Return colours all over the cube, uint8 (81, 9, 3)."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return np.ascontiguousarray(colours.reshape(81, 9, 3))


def _to_d50(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """Return XYZ of red, green and blue as columns, adapted to the profile's white."""
    if any(y <= 0 or not 0 <= x <= 1 or y > 1 for x, y in chromaticities):
        raise ColourError("chromaticities that no colour has")
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in chromaticities]).T
    primaries, white = xyz[:, :3], xyz[:, 3]
    if abs(np.linalg.det(primaries)) < 1e-6:
        raise ColourError("primaries that span no space")
    columns = primaries * np.linalg.solve(primaries, white)
    seen, wanted = _BRADFORD @ white, _BRADFORD @ np.array(_D50)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(wanted / seen) @ _BRADFORD
    return np.asarray(adapted @ columns, dtype=np.float64)


def _xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def _curve(gamma: float | None) -> bytes:
    numbers = np.linspace(0, 1, _CURVE_POINTS)
    if gamma is None:
        light = np.where(numbers <= 0.04045, numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4)
    else:
        light = numbers**gamma
    table = np.round(light * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", _CURVE_POINTS) + table.tobytes()
