"""What the pictures of a camera say about it, one after another."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from edgeapl.capture.health import CameraState
from edgeapl.capture.messages import Picture

RATE_PICTURES = 30
SAME_PICTURES = 5


class PictureHistory:
    """Numbers the pictures of all processes and notices when they freeze or change their size.

    Parameters
    ----------
    frozen_s : the very same picture for this long is a frozen one.
    """

    def __init__(self, frozen_s: float) -> None:
        self._frozen_s = frozen_s
        self._first_index = 0
        self._next_index = 0
        self._size: tuple[int, int] | None = None
        self._digest = ""
        self._same_since_ns = 0
        self._same = 0
        self._times_ns: deque[int] = deque(maxlen=RATE_PICTURES)

    def start_process(self) -> None:
        """Note that the next picture comes from a new process, whose numbers begin at 0 again."""
        self._first_index = self._next_index

    def forget_rate(self) -> None:
        """Note that the camera was lost: the rate counts from the next picture on."""
        self._times_ns.clear()

    @property
    def frames_per_s(self) -> float:
        """Rate of the last pictures; 0 before the second."""
        times = self._times_ns
        return (len(times) - 1) * 1e9 / max(1, times[-1] - times[0]) if len(times) > 1 else 0.0

    def add(self, picture: Picture) -> tuple[Picture, CameraState, str]:
        """Note a picture; returns it with its number, and what it says of the camera in words."""
        picture = replace(picture, index=self._first_index + picture.index)
        self._next_index = picture.index + 1
        self._times_ns.append(picture.captured_ns)
        if self._is_frozen(picture):
            text = f"the picture has not changed for more than {self._frozen_s:g} s"
            return picture, CameraState.FROZEN, f"{text}: check the camera"
        self._size = self._size or picture.size
        if picture.size == self._size:
            return picture, CameraState.LIVE, ""
        was, now = (f"{width} x {height}" for width, height in (self._size, picture.size))
        text = f"the picture was {was} px and is {now} px now: check the scale"
        return picture, CameraState.LIVE, text

    def _is_frozen(self, picture: Picture) -> bool:
        before = self._same
        if picture.digest != self._digest:
            self._digest, self._same_since_ns, before = picture.digest, picture.captured_ns, 0
        self._same = before + 1
        same_s = (picture.captured_ns - self._same_since_ns) / 1e9
        return same_s > self._frozen_s and before >= SAME_PICTURES
