"""The capture process, started by the supervisor alone.

It opens the source, writes each picture into a free slot and tells the station. It never decides
anything: when it hangs or crashes, the supervisor ends it and starts another.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from typing import BinaryIO

from edgeapl.capture.messages import (
    Ended,
    Message,
    Opened,
    Picture,
    Trouble,
    Waiting,
    to_line,
    trouble_of,
)
from edgeapl.capture.slots import SLOTS, Slots
from edgeapl.errors import CameraError, EdgeAplError, EndOfSource, InputError, SourceStalled
from edgeapl.protocols import FrameSource
from edgeapl.sources.address import open_device
from edgeapl.types import Frame, ScaleOrigin, UInt8

AGAIN_S = 0.25
"""Between two tries to open a camera that is away. A process for each try would spend more time on
its start than on the camera."""

TRYING_S = 5.0
"""Then a new process tries: it knows nothing of before, whatever state the driver is in here."""

READ_TIMEOUT_S = 1.0
"""How often a silent source says that the process itself is well."""


class FreeSlots:
    """Slots that the station has given back; a pipe carries one byte for each."""

    def __init__(self, returned: BinaryIO) -> None:
        self._returned = returned
        self._free = deque(range(SLOTS))
        self._news = threading.Condition()
        threading.Thread(target=self._listen, name="edgeapl-slots", daemon=True).start()

    def take(self) -> int:
        """Wait for a free slot."""
        with self._news:
            self._news.wait_for(lambda: self._free)
            return self._free.popleft()

    def _listen(self) -> None:
        while byte := self._returned.read(1):
            with self._news:
                self._free.append(byte[0])
                self._news.notify_all()
        # The station is gone: a driver that hangs must not keep this process alive.
        os._exit(0)


def main() -> None:
    """Open the address of the command line and capture until told to stop."""
    address, memory, messages, returned = sys.argv[1], *map(int, sys.argv[2:5])
    _die_with_the_station()
    tell = _Teller(messages)
    slots = Slots(memory)
    free = FreeSlots(open(returned, "rb", buffering=0))  # noqa: SIM115, PTH123 - to the end
    try:
        source = _opened(address, tell)
    except EdgeAplError as error:
        tell(trouble_of(error, fatal=True))
        return
    tell(Opened(source.name, str(getattr(source, "identity", ""))))
    try:
        _capture(source, slots, free, tell)
    finally:
        source.close()


def _opened(address: str, tell: _Teller) -> FrameSource:
    """Open the camera, again and again while it is away; raises the last try's error."""
    until = time.monotonic() + TRYING_S
    while True:
        try:
            return open_device(address, scale_for=_no_scale)
        except CameraError as error:
            if time.monotonic() > until:
                raise
            tell(trouble_of(error, fatal=True, again=True))
        time.sleep(AGAIN_S)


def _capture(source: FrameSource, slots: Slots, free: FreeSlots, tell: _Teller) -> None:
    while True:
        try:
            frame = source.read(READ_TIMEOUT_S)
        except SourceStalled as error:
            tell(Waiting(str(error)))
            continue
        except EndOfSource:
            tell(Ended())
            return
        except InputError as error:
            tell(trouble_of(error, fatal=False))
            continue
        except CameraError as error:
            tell(trouble_of(error, fatal=True))
            return
        slot = free.take()
        try:
            slots.write(slot, frame.pixels)
        except ValueError as error:
            tell(Trouble("CameraError", str(error), source.name, "choose a smaller picture", True))
            return
        tell(_picture(slot, frame))


def _picture(slot: int, frame: Frame) -> Picture:
    stated = frame.um_per_px if frame.scale is ScaleOrigin.STATED else None
    return Picture(
        slot=slot,
        height=frame.height,
        width=frame.width,
        index=frame.index,
        captured_ns=frame.captured_ns,
        source=frame.source,
        digest=frame.digest,
        um_per_px=stated,
    )


class _Teller:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, message: Message) -> None:
        line = memoryview(to_line(message))
        while line:
            line = line[os.write(self._descriptor, line) :]


def _no_scale(pixels: UInt8) -> tuple[float, ScaleOrigin]:
    """Leave the scale to the station, which knows the bundle and the slide."""
    return 1.0, ScaleOrigin.ASSUMED


def _die_with_the_station() -> None:
    # Ctrl-C goes to the whole group; the station ends this process when it is done with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
