"""Passes crops to a chain, which cuts cells itself, as tiles of a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import CropSpec
from edgeapl.inference import InferenceResult, scheduler_for
from edgeapl.protocols import CellChain, Engine
from edgeapl.stages.colour_transfer import as_colours
from edgeapl.stages.crop import UncutCells
from edgeapl.types import CellScores, Detections, Frame, Int64, UInt8

MOST_TILES = 32
"""Cells per frame: as many as a plan takes at once."""


class ChainReplay:
    """All cells of one slide through a chain; answers like `SlidePass`.

    Parameters
    ----------
    manifest : names roles and networks; the chain's links must output all that it asks for.
    engines : for cells that the chain does not take. chain : of the same networks.
    crops : uint8 (N, size, size, 3) RGB. Rows number the cells.
    batch_size : cells per run.
    """

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Engine],
        chain: CellChain,
        crops: UInt8,
        batch_size: int,
    ) -> None:
        self._manifest = manifest
        self._chain = chain
        self._crops = crops
        self._scheduler = scheduler_for(manifest, engines, batch_size, chain=chain)

    def run_network(self, network: str) -> None:
        """Do nothing: a chain runs all networks at once, in `answers`."""

    def answers(self) -> InferenceResult:
        """Return all answers. Raises EngineError when a network or the chain failed."""
        parts = []
        for ids, uncut in tiled(self._crops, self._manifest.crop, self._chain.most_pixels):
            self._scheduler.enter(ids, uncut)
            parts.append(self._scheduler.run(flush=False))
        parts.append(self._scheduler.run(flush=True))
        self._scheduler.close()
        return _joined([part.checked() for part in parts])


def tiled(crops: UInt8, spec: CropSpec, most_pixels: int) -> Iterator[tuple[Int64, UncutCells]]:
    """Lay cells side by side on frames, of which cutting gives each back as it was.

    Parameters
    ----------
    crops : uint8 (N, size_px, size_px, 3) RGB. spec : how they are cut.
    most_pixels : per frame.

    Yields the rows, int64, and the cells on their frame.
    """
    side = spec.resized_px or spec.size_px
    count = max(1, min(MOST_TILES, most_pixels // side**2))
    for first in range(0, len(crops), count):
        rows = np.arange(first, min(first + count, len(crops)), dtype=np.int64)
        yield rows, _frame_of(crops[first : first + len(rows)], spec, side)


def _frame_of(crops: UInt8, spec: CropSpec, side: int) -> UncutCells:
    """Put cells into one row of tiles; at their own size nothing of them is averaged."""
    edge = (side - spec.size_px) // 2
    pixels = np.zeros((side, side * len(crops), 3), np.uint8)
    labels = np.zeros(pixels.shape[:2], np.uint16)
    squares = np.empty((len(crops), 4), np.int32)
    for number, crop in enumerate(crops):
        left = side * number
        inside = slice(left + edge, left + edge + spec.size_px)
        pixels[edge : edge + spec.size_px, inside] = crop
        labels[:, left : left + side] = number + 1  # what a mask blackened is already black
        squares[number] = left, 0, side, side
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in squares.tolist()], np.float32)
    # The colours of these cells were moved when they were cut.
    colours = None if spec.colours is None else as_colours(spec.colours)
    frame = Frame(pixels, 0, 0, 1.0, "tiles", "0" * 64, colours=colours)
    detections = Detections(frame, boxes, labels, np.ones(len(crops), np.float32))
    return UncutCells(detections, spec, np.arange(len(crops), dtype=np.int64), squares)


def _joined(parts: Sequence[InferenceResult]) -> InferenceResult:
    """Concatenate answers in the order of the cells' numbers."""
    scores = [part.scores for part in parts]
    ids = np.concatenate([one.ids for one in scores])
    order = np.argsort(ids)

    def column(values: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(values)[order]

    full = [one for one in scores if len(one.ids)] or scores[:1]
    return InferenceResult(
        CellScores(
            ids=ids[order],
            roles={name: column([one.roles[name] for one in full]) for name in full[0].roles},
            features=column([one.features for one in full]),
        ),
        np.sort(np.concatenate([part.failed for part in parts])),
    )
