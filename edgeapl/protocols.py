"""The seams of the pipeline. Anything that keeps these promises can take a place in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Detections, Frame, Verdict

Arrays = Mapping[str, NDArray[np.generic]]


@runtime_checkable
class Engine(Protocol):
    """One network, ready to run on one kind of hardware."""

    @property
    def runtime(self) -> str:
        """What runs it, e.g. ``"onnxruntime 1.31.1 CPUExecutionProvider"``."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file it was made from."""

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape); None is a free dimension."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once. The caller owns the result.

        Raises EngineError when inputs do not fit or the run fails; never returns an old answer.
        """

    def close(self) -> None:
        """Release what the runtime holds; a second call does nothing."""


@runtime_checkable
class FrameSource(Protocol):
    """Where frames come from."""

    @property
    def live(self) -> bool:
        """True for a camera, which never ends by itself and may drop frames."""

    @property
    def name(self) -> str:
        """What a person would call it."""

    def read(self, timeout_s: float) -> Frame:
        """Give the next frame.

        Raises SourceStalled when none came in time, EndOfSource after the last one, InputError
        for one frame that cannot be used (reading on is allowed), CameraError when all is lost.
        """

    def close(self) -> None:
        """Let go of the device; a second call does nothing."""


@runtime_checkable
class Segmenter(Protocol):
    """Finds the nucleated cells of a frame."""

    def segment(self, frame: Frame) -> Detections:
        """Find the cells; a frame without any gives zero rows."""


@runtime_checkable
class Sink(Protocol):
    """Where committed verdicts go."""

    def commit(self, verdict: Verdict) -> str:
        """Store it for good and return the hash of its record; raises StorageError."""


@runtime_checkable
class Clock(Protocol):
    """Time, so that tests can make their own."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
