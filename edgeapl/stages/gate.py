"""Reject frames from which nothing can be learned, and fields that were seen before.

The limits were measured on nine sets of real images, none of which comes near them; the figures
stand beside each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from edgeapl.bundle.specs import GateSpec
from edgeapl.stages.field_detail import DETAIL_PX, Int8, field_detail_of, is_same_detail
from edgeapl.stages.find_disc import LitField
from edgeapl.stages.focus import Edges
from edgeapl.stages.lit_disc import LitDisc
from edgeapl.stages.motion import is_moved
from edgeapl.stages.repeats import UInt64
from edgeapl.stages.tiling import Bool
from edgeapl.types import Float32, Frame, Reason, UInt8

BLACK_BELOW = 48
"""Grey value. The brightest hundredth of a frame reaches 150 in the darkest real set."""

CLIPPED = 254
"""Grey value from which a pixel counts as clipped."""

CLIPPED_SHARE = 0.25
"""Share of pixels clipped in all three colours; the most in a real image was 0.05."""

FLAT_BELOW = 16
"""Grey values between the 1st and 99th percentile of green; real fields have 43 or more."""

COLOURLESS_BELOW = 8
"""Largest less smallest colour of a pixel, 99th percentile; real fields have 23 or more."""

SAME_FIELD = 0.8
"""Correlation of two descriptors. The same field again, with noise, other exposure, JPEG, blur or
moved by 1 % of its width gives 0.78 to 1; different fields at most 0.52, in 67,000 pairs."""

_BLACK = Reason("black", "the image is black: check the lamp and the shutter")
_SATURATED = Reason("saturated", "the image is overexposed: shorten the exposure")
_FLAT = Reason("flat", "the image is empty, without any contrast: check the field and the focus")
_COLOURLESS = Reason("colourless", "the image has no colour: the stain cannot be seen")
_UNFOCUSED = Reason("unfocused", "the image is out of focus: focus again")
_MOVED = Reason("moved", "the stage moved while the image was taken: let it rest")
_DUPLICATE = Reason("duplicate", "the field was seen before; its cells are counted once")

_SAMPLE_PX = 256
_DESCRIPTOR_PX = 32
_BACKGROUND_SIGMA = 4.0
"""Smooth light and shade common to all fields of a smear are removed, in descriptor px."""

_STAIN = (2, 90)
"""Percentiles of green between which cells and ground lie."""

_MOST_FIELDS = 4096
"""Fields remembered, 8 KB each; the oldest are forgotten. A smear has a few hundred."""

_BLOCK_FIELDS = 64


@dataclass(frozen=True, slots=True, eq=False)
class FieldLook:
    """What tells a field from others.

    descriptor : float32 (1024,) of length 1, a coarse thumbnail. detail : int8 (64, 64), a finer
    one, for fields whose coarse ones are alike.
    """

    descriptor: Float32
    detail: Int8


@dataclass(frozen=True, slots=True, eq=False)
class FieldHistory:
    """The fields of one slide that passed the gate; a value, never changed.

    digests : SHA-256 of their images.
    descriptors : float32 (up to 64, 1024) each, one row of length 1 for every field, oldest first.
        In blocks, so that the next field costs no copy of all others.
    details : of the same fields, int8 (up to 64, 64, 64) each.
    prints : of their tiles, uint64 (up to 64, R, C) each, as `edgeapl.stages.repeats.tile_prints`
        gives them.
    light : where the light of their source falls; None before the first.
    """

    digests: frozenset[str] = frozenset()
    descriptors: tuple[Float32, ...] = ()
    details: tuple[Int8, ...] = ()
    prints: tuple[UInt64, ...] = ()
    light: LitField | None = None

    def holds(self, digest: str, look: FieldLook | None = None) -> bool:
        """Whether this image, or one of the same field, was seen before."""
        if digest in self.digests:
            return True
        if look is None:
            return False
        return any(
            is_same_detail(look.detail, details[row])
            for block, details in zip(self.descriptors, self.details, strict=True)
            for row in np.flatnonzero(block @ look.descriptor >= SAME_FIELD).tolist()
        )

    def with_field(self, digest: str, look: FieldLook | None = None) -> FieldHistory:
        """Return a memory that also holds this field."""
        known = replace(self, digests=self.digests | {digest})
        if look is None:
            return known
        blocks, details = self.descriptors, self.details
        if blocks and len(blocks[-1]) < _BLOCK_FIELDS:
            blocks = (*blocks[:-1], np.vstack([blocks[-1], look.descriptor]))
            details = (*details[:-1], np.concatenate([details[-1], look.detail[None]]))
        else:
            most = _MOST_FIELDS // _BLOCK_FIELDS - 1
            blocks = (*blocks[-most:], look.descriptor[None])
            details = (*details[-most:], look.detail[None])
        return replace(known, descriptors=blocks, details=details)

    def with_light(self, disc: LitDisc | None, shape: tuple[int, int]) -> FieldHistory:
        """Return a memory that also knows where the light falls, or that the field fills frames."""
        before = self.light
        if before is not None and before.shape == shape and not before.grows(disc):
            return self
        return replace(self, light=LitField(disc, shape))

    def showed(self, prints: UInt64) -> Bool:
        """Tell which tiles were shown in the same place before, bool (R, C)."""
        before = np.zeros(prints.shape, dtype=bool)
        for block in self.prints:
            if block.shape[1:] == prints.shape:
                before |= (block == prints).any(axis=0)
        return before

    def with_tiles(self, prints: UInt64) -> FieldHistory:
        """Return a memory that also holds what these tiles show."""
        blocks = self.prints
        if blocks and len(blocks[-1]) < _BLOCK_FIELDS and blocks[-1].shape[1:] == prints.shape:
            blocks = (*blocks[:-1], np.concatenate([blocks[-1], prints[None]]))
        else:
            blocks = (*blocks[-(_MOST_FIELDS // _BLOCK_FIELDS - 1) :], prints[None])
        return replace(self, prints=blocks)


def examine(
    frame: Frame,
    spec: GateSpec,
    memory: FieldHistory,
    edges: Edges | None = None,
    disc: LitDisc | None = None,
) -> tuple[tuple[Reason, ...], FieldHistory]:
    """Return why a field of view cannot be used; without a reason it passes.

    Parameters
    ----------
    frame : the field.
    spec : the limits that the bundle sets.
    memory : the fields of the slide that passed before.
    edges : of the frame, or of the core of its disc, for callers that need them afterwards.
    disc : of the frame, as `edgeapl.stages.find_disc.disc_of` gives it: only its core is looked at.

    Returns the reasons and the memory for the next frame, with this one only if it passed.
    """
    pixels = frame.pixels if disc is None else frame.pixels[disc.core]
    reasons = light_reasons(pixels)
    if reasons:
        return reasons, memory
    edges = edges or Edges(pixels, frame.um_per_px)
    # Written so that a measure that is not a number does not pass.
    if not edges.sharpness >= spec.min_focus:
        return (_UNFOCUSED,), memory
    if is_moved(edges):
        return (_MOVED,), memory
    look = look_of(pixels)
    if memory.holds(frame.digest, look):
        return (_DUPLICATE,), memory
    known = memory.with_field(frame.digest, look)
    return (), known.with_light(disc, (frame.height, frame.width))


def examine_crop(frame: Frame, memory: FieldHistory) -> tuple[tuple[Reason, ...], FieldHistory]:
    """Return why an image of one cell cannot be used: its light, or the very same file again.

    Focus and likeness are not judged: one cell has too few edges, and cells look alike.
    """
    reasons = light_reasons(frame.pixels)
    if reasons:
        return reasons, memory
    if memory.holds(frame.digest):
        return (_DUPLICATE,), memory
    return (), memory.with_field(frame.digest)


def light_reasons(pixels: UInt8) -> tuple[Reason, ...]:
    """Return what is wrong with the light of an image, uint8 (H, W, 3) RGB: one reason or none."""
    red, green, blue = (np.ascontiguousarray(plane) for plane in np.moveaxis(_sample(pixels), 2, 0))
    brightest = np.maximum(np.maximum(red, green), blue)
    darkest = np.minimum(np.minimum(red, green), blue)
    if _percentile(brightest, 99) < BLACK_BELOW:
        return (_BLACK,)
    if np.count_nonzero(darkest >= CLIPPED) > CLIPPED_SHARE * darkest.size:
        return (_SATURATED,)
    if _percentile(green, 99) - _percentile(green, 1) < FLAT_BELOW:
        return (_FLAT,)
    if _percentile(brightest - darkest, 99) < COLOURLESS_BELOW:
        return (_COLOURLESS,)
    return ()


def look_of(pixels: UInt8) -> FieldLook:
    """Return how a field, uint8 (H, W, 3) RGB, looks."""
    green = np.ascontiguousarray(_sample(pixels)[..., 1])
    # Scale bars and dates are brighter or darker than all else, and the same on every field.
    low, high = (_percentile(green, percent) for percent in _STAIN)
    green = np.clip(green, low, high)
    # Most of the time goes into making it small, so that is done once.
    fine = cv2.resize(green, (DETAIL_PX, DETAIL_PX), interpolation=cv2.INTER_AREA)
    small = np.asarray(fine, dtype=np.float32)
    return FieldLook(_descriptor(small), field_detail_of(small))


def describe_field(pixels: UInt8) -> Float32:
    """Return a thumbnail of a field, float32 (1024,) of length 1, that tells it from others."""
    return look_of(pixels).descriptor


def _descriptor(fine: Float32) -> Float32:
    """Return the coarse look of a fine thumbnail, float32 (64, 64)."""
    size = (_DESCRIPTOR_PX, _DESCRIPTOR_PX)
    small = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    small = small - cv2.GaussianBlur(small, (0, 0), _BACKGROUND_SIGMA)
    length = float(np.linalg.norm(small))
    return np.asarray(small.ravel() / max(length, 1e-6), dtype=np.float32)


def _percentile(plane: UInt8, percent: float) -> int:
    """Smallest grey value that `percent` of the pixels do not exceed; much faster than sorting."""
    below = np.cumsum(np.bincount(plane.ravel(), minlength=256))
    return int(np.searchsorted(below, percent / 100 * plane.size))


def _sample(pixels: UInt8) -> UInt8:
    """Take every n-th pixel, so that the shorter side has 256 to 511."""
    step = max(1, min(pixels.shape[:2]) // _SAMPLE_PX)
    return pixels[::step, ::step]
