"""Follow the progress of a build, and stop it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Progress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all)."""


def monitor_of(api: Any, stop: threading.Event, on_progress: Progress | None) -> Any:
    """Make an IProgressMonitor; return None where the library has none (TensorRT before 10).

    stop : when set, the build ends at its next step.

    The monitor's `error` is what `on_progress` raised, or None.
    """
    if not hasattr(api, "IProgressMonitor"):
        return None

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = int(num_steps)
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, int(step) + 1)
            return self.error is None and not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def _tell(self, stage: str, done: int) -> None:
            if on_progress is None or self.error is not None:
                return
            try:
                on_progress(stage, done, self._steps.get(stage, done))
            except BaseException as error:  # noqa: BLE001
                # An exception must not cross C++; `build_plan` raises it when the build is over.
                self.error = error

    return Monitor()
