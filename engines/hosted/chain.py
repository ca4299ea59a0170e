"""A chain that runs in the child, used as if it were here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.hosted.client import Client
from edgeapl.engines.hosted.messages import (
    Answer,
    ChainInfo,
    DropFrame,
    FinishBatch,
    PutFrame,
    StartBatch,
)
from edgeapl.engines.hosted.networks import MOST_BATCHES
from edgeapl.engines.hosted.process import EngineProcess
from edgeapl.engines.hosted.requests import Limit, PendingRequest
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays, CellsOnFrame, TransferCounts
from edgeapl.types import Frame, UInt16

PLACES = 3
"""Frames at once: as many as `edgeapl.engines.trt.frames` has room for."""


@dataclass(slots=True, eq=False)
class _Placed:
    """A frame.

    child : on whose device it lies; None before it is needed there. asked : who was last asked to
    put it there, and may have done so though nobody waited for the answer.
    """

    frame: Frame
    labels: UInt16
    child: EngineProcess | None = None
    asked: EngineProcess | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch under way."""

    cells: tuple[CellsOnFrame, ...]
    networks: tuple[str, ...]
    limit: Limit
    pending: PendingRequest


class HostedChain:
    """Implements CellChain by one in the child of a host.

    A frame is copied to the device when the first batch needs it there, and again when the child
    had to be started anew; batches under way then are started anew as well, unless the child died
    by itself: then one of them may be why.

    Parameters
    ----------
    info : what the child says of it.
    most_s : how long a batch may take, waiting included; None for as long as it wants.

    For use by one thread at a time.
    """

    def __init__(self, client: Client, info: ChainInfo, most_s: float | None) -> None:
        self._client = client
        self._most_s = most_s
        self._frames: dict[int, _Placed] = {}
        self._placed = 0
        self._under_way: deque[_Batch] = deque()
        self._moved = TransferCounts()
        self._counted: tuple[EngineProcess | None, TransferCounts] = (None, TransferCounts())
        self.runtime = info.runtime
        self.digest = info.digest
        self.most_cells = info.most_cells
        self.most_batches = min(info.most_batches, MOST_BATCHES)
        self.most_pixels = info.most_pixels
        self.widest_cut = info.widest_cut
        self.labelled = info.labelled

    @property
    def moved(self) -> TransferCounts:
        """What went over the bus so far, for all children together."""
        return self._moved

    def put(self, frame: Frame, labels: UInt16) -> int | None:
        """Return a place for a frame; None when all are taken."""
        if len(self._frames) == PLACES:
            return None
        self._placed += 1
        self._frames[self._placed] = _Placed(frame, labels)
        return self._placed

    def start(self, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> None:
        """Start a batch of cells through networks; raises DeadlineError too."""
        text = ", ".join(networks)
        until_ns = None if self._most_s is None else time.monotonic_ns() + int(self._most_s * 1e9)
        limit = Limit(text, self._most_s, until_ns)
        pending = self._send(cells, networks, limit)
        self._under_way.append(_Batch(tuple(cells), tuple(networks), limit, pending))

    def finish(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Wait for the batch that was started first; raises DeadlineError too."""
        batch = self._under_way.popleft()
        asked, pending = batch.cells, batch.pending
        while True:
            pending.child.send(FinishBatch(pending.number))
            answered = self._client.answer(pending, batch.limit)
            if answered is not None:
                break
            asked = self._still_wanted(batch)
            pending = self._send(asked, batch.networks, batch.limit)
        answer, arrays = answered
        self._note(pending.child, answer)
        outputs: dict[str, dict[str, NDArray[np.generic]]] = {}
        for name, values in arrays.items():
            network, _, output = name.partition(".")
            outputs.setdefault(network, {})[output] = _rows_of_all(batch.cells, asked, values)
        return outputs

    def drop(self, place: int) -> None:
        """Free a frame's place; what was started on it still ends."""
        placed = self._frames.pop(place)
        if placed.asked is not None and placed.asked is self._client.child:
            placed.asked.send(DropFrame(place))

    def close(self) -> None:
        """Leave what is under way. The device is freed with the child, which the host ends."""
        while self._under_way:
            self._client.leave(self._under_way.popleft().pending)
        self._frames.clear()

    def _still_wanted(self, batch: _Batch) -> tuple[CellsOnFrame, ...]:
        """Return the cells whose frame is still there; raises EngineError when there are none."""
        cells = tuple(one for one in batch.cells if one.place in self._frames)
        if not cells:
            text = "its frames were dropped before it was over"
            raise EngineError("batch was given up", batch.limit.network, text)
        return cells

    def _send(
        self, cells: Sequence[CellsOnFrame], networks: Sequence[str], limit: Limit
    ) -> PendingRequest:
        """Start a batch in the child that has all its frames."""
        inputs = {
            "squares": np.concatenate([one.squares for one in cells]),
            "labels": np.concatenate([one.labels for one in cells]),
        }
        turned = [one.views for one in cells if one.views is not None]
        if turned:
            inputs["views"] = np.concatenate(turned)
        parts = tuple((one.place, len(one.labels)) for one in cells)
        while True:
            child = self._bring([one.place for one in cells], limit)
            pending = self._client.send(
                limit,
                inputs,
                lambda number, slot, arrays: StartBatch(
                    number, slot, tuple(networks), parts, arrays
                ),
                only=child,
            )
            if pending is not None:
                return pending

    def _bring(self, places: Sequence[int], limit: Limit) -> EngineProcess:
        """Copy frames to the device where they are missing; returns the child that has all."""
        while True:
            child = self._client.child
            missing = [place for place in places if self._frames[place].child is not child]
            if child is not None and not missing:
                return child
            self._copy((missing or places)[0], limit)

    def _copy(self, place: int, limit: Limit) -> None:
        """Copy a frame to the device of the child that is there now."""
        placed = self._frames[place]
        inputs: Arrays = {"pixels": placed.frame.pixels}
        if self.labelled:
            inputs = {**inputs, "labels": placed.labels}
        if placed.frame.colours is not None:
            inputs = {**inputs, "colours": placed.frame.colours.rows}
        pending = self._client.send(
            limit, inputs, lambda number, slot, arrays: PutFrame(number, slot, place, arrays)
        )
        assert pending is not None
        placed.asked = pending.child
        answered = self._client.answer(pending, limit)
        if answered is not None:
            placed.child = pending.child
            self._note(pending.child, answered[0])

    def _note(self, child: EngineProcess, answer: Answer) -> None:
        """Add up what went over the bus; a new child counts from the start again."""
        known, before = self._counted
        now = answer.moved or TransferCounts()
        since = before if known is child else TransferCounts()
        self._moved = TransferCounts(
            self._moved.up + now.up - since.up,
            self._moved.down + now.down - since.down,
            self._moved.frames + now.frames - since.frames,
            self._moved.batches + now.batches - since.batches,
        )
        self._counted = (child, now)


def _rows_of_all(
    cells: Sequence[CellsOnFrame], asked: Sequence[CellsOnFrame], values: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Return a row for every cell of a batch: NaN for those that were not asked about again."""
    if len(asked) == len(cells):
        return values
    there = np.concatenate([np.full(len(one.labels), one in asked) for one in cells])
    rows = np.full((len(there), *values.shape[1:]), np.nan, values.dtype)
    rows[there] = values
    return rows
