"""What a file states about its image, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from edgeapl.errors import InputError
from edgeapl.sources.decoder_messages import captured_messages
from edgeapl.types import Remark, UInt8


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The size of a pixel, as stated in a file.

    um : µm, if plausible for microscopy, else None.
    unused : why a stated size is not used; empty if it is used or none is stated.
    """

    um: float | None = None
    unused: str = ""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The checked header of one colour image.

    format : ``PNG``, ``JPEG``, ``TIFF``, ``BMP`` and so on.
    width, height : px.
    alpha : the pixels have an alpha channel that must be checked.
    orientation : EXIF tag 274, 1 to 8; 1 is upright.
    size : of a pixel.
    remarks : what a user should know about the file.
    icc : colour profile (ICC.1) of the pixels; empty for sRGB.
    costly : its decoder needs 12 to 18 bytes of memory per pixel instead of 3, and a file of a few
        kB can hold 200 million; so the limit is lower.
    """

    format: str
    width: int
    height: int
    alpha: bool = False
    orientation: int = 1
    size: PixelSize = field(default_factory=PixelSize)
    remarks: tuple[Remark, ...] = ()
    icc: bytes = b""
    costly: bool = False


Decode = Callable[[str], tuple[UInt8, tuple[Remark, ...]]]
"""Returns pixels, uint8 (H, W, 3) RGB or (H, W, 4) RGBA, and remarks on decoding; takes the name
that errors use.
"""


@dataclass(frozen=True, slots=True)
class Still:
    """One picture of a file: its header, and its decoder."""

    header: ImageHeader
    decode: Decode


def cut_off(name: str, detail: str) -> InputError:
    """Return the error for a file that ends too early."""
    return InputError(f"image is cut off ({detail})", name, "copy the file again")


def damaged(name: str, detail: str) -> InputError:
    """Return the error for a file that contradicts its format."""
    return InputError(f"image is damaged ({detail})", name, "copy the file again")


def grey(name: str) -> InputError:
    """Return the error for an image without colour."""
    return InputError("image is grey", name, "give the colour image: the stain's colour is needed")


def print_colours(name: str) -> InputError:
    """Return the error for CMYK: the file does not say which ink and paper."""
    return InputError("image has print colours (CMYK)", name, "convert it to RGB")


def too_deep(name: str, bits: int) -> InputError:
    """Return the error for more than 8 bits per channel: choosing 8 of them would be a guess."""
    return InputError(
        f"image has {bits} bits per channel", name, "convert it to 8 bits per channel"
    )


def many(name: str, count: int) -> InputError:
    """Return the error for several images in one file."""
    return InputError(f"file holds {count} images", name, "save each as a file of its own")


def unsupported(name: str, what: str) -> InputError:
    """Return the error for an unsupported variant of a format."""
    return InputError(f"image is stored {what}", name, "save it as plain 8-bit RGB PNG or TIFF")


SMALLEST_UM_PER_PX = 0.02
"""Below any light microscope: 100x objective, 2.4 µm camera pixels and 1.25x more give 0.02 µm."""

LARGEST_UM_PER_PX = 2.0
"""Above any objective that resolves single cells; a print resolution of 9600 dpi is above it."""


def pixel_size(x_um: float, y_um: float, origin: str) -> PixelSize:
    """Judge the stated size of a pixel; `origin` says where it is stated.

    It is used if both directions agree to 1 % and it is plausible for a microscope. Most resolution
    tags hold a print resolution such as 72 dpi (353 µm per px), which means nothing.
    """
    if not all(SMALLEST_UM_PER_PX <= value <= LARGEST_UM_PER_PX for value in (x_um, y_um)):
        found = f"{x_um:.4g} µm per pixel"
        return PixelSize(None, f"{found} in {origin} is no scale that a microscope can have")
    if abs(x_um - y_um) > 0.01 * x_um:
        found = f"{x_um:.4g} and {y_um:.4g} µm per pixel"
        return PixelSize(None, f"{found} in {origin} differ between the sides")
    return PixelSize((x_um + y_um) / 2)


def decoded_jpeg(data: bytes, name: str) -> UInt8:
    """Decode a JPEG whose structure was checked, uint8 (H, W, 3) RGB. Raises InputError."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    with captured_messages() as words:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if words.damage or image is None:
        raise damaged(name, words.damage or "JPEG cannot be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8)
