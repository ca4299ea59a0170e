"""A chain on one GPU: frames go in, answers come out, everything between stays there.

Four streams, each for one stage: upload, cut, judge, download. An event after each stage of a
batch lets the next begin, so that a batch is copied and cut while the one before it is judged.
The host waits once for a batch, for its last event.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import clear_frames
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.input_checks import first_line
from edgeapl.engines.trt.cell_networks import Shapes
from edgeapl.engines.trt.cutter import NAME
from edgeapl.engines.trt.device import plan_resources
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.engines.trt.frames import PLACES
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.local_runtime import runtime_for
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.plan import StoredPlan
from edgeapl.engines.trt.stages import BATCHES, Stages
from edgeapl.errors import EngineError
from edgeapl.protocols import CellsOnFrame, Link, TransferCounts
from edgeapl.types import Colours, Frame, UInt16

WARM_SIDE = 32
"""Px of the frame, and of each cell, that a warm-up is done with."""


def open_chain(
    plan: StoredPlan,
    links: Sequence[Link],
    engines: Mapping[str, TrtEngine],
    *,
    driver: Any = None,
    library: Library | None = None,
) -> TrtChain:
    """Check the plan that cuts cells, as `open_plan` checks any, and chain networks behind it.

    Parameters
    ----------
    plan : of `edgeapl.engines.trt.crop_network`.
    links : the networks, each after the one that it takes its input from.
    engines : network to its plan, which stays open longer than the chain.
    driver, library : stand-ins for tests.

    Raises EngineError when the plan may not be loaded, or a network cannot be chained.
    """
    runtime = runtime_for(plan, driver, library)
    return TrtChain(plan.data, plan.record.sha256, links, engines, runtime.library, runtime.driver)


class TrtChain:
    """Implements CellChain. Made by `open_chain` alone, which knows that the plan may be loaded.

    After a failure on the GPU all further work is refused: what it left half done could end in the
    next answer.
    """

    most_batches = BATCHES

    def __init__(
        self,
        plan: bytes,
        digest: str,
        links: Sequence[Link],
        engines: Mapping[str, TrtEngine],
        library: Library,
        driver: Any,
    ) -> None:
        self._digest = digest
        self._library = library
        self._driver = driver
        self._lock = threading.Lock()
        self._refusal = ""
        self._under_way: deque[tuple[int, Shapes]] = deque()
        self._started = self._put = 0
        self._warmed = TransferCounts()
        self._stages: Stages | None = None
        self._memory = GpuMemory(driver)
        try:
            with self._memory.active():
                kernels = plan_resources(driver, library).kernels
                self._stages = Stages(plan, links, engines, library, kernels, self._memory)
                self._check_log()
        except (EngineError, driver.Error) as error:
            clear_frames(error.__traceback__)
            self._release()
            if isinstance(error, EngineError):
                raise
            raise EngineError("chain could not be made", NAME, first_line(error)) from error
        except BaseException:
            self._release()
            raise
        stages = self._stages
        self._networks = tuple(link.network for link in links)
        self._kernels = kernels
        self._most_cells = stages.most_cells
        self._most_pixels, self._reach = stages.cutting.most_pixels, stages.cutting.reach
        self._labelled = stages.cutting.labelled
        self._runtime = next(iter(engines.values())).runtime

    @property
    def runtime(self) -> str:
        """Library, version and GPU."""
        return f"{self._runtime}, cells cut there"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the plan that cuts cells."""
        return self._digest

    @property
    def most_cells(self) -> int:
        """Cells in one batch."""
        return self._most_cells

    @property
    def moved(self) -> TransferCounts:
        """What went over the bus so far."""
        moved, before = self._memory.moved, self._warmed
        return TransferCounts(
            moved.up - before.up,
            moved.down - before.down,
            self._put - before.frames,
            self._started - before.batches,
        )

    @property
    def most_pixels(self) -> int:
        """Of a frame that the plan takes."""
        return self._most_pixels

    @property
    def labelled(self) -> bool:
        """Whether the plan masks cells."""
        return self._labelled

    @property
    def widest_cut(self) -> int:
        """Px that the plan reaches."""
        return self._reach

    def warm_up(self) -> None:
        """Run all networks in each size that batches are padded to, in every place for one.

        Then nothing is left to be compiled or captured when a deadline counts, but for the frame,
        whose size is not known before the first. Nothing of it is counted as moved.
        """
        assert self._stages is not None
        side = min(WARM_SIDE, self._reach, math.isqrt(self._most_pixels))
        any_colours = Colours(np.zeros(3, np.float32), np.ones(3, np.float32))
        colours = any_colours if self._stages.cutting.recoloured else None
        pixels = np.zeros((side, side, 3), np.uint8)
        frame = Frame(pixels, 0, 0, 1.0, "warm-up", "", colours=colours)
        place = self.put(frame, np.zeros((side, side), np.uint16))
        assert place is not None
        turning = self._stages.cutting.turning
        for rows in self._stages.sizes:
            squares = np.tile(np.array([0, 0, side, side], np.int32), (rows, 1))
            for _ in range(BATCHES):
                views = np.zeros((rows, 3), np.int32) if turning else None
                cells = CellsOnFrame(place, squares, np.ones(rows, np.int32), views)
                self.start([cells], self._networks)
            for _ in range(BATCHES):
                self.finish()
        self.drop(place)
        self._kernels.keep()
        moved = self._memory.moved
        self._warmed = TransferCounts(moved.up, moved.down, self._put, self._started)

    def put(self, frame: Frame, labels: UInt16) -> int | None:
        """Start to copy a frame to a place of its own; None when all are taken."""
        with self._active() as stages:
            place = stages.put(frame, labels)
            self._put += place is not None
            return place

    def start(self, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> None:
        """Start a batch of cells through networks."""
        count = sum(len(one.labels) for one in cells)
        if not 1 <= count <= self.most_cells or len(cells) > PLACES:
            text = f"{count} cells of {len(cells)} frames: take 1 to {self.most_cells} of {PLACES}"
            raise EngineError("batch does not fit the chain", NAME, text)
        if len(self._under_way) == BATCHES:
            raise EngineError("batch does not fit the chain", NAME, "finish the first one before")
        with self._active() as stages:
            number = self._started
            shapes = stages.start(number, cells, networks)
            self._check_log()
            self._under_way.append((number, shapes))
            self._started += 1

    def finish(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Wait for the batch that was started first, and give its answers."""
        with self._active() as stages:
            number, shapes = self._under_way.popleft()
            stages.wait(number)
            self._check_log()
            return stages.read(number, shapes)

    def drop(self, place: int) -> None:
        """Free a frame's place; what was started on it still ends."""
        if self._stages is not None:
            self._stages.drop(place)

    def close(self) -> None:
        """Free all that is held on the GPU; the engines stay open."""
        with self._lock:
            self._refusal = "chain was closed"
            error = self._release()
        if error is not None:
            raise EngineError("GPU memory could not be freed", NAME, first_line(error))

    def _check_log(self) -> None:
        """Raise what the library logged as an error, whatever it answered."""
        logged = self._library.messages.take()
        if logged:
            raise EngineError("execution failed", NAME, logged)

    @contextmanager
    def _active(self) -> Iterator[Stages]:
        """Work on the GPU; the first failure is the last."""
        with self._lock:
            stages = self._stages
            if self._refusal or stages is None:
                raise EngineError(self._refusal, NAME, "open it again")
            try:
                with self._memory.active():
                    yield stages
            except (EngineError, self._driver.Error) as error:
                self._refusal = "chain failed before"
                # The contexts in their variables must not outlive the memory of the GPU.
                clear_frames(error.__traceback__)
                text = str(error) if isinstance(error, EngineError) else first_line(error)
                raise EngineError("chain failed while running", NAME, text) from error
            except BaseException:
                self._refusal = "chain was interrupted before"
                raise

    def _release(self) -> Exception | None:
        """Free everything in the order that the library needs; return the first error."""
        errors: list[Exception] = []
        try:
            if not self._memory.closed:
                with self._memory.active():
                    self._release_contexts()
        except self._driver.Error as error:
            errors.append(error)
        try:
            self._memory.close()
        except self._driver.Error as error:
            errors.append(error)
        return errors[0] if errors else None

    def _release_contexts(self) -> None:
        """Wait for all work, and release the contexts before what they run on."""
        try:
            self._memory.wait()
        finally:
            if self._stages is not None:
                self._stages.release()
            self._stages = None
