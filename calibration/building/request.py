"""What a user asks to be built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeapl.engines.store.record import Precision


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    precision : None to choose among all that can be built. target : ``auto`` to choose among those
    that run here. out : None for the cache. frames, cell_images, um_per_px : what to prove on.
    max_flip_rate : keep layers in a higher precision until no more cells flip; None to fail.
    """

    bundle: Path
    precision: Precision | None = None
    target: str = "auto"
    out: Path | None = None
    frames: Path | None = None
    cell_images: bool = False
    um_per_px: float | None = None
    max_flip_rate: float | None = None
