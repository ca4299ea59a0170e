"""Measures how engines run fastest here while a station has no slide.

`edgeapl engines tune` does it in a process of its own, which ends at once when a slide is opened.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from enum import Enum
from typing import IO, Any

from edgeapl.engines.registry import ON_GPU
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.logs import note, warn
from edgeapl.process.child import module_command
from edgeapl.process.exit import in_words, wait_for_killed

AGAIN_S = 24 * 3600.0
"""Between two measurements, also where one failed."""

GRACE_S = 2.0
"""For a measurement that is broken off, to take its files away."""

NICENESS = 10
"""The camera's picture comes first. All settings are measured alike, so their ratios stay."""


class Tuning(Enum):
    """Whether engines can be measured again."""

    POSSIBLE = ""
    OWN_NETWORKS = "the bundle's own networks run, not engines"
    GPU = "engines on a GPU have no workers and threads"
    SIGNED = "the engines are signed, and a signature ends with the record that it was made for"


def tuning_of(engines: EngineFolder | None) -> Tuning:
    """Return whether these engines can be measured again; None stands for a bundle's networks."""
    if engines is None:
        return Tuning.OWN_NETWORKS
    if engines.record.target in ON_GPU:
        return Tuning.GPU
    return Tuning.POSSIBLE if engines.signer is None else Tuning.SIGNED


def tuning_command(engines: EngineFolder, bundle: str) -> list[str]:
    """Return the command that measures engines of the bundle in this folder."""
    arguments = ["engines", "tune", str(engines.folder), "--bundle", bundle, "--json"]
    return [*module_command("edgeapl.cli.main"), *arguments]


class IdleTuning:
    """Measures once the station has been idle for a while; for one thread.

    Parameters
    ----------
    after_s : seconds without a slide before it begins.
    now : monotonic seconds; tests pass their own.
    """

    def __init__(self, after_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._after_s = after_s
        self._now = now
        self._idle_since: float | None = None
        self._not_before = float("-inf")
        self._command: Sequence[str] | None = None
        self._running: _Measurement | None = None
        self._changed = False

    def watch(self, command: Sequence[str] | None) -> None:
        """Take the engines that were just opened. command : measures them; None for never."""
        self._command = command
        self._idle_since = None
        self._changed = False

    @property
    def running(self) -> bool:
        """Whether a measurement is under way."""
        return self._running is not None

    def step(self, *, idle: bool) -> str | None:
        """Begin, go on or break off; call this several times a second.

        Returns what happened in words, if something did.
        """
        if not idle:
            self._idle_since = None
            return "a slide is open: the measurement of settings ends" if self._stop() else None
        now = self._now()
        if self._idle_since is None:
            self._idle_since = now
        if self._running is not None:
            return self._finished()
        due = now >= self._not_before and now - self._idle_since >= self._after_s
        if self._command is None or self._changed or not due:
            return None
        return self._begin(self._command)

    @property
    def changed(self) -> bool:
        """Whether other settings were found since the engines were opened."""
        return self._changed

    def close(self) -> None:
        """Break off what runs."""
        self._stop()

    def _begin(self, command: Sequence[str]) -> str:
        try:
            self._running = _Measurement(command)
        except OSError as error:
            return self._failed(str(error.strerror or error))
        note("engines", "tuning_began", "settings of the engines are measured again")
        return "no slide: settings of the engines are measured again"

    def _finished(self) -> str | None:
        assert self._running is not None
        result = self._running.result()
        if result is None:
            return None
        self._running = None
        if isinstance(result, str):
            return self._failed(result)
        self._not_before = self._now() + AGAIN_S
        before, after = str(result["before"]), str(result["after"])
        self._changed = before != after
        was = f", were {before}" if self._changed else " as before"
        text = f"settings of the engines: {after}{was}"
        note("engines", "tuned", text, before=before, after=after)
        return text

    def _failed(self, why: str) -> str:
        self._not_before = self._now() + AGAIN_S
        text = f"settings of the engines could not be measured: {why}"
        warn("engines", "tuning_failed", text)
        return text

    def _stop(self) -> bool:
        """End what runs; False when nothing does."""
        running, self._running = self._running, None
        if running is None:
            return False
        running.stop()
        return True


class _Measurement:
    """The command, running. Raises OSError when it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        with ExitStack() as files:
            self._printed = files.enter_context(tempfile.TemporaryFile())
            self._errors = files.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603 - a command of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._errors,
                start_new_session=True,
            )
            self._files = files.pop_all()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)

    def result(self) -> dict[str, Any] | str | None:
        """Return what it printed, or in words why it failed; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        with self._files:
            if code:
                lines = self._text(self._errors).split("\n")
                said = [line.strip() for line in lines if line.strip()]
                return said[-1] if said else in_words(code)
            result: dict[str, Any] = json.loads(self._text(self._printed))
            return result

    def stop(self) -> None:
        """End it, and whatever it started."""
        with self._files:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            wait_for_killed(self._process)

    @staticmethod
    def _text(output: IO[bytes]) -> str:
        output.seek(0)
        return output.read().decode("utf-8", "replace")
