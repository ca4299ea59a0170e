"""The capture process, started by the supervisor alone.

It opens the source, writes each picture into a free slot and tells the station. It never decides
anything: when it hangs or crashes, the supervisor ends it and starts another.
"""

from __future__ import annotations

import queue
import sys
import time

from edgeapl.capture.messages import (
    REPLIES,
    REQUESTS,
    SLOTS,
    Ended,
    Opened,
    Picture,
    Release,
    Reply,
    Waiting,
    failed,
)
from edgeapl.errors import CameraError, EdgeAplError, EndOfSource, InputError, SourceStalled
from edgeapl.process.lifetime import end_first
from edgeapl.process.memory import ArrayPlace, SharedMemory
from edgeapl.process.parent import Parent
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

Station = Parent[Release, Reply]


class PictureSlots:
    """Shared memory for pictures, and which of it is free.

    Parameters
    ----------
    memory : one for each picture.
    """

    def __init__(self, memory: list[SharedMemory]) -> None:
        self._memory = memory
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(len(memory)):
            self._free.put(slot)

    def release(self, release: Release) -> None:
        """Make a slot free again."""
        self._free.put(release.slot)

    def put(self, pixels: UInt8) -> tuple[int, ArrayPlace]:
        """Wait for a free slot and copy a picture there; raises CameraError without memory."""
        slot = self._free.get()
        try:
            (place,) = self._memory[slot].put({"pixels": pixels})
        except MemoryError as error:
            raise CameraError("no memory for a picture", error, "choose a smaller one") from error
        return slot, place


def main() -> None:
    """Open the address of the command line and capture until told to stop."""
    requests, replies, address, *memory = sys.argv[1:]
    station = Station(int(requests), int(replies), REQUESTS, REPLIES)
    end_first()
    slots = PictureSlots([SharedMemory(int(each)) for each in memory[:SLOTS]])
    station.listen(slots.release)
    try:
        source = _opened(address, station)
    except EdgeAplError as error:
        station.send(failed(error, is_fatal=True))
        return
    station.send(Opened(source.name, str(getattr(source, "identity", ""))))
    try:
        _capture(source, slots, station)
    finally:
        source.close()


def _opened(address: str, station: Station) -> FrameSource:
    """Open the camera, again and again while it is away; raises the last try's error."""
    until = time.monotonic() + TRYING_S
    while True:
        try:
            return open_device(address, scale_for=_no_scale)
        except CameraError as error:
            if time.monotonic() > until:
                raise
            station.send(failed(error, is_fatal=True, tries_again=True))
        time.sleep(AGAIN_S)


def _capture(source: FrameSource, slots: PictureSlots, station: Station) -> None:
    while True:
        try:
            frame = source.read(READ_TIMEOUT_S)
            slot, place = slots.put(frame.pixels)
        except SourceStalled as error:
            station.send(Waiting(str(error)))
        except EndOfSource:
            station.send(Ended())
            return
        except InputError as error:
            station.send(failed(error, is_fatal=False))
        except CameraError as error:
            station.send(failed(error, is_fatal=True))
            return
        else:
            station.send(_picture(slot, place, frame))


def _picture(slot: int, place: ArrayPlace, frame: Frame) -> Picture:
    return Picture(
        slot=slot,
        pixels=place,
        index=frame.index,
        captured_ns=frame.captured_ns,
        source=frame.source,
        digest=frame.digest,
        um_per_px=frame.um_per_px if frame.scale is ScaleOrigin.STATED else None,
    )


def _no_scale(pixels: UInt8) -> tuple[float, ScaleOrigin]:
    """Leave the scale to the station, which knows the bundle and the slide."""
    return 1.0, ScaleOrigin.ASSUMED


if __name__ == "__main__":
    main()
