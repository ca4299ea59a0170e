"""Names of frames in exported files, the same for every program that reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from edgeapl.labelling.cell import LabelledFrame, LabelledSlide
from edgeapl.wording.printable import printable

FrameKey = tuple[str, int]
"""Name of the record's folder, and number of the frame."""


def image_names(slides: Sequence[LabelledSlide]) -> tuple[str, Mapping[FrameKey, str]]:
    """Return the folder that holds all frames, and each frame's path below it, with ``/``.

    Frames that are not files are named after their record and number, below no folder.
    """
    frames = {(slide.home.name, frame.number): frame for slide in slides for frame in slide.frames}
    parents = [PurePath(frame.source).parent for frame in frames.values() if frame.is_file]
    mixed = len({parent.is_absolute() for parent in parents}) > 1
    root = PurePath(os.path.commonpath(parents)) if parents and not mixed else PurePath()
    return str(root), {key: _name(key, frame, root) for key, frame in frames.items()}


def _name(key: FrameKey, frame: LabelledFrame, root: PurePath) -> str:
    if not frame.is_file:
        return f"{key[0]}/{key[1]:05d}"
    return printable(PurePath(frame.source).relative_to(root).as_posix())
