"""Covers parts of a frame and measures how far the answer falls (Eckardt 2022, Fig. 2B)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import ExplanationSpec
from edgeapl.explanation.network_queries import head_probabilities, query_in_all_views
from edgeapl.model import Model
from edgeapl.report.explanation import ExplainedPicture, Explanation, heat, laid_over
from edgeapl.report.pictures import jpeg_bytes, shrunk
from edgeapl.stages.colour_transfer import move_of
from edgeapl.stages.crop import cut_windows
from edgeapl.types import CellStatus, ExaminedFrame, Float32, UInt8
from edgeapl.wording.printable import printable

MOST_ROWS = 150
"""Number of occluded cells shown to the networks: about 15 s with three Xception networks on two
CPU cores."""

PATCHES_PER_WINDOW = 3
"""A patch is a third of a cell's window wide: a nucleus, or half a cell."""

GREY = 128
PICTURE_PX = 1000

COLOURS = cv2.COLORMAP_VIRIDIS
"""Important areas yellow and green, others blue and purple, as in the paper's figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Squares over a frame, and the cells that each of them touches.

    side : px. corners : (left, top) of each. touched : rows of the cells, per square.
    """

    side: int
    corners: tuple[tuple[int, int], ...]
    touched: tuple[tuple[int, ...], ...]


