"""The process of the networks, with TensorRT and a GPU that are not there.

Started in place of `edgeapl.engines.hosted.child`. What goes wrong is switched on by files in the
folder that the environment variable `FLAGS` names: see `Trouble`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

from edgeapl.engines.hosted import child
from edgeapl.engines.trt import local_runtime
from edgeapl.testing import FakeDriver
from edgeapl.testing.streams import EventState
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import LARGEST, OTHERS

FLAGS = "EDGEAPL_TEST_GPU_FLAGS"


class Trouble(Enum):
    """Happens while a file of its name is there, most when the host of a GPU waits for it.

    group : the only one whose threads meet it; all without.
    """

    HANGS = "hangs"
    FAILS_ONCE = "fails once"
    CRASHES_ONCE = "crashes once"
    SHORT = "has less memory at the next start"

    def begin(self, flags: Path, group: str = "") -> None:
        """Let it happen."""
        self._file(flags, group).touch()

    def end(self, flags: Path, group: str = "") -> None:
        """Let it happen no more."""
        self._file(flags, group).unlink(missing_ok=True)

    def take(self, flags: Path) -> bool:
        """End it, and say whether it was there; of several who ask one is told so."""
        for file in self._here(flags):
            with suppress(FileNotFoundError):
                file.unlink()
                return True
        return False

    def there(self, flags: Path) -> bool:
        """Whether it shall happen on this thread now."""
        return any(file.exists() for file in self._here(flags))

    def meet(self, flags: Path) -> None:
        """Say that it has come to this thread."""
        (flags / f"{self.value} met in {_group()}").touch()

    def met(self, flags: Path, group: str) -> bool:
        """Whether it has come to a thread of a group so far."""
        return (flags / f"{self.value} met in {group}").exists()

    def _here(self, flags: Path) -> list[Path]:
        return [self._file(flags, ""), self._file(flags, _group())]

    def _file(self, flags: Path, group: str) -> Path:
        return flags / (f"{self.value} in {group}" if group else self.value)


def _group() -> str:
    """Return the group that this thread works for."""
    return threading.current_thread().name.removeprefix("edgeapl-")


class TroubledDriver(FakeDriver):
    """A GPU with the troubles that the files tell."""

    flags = Path()

    def synchronize_event(self, event: int, state: EventState, *, sleeps: bool = True) -> None:
        self._trouble()
        super().synchronize_event(event, state, sleeps=sleeps)

    def synchronize(self, stream: int) -> None:
        self._trouble()
        super().synchronize(stream)

    def _trouble(self) -> None:
        while Trouble.HANGS.there(self.flags):
            Trouble.HANGS.meet(self.flags)
            time.sleep(0.01)
        if Trouble.CRASHES_ONCE.take(self.flags):
            signal.raise_signal(signal.SIGSEGV)
        if Trouble.FAILS_ONCE.take(self.flags):
            raise FakeDriver.Error("launch failed: told to by the test")


def main() -> None:
    driver = TroubledDriver(capacity=64 << 20)
    driver.flags = Path(os.environ[FLAGS])
    fake = FakeTensorRt(driver, LARGEST, OTHERS)
    if Trouble.SHORT.there(driver.flags):
        fake.scratch = driver.capacity * 4 // 5
    local_runtime.find_library = lambda target: fake.library  # type: ignore[assignment, attr-defined]
    local_runtime.load_driver = lambda: fake.driver  # type: ignore[attr-defined]
    child.main()


if __name__ == "__main__":
    main()
