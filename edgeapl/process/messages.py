"""Messages between two processes: one JSON object on each line of a pipe, checked on arrival."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_args

from pydantic_core import ValidationError, to_json

from edgeapl import __version__, errors
from edgeapl.errors import EdgeAplError
from edgeapl.validation_errors import first_problem

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Message = TypeVar("Message")

MOST_MESSAGE_BYTES = 1 << 20
"""Of one line. Arrays go through shared memory; what is longer is no message."""

MOST_REQUEST_BYTES = 16 << 10
"""Of one line to a child. A pipe holds 64 KiB, and a parent sends a few lines at most before it
ends a child that does not read them, so a write never waits."""

READ_BYTES = 64 << 10
"""Read from a pipe at once."""

SHOWN_BYTES = 80
"""How much of what is no message is shown."""

VERSION_LINE = f"edgeapl {__version__}\n".encode()
"""The first line of every child: one that is started after an update runs the new code."""


class MessageError(ValueError):
    """What came through the pipe is no message that was agreed on, or is too long to be sent."""


class Codec(Generic[Message]):
    """Turns messages of one direction into lines, and back.

    Parameters
    ----------
    union : a frozen dataclass, or several, each with a field `kind` of its own literal.
    """

    def __init__(self, union: Any) -> None:
        self._union = union

    @cached_property
    def _adapter(self) -> TypeAdapter[tuple[Message]]:
        # When the first message arrives: by then a camera's process has sent its first picture.
        from pydantic import ConfigDict, Field, TypeAdapter  # noqa: PLC0415

        message: Any = self._union
        if get_args(message):
            message = Annotated[message, Field(discriminator="kind")]
        # In brackets: a dataclass by itself takes no configuration from outside.
        return TypeAdapter(tuple[message], config=ConfigDict(extra="forbid", strict=True))

    def encode(self, message: Message, most_bytes: int = MOST_MESSAGE_BYTES) -> bytes:
        """Return the line of a message, its end included; raises MessageError when too long."""
        line = to_json((message,)) + b"\n"
        if len(line) > most_bytes:
            raise MessageError(f"message is too long: {len(line)} bytes of {most_bytes}")
        return line

    def decode(self, line: bytes) -> Message:
        """Read a line; raises MessageError for anything else than one of the messages."""
        try:
            return self._adapter.validate_json(line)[0]
        except ValidationError as error:
            place, what = first_problem(error)
            text = f"{place}: {what}" if place else what
            raise MessageError(f"no message: {line[:SHOWN_BYTES]!r}: {text}") from error


class LineBuffer:
    """Cuts what comes through a pipe into lines."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def is_torn(self) -> bool:
        """Whether the last line has no end so far."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now; raises MessageError for one without an end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_MESSAGE_BYTES:
            start = self._rest[:SHOWN_BYTES]
            raise MessageError(f"message of more than {MOST_MESSAGE_BYTES} bytes: {start!r}")
        return lines


def check_version(line: bytes) -> None:
    """Raise MessageError unless a child's first line is that of this very version."""
    if line + b"\n" == VERSION_LINE:
        return
    there, here = (
        one[:SHOWN_BYTES].decode(errors="replace").strip() for one in (line, VERSION_LINE)
    )
    raise MessageError(f"its process is {there!r} and not {here!r}: start this program again")


_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, EdgeAplError)
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of this program in a message. error : the name of its class."""

    error: str
    what: str
    which: str
    mend: str

    @classmethod
    def of(cls, error: EdgeAplError, kind: type[EdgeAplError] | None = None) -> Failure:
        """Describe an error. kind : the class to name in place of its own."""
        name = (kind or type(error)).__name__
        return cls(name, error.what, error.which, error.mend)

    def make(self) -> EdgeAplError:
        """Return the error anew, to be raised on this side."""
        return _ERRORS.get(self.error, EdgeAplError)(self.what, self.which, self.mend)
