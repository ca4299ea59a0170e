"""What the station and the child that runs its networks tell each other.

One JSON object on each line of a pipe; arrays lie in shared memory and only their places are told.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edgeapl.engines.hosted.networks import (
    ChainFile,
    NetworkFile,
    chain_from_json,
    network_from_json,
)
from edgeapl.errors import EdgeAplError, EngineError, ModelError
from edgeapl.protocols import Moved

OPENING = 0
"""Stands for the number of a call where the trouble is with opening; calls count from 1."""


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Where an array lies. dtype : numpy's name. offset : bytes from the start of the memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Open:
    """To the child, first: open these networks, and the chain that some of them make."""

    networks: tuple[NetworkFile, ...]
    chain: ChainFile | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """To the child: run a network on arrays in the input memory of a slot."""

    call: int
    slot: int
    network: str
    arrays: tuple[ArrayPlace, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """To the child: copy a frame, and its label image, from a slot to the device.

    place : what the host calls it from now on; nothing lies there.
    """

    call: int
    slot: int
    place: int
    arrays: tuple[ArrayPlace, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """To the child: start cells of frames through the networks of a chain.

    parts : (place, number of cells) for each frame; the arrays hold their rows one after another.
    """

    call: int
    slot: int
    networks: tuple[str, ...]
    parts: tuple[tuple[int, int], ...]
    arrays: tuple[ArrayPlace, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """To the child: wait for this `Judge`, the first that was not finished, and answer it."""

    call: int


@dataclass(frozen=True, slots=True)
class Drop:
    """To the child: give a frame's place free."""

    place: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the child: nobody waits for this run any more. May come twice, or too late."""

    call: int


@dataclass(frozen=True, slots=True)
class Described:
    """What an engine says of itself; the fields are those of `edgeapl.protocols.Engine`."""

    name: str
    runtime: str
    digest: str
    inputs: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DescribedChain:
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

    networks: tuple[Described, ...]
    chain: DescribedChain | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """From the child: a run is over; its arrays lie in the output memory of its slot.

    moved : what a chain has copied so far.
    """

    call: int
    arrays: tuple[ArrayPlace, ...]
    moved: Moved | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """From the child: opening or a run failed with an EngineError.

    last : the device failed with this run, and the process ends; no other run was at fault.
    """

    call: int
    what: str
    which: str
    mend: str
    last: bool = False

    def error(self) -> EngineError:
        """Give the error anew."""
        return EngineError(self.what, self.which, self.mend)


Request = Run | Put | Judge
"""What is answered, and lies in a slot until then."""

Message = Open | Request | Finish | Drop | Cancel | Opened | Answer | Trouble

_PLAIN = {kind.__name__: kind for kind in (Finish, Drop, Cancel, Trouble)}
"""Those whose fields are numbers and texts alone."""


def trouble_of(call: int, error: EdgeAplError) -> Trouble:
    """Describe an error so that the other side can raise it."""
    what = error.what if isinstance(error, ModelError) else f"{type(error).__name__}: {error.what}"
    return Trouble(call, what, error.which, error.mend)


def to_line(message: Message) -> bytes:
    """Give the line of a message, its end included."""
    if isinstance(message, Open):
        fields: dict[str, Any] = {
            "networks": [network.to_json() for network in message.networks],
            "chain": None if message.chain is None else message.chain.to_json(),
        }
    else:
        fields = asdict(message)
    return json.dumps([type(message).__name__, fields]).encode() + b"\n"


def from_line(line: bytes) -> Message:
    """Read a line back; raises ValueError for anything that is no message."""
    try:
        kind, fields = json.loads(line)
        return _read(kind, fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no message: {line[:80]!r}") from error


def _read(kind: str, fields: dict[str, Any]) -> Message:
    if kind in _PLAIN:
        return _PLAIN[kind](**fields)
    if kind == "Run":
        return Run(**{**fields, "arrays": _arrays(fields["arrays"])})
    if kind == "Put":
        return Put(**{**fields, "arrays": _arrays(fields["arrays"])})
    if kind == "Judge":
        parts = tuple((place, count) for place, count in fields["parts"])
        more = {"arrays": _arrays(fields["arrays"]), "networks": tuple(fields["networks"])}
        return Judge(**{**fields, **more, "parts": parts})
    if kind == "Answer":
        moved = fields["moved"]
        arrays = _arrays(fields["arrays"])
        return Answer(fields["call"], arrays, None if moved is None else Moved(**moved))
    if kind == "Open":
        chain = fields["chain"]
        networks = tuple(network_from_json(each) for each in fields["networks"])
        return Open(networks, None if chain is None else chain_from_json(chain))
    if kind == "Opened":
        described = None if fields["chain"] is None else DescribedChain(**fields["chain"])
        return Opened(tuple(_described(each) for each in fields["networks"]), described)
    raise ValueError(f"unknown kind {kind!r}")


def _arrays(items: list[dict[str, Any]]) -> tuple[ArrayPlace, ...]:
    return tuple(ArrayPlace(**{**item, "shape": tuple(item["shape"])}) for item in items)


def _described(item: dict[str, Any]) -> Described:
    inputs = tuple((name, dtype, tuple(shape)) for name, dtype, shape in item["inputs"])
    return Described(**{**item, "inputs": inputs, "outputs": tuple(item["outputs"])})
