"""What the capture process tells the station: one JSON object on each line of a pipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from edgeapl.errors import (
    CameraError,
    ConfigError,
    EdgeAplError,
    InputError,
    UsageError,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """The source is open. identity : what must stay the same after a reconnect; may be empty."""

    name: str
    identity: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture lies in a slot.

    index, captured_ns, source, digest : as in `edgeapl.types.Frame`.
    um_per_px : only when the source itself states it.
    """

    slot: int
    height: int
    width: int
    index: int
    captured_ns: int
    source: str
    digest: str
    um_per_px: float | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The source is open and gave no picture in time; the process itself is well."""

    text: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error, by the name of its class.

    fatal : the source gives no more. again : the process tries to open it again by itself.
    """

    kind: str
    what: str
    which: str
    mend: str
    fatal: bool
    again: bool = False

    def error(self) -> EdgeAplError:
        """Give the error anew."""
        return ERRORS.get(self.kind, CameraError)(self.what, self.which, self.mend)


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has given its last picture."""


Message = Opened | Picture | Waiting | Trouble | Ended

ERRORS: dict[str, type[EdgeAplError]] = {
    kind.__name__: kind for kind in (CameraError, ConfigError, InputError, UsageError)
}
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Opened, Picture, Waiting, Trouble, Ended)
}


def trouble_of(error: EdgeAplError, *, fatal: bool, again: bool = False) -> Trouble:
    """Describe an error so that the other side can raise it."""
    return Trouble(type(error).__name__, error.what, error.which, error.mend, fatal, again)


def to_line(message: Message) -> bytes:
    """Give the line of a message, its end included."""
    return json.dumps([type(message).__name__, asdict(message)]).encode() + b"\n"


def from_line(line: bytes) -> Message:
    """Read a line back; raises ValueError for anything that is no message."""
    try:
        kind, fields = json.loads(line)
        message: Message = _KINDS[kind](**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"no message: {line[:80]!r}") from error
    return message
