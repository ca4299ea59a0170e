"""The station's end of the capture process."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

import numpy as np

from edgeapl.capture.messages import REPLIES, REQUESTS, SLOTS, Picture, Release, Reply
from edgeapl.process.child import ChildProcess
from edgeapl.process.exit import Exit
from edgeapl.process.memory import SharedMemory
from edgeapl.process.messages import MessageError
from edgeapl.types import UInt8

CHILD = "edgeapl.capture.child"


class Capture(Protocol):
    """What the supervisor needs of a capture process; tests have their own."""

    def receive(self, timeout_s: float | None, wakeup: int | None = None) -> list[Reply] | None:
        """Wait for messages; see `ChildProcess.receive`."""

    def pixels(self, picture: Picture) -> UInt8:
        """Return a copy of a picture, uint8 (H, W, 3)."""

    def release(self, picture: Picture) -> None:
        """Let the process use the slot of a picture again."""

    def end(self, grace_s: float = 0.0) -> Exit:
        """End it whatever it does; a second call does nothing."""


class CaptureProcess(ChildProcess[Release, Reply]):
    """Implements Capture with `edgeapl.capture.child` in a process of its own.

    address : of a camera; see `edgeapl.sources.address.open_device`.

    Raises OSError when the system gives no process or no memory.
    """

    def __init__(self, address: str) -> None:
        with ExitStack() as undo:
            self._slots = [SharedMemory.create("edgeapl-frames") for _ in range(SLOTS)]
            for memory in self._slots:
                undo.callback(memory.close)
            descriptors = [memory.descriptor for memory in self._slots]
            arguments = (address, *map(str, descriptors))
            super().__init__(CHILD, REQUESTS, REPLIES, arguments=arguments, descriptors=descriptors)
            self._memory = undo.pop_all()

    def receive(self, timeout_s: float | None, wakeup: int | None = None) -> list[Reply] | None:
        """Wait for messages; raises MessageError also for a picture that is none."""
        messages = super().receive(timeout_s, wakeup)
        for message in messages or ():
            if isinstance(message, Picture):
                self._view(message)
        return messages

    def pixels(self, picture: Picture) -> UInt8:
        """Return a copy of a picture, uint8 (H, W, 3)."""
        return self._view(picture).copy()

    def release(self, picture: Picture) -> None:
        """Let the process use the slot of a picture again; nothing happens when it has ended."""
        self.send(Release(picture.slot))

    def end(self, grace_s: float = 0.0) -> Exit:
        """End it and release the pictures."""
        how = super().end(grace_s)
        self._memory.close()
        return how

    def _view(self, picture: Picture) -> UInt8:
        place = picture.pixels
        is_picture = place.dtype == "uint8" and len(place.shape) == 3 and place.shape[2] == 3
        if not is_picture or not 0 <= picture.slot < SLOTS:
            raise MessageError(f"no picture: slot {picture.slot}, {place.dtype} {place.shape}")
        try:
            view = self._slots[picture.slot].take((place,))[place.name]
        except ValueError as error:
            raise MessageError(str(error)) from error
        return np.asarray(view, np.uint8)
