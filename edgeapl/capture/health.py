"""How a camera is, and when it counts as lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CameraState(str, Enum):
    """How the camera is."""

    OPENING = "opening"
    LIVE = "live"
    LOST = "lost"  # no picture within its limit; it is being started again
    FROZEN = "frozen"  # the same picture over and over
    ENDED = "ended"  # a file or a demonstration has no more frames
    FAILED = "failed"  # given up; the text says why


@dataclass(frozen=True, slots=True)
class Limits:
    """When a camera counts as lost, and what it may cost to bring it back. Seconds.

    silent_s : without a picture for this long it is lost; with the 0.1 s between two looks it is
        shown within 4 s, as the station promises.
    opening_s : for the first picture after the start; a microscope's configuration takes long.
    reopening_s : the same once it has been open before, unless that took longer: then twice as long
        as it took, but no longer than `opening_s`.
    impatient : after so many processes in a row without a picture every second one gets
        `opening_s`: on a machine that has become slow each would be ended before its first picture.
    frozen_s : the very same picture for this long; sensors have noise, so a live one never does.
    oldest_s : a picture taken longer ago than this is not given: it shows another field by now.
    crashes, crashes_within_s, brake_s : after so many crashes of a capture process that had given
        pictures, wait before the next one, so that a driver that crashes does not take the machine.
    pause_s : the same after so many losses of the camera itself: one with a loose plug must be live
        again within 5 s, however often it was away.
    """

    silent_s: float = 3.0
    opening_s: float = 20.0
    reopening_s: float = 5.0
    impatient: int = 6
    frozen_s: float = 5.0
    oldest_s: float = 2.0
    crashes: int = 10
    crashes_within_s: float = 60.0
    brake_s: float = 10.0
    pause_s: float = 1.0


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """The camera at one moment.

    text : what is wrong and how to mend it; empty while all is well.
    width, height : px of the newest picture; 0 before the first.
    frames_per_s : over the last seconds.
    newest_ns : monotonic clock at the capture of the newest picture; None before the first.
    received : pictures that came; dropped : those that nobody took before the next one;
    refused : those that were too old; restarts : of the capture process.
    """

    state: CameraState = CameraState.OPENING
    text: str = ""
    width: int = 0
    height: int = 0
    frames_per_s: float = 0.0
    newest_ns: int | None = None
    received: int = 0
    dropped: int = 0
    refused: int = 0
    restarts: int = 0
