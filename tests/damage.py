"""Ways in which a part of a picture is lost; each takes uint8 (H, W, 3) RGB and gives the same."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edgeapl.types import UInt8

Change = Callable[[UInt8], UInt8]


def left(share: float, change: Change) -> Change:
    """Change so much of the left side alone."""

    def changed(pixels: UInt8) -> UInt8:
        out = pixels.copy()
        width = int(pixels.shape[1] * share)
        out[:, :width] = change(out[:, :width])
        return out

    return changed


def filled(value: int) -> Change:
    return lambda pixels: np.full_like(pixels, value)


def dimmed(factor: float) -> Change:
    return lambda pixels: (pixels * factor).astype(np.uint8)


def blurred(sigma_px: float) -> Change:
    return lambda pixels: np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), np.uint8)


def defocused(radius_px: int) -> Change:
    disc = np.zeros((2 * radius_px + 1, 2 * radius_px + 1), np.float32)
    cv2.circle(disc, (radius_px, radius_px), radius_px, 1.0, -1)
    return lambda pixels: np.asarray(cv2.filter2D(pixels, -1, disc / disc.sum()), np.uint8)


def channel(number: int, value: int) -> Change:
    def changed(pixels: UInt8) -> UInt8:
        out = pixels.copy()
        out[..., number] = value
        return out

    return changed


def grey(pixels: UInt8) -> UInt8:
    return np.repeat(pixels[..., 1:2], 3, axis=2)


def noise(pixels: UInt8) -> UInt8:
    return np.random.default_rng(3).integers(0, 256, pixels.shape, dtype=np.uint8)


def shaded(pixels: UInt8) -> UInt8:
    """Let the light go out from the right to the left."""
    return (pixels * np.linspace(0, 1, pixels.shape[1])[None, :, None]).astype(np.uint8)


def veiled(contrast: float) -> Change:
    """Leave so much of the contrast, as oil, condensation or stray light do."""

    def changed(pixels: UInt8) -> UInt8:
        ground = np.percentile(pixels.reshape(-1, 3), 95, axis=0)
        return np.asarray(pixels * contrast + ground * (1 - contrast), np.uint8)

    return changed


def glare(pixels: UInt8) -> UInt8:
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    light = 400 * np.exp(-(((x / width - 0.3) / 0.25) ** 2) - ((y / height - 0.5) / 0.35) ** 2)
    return np.asarray(np.clip(pixels + light[..., None], 0, 255), np.uint8)


def last_row_repeated(pixels: UInt8) -> UInt8:
    """Leave the rest of the picture as a decoder does whose file has ended."""
    out = pixels.copy()
    end = int(0.6 * len(out))
    out[end:] = out[end - 1]
    return out


def moved_copy(rows: int, columns: int) -> Change:
    """Show the first rows and columns again behind them, as a buffer that is read too early."""

    def changed(pixels: UInt8) -> UInt8:
        out = pixels.copy()
        for start in range(rows, len(out), max(1, rows)):
            if rows:
                out[start : start + rows] = out[: len(out) - start][:rows]
        if columns:
            out[:, columns:] = pixels[:, : pixels.shape[1] - columns]
        return out

    return changed


def half_again(pixels: UInt8) -> UInt8:
    """Show the upper half again in place of the lower."""
    out, half = pixels.copy(), len(pixels) // 2
    out[half : 2 * half] = pixels[:half]
    return out


def end_zeroed(pixels: UInt8) -> UInt8:
    out = pixels.copy()
    out[int(0.85 * len(out)) :] = 0
    return out


def striped(value: int, *, columns: bool = False) -> Change:
    def changed(pixels: UInt8) -> UInt8:
        out = pixels.copy()
        for start in range(0, out.shape[columns], 48):
            out[(slice(None),) * columns + (slice(start, start + 24),)] = value
        return out

    return changed


def lost_blocks(pixels: UInt8) -> UInt8:
    """Lose a third of the blocks of a JPEG."""
    height, width = pixels.shape[:2]
    lost = np.random.default_rng(2).random((height // 16 + 1, width // 16 + 1)) < 0.3
    out = pixels.copy()
    out[np.kron(lost, np.ones((16, 16), bool))[:height, :width]] = 128
    return out


def coarse(side: int) -> Change:
    """Leave one pixel of every block."""

    def changed(pixels: UInt8) -> UInt8:
        height, width = pixels.shape[:2]
        some = pixels[::side, ::side].repeat(side, axis=0).repeat(side, axis=1)
        return np.ascontiguousarray(some[:height, :width])

    return changed


def median_filtered(side: int) -> Change:
    return lambda pixels: np.asarray(cv2.medianBlur(np.ascontiguousarray(pixels), side), np.uint8)


def motion(length: int) -> Change:
    line = np.full((1, length), 1 / length, np.float32)
    return lambda pixels: np.asarray(cv2.filter2D(pixels, -1, line), np.uint8)


def spotted(count: int, radius: float, change: Change) -> Change:
    """Change round spots alone, of this radius as a share of the shorter side."""

    def changed(pixels: UInt8) -> UInt8:
        height, width = pixels.shape[:2]
        random, spots = np.random.default_rng(5), np.zeros((height, width), np.float32)
        for x, y in random.random((count, 2)) * (width, height):
            cv2.circle(spots, (int(x), int(y)), int(radius * min(height, width)), 1.0, -1)
        shown = np.asarray(cv2.GaussianBlur(spots, (0, 0), 4))[..., None]
        return np.asarray(pixels * (1 - shown) + change(pixels) * shown, np.uint8)

    return changed


def doubled(down: int, across: int, share: float = 0.5) -> Change:
    """Lay the picture upon itself, moved, with this share of the light."""

    def changed(pixels: UInt8) -> UInt8:
        moved = np.roll(pixels, (down, across), axis=(0, 1))
        return (pixels * (1 - share) + moved * share).astype(np.uint8)

    return changed


def mirrored(axis: int) -> Change:
    """Show the second half again, mirrored, in place of the first."""

    def changed(pixels: UInt8) -> UInt8:
        out, half = pixels.copy(), pixels.shape[axis] // 2
        first = (slice(None),) * axis + (slice(half),)
        out[first] = np.flip(pixels, axis)[first]
        return out

    return changed


def shifted(colour: int, down: int, across: int) -> Change:
    """Move one colour against the others."""

    def changed(pixels: UInt8) -> UInt8:
        out = pixels.copy()
        out[..., colour] = np.roll(pixels[..., colour], (down, across), axis=(0, 1))
        return out

    return changed


def shuffled(side: int) -> Change:
    """Exchange blocks."""

    def changed(pixels: UInt8) -> UInt8:
        out, (height, width) = pixels.copy(), pixels.shape[:2]
        places = [
            (slice(y, y + side), slice(x, x + side))
            for y in range(0, height - side + 1, side)
            for x in range(0, width - side + 1, side)
        ]
        order = np.random.default_rng(4).permutation(len(places))
        for place, other in zip(places, order, strict=True):
            out[place] = pixels[places[other]]
        return out

    return changed


def jpeg(quality: int, change: Change) -> Change:
    """Change, then pack and unpack."""

    def changed(pixels: UInt8) -> UInt8:
        done, data = cv2.imencode(".jpg", change(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return changed


DAMAGED: dict[str, Change] = {
    "black tenth": left(0.1, filled(0)),
    "black third": left(0.3, filled(0)),
    "black, packed again": jpeg(90, left(0.3, filled(0))),
    "grey": left(0.6, filled(128)),
    "white": left(0.6, filled(250)),
    "dim": left(0.6, dimmed(0.2)),
    "shaded": shaded,
    "blurred": left(0.6, blurred(9)),
    "blurred far": left(0.6, blurred(30)),
    "blurred and packed again": jpeg(90, left(0.6, blurred(9))),
    "defocused": left(0.5, defocused(15)),
    "glare": glare,
    "veiled": left(0.5, veiled(0.2)),
    "striped": striped(0),
    "striped grey": striped(128, columns=True),
    "without red": left(0.6, channel(0, 0)),
    "without green": left(0.6, channel(1, 0)),
    "blue stuck": left(0.6, channel(2, 255)),
    "without colour": left(0.6, grey),
    "noise": left(0.4, noise),
    "file ended": last_row_repeated,
    "upper half again": moved_copy(480, 0),
    "one band again and again": moved_copy(97, 0),
    "beside itself": moved_copy(0, 500),
    "end zeroed": end_zeroed,
    "lost blocks": lost_blocks,
    "coarse": left(0.5, coarse(16)),
    "coarse, packed again": jpeg(90, left(0.5, coarse(8))),
    "median": left(0.5, median_filtered(15)),
    "slightly defocused": left(0.2, defocused(8)),
    "moved": left(0.2, motion(21)),
    "blurred spots": spotted(30, 0.06, blurred(8)),
    "doubled": left(0.5, doubled(10, 25)),
    "doubled, packed again": jpeg(90, left(0.5, doubled(10, 25))),
    "weakly doubled": left(0.5, doubled(-18, 20, 0.3)),
    "mirrored": mirrored(1),
    "mirrored, packed again": jpeg(90, mirrored(0)),
    "upper half again, packed again": jpeg(90, half_again),
    "colours shifted": left(0.5, shifted(0, 0, 25)),
    "colours shifted everywhere": shifted(0, 20, 15),
    "blue shifted": left(0.5, shifted(2, 25, 0)),
    "blocks shuffled": left(0.5, shuffled(64)),
    "blocks shuffled, packed again": jpeg(90, left(0.5, shuffled(48))),
}
