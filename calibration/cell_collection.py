"""Collects the cells of a calibration set's slides, and the FP32 networks' answers for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.calibration.cells import (
    Cell,
    CollectedCells,
    Field,
    SlideSeen,
    appearance_features,
    predictions,
)
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.inputs import classified, unusable
from edgeapl.calibration.sampling import evenly_spaced, spread_order
from edgeapl.calibration.validation.cells import with_classes
from edgeapl.errors import EndOfSource, InputError
from edgeapl.examination import PreparedFrame, prepare_frame
from edgeapl.model import Model
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.discover import SlideInput, split_left_out
from edgeapl.sources.files import FilesSource
from edgeapl.stages.domain import FEWEST_CELLS
from edgeapl.stages.frame_descriptor import describe_frame
from edgeapl.stages.gate import FieldHistory
from edgeapl.types import Frame, UInt8
from edgeapl.wording.printable import printable

MOST_CELLS = 512
"""Most cells collected in total, if no size is given; a network of 299 px takes 50 ms for each on
two cores, one of 448 px 400 ms.
"""

OVER = 4
"""Cells collected for each one that will be chosen."""

ENOUGH_FRAMES = 8
"""Most frames examined per slide, if they have enough cells: more hardly change its medians."""

MOST_FRAMES = 64
"""Most frames examined on a slide with few cells."""

DUPLICATE = "duplicate"
HELD_BYTES = 192 << 20
"""Frames passed to the networks together; each network is opened once for all of them."""


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """How cells are collected.

    crops : every image is one cell. um_per_px : scale of all images; None to measure it.

    size : cells that will be chosen; None if not known yet. excluded : SHA-256 (hex) of images that
    must not be used. classes : keep the answers about classes too, see `with_classes`.
    """

    crops: bool = False
    um_per_px: float | None = None
    size: int | None = None
    excluded: frozenset[str] = frozenset()
    classes: bool = False

    def quota(self, slides: int) -> int:
        """Return how many cells per slide to collect; always enough to describe it."""
        most = MOST_CELLS if self.size is None else OVER * self.size
        return max(FEWEST_CELLS, math.ceil(most / max(1, slides)))


def collect_cells(
    model: Model,
    slides: Sequence[SlideInput],
    how: CollectionOptions,
    folder: Path,
    step: Callable[[int, int], None],
) -> CollectedCells:
    """Gate, segment, cut and classify as the station does, on images spread over every slide.

    Parameters
    ----------
    model : its FP32 engines; at most one is open at a time. slides : with their images.
    folder : for crops. step : called with the number of slides done and their total.

    Raises EngineError when a network fails or gives unusable answers.
    """
    gathered = CollectedCells(DiskArray(folder / "crops.rows"))
    quota = how.quota(len(slides))
    for number, slide in enumerate(slides):
        step(number, len(slides))
        _look_at(model, slide, how, quota, gathered)
    return gathered


def _look_at(
    model: Model, slide: SlideInput, how: CollectionOptions, quota: int, gathered: CollectedCells
) -> None:
    manifest = model.bundle.manifest
    kept, left_out = split_left_out(slide.files, manifest.crop.leave_out if how.crops else ())
    seen = SlideSeen(printable(slide.name), len(slide.files), len(left_out))
    gathered.slides.append(seen)
    one_each = how.crops or manifest.segmenter.kind == "field"
    files = spread_order(evenly_spaced(kept, quota if one_each else MOST_FRAMES))
    scale = SlideScale(slide.um_per_px or how.um_per_px, manifest.um_per_px)
    measure_ahead(scale, kept)
    # A slide of one frame contributes all its cells, one of many frames a few of each.
    most = 1 if one_each else math.ceil(quota / max(1, min(ENOUGH_FRAMES, len(files))))
    enough = len(files) if one_each else ENOUGH_FRAMES
    looked: list[_SampledFrame] = []
    cells = 0
    for prepared in _frames(model, files, scale, how, seen):
        looked.append(_thinned(prepared, most))
        cells += len(looked[-1].rows)
        if sum(item.held_bytes for item in looked) > HELD_BYTES:
            _classify(model, seen, looked, how, gathered)
            looked = []
        if seen.looked_at >= enough and cells >= quota:
            break
    _classify(model, seen, looked, how, gathered)


@dataclass(frozen=True, slots=True, eq=False)
class _SampledFrame:
    """A frame, and a sample of its detections."""

    prepared: PreparedFrame
    rows: NDArray[np.int64]
    crops: UInt8

    @property
    def frame(self) -> Frame:
        return self.prepared.frame

    @property
    def held_bytes(self) -> int:
        return self.frame.pixels.nbytes + self.prepared.detections.labels.nbytes + self.crops.nbytes


def _thinned(prepared: PreparedFrame, most: int) -> _SampledFrame:
    rows = np.array(evenly_spaced(range(len(prepared.detections)), most), dtype=np.int64)
    return _SampledFrame(prepared, rows, prepared.images(rows))


def _frames(
    model: Model, files: Sequence[Path], scale: SlideScale, how: CollectionOptions, seen: SlideSeen
) -> Iterator[PreparedFrame]:
    """Yield the frames that pass the gate, and note the others."""
    memory = FieldHistory()
    with FilesSource(files, seen.name, scale) as source:
        while True:
            try:
                frame = source.read(0)
            except EndOfSource:
                return
            except InputError as error:
                seen.unusable.append((Path(error.which).name, error.what))
                continue
            if frame.digest in how.excluded:
                seen.excluded.append(printable(Path(frame.source).name))
                continue
            seen.looked_at += 1
            seen.scales[frame.scale, frame.um_per_px] += 1
            prepared, memory = prepare_frame(model, frame, memory, crops=how.crops)
            for reason in prepared.rejected:
                if reason.code == DUPLICATE:
                    seen.duplicates += 1
                else:
                    seen.unusable.append((printable(Path(frame.source).name), reason.text))
            if not prepared.rejected:
                seen.cells += len(prepared.detections)
                yield prepared


def _classify(
    model: Model,
    seen: SlideSeen,
    looked: Sequence[_SampledFrame],
    how: CollectionOptions,
    gathered: CollectedCells,
) -> None:
    """Run the networks on some frames of a slide, add the cells, and describe the frames."""
    looked = [item for item in looked if len(item.rows)]
    if not looked:
        return
    manifest = model.bundle.manifest
    crops = np.concatenate([item.crops for item in looked])
    asked = with_classes(manifest) if how.classes else manifest
    result = classified(asked, model.engines, crops)
    if len(result.failed):
        raise unusable(len(result.failed), len(crops))
    scores = result.scores
    predicted = predictions(manifest, scores)
    features = scores.features if scores.features.shape[1] else appearance_features(scores, crops)
    suspicious = {role.name for role in manifest.roles if role.suspicious}
    cells = []
    first = 0
    for item in looked:
        own = slice(first, first + len(item.rows))
        first += len(item.rows)
        detections = item.prepared.detections
        described = describe_frame(
            item.prepared.judged, detections, scores.features[own], single_cell=how.crops
        )
        seen.frames.append(described)
        gathered.fields.append(
            Field(seen.name, Path(item.frame.source), item.frame.um_per_px, item.frame.digest)
        )
        for row, answer in zip(item.rows.tolist(), predicted[own], strict=True):
            x0, y0, x1, y1 = detections.boxes[row].tolist()
            cells.append(
                Cell(
                    slide=seen.name,
                    image=item.frame.digest,
                    file=printable(Path(item.frame.source).name),
                    box=None if how.crops else (x0, y0, x1, y1),
                    predicted=answer,
                    suspicion=float(answer in suspicious),
                )
            )
    gathered.add(cells, crops, features, scores)
