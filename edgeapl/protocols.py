"""The interfaces of the pipeline. Any object with these methods can take part in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Detections, Frame, Int32, UInt16, Verdict

Arrays = Mapping[str, NDArray[np.generic]]


@runtime_checkable
class Engine(Protocol):
    """One network, ready to run on one kind of hardware."""

    @property
    def runtime(self) -> str:
        """Runtime and its version, e.g. ``"onnxruntime 1.31.1 CPUExecutionProvider"``."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file that it was made from."""

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


@dataclass(frozen=True, slots=True)
class TransferCounts:
    """Bytes copied to a device and back, frames put there, and batches of cells run on them."""

    up: int = 0
    down: int = 0
    frames: int = 0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """One network of a chain.

    input : its input. after : (network, output) that it takes on the device, instead of cells.
    outputs : that are copied back.
    """

    network: str
    input: str
    after: tuple[str, str] | None
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CellsOnFrame:
    """Some cells of a frame that lies on a device.

    place : where the frame lies, as `CellChain.put` said.
    squares : int32 (N, 4), left, top, width and height of each cut, px; may reach over the edge.
    labels : int32 (N,), the cells' values in the label image.
    views : int32 (N, 3), how each is turned, `edgeapl.stages.views.flags_of`; None where all are
        shown as they lie.
    """

    place: int
    squares: Int32
    labels: Int32
    views: Int32 | None = None


@runtime_checkable
class CellChain(Protocol):
    """Cuts cells out of frames and runs networks on them, all on one device.

    Frames go in and answers come out; cells, and what one network passes to the next, never leave
    the device. Up to `most_batches` may be started before the first is finished.
    """

    @property
    def runtime(self) -> str:
        """What runs it."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what cuts the cells."""

    @property
    def most_cells(self) -> int:
        """Cells in one batch."""

    @property
    def most_batches(self) -> int:
        """Batches that may be started and not finished."""

    @property
    def moved(self) -> TransferCounts:
        """What was copied over the bus so far."""

    @property
    def most_pixels(self) -> int:
        """Pixels of the largest frame that it takes."""

    @property
    def widest_cut(self) -> int:
        """Side of the largest cut, px; a frame with a larger one among its cells is not taken."""

    @property
    def labelled(self) -> bool:
        """Whether it needs the frames' label images."""

    def put(self, frame: Frame, labels: UInt16) -> int | None:
        """Start to copy a frame, and its label image (H, W) if it is needed; return its place.

        None when all places are taken. Raises EngineError when the device fails.
        """

    def start(self, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> None:
        """Start a batch of cells, of one or several frames, through networks in that order.

        Raises as `finish` does.
        """

    def finish(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Wait for the batch that was started first: network to output to one row per cell.

        Raises EngineError when anything of it failed: all later calls may then be refused. Raises
        DeadlineError when it was cancelled.
        """

    def drop(self, place: int) -> None:
        """Free a frame's place; what was started on it still ends."""

    def close(self) -> None:
        """Free all that it holds; a second call does nothing."""


@runtime_checkable
class FrameSource(Protocol):
    """Where frames come from."""

    @property
    def live(self) -> bool:
        """True for a camera, which never ends by itself and may drop frames."""

    @property
    def name(self) -> str:
        """Name for people."""

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame.

        Raises SourceStalled when none came in time, EndOfSource after the last one, InputError
        for one frame that cannot be used (reading on is allowed), CameraError when all is lost.
        """

    def close(self) -> None:
        """Release the device; a second call does nothing."""


@runtime_checkable
class Interruptible(Protocol):
    """A source whose frames take long, and whose reads can be cut short."""

    def interrupt(self) -> None:
        """Make the current read, and all later ones, raise EndOfSource soon; from any thread."""


@runtime_checkable
class Segmenter(Protocol):
    """Finds the nucleated cells of a frame."""

    def segment(self, frame: Frame) -> Detections:
        """Find the cells; a frame without any gives zero rows."""


@runtime_checkable
class Sink(Protocol):
    """Stores committed verdicts."""

    def commit(self, verdict: Verdict) -> str:
        """Store a verdict for good and return the hash of its record; raises StorageError."""


@runtime_checkable
class Clock(Protocol):
    """Source of time, so that tests can use their own."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
