"""How plans are built: batches, scratch memory, precision of products, GPUs, effort."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeapl.errors import EngineError

DEFAULT_WORKSPACE = 2 << 30
"""2 GiB of scratch memory fit beside the system on a Jetson with 8 GB. The most greedy published
network, yan2025 at 448 px in FP32, asked TensorRT-RTX 1.7 for 2.16 GiB at a batch of 64, and for
half of that at 32, the largest that `Profile` takes unless told otherwise."""

LEVELS = range(6)
"""What `--optimization-level` takes: from the quickest build to the longest search."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The batches that a plan takes: smallest, the one it is tuned for, largest."""

    smallest: int = 1
    typical: int = 16
    largest: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.typical <= self.largest:
            text = f"{self.smallest}, {self.typical}, {self.largest}"
            raise EngineError("batch sizes are out of order", text, "give 1 <= small <= large")


def profile_up_to(largest: int) -> Profile:
    """Return the batches of a plan that takes no more than `largest` cells at once."""
    usual = Profile()
    return Profile(usual.smallest, min(usual.typical, max(largest, 1)), largest)


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build.

    profile : batches that the plan must take. workspace : bytes of device memory that a layer may
    use for scratch.
    tf32 : FP32 is multiplied in TF32, which keeps 10 bits of each number; the library does that
        unless it is told not to.
    capabilities : compute capabilities such as ``"8.9"`` to build for; empty: the GPU here. Only
        TensorRT-RTX can build for another GPU, or without one.
    level : of `LEVELS`; None for the library's own.
    timing_cache : what an earlier build measured of kernels, as the library wrote it; empty to
        start anew, None to keep none.
    device : number of the GPU to build on; None where there is none.
    """

    profile: Profile = Profile()
    workspace: int = DEFAULT_WORKSPACE
    tf32: bool = False
    capabilities: tuple[str, ...] = ()
    level: int | None = None
    timing_cache: bytes | None = None
    device: int | None = None

    def with_fp32(self) -> BuildOptions:
        """Return these options with products in full FP32 and no timing cache."""
        return replace(self, tf32=False, timing_cache=None)
