"""What the capture process and the station tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeapl.errors import CameraError, ConfigError, EdgeAplError, InputError, UsageError
from edgeapl.process.memory import ArrayPlace
from edgeapl.process.messages import Codec, Failure

SLOTS = 3
"""Pictures in shared memory: one is filled, one waits to be taken, one is copied."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The source is open. identity : what must stay the same after a reconnect; may be empty."""

    name: str
    identity: str
    kind: Literal["opened"] = "opened"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture lies in a slot.

    pixels : uint8 (H, W, 3), in the memory of that slot.
    index, captured_ns, source, digest : as in `edgeapl.types.Frame`.
    um_per_px : only when the source itself states it.
    """

    slot: int
    pixels: ArrayPlace
    index: int
    captured_ns: int
    source: str
    digest: str
    um_per_px: float | None
    kind: Literal["picture"] = "picture"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        height, width, _ = self.pixels.shape
        return width, height


@dataclass(frozen=True, slots=True)
class Waiting:
    """The source is open and gave no picture in time; the process itself is well."""

    text: str
    kind: Literal["waiting"] = "waiting"


@dataclass(frozen=True, slots=True)
class Failed:
    """An error.

    is_fatal : the source gives no more. tries_again : the process itself opens it again.
    """

    failure: Failure
    is_fatal: bool
    tries_again: bool = False
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has given its last picture."""

    kind: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class Release:
    """To the capture process: the picture in this slot was copied or is not wanted."""

    slot: int


Reply = Opened | Picture | Waiting | Failed | Ended

REQUESTS: Codec[Release] = Codec(Release)
REPLIES: Codec[Reply] = Codec(Reply)


_KINDS = (CameraError, ConfigError, InputError, UsageError)


def failed(error: EdgeAplError, *, is_fatal: bool, tries_again: bool = False) -> Failed:
    """Describe an error so that the other side can raise it; any other kind is the camera's."""
    kind = next((one for one in _KINDS if isinstance(error, one)), CameraError)
    return Failed(Failure.of(error, kind), is_fatal, tries_again)
