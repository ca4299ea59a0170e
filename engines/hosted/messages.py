"""What the station and the child that runs its networks tell each other.

Arrays lie in shared memory and only their places are told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgeapl.engines.hosted.networks import GroupFiles
from edgeapl.errors import EdgeAplError, EngineError, ModelError
from edgeapl.process.memory import ArrayPlace
from edgeapl.process.messages import Codec, Failure
from edgeapl.protocols import TransferCounts

OPENING = 0
"""Stands for the number of a request where opening failed; requests count from 1."""


@dataclass(frozen=True, slots=True)
class Open:
    """To the child, first: open these networks, and the chain that some of them make."""

    groups: tuple[GroupFiles, ...]
    kind: Literal["open"] = "open"


@dataclass(frozen=True, slots=True)
class RunNetwork:
    """To the child: run a network on arrays in the input memory of a slot."""

    request: int
    slot: int
    network: str
    arrays: tuple[ArrayPlace, ...]
    kind: Literal["run network"] = "run network"


@dataclass(frozen=True, slots=True)
class PutFrame:
    """To the child: copy a frame, its label image and its colours, from a slot to the device.

    place : what the host calls it from now on; nothing lies there.
    """

    request: int
    slot: int
    place: int
    arrays: tuple[ArrayPlace, ...]
    kind: Literal["put frame"] = "put frame"


@dataclass(frozen=True, slots=True)
class StartBatch:
    """To the child: start cells of frames through the networks of a chain.

    parts : (place, number of cells) for each frame; the arrays hold their rows one after another.
    """

    request: int
    slot: int
    networks: tuple[str, ...]
    parts: tuple[tuple[int, int], ...]
    arrays: tuple[ArrayPlace, ...]
    kind: Literal["start batch"] = "start batch"


@dataclass(frozen=True, slots=True)
class FinishBatch:
    """To the child: wait for this batch, the first that was not finished, and answer it."""

    request: int
    kind: Literal["finish batch"] = "finish batch"


@dataclass(frozen=True, slots=True)
class DropFrame:
    """To the child: free a frame's place."""

    place: int
    kind: Literal["drop frame"] = "drop frame"


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the child: nobody waits for this request any more. May come twice, or too late."""

    request: int
    kind: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself; the fields are those of `edgeapl.protocols.Engine`."""

    name: str
    runtime: str
    digest: str
    inputs: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """What a chain says of itself; the fields are those of `edgeapl.protocols.CellChain`."""

    runtime: str
    digest: str
    most_cells: int
    most_batches: int
    most_pixels: int
    widest_cut: int
    labelled: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """From the child: all networks are ready, and the chain if one was asked for."""

    networks: tuple[EngineInfo, ...]
    chain: ChainInfo | None = None
    kind: Literal["opened"] = "opened"

    def can_replace(self, before: Opened) -> bool:
        """Whether all that was asked of the networks before can be asked of these.

        A chain may take more cells than at first: more memory of the GPU is free.
        """
        if self.chain is None or before.chain is None:
            return self == before
        most = before.chain.most_cells
        enough = self.chain.most_cells >= most
        return enough and replace(self, chain=replace(self.chain, most_cells=most)) == before


@dataclass(frozen=True, slots=True)
class Answer:
    """From the child: a request is done; its arrays lie in the output memory of its slot.

    moved : what a chain has copied so far.
    """

    request: int
    arrays: tuple[ArrayPlace, ...]
    moved: TransferCounts | None = None
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True, slots=True)
class Failed:
    """From the child: opening or a request failed with an EngineError.

    is_last : the device failed with this request, and the process ends; no other was at fault.
    """

    request: int
    failure: Failure
    is_last: bool = False
    kind: Literal["failed"] = "failed"

    def error(self) -> EngineError:
        """Return the error anew, to be raised on this side."""
        failure = self.failure
        return EngineError(failure.what, failure.which, failure.mend)


Request = RunNetwork | PutFrame | StartBatch
"""What is answered, and lies in a slot until then."""

ToChild = Open | Request | FinishBatch | DropFrame | Cancel
Reply = Opened | Answer | Failed

REQUESTS: Codec[ToChild] = Codec(ToChild)
REPLIES: Codec[Reply] = Codec(Reply)


def failed(request: int, error: EdgeAplError, *, is_last: bool = False) -> Failed:
    """Describe an error so that the other side can raise it as an EngineError."""
    what = error.what if isinstance(error, ModelError) else f"{type(error).__name__}: {error.what}"
    told = EngineError(what, error.which, error.mend)
    return Failed(request, Failure.of(told), is_last)
