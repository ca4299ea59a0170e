"""What was asked of a fake GPU, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """One thing that was asked of a stream or an event.

    call : its name. stream, event : their numbers, in the order in which they were made; -1 where
    there is none. size : bytes. locked : whether the host's side of a copy was page-locked.
    sleeps : whether waiting for it keeps no core busy.
    """

    call: str
    stream: int = -1
    event: int = -1
    size: int = 0
    locked: bool = True
    sleeps: bool = True
