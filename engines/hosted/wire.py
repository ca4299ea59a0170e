"""What the station and the child that runs its networks tell each other.

One JSON object on each line of a pipe; arrays lie in shared memory and only their places are told.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edgeapl.engines.hosted.networks import NetworkFile, network_from_json
from edgeapl.errors import EdgeAplError, EngineError, ModelError

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
    """To the child, first: open these networks."""

    networks: tuple[NetworkFile, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """To the child: run a network on arrays in the input memory of a slot."""

    call: int
    slot: int
    network: str
    arrays: tuple[ArrayPlace, ...]


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
class Opened:
    """From the child: all networks are ready."""

    networks: tuple[Described, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """From the child: a run is over; its arrays lie in the output memory of its slot."""

    call: int
    arrays: tuple[ArrayPlace, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """From the child: opening or a run failed with an EngineError."""

    call: int
    what: str
    which: str
    mend: str

    def error(self) -> EngineError:
        """Give the error anew."""
        return EngineError(self.what, self.which, self.mend)


Message = Open | Run | Cancel | Opened | Answer | Trouble


def trouble_of(call: int, error: EdgeAplError) -> Trouble:
    """Describe an error so that the other side can raise it."""
    what = error.what if isinstance(error, ModelError) else f"{type(error).__name__}: {error.what}"
    return Trouble(call, what, error.which, error.mend)


def to_line(message: Message) -> bytes:
    """Give the line of a message, its end included."""
    if isinstance(message, Open):
        fields: dict[str, Any] = {"networks": [network.to_json() for network in message.networks]}
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
    if kind == "Run":
        return Run(**{**fields, "arrays": _arrays(fields["arrays"])})
    if kind == "Answer":
        return Answer(fields["call"], _arrays(fields["arrays"]))
    if kind == "Cancel":
        return Cancel(**fields)
    if kind == "Trouble":
        return Trouble(**fields)
    if kind == "Open":
        return Open(tuple(network_from_json(each) for each in fields["networks"]))
    if kind == "Opened":
        return Opened(tuple(_described(each) for each in fields["networks"]))
    raise ValueError(f"unknown kind {kind!r}")


def _arrays(items: list[dict[str, Any]]) -> tuple[ArrayPlace, ...]:
    return tuple(ArrayPlace(**{**item, "shape": tuple(item["shape"])}) for item in items)


def _described(item: dict[str, Any]) -> Described:
    inputs = tuple((name, dtype, tuple(shape)) for name, dtype, shape in item["inputs"])
    return Described(**{**item, "inputs": inputs, "outputs": tuple(item["outputs"])})
