"""Look at the slides of a calibration set: their cells, and what the FP32 networks say of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.choosing import picture_hashes, with_length_one
from edgeapl.calibration.inputs import classified, unusable
from edgeapl.calibration.spool import Spool
from edgeapl.errors import EndOfSource, InputError
from edgeapl.examination import PreparedFrame, prepare_frame
from edgeapl.model import Model
from edgeapl.scale import SlideScale, measure_ahead
from edgeapl.sources.discover import SlideInput, part_files
from edgeapl.sources.files import FilesSource
from edgeapl.sources.names import printable
from edgeapl.stages.domain import FEWEST_CELLS, FrameDescriptor, describe_frame
from edgeapl.stages.gate import FieldMemory
from edgeapl.types import CellScores, Float32, Frame, UInt8

MOST_CELLS = 2048
"""Cells looked at in all; a network of 299 px takes 50 ms for each on two cores."""

ENOUGH_FRAMES = 8
"""Frames looked at on one slide, if they give cells enough: more change its medians little."""

MOST_FRAMES = 64
"""Frames looked at on a slide with few cells."""

DUPLICATE = "duplicate"
NO_ROLE = "none of the roles"

HELD_BYTES = 192 << 20
"""Frames that wait for the networks together; each network is opened once for all of them."""

_T = TypeVar("_T")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that may be chosen.

    slide, image : name of the slide and SHA-256 (hex) of the image. file : the image's name.
    box : x0 y0 x1 y1 in px; None for an image of one cell. predicted : the role whose probability
    is highest among those at or above their threshold. suspicion : 1 when that role speaks for APL.
    """

    slide: str
    image: str
    file: str
    box: Box | None
    predicted: str
    suspicion: float


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A whole frame for the detector: where it lies and its scale."""

    slide: str
    path: Path
    um_per_px: float
    digest: str


@dataclass(slots=True, eq=False)
class SlideSeen:
    """What was seen of one slide.

    images : image files it has. looked_at : of those. left_out : files the bundle is not made for.
    unusable : file name and reason of each image that could not be used. duplicates : images that
    were there before. cells : found on the images looked at.
    """

    name: str
    images: int
    left_out: int = 0
    looked_at: int = 0
    duplicates: int = 0
    cells: int = 0
    unusable: list[tuple[str, str]] = field(default_factory=list)
    frames: list[FrameDescriptor] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Gathered:
    """Everything there is to choose from; row i of crops, features and hashes is cell i.

    crops : uint8 (size, size, 3) each, on disk. features : float32 (N, D) of length 1.
    hashes : uint64 (N,) of the pictures. fields : frames for the detector.
    """

    crops: Spool
    slides: list[SlideSeen] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    _features: list[Float32] = field(default_factory=list)
    _hashes: list[NDArray[np.uint64]] = field(default_factory=list)

    @property
    def features(self) -> Float32:
        """float32 (N, D), rows of length 1."""
        return with_length_one(np.concatenate(self._features))

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """uint64 (N,)."""
        return np.concatenate(self._hashes)

    def add(self, cells: Sequence[Cell], crops: UInt8, features: Float32) -> None:
        """Add the cells of one slide."""
        self.cells.extend(cells)
        self.crops.append(crops)
        self._features.append(features)
        self._hashes.append(picture_hashes(crops))


@dataclass(frozen=True, slots=True)
class HowToGather:
    """crops : every image is one cell. um_per_px : scale of all images; None to measure it."""

    crops: bool = False
    um_per_px: float | None = None


def gather(
    model: Model,
    slides: Sequence[SlideInput],
    how: HowToGather,
    folder: Path,
    step: Callable[[int, int], None],
) -> Gathered:
    """Gate, segment, cut and classify as the station does, on images spread over every slide.

    Parameters
    ----------
    model : its FP32 engines; one at a time may be open. slides : where the images are.
    folder : where crops are kept. step : told how many slides are done, of how many.

    Raises EngineError when a network fails or gives no usable answer.
    """
    gathered = Gathered(Spool(folder / "crops.rows"))
    quota = max(FEWEST_CELLS, MOST_CELLS // max(1, len(slides)))
    for number, slide in enumerate(slides):
        step(number, len(slides))
        _look_at(model, slide, how, quota, gathered)
    return gathered


def _look_at(
    model: Model, slide: SlideInput, how: HowToGather, quota: int, gathered: Gathered
) -> None:
    manifest = model.bundle.manifest
    kept, left_out = part_files(slide.files, manifest.crop.leave_out if how.crops else ())
    seen = SlideSeen(printable(slide.name), len(slide.files), len(left_out))
    gathered.slides.append(seen)
    one_each = how.crops or manifest.segmenter.kind == "field"
    files = spread_order(evenly(kept, quota if one_each else MOST_FRAMES))
    scale = SlideScale(slide.um_per_px or how.um_per_px, manifest.um_per_px)
    measure_ahead(scale, kept)
    most = 1 if one_each else math.ceil(quota / ENOUGH_FRAMES)
    enough = len(files) if one_each else ENOUGH_FRAMES
    looked: list[_Looked] = []
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
class _Looked:
    """A frame, and the detections of it that are looked at."""

    prepared: PreparedFrame
    rows: NDArray[np.int64]
    crops: UInt8

    @property
    def frame(self) -> Frame:
        return self.prepared.frame

    @property
    def held_bytes(self) -> int:
        return self.frame.pixels.nbytes + self.prepared.detections.labels.nbytes + self.crops.nbytes


def _thinned(prepared: PreparedFrame, most: int) -> _Looked:
    rows = np.array(evenly(range(len(prepared.crops)), most), dtype=np.int64)
    return _Looked(prepared, rows, prepared.crops[rows])


def evenly(items: Sequence[_T], most: int) -> list[_T]:
    """Give at most so many of the items, spread over all of them, in their order."""
    if not items:
        return []
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


def spread_order(items: Sequence[_T]) -> list[_T]:
    """Give the items in an order of which every beginning is spread over all of them."""
    bits = max(1, (len(items) - 1).bit_length())
    reverse = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    return [items[place] for place in reverse if place < len(items)]


def _frames(
    model: Model, files: Sequence[Path], scale: SlideScale, how: HowToGather, seen: SlideSeen
) -> Iterator[PreparedFrame]:
    """Give the frames that pass the gate, and note the others."""
    memory = FieldMemory()
    with FilesSource(files, seen.name, scale) as source:
        while True:
            try:
                frame = source.read(0)
            except EndOfSource:
                return
            except InputError as error:
                seen.unusable.append((Path(error.which).name, error.what))
                continue
            seen.looked_at += 1
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
    looked: Sequence[_Looked],
    how: HowToGather,
    gathered: Gathered,
) -> None:
    """Ask the networks about some frames of a slide, add the cells, and describe the frames."""
    looked = [item for item in looked if len(item.rows)]
    if not looked:
        return
    manifest = model.bundle.manifest
    crops = np.concatenate([item.crops for item in looked])
    result = classified(manifest, model.engines, crops)
    if len(result.failed):
        raise unusable(len(result.failed), len(crops))
    scores = result.scores
    predicted = predictions(manifest, scores)
    features = scores.features if scores.features.shape[1] else _looks(scores, crops)
    suspicious = {role.name for role in manifest.roles if role.suspicious}
    cells = []
    first = 0
    for item in looked:
        own = slice(first, first + len(item.rows))
        first += len(item.rows)
        detections = item.prepared.detections
        described = describe_frame(item.frame, detections, scores.features[own])
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
    gathered.add(cells, crops, features)


def predictions(manifest: Manifest, scores: CellScores) -> list[str]:
    """Give for each cell the likeliest role among those at or above their threshold."""
    names = [role.name for role in manifest.roles]
    columns = np.stack([scores.roles[name] for name in names], axis=1)
    thresholds = np.array([role.threshold for role in manifest.roles], dtype=np.float32)
    positive = np.where(columns >= thresholds, columns, -1)
    best = positive.argmax(axis=1)
    return [names[role] if positive[row, role] >= 0 else NO_ROLE for row, role in enumerate(best)]


def _looks(scores: CellScores, crops: UInt8) -> Float32:
    """Give what stands for features where the networks give none: the look of the cell, and roles.

    The look is the crop on 8 x 8 places less its mean colour, so that the light does not count.
    """
    small = np.stack([cv2.resize(crop, (8, 8), interpolation=cv2.INTER_AREA) for crop in crops])
    look = small.reshape(len(crops), -1, 3).astype(np.float32)
    look = look - look.mean(axis=1, keepdims=True)
    roles = np.stack(list(scores.roles.values()), axis=1)
    parts = [with_length_one(look.reshape(len(crops), -1)), roles]
    return np.asarray(np.concatenate(parts, axis=1), dtype=np.float32)


def counted(cells: Sequence[Cell]) -> dict[str, int]:
    """Count cells per predicted class."""
    return dict(sorted(Counter(cell.predicted for cell in cells).items()))
