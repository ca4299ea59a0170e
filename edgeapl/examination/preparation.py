"""Gate a frame, find its cells and choose where to cut them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from edgeapl.bundle.specs import CropSpec, GateSpec
from edgeapl.examination.answered_frame import FrameStore
from edgeapl.examination.timings import Timings, timed
from edgeapl.model import Model
from edgeapl.stages.area import (
    HIDDEN_SHARE,
    HIDDEN_SHARE_OF_IMAGE,
    hidden_cells,
    judge_cell_image,
    judge_tiles,
)
from edgeapl.stages.colour_transfer import trouble_with, with_colours
from edgeapl.stages.crop import CellImages, UncutCells, cut_cells, uncut_cells
from edgeapl.stages.find_disc import disc_of
from edgeapl.stages.focus import Edges
from edgeapl.stages.gate import FieldHistory, examine, examine_crop
from edgeapl.stages.lit_disc import LitDisc
from edgeapl.stages.lit_view import evened_frame, within_disc
from edgeapl.stages.repeats import TileSample, tile_prints
from edgeapl.stages.tiling import sample_tiles, tile_grid
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import (
    CellScores,
    Detections,
    Frame,
    Int64,
    Reason,
    Tiles,
    UInt8,
)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFrame:
    """A frame whose cells are found, waiting for the networks.

    crops : where the cells are to be cut, one row per detection; or, of an image of one cell,
        uint8 (N, size, size, 3) RGB.
    rejected : why the gate did not let it pass; then it has no detections.
    sharpness : `edgeapl.stages.focus.Edges.sharpness`, where the gate measured it.
    tiles : which parts of the frame could be judged; None for a rejected frame.
    hidden : rows of the cells that lie elsewhere, int64 (K,).
    single_cell : the frame is an image of one cell.
    disc : of a frame through an eyepiece. evened : the same frame as its cells are shown to the
        networks, `edgeapl.stages.lit_view.evened_frame`. None where the field fills the frame.
    answers : of an earlier run about all cells; their ids are the rows. None without.
    """

    detections: Detections
    crops: CellImages
    rejected: tuple[Reason, ...]
    timings: Timings
    sharpness: float | None = None
    tiles: Tiles | None = None
    hidden: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    single_cell: bool = False
    disc: LitDisc | None = None
    evened: Frame | None = None
    answers: CellScores | None = None

    @property
    def frame(self) -> Frame:
        """The frame itself."""
        return self.detections.frame

    @property
    def judged(self) -> Frame:
        """The frame as the networks see its cells."""
        return self.frame if self.evened is None else self.evened

    def images(self, rows: Int64) -> UInt8:
        """Return some cells, int64 (K,), as images, uint8 (K, size, size, 3) RGB."""
        some = self.crops[rows]
        return some.cut() if isinstance(some, UncutCells) else some


@dataclass(frozen=True, slots=True, eq=False)
class GatedFrame:
    """A frame that was gated; the fields are those of `PreparedFrame`.

    shown : what its tiles show, where it is one of several fields; None for a rejected frame.
    """

    frame: Frame
    rejected: tuple[Reason, ...]
    timings: Timings
    sharpness: float | None = None
    shown: TileSample | None = None
    disc: LitDisc | None = None
    evened: Frame | None = None


def prepare_frame(
    model: Model,
    frame: Frame,
    memory: FieldHistory,
    *,
    crops: bool,
    store: FrameStore | None = None,
) -> tuple[PreparedFrame, FieldHistory]:
    """Gate and segment one frame, and choose where to cut its cells.

    Parameters
    ----------
    memory : the fields seen so far on this slide.
    crops : the frame is one cell, so it is not searched for others.
    store : what earlier runs answered; None without.
    """
    gated, memory = gate_frame(model, frame, memory, crops=crops)
    return search_frame(model, gated, crops=crops, store=store), memory


def gate_frame(
    model: Model, frame: Frame, memory: FieldHistory, *, crops: bool
) -> tuple[GatedFrame, FieldHistory]:
    """Gate one frame of a slide, with the memory of the frames before it."""
    timings: Timings = Counter()
    with timed(timings, "gate"):
        if crops:
            rejected, memory = examine_crop(frame, memory)
            return GatedFrame(frame, rejected, timings), memory
        disc = disc_of(frame.pixels, memory.light)
        gate = model.bundle.manifest.gate
        rejected, memory, sharpness = _gated(frame, gate, memory, disc)
        if rejected:
            return GatedFrame(frame, rejected, timings, sharpness), memory
        evened = None if disc is None else evened_frame(frame, disc)
        shown, memory = _shown(frame if evened is None else evened, memory)
    return GatedFrame(frame, rejected, timings, sharpness, shown, disc, evened), memory


def search_frame(
    model: Model, gated: GatedFrame, *, crops: bool, store: FrameStore | None = None
) -> PreparedFrame:
    """Segment one frame, unless its cells are known; several may be searched at the same time."""
    frame, timings, disc = gated.frame, gated.timings, gated.disc
    judged = frame if gated.evened is None else gated.evened
    spec = model.bundle.manifest.crop
    if gated.rejected:
        return _rejected(frame, spec, gated.rejected, timings)
    with timed(timings, "segment"):
        known = None if store is None or disc is not None else store.find(frame)
        if known is not None:
            found = known.detections
        else:
            segment = model.segmenter.segment
            found = whole_crop(frame, model.segmenter) if crops else segment(judged)
        detections = found
        if disc is not None:
            detections, found = within_disc(found, frame, disc)
        if spec.colour_transfer is not None:
            found = with_colours(found, spec)
            frame = replace(frame, colours=found.frame.colours)
            detections = replace(detections, frame=frame)
    trouble = trouble_with(found.frame, spec)
    if trouble:
        return _rejected(frame, spec, trouble, timings)
    gate = model.bundle.manifest.gate
    with timed(timings, "gate"):
        if crops:
            tiles = judge_cell_image(detections, gate.min_detail)
        else:
            focus = gate.min_focus
            outside = None
            if disc is not None:
                outside = disc.outside(tile_grid(frame.height, frame.width))
            tiles = judge_tiles(judged.pixels, frame.um_per_px, focus, outside, shown=gated.shown)
    with timed(timings, "crop"):
        # A frame's cells are cut when a network is about to see them: none in vain, and none
        # takes memory while it waits.
        cut = cut_cells(detections, spec, cell_image=True) if crops else uncut_cells(found, spec)
    allowed = HIDDEN_SHARE_OF_IMAGE if crops else HIDDEN_SHARE
    hidden = np.flatnonzero(hidden_cells(detections, tiles, allowed))
    return PreparedFrame(
        detections,
        cut,
        (),
        timings,
        gated.sharpness,
        tiles,
        hidden,
        single_cell=crops,
        disc=disc,
        evened=None if gated.evened is None else found.frame,
        answers=None if known is None else known.scores,
    )


def _rejected(
    frame: Frame, spec: CropSpec, reasons: tuple[Reason, ...], timings: Timings
) -> PreparedFrame:
    """Return a frame of which nothing is used."""
    empty = np.empty((0, spec.size_px, spec.size_px, 3), dtype=np.uint8)
    return PreparedFrame(no_detections(frame), empty, reasons, timings)


def _gated(
    frame: Frame, spec: GateSpec, memory: FieldHistory, disc: LitDisc | None
) -> tuple[tuple[Reason, ...], FieldHistory, float | None]:
    """Return the gate's reasons, the new memory, and the frame's sharpness if it passed."""
    seen = frame.pixels if disc is None else frame.pixels[disc.core]
    edges = Edges(seen, frame.um_per_px)
    rejected, memory = examine(frame, spec, memory, edges, disc)
    return rejected, memory, None if rejected else edges.sharpness


def _shown(frame: Frame, memory: FieldHistory) -> tuple[TileSample, FieldHistory]:
    """Compare the tiles of a field with those of the fields before it, and remember them."""
    sampled = sample_tiles(frame.pixels, tile_grid(frame.height, frame.width))
    prints = tile_prints(sampled)
    return TileSample(sampled, memory.showed(prints)), memory.with_tiles(prints)


def no_detections(frame: Frame) -> Detections:
    """Zero cells on a frame."""
    return Detections(
        frame=frame,
        boxes=np.empty((0, 4), dtype=np.float32),
        labels=np.zeros((frame.height, frame.width), dtype=np.uint16),
        scores=np.empty(0, dtype=np.float32),
    )
