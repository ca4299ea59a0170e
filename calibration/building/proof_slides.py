"""The slides that engines are proven on: none of the images that ranges were measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeapl.bundle.digest import sha256, sha256_file
from edgeapl.bundle.load import Bundle
from edgeapl.calibration.judging.engine_proof import Slide
from edgeapl.errors import EdgeAplError, EndOfSource, InputError
from edgeapl.protocols import Segmenter
from edgeapl.scale import SlideScale
from edgeapl.sources.discover import find_slides
from edgeapl.sources.files import FilesSource
from edgeapl.sources.synthetic import draw_frame, slide_recipe
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Frame, UInt8

FEWEST_CELLS = 20
"""Fewer say nothing about a share of one in a hundred; with 20, one flip is already too many."""

MOST_CELLS = 1500
DRAWN_SLIDES = 6
READ_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class ProofSlides:
    """What to prove on. words : what they are, for the record. frames : a few, for detectors."""

    slides: tuple[Slide, ...]
    frames: tuple[Frame, ...]
    words: str


def proof_slides(
    bundle: Bundle,
    segmenter: Segmenter,
    folder: Path | None,
    *,
    cell_images: bool,
    um_per_px: float | None,
) -> ProofSlides:
    """Find and cut the cells of slides; of drawn ones when no folder is given.

    Images whose digest is in the bundle's calibration set are passed over. Raises InputError when
    too few cells are left.
    """
    if folder is None:
        frames = _drawn()
        slides = [(name, _cut(bundle, segmenter, some, False)) for name, some in frames.items()]
        words = f"{len(slides)} drawn slides: give real ones with --frames"
        return _checked(slides, [some[0] for some in frames.values()], words)
    used = _used_images(bundle)
    slides, kept, passed = [], [], 0
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
            some = _read(source)
        if some:
            slides.append((slide.name, _cut(bundle, segmenter, some, cell_images)))
            kept.append(some[0])
        if sum(len(crops) for _, crops in slides) >= MOST_CELLS:
            break
    words = f"{len(slides)} slides of {folder.name}"
    words += f", {passed} images of the calibration set passed over" if passed else ""
    return _checked(slides, kept, words)


def _checked(slides: list[Slide], frames: list[Frame], words: str) -> ProofSlides:
    full = tuple((name, crops) for name, crops in slides if len(crops))
    cells = sum(len(crops) for _, crops in full)
    if cells < FEWEST_CELLS:
        mend = f"{cells} cells, {FEWEST_CELLS} are needed: give other images with --frames"
        raise InputError("too few cells to prove engines on", words, mend)
    return ProofSlides(full, tuple(frames[:2]), f"{cells} cells of {words}")


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


def _read(source: FilesSource) -> list[Frame]:
    frames = []
    while True:
        try:
            frames.append(source.read(READ_TIMEOUT_S))
        except EndOfSource:
            return frames
        except EdgeAplError:
            continue  # a proof needs usable images; `score` is what reports the others


def _cut(bundle: Bundle, segmenter: Segmenter, frames: list[Frame], cell_images: bool) -> UInt8:
    spec = bundle.manifest.crop
    crops = []
    for frame in frames:
        found = whole_crop(frame, segmenter) if cell_images else segmenter.segment(frame)
        crops.append(cut_cells(found, spec, cell_image=cell_images))
    return np.concatenate(crops)


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