class OcclusionExplainer:
    """Draws an occlusion sensitivity map over the frame with the most suspicious cells.

    The paper covers parts of the image and measures how far the network's performance drops. Here
    every cell under a grey patch is scored again, and the slide's head judges the frame anew. The
    head gets mean probabilities instead of counts, because a count changes only when a cell
    crosses its threshold, and nearly the whole map would be flat. Cells keep their boxes.
    """

    def __init__(
        self, model: Model, spec: ExplanationSpec, *, crops: bool, batch_size: int
    ) -> None:
        self._model = model
        self._spec = spec
        self.title = spec.title
        self._crops = crops
        self._batch_size = batch_size
        self._frame: ExaminedFrame | None = None

    def add(self, examined: ExaminedFrame) -> None:
        """Keep the frame if more of its cells are suspicious than in the one kept before."""
        heavier = self._frame is None or _weight(examined) > _weight(self._frame)
        if heavier and np.isfinite(examined.suspicion).any():
            self._frame = examined

    def explain(self) -> Explanation:
        """Score the covered cells and draw the map."""
        if self._frame is None:
            return Explanation(self.title, "No cell was scored, so there is no map.")
        if self._crops:
            return Explanation(
                self.title, "The map is drawn over fields of view, not single cells."
            )
        frame = self._frame
        rows = _most_suspicious(frame)
        rows, patches = self._patches(frame, rows)
        whole, covered = self._probabilities(frame, rows, patches)
        drops = _map(frame, patches, whole - covered)
        pixels = shrunk(frame.frame.pixels, PICTURE_PX)
        colours = heat(drops, pixels.shape[1], pixels.shape[0], COLOURS)
        scored = int(np.isfinite(frame.suspicion).sum())
        caption = (
            f"Frame {frame.frame.index}, {printable(frame.frame.source)}. A grey patch of "
            f"{patches.side * frame.frame.um_per_px:.1f} µm was moved over the {len(rows)} most "
            f"suspicious of its {scored} scored cells, and the head judged the frame anew each "
            "time, from the cells' mean probabilities. Yellow and green: covered, the probability "
            "of APL falls; blue and purple: it does not change, or rises. The largest fall is "
            f"{float(drops.max()):.4f}, from {whole:.4f}. Everything else on the frame was not "
            "covered and is drawn as no change. It shows what the answer depends on, not that the "
            "answer is right."
        )
        picture = jpeg_bytes(laid_over(pixels, colours))
        return Explanation(
            self.title, caption, (ExplainedPicture("Occlusion map", picture, size="page"),)
        )

    def _patches(self, frame: ExaminedFrame, rows: list[int]) -> tuple[list[int], Patches]:
        """Lay a grid of patches over as many cells as can be scored."""
        window = self._model.bundle.manifest.crop.window_um / frame.frame.um_per_px
        side = max(1, round(window / PATCHES_PER_WINDOW))
        chosen: list[int] = []
        squares: dict[tuple[int, int], list[int]] = {}
        asked = 0
        for row in rows:
            x, y = frame.detections.centres[row].tolist()
            under = [
                (column, line)
                for line in range(int((y - window / 2) // side), int((y + window / 2) // side) + 1)
                for column in range(
                    int((x - window / 2) // side), int((x + window / 2) // side) + 1
                )
                if 0 <= column * side < frame.frame.width and 0 <= line * side < frame.frame.height
            ]
            if chosen and asked + len(under) > MOST_ROWS:
                break
            asked += len(under)
            chosen.append(row)
            for square in under:
                squares.setdefault(square, []).append(row)
        order = sorted(squares)
        corners = tuple((column * side, line * side) for column, line in order)
        return chosen, Patches(side, corners, tuple(tuple(squares[square]) for square in order))

    def _probabilities(
        self, frame: ExaminedFrame, rows: list[int], patches: Patches
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the frame's own probability, and that under every patch, float64 (patches,)."""
        manifest = self._model.bundle.manifest
        crops = _covered_crops(frame, patches, self._model)
        answers = query_in_all_views(self._model, crops, self._batch_size)
        scored = np.isfinite(frame.suspicion)
        table = np.stack([frame.roles[role.name][scored] for role in manifest.roles], axis=1)
        place = np.cumsum(scored) - 1
        means = [table.mean(axis=0)]
        taken = 0
        for touched in patches.touched:
            changed = table.copy()
            for row in touched:
                changed[place[row]] = [
                    0.0
                    if (given := answers[taken][role.network]) is None
                    else float(given[role.output])
                    for role in manifest.roles
                ]
                taken += 1
            means.append(changed.mean(axis=0))
        judged = head_probabilities(self._model, np.stack(means))
        return float(judged[0]), judged[1:]


def _weight(examined: ExaminedFrame) -> tuple[float, float]:
    """Return a frame's rank: the sum of suspicion, then the most suspicious cell."""
    suspicion = examined.suspicion[np.isfinite(examined.suspicion)]
    return float(suspicion.sum()), float(suspicion.max(initial=0))


def _most_suspicious(examined: ExaminedFrame) -> list[int]:
    scored = [row for row, s in enumerate(examined.status) if s is CellStatus.SCORED]
    return sorted(scored, key=lambda row: (-float(examined.suspicion[row]), row))


def _covered_crops(frame: ExaminedFrame, patches: Patches, model: Model) -> UInt8:
    """Cut every touched cell under its patch, in the order of the patches."""
    spec = model.bundle.manifest.crop
    canvas = frame.frame.pixels.copy()
    move = move_of(frame.frame, spec)
    crops = []
    for (left, top), touched in zip(patches.corners, patches.touched, strict=True):
        place = (slice(top, top + patches.side), slice(left, left + patches.side))
        canvas[place] = GREY
        centres = frame.detections.centres[list(touched)]
        crops.append(cut_windows(canvas, centres, frame.frame.um_per_px, spec, move))
        canvas[place] = frame.frame.pixels[place]
    return np.concatenate(crops)


def _map(frame: ExaminedFrame, patches: Patches, drops: NDArray[np.float64]) -> Float32:
    """Return the drop of every patch on the grid, float32 (lines, columns); 0 where none was."""
    lines = -(-frame.frame.height // patches.side)
    columns = -(-frame.frame.width // patches.side)
    values = np.zeros((lines, columns), dtype=np.float32)
    for (left, top), drop in zip(patches.corners, drops.tolist(), strict=True):
        values[top // patches.side, left // patches.side] = drop
    return values
