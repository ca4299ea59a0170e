"""What a file says about its image before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from edgeapl.errors import InputError


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The checked header of one 8-bit colour image.

    format : ``PNG``, ``JPEG``, ``TIFF`` or ``BMP``.
    width, height : px.
    alpha : the pixels carry an opacity that must be looked at.
    orientation : EXIF tag 274, 1 to 8; 1 is upright.
    um_per_px : from the file's own resolution tags where they are sound for microscopy, else None.
    """

    format: str
    width: int
    height: int
    alpha: bool = False
    orientation: int = 1
    um_per_px: float | None = None


def cut_off(name: str, detail: str) -> InputError:
    """Give the error for a file that ends too early."""
    return InputError(f"image is cut off ({detail})", name, "copy the file again")


def damaged(name: str, detail: str) -> InputError:
    """Give the error for a file that contradicts its format."""
    return InputError(f"image is damaged ({detail})", name, "copy the file again")


def grey(name: str) -> InputError:
    """Give the error for an image without colour."""
    return InputError("image is grey", name, "give the colour image: the stain's colour is needed")


def too_deep(name: str, bits: int) -> InputError:
    """Give the error for more than 8 bits per channel: to choose 8 of them is a guess."""
    return InputError(
        f"image has {bits} bits per channel", name, "convert it to 8 bits per channel"
    )


def many(name: str, count: int) -> InputError:
    """Give the error for several images in one file."""
    return InputError(f"file holds {count} images", name, "save each as a file of its own")


def unsupported(name: str, what: str) -> InputError:
    """Give the error for a variant of a format that is not read."""
    return InputError(f"image is stored {what}", name, "save it as plain 8-bit RGB PNG or TIFF")


SMALLEST_UM_PER_PX = 0.02
"""Below any light microscope: 100x objective, 2.4 µm camera pixels, 1.25x more: 0.02 µm."""

LARGEST_UM_PER_PX = 2.0
"""Above any objective that shows single cells; a print resolution of 9600 dpi still lies above."""


def sound_scale(x_um: float, y_um: float) -> float | None:
    """Give µm per px if both directions agree to 1 % and a microscope can have it, else None.

    Most resolution tags hold a print resolution such as 72 dpi (353 µm per px) and mean nothing.
    """
    inside = all(SMALLEST_UM_PER_PX <= value <= LARGEST_UM_PER_PX for value in (x_um, y_um))
    return (x_um + y_um) / 2 if inside and abs(x_um - y_um) <= 0.01 * x_um else None
