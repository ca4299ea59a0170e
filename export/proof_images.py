"""The cells that a proof is made on: real ones if available, else drawn ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import EndOfSource, InputError
from edgeapl.pixel_size import SlideScale
from edgeapl.protocols import Segmenter
from edgeapl.slide_findings import scale_doubts
from edgeapl.sources.discover import find_slides
from edgeapl.sources.files import FilesSource
from edgeapl.sources.synthetic import draw_frame, slide_recipe
from edgeapl.stages.colour_transfer import with_colours
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Frame, UInt8

MOST_CELLS = 40
"""More than the largest batch of the proof, few enough for deep networks on a CPU."""

MOST_FRAMES = 4
READ_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ProofImages:
    """Which images to prove on.

    folder : frames, or images of one cell each; None for drawn frames.
    cell_images : every image is one cell.
    um_per_px : scale of the images; None to measure it.
    most_cells : cells that are used; the rest of a large set is skipped.
    """

    folder: Path | None = None
    cell_images: bool = False
    um_per_px: float | None = None
    most_cells: int = MOST_CELLS


@dataclass(frozen=True, slots=True, eq=False)
class ProofCells:
    """The cells cut out.

    crops : uint8 (N, size, size, 3) RGB. frames : the frames themselves.
    sources : name and SHA-256 of every image. drawn : no real image was given.
    folders : name of the folder that each cell's image lay in; empty unless each image is a cell.
    doubts : what is only guessed of their scale.
    """

    crops: UInt8
    frames: tuple[Frame, ...]
    sources: tuple[tuple[str, str], ...]
    drawn: bool
    folders: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def description(self) -> dict[str, Any]:
        """Return what the export report says about them."""
        return {
            "kind": "drawn" if self.drawn else "real",
            "cells": len(self.crops),
            "images": [{"name": name, "sha256": digest} for name, digest in self.sources],
        }


def proof_cells(manifest: Manifest, segmenter: Segmenter, images: ProofImages) -> ProofCells:
    """Find and cut the cells of a few images, spread over those available.

    Raises InputError when there is no usable image, or no cell on any.
    """
    drawn = images.folder is None
    frames = list(_drawn(manifest) if drawn else _real(manifest, images))
    crops: list[UInt8] = []
    used: list[Frame] = []
    folders: list[str] = []
    for frame in frames:
        cell_image = images.cell_images and not drawn
        found = whole_crop(frame, segmenter) if cell_image else segmenter.segment(frame)
        found = with_colours(found, manifest.crop)
        rows = np.arange(0, len(found), max(1, len(found) // images.most_cells), dtype=np.int64)
        crops.append(cut_cells(found.only(rows), manifest.crop, cell_image=cell_image))
        used.append(frame)
        if cell_image:
            folders += [Path(frame.source).parent.name] * len(crops[-1])
    together = np.concatenate(crops)
    if not len(together):
        raise InputError("no cell to prove the export on", images.folder, "give other --images")
    step = max(1, len(together) // images.most_cells)
    return ProofCells(
        crops=np.ascontiguousarray(together[::step][: images.most_cells]),
        frames=tuple(used),
        sources=tuple((Path(frame.source).name, frame.digest) for frame in used),
        drawn=drawn,
        folders=tuple(folders[::step][: images.most_cells]),
        doubts=scale_doubts(Counter((frame.scale, frame.um_per_px) for frame in used)),
    )


def _real(manifest: Manifest, images: ProofImages) -> Iterator[Frame]:
    one_each = images.cell_images or manifest.segmenter.kind == "field"
    return real_frames(
        images,
        images.most_cells if one_each else MOST_FRAMES,
        leave_out=manifest.crop.leave_out,
        assumed_um_per_px=manifest.um_per_px,
    )


def real_frames(
    images: ProofImages, most: int, *, leave_out: Sequence[str], assumed_um_per_px: float
) -> Iterator[Frame]:
    """Read at most so many images of a folder, spread over all of it.

    leave_out : folders of single cells that are passed over.
    assumed_um_per_px : scale where none is stated or can be measured.

    Raises InputError when there is none.
    """
    assert images.folder is not None
    slides = find_slides(images.folder, crops=images.cell_images).slides
    out = {name.casefold() for name in leave_out}
    files = [
        file
        for slide in slides
        for file in slide.files
        if not (images.cell_images and file.parent.name.casefold() in out)
    ]
    scale = SlideScale(images.um_per_px, assumed_um_per_px)
    with FilesSource(_spread(files, most), "proof", scale) as source:
        while True:
            try:
                yield source.read(READ_TIMEOUT_S)
            except EndOfSource:
                return


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    if not files:
        raise InputError("no images to prove the export on", "", "give other --images")
    places = np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)
    return [files[place] for place in places.tolist()]


def _drawn(manifest: Manifest) -> Iterator[Frame]:
    for number in range(MOST_FRAMES):
        kind = ("apl", "healthy")[number % 2]
        recipe = slide_recipe(kind, number, um_per_px=0.1, width=1280, height=960, cells=12)
        pixels = draw_frame(recipe, 0).pixels
        name = f"demo://{kind}?seed={number}"
        yield Frame(pixels, number, 0, 0.1, name, sha256(pixels.tobytes()))
