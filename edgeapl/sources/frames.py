"""Makes frames: what all sources do with pixels once they have them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np

from edgeapl.sources.decode import DecodedImage
from edgeapl.sources.formats.header import PixelSize
from edgeapl.types import Frame, Remark, ScaleOrigin, UInt8

ScaleFor = Callable[[UInt8], tuple[float, ScaleOrigin]]
"""Returns µm per px and its origin, for an image uint8 (H, W, 3) RGB."""


class SystemClock:
    """The machine's own time; implements Clock."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never run backwards."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def frame_of_image(
    image: DecodedImage, *, index: int, captured_ns: int, source: str, scale_for: ScaleFor
) -> Frame:
    """Make the frame of an image file.

    The scale is the user's, else the file's own, else that of `scale_for`.
    """
    um_per_px, origin = scale_for(image.pixels)
    remarks = image.remarks
    if origin is not ScaleOrigin.STATED and image.um_per_px is not None:
        um_per_px, origin = image.um_per_px, ScaleOrigin.STATED
    else:
        user = um_per_px if origin is ScaleOrigin.STATED else None
        remarks += remarks_on_size(PixelSize(image.um_per_px, image.size_unused), user)
    source += image.part
    digest = image.digest
    return Frame(image.pixels, index, captured_ns, um_per_px, source, digest, origin, remarks)


def remarks_on_size(size: PixelSize, user: float | None) -> tuple[Remark, ...]:
    """Return what is to be said of the size in a file that is not used.

    user : µm per px that the user stated, if so.
    """
    if user is None:
        return (Remark("size_unused", f"not used: {size.unused}"),) if size.unused else ()
    if size.um is None or abs(size.um - user) <= 0.02 * user:
        return ()
    text = f"the file says {size.um:.4g} µm per pixel, but {user:.4g} was stated"
    return (Remark("size_unused", text),)


def frame_of_pixels(
    pixels: UInt8, *, index: int, captured_ns: int, source: str, scale_for: ScaleFor
) -> Frame:
    """Make the frame of an image that was never a file; its digest is that of its pixels."""
    um_per_px, origin = scale_for(pixels)
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    return Frame(pixels, index, captured_ns, um_per_px, source, digest, origin)
