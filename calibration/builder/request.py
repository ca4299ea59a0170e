"""What a user asks to build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeapl.engines.store.record import Precision

Say = Callable[[str], None]
"""Called with each stage of a build, and its progress."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    precision : None to choose among all that can be built. target : ``auto`` to choose among those
    that run here. out : None for the cache. frames, cell_images, um_per_px : what to prove on.
    max_flip_rate : keep layers in a higher precision until no more cells flip; None to fail
        instead.

    For GPU targets only:
    device : number of the GPU, if there are several.
    max_batch : largest batch that a plan takes, in cells; None for the default.
    workspace_mib : scratch memory per layer of a plan, MiB; None for the default.
    capabilities : GPUs to build for, such as ``"8.9"``; empty for the one here. TensorRT-RTX only.
    optimization_level : 0 to 5, how long TensorRT searches; None for its default.
    timing_cache : use, and extend, the measurements of earlier TensorRT builds.
    """

    bundle: Path
    precision: Precision | None = None
    target: str = "auto"
    out: Path | None = None
    frames: Path | None = None
    cell_images: bool = False
    um_per_px: float | None = None
    max_flip_rate: float | None = None
    device: int = 0
    max_batch: int | None = None
    workspace_mib: int | None = None
    capabilities: tuple[str, ...] = ()
    optimization_level: int | None = None
    timing_cache: bool = True
