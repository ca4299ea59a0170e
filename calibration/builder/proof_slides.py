"""The slides that engines are proven on, without any image that ranges were measured on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeapl.bundle.digest import sha256, sha256_file
from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder.files import reference_opener
from edgeapl.calibration.builder.request import BuildRequest, Say
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.validation.engine_proof import Slide
from edgeapl.errors import EdgeAplError, EndOfSource, InputError
from edgeapl.model.assembled import segmenter_of
from edgeapl.pixel_size import SlideScale
from edgeapl.protocols import Engine, Segmenter
from edgeapl.slide_findings import scale_doubts
from edgeapl.sources.discover import find_slides
from edgeapl.sources.files import FilesSource
from edgeapl.sources.synthetic import draw_frame, slide_recipe
from edgeapl.stages.colour_transfer import trouble_with, with_colours
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Frame, ScaleOrigin, UInt8

FEWEST_CELLS = 20
"""Fewer say nothing about a share of one in a hundred; with 20, one flip is already too many."""

MOST_CELLS = 1500
DRAWN_SLIDES = 6
FRAMES = 2
"""Images on which detectors are compared: each has hundreds of cells."""

READ_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class ProofSlides:
    """What to prove on.

    words : description for the record. frames : a few, for detectors. images : SHA-256 (hex) of
    all of them.
    """

    slides: tuple[Slide, ...]
    frames: tuple[Frame, ...]
    words: str
    images: tuple[str, ...] = ()


def slides_for(bundle: Bundle, request: BuildRequest, work: Path, say: Say) -> ProofSlides:
    """Cut the cells to prove on; a detector's two networks are open together."""
    say("slides to prove on")
    opener = reference_opener(bundle)
    with ExitStack() as opened:
        engines: dict[str, Engine] = {}
        for name in bundle.manifest.detector_networks:
            engines[name] = opener(name)
            opened.callback(engines[name].close)
        return proof_slides(
            bundle,
            segmenter_of(bundle.manifest, engines),
            request.frames,
            work,
            cell_images=request.cell_images,
            um_per_px=request.um_per_px,
        )


def proof_slides(
    bundle: Bundle,
    segmenter: Segmenter,
    folder: Path | None,
    work: Path,
    *,
    cell_images: bool,
    um_per_px: float | None,
) -> ProofSlides:
    """Find and cut the cells of slides; without a folder, of drawn ones.

    Parameters
    ----------
    folder : of slides. work : an empty folder for files of cells, which must outlive the slides.

    Only one image is in memory at a time: cells are kept on disk. Images in the bundle's
    calibration set, by digest, are skipped. Raises InputError when too few cells are left.
    """
    cutter = _Cutter(bundle, segmenter, work, cell_images and folder is not None)
    if folder is None:
        for name, frames in _drawn().items():
            cutter.add(name, frames)
        words = f"{len(cutter.slides)} drawn slides: give real ones with --frames"
        return _checked(cutter, words)
    used = _used_images(bundle)
    passed = 0
    leave_out = {name.casefold() for name in bundle.manifest.crop.leave_out}
    for slide in find_slides(folder, crops=cell_images).slides:
        wanted = [
            file
            for file in slide.files
            if not (cell_images and file.parent.name.casefold() in leave_out)
        ]
        fresh = [file for file in wanted if _digest(file) not in used]
        passed += len(wanted) - len(fresh)
        scale = SlideScale(slide.um_per_px or um_per_px, bundle.manifest.um_per_px)
        with FilesSource(tuple(fresh), slide.name, scale) as source:
            cutter.add(slide.name, _read(source))
        if sum(len(crops) for _, crops in cutter.slides) >= MOST_CELLS:
            break
    words = f"{len(cutter.slides)} slides of {folder.name}"
    words += f", {passed} images of the calibration set passed over" if passed else ""
    return _checked(cutter, words)


class _Cutter:
    """Cuts the cells of slides into files, and keeps the first image of the first slides."""

    def __init__(self, bundle: Bundle, segmenter: Segmenter, work: Path, cell_images: bool) -> None:
        self.slides: list[Slide] = []
        self.frames: list[Frame] = []
        self.images: list[str] = []
        self.scales: Counter[tuple[ScaleOrigin, float]] = Counter()
        self._spec = bundle.manifest.crop
        self._segmenter = segmenter
        self._work = work
        self._cell_images = cell_images

    def add(self, name: str, frames: Iterable[Frame]) -> None:
        """Cut a slide; one without a usable image is skipped."""
        path = self._work / f"slide-{len(self.slides)}.rows"
        spool, images = DiskArray(path), 0
        for frame in frames:
            images += 1
            self.images.append(frame.digest)
            self.scales[frame.scale, frame.um_per_px] += 1
            spool.append(self._cut(frame))
            if images == 1 and len(self.frames) < FRAMES:
                self.frames.append(frame)
        if images:
            size = self._spec.size_px
            shape = (len(spool), size, size, 3)
            cells: UInt8 = np.empty((0, *shape[1:]), dtype=np.uint8)
            if len(spool):  # an empty file cannot be mapped
                cells = np.memmap(path, np.uint8, "r", shape=shape)
            self.slides.append((name, cells))

    def _cut(self, frame: Frame) -> UInt8:
        segmenter, single = self._segmenter, self._cell_images
        found = whole_crop(frame, segmenter) if single else segmenter.segment(frame)
        found = with_colours(found, self._spec)
        if trouble_with(found.frame, self._spec):  # the station passes it over too
            found = found.only(np.empty(0, dtype=np.int64))
        return cut_cells(found, self._spec, cell_image=single)


def _checked(cutter: _Cutter, words: str) -> ProofSlides:
    full = tuple((name, crops) for name, crops in cutter.slides if len(crops))
    cells = sum(len(crops) for _, crops in full)
    if cells < FEWEST_CELLS:
        mend = f"{cells} cells, {FEWEST_CELLS} are needed: give other images with --frames"
        raise InputError("too few cells to prove engines on", words, mend)
    images = tuple(sorted(cutter.images))
    words = "; ".join([f"{cells} cells of {words}", *scale_doubts(cutter.scales)])
    return ProofSlides(full, tuple(cutter.frames), words, images)


def _used_images(bundle: Bundle) -> frozenset[str]:
    calibration = bundle.manifest.calibration
    if calibration is None:
        return frozenset()
    document = json.loads(bundle.read(calibration.images))
    items = [*document.get("items", ()), *document.get("detector_frames", ())]
    return frozenset(item["image"] for item in items if "image" in item)


def _digest(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError:
        return ""


def _read(source: FilesSource) -> Iterator[Frame]:
    while True:
        try:
            frame = source.read(READ_TIMEOUT_S)
        except EndOfSource:
            return
        except EdgeAplError:
            continue  # a proof needs usable images; `score` reports the others
        yield frame


def _drawn() -> dict[str, list[Frame]]:
    slides = {}
    for number in range(DRAWN_SLIDES):
        kind = ("apl", "healthy", "aml")[number % 3]
        recipe = slide_recipe(kind, 3000 + number, um_per_px=0.15, cells=20)
        frames = [draw_frame(recipe, index).pixels for index in range(2)]
        slides[f"demo://{kind}?seed={3000 + number}"] = [
            Frame(pixels, index, 0, 0.15, f"{kind} {index}", sha256(pixels.tobytes()))
            for index, pixels in enumerate(frames)
        ]
    return slides
