"""Which tiles show everything twice: two images, one upon the other, a little apart.

A stage that jumped during the exposure, two frames that were averaged or a reflection leave each
edge twice at one distance, in one direction. That puts a ripple on the spectrum, and a peak in its
cepstrum at that distance; a smear has no distance of its own that many places share.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.tiling import Bool
from edgeapl.types import Float32, UInt8

WINDOW = 64
"""Side of the windows, px; each lies in the middle of two by two tiles."""

FINE_BELOW_PX, FINE, COARSE = 400, 2, 3
"""Windows are of the frame made smaller, so that noise and the grid of JPEG weigh less: by `FINE`
where its shorter side is less than this, else by `COARSE`."""

NEAREST = 4
"""Nearer than this, in px of the window, everything is alike."""

PEAK, ALIKE, AGREEING = 8.0, 1, 5
"""A window has an echo whose peak is so many times the spread of the cepstrum. So many windows have
to have it at one place, give or take a px. Real frames have at most 4 such windows."""

_FLOOR = 5.0
"""Added to the spectrum: what is below is rounding."""


def doubled_tiles(pixels: UInt8, grid: tuple[int, int], outside: Bool | None = None) -> Bool:
    """Tell which tiles show everything twice, bool (R, C).

    pixels : uint8 (H, W, 3) RGB.
    outside : bool (R, C), tiles that are no part of the field; windows at its rim are not asked.
    """
    found = np.zeros(grid, dtype=bool)
    height, width = pixels.shape[:2]
    shrink = FINE if min(height, width) < FINE_BELOW_PX else COARSE
    side = WINDOW * shrink
    rows, columns = grid[0] // 2, grid[1] // 2
    if min(height, width) < side or min(rows, columns) < 1:
        return found
    tops, lefts = _starts(height, rows, side), _starts(width, columns, side)
    windows = np.stack([_window(pixels, top, left, side) for top in tops for left in lefts])
    if outside is not None:
        rim = cv2.dilate(outside.astype(np.uint8), np.ones((5, 5), np.uint8))
        blocks = rim[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
        inside = ~blocks.any(axis=(1, 3)).ravel()
        windows = windows * inside[:, None, None].astype(np.uint8)
    agreeing = _agreeing(windows)
    if np.count_nonzero(agreeing) < AGREEING:
        return found
    down, across = np.arange(grid[0]) * rows // grid[0], np.arange(grid[1]) * columns // grid[1]
    return np.asarray(agreeing.reshape(rows, columns)[down][:, across], dtype=bool)


def _starts(length: int, count: int, side: int) -> list[int]:
    middles = (np.arange(count) + 0.5) * length / count
    return [int(one) for one in np.clip(middles - side / 2, 0, length - side)]


def _window(pixels: UInt8, top: int, left: int, side: int) -> NDArray[np.uint8]:
    green = cv2.extractChannel(pixels[top : top + side, left : left + side], 1)
    small = cv2.resize(green, (WINDOW, WINDOW), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _agreeing(windows: UInt8) -> Bool:
    """Tell which windows, uint8 (N, S, S), have an echo at the place that most have, bool (N,)."""
    y, x = np.mgrid[: WINDOW // 2, : WINDOW // 2 * 2]
    x = np.where(x < WINDOW // 2, x, x - WINDOW)
    far = np.hypot(y, x) >= NEAREST
    cepstra = _cepstra(windows)[:, far]
    at = cepstra.argmax(axis=1)
    strong = cepstra.max(axis=1) > PEAK * cepstra.std(axis=1)
    strong &= windows.any(axis=(1, 2))
    y, x = y[far][at], x[far][at]
    near = (np.abs(y[:, None] - y) <= ALIKE) & (np.abs(x[:, None] - x) <= ALIKE)
    near &= strong[:, None] & strong
    return np.asarray(near[near.sum(axis=1).argmax()], dtype=bool)


def _cepstra(windows: UInt8) -> Float32:
    """Return the upper half of the cepstrum of every window, float32 (N, S / 2, S)."""
    taper = cv2.createHanningWindow((WINDOW, WINDOW), cv2.CV_32F)
    cepstra = np.empty((len(windows), WINDOW // 2, WINDOW), np.float32)
    for number, window in enumerate(windows):
        plane = cv2.multiply(window.astype(np.float32) - cv2.mean(window)[0], taper)
        spectrum = cv2.split(cv2.dft(plane, flags=cv2.DFT_COMPLEX_OUTPUT))
        log = np.asarray(cv2.log(cv2.magnitude(*spectrum) + _FLOOR), np.float32)
        log -= log.mean()
        # The log is as symmetric as the spectrum, so its transform is the inverse one, and real.
        whole = cv2.dft(log, flags=cv2.DFT_COMPLEX_OUTPUT)
        cepstra[number] = cv2.extractChannel(whole, 0)[: WINDOW // 2]
    return cepstra
