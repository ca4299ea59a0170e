"""Flags at the station: shown to everybody until a person acknowledges them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from edgeapl.errors import UsageError
from edgeapl.journal import Journal, find_row, verdict_to_json
from edgeapl.journal.alarms import Alarm, acknowledge_flag, acknowledged, read_alarms
from edgeapl.station import slide_log
from edgeapl.station.alert_record import notify
from edgeapl.station.flag_command import FlagCommand
from edgeapl.types import Decision, Verdict

LATE = timedelta(hours=24)
"""After a power cut the command is still run for flags up to this age."""

SYNC_EVERY_S = 2.0
"""While a flag is unacknowledged: how often the journal is read for acknowledgements, seconds."""


class Alerts:
    """Raises flags, runs a command for each, and takes acknowledgements; from any thread.

    Parameters
    ----------
    journal : stores them; unacknowledged ones are shown again after a restart.
    demonstration : the station examines no patients, so it reads flags of demonstrations as well.
    command : run once for every flagged slide, in a thread of its own; None for none.
    recall : read unacknowledged flags from the journal.
    on_change : called when there is something new to show.

    Raises StorageError when the journal cannot be read.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        demonstration: bool = False,
        command: FlagCommand | None = None,
        recall: bool = True,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._command = command
        self._on_change = on_change
        self._lock = threading.Lock()
        self._alarms: dict[str, Alarm] = {
            alarm.sitting: alarm
            for alarm in read_alarms(journal.path)
            if recall and (demonstration or not alarm.demonstration)
        }
        self._running: list[threading.Thread] = []
        self._trouble: dict[str, str] = {}
        self.failures = 0
        self._sync_at = 0.0
        self._run_missed_commands()

    @property
    def unacknowledged(self) -> tuple[Alarm, ...]:
        """Flags that nobody has acknowledged, newest first."""
        with self._lock:
            alarms = list(self._alarms.values())
        return tuple(alarm for alarm in reversed(alarms) if not alarm.acknowledged_by)

    @property
    def trouble(self) -> tuple[str, ...]:
        """Failures of the command, in sentences, until their flags are acknowledged."""
        with self._lock:
            return tuple(self._trouble.values())

    def committed(self, verdict: Verdict, record: str) -> None:
        """Raise an alarm for the first FLAG of an examination; takes every committed verdict."""
        sitting = verdict.origin.sitting
        if verdict.decision is not Decision.FLAG or not sitting:
            return
        with self._lock:
            if sitting in self._alarms:
                return
            alarm = Alarm(
                record=record,
                sitting=sitting,
                slide=verdict.slide,
                time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                probability=verdict.probability,
                demonstration=verdict.origin.demonstration,
            )
            self._alarms[sitting] = alarm
        slide_log.flagged(verdict, record)
        self._notify(alarm, verdict_to_json(verdict))
        self._on_change()

    def acknowledge(self, record: str, person: str) -> str:
        """Record who has seen a flag and return the hash of the row.

        Raises UsageError when there is no such flag, it was acknowledged before, or nobody is
        named; StorageError when that cannot be recorded: the flag then stays unacknowledged.
        """
        with self._lock:
            alarm = next((one for one in self._alarms.values() if one.record == record), None)
            if alarm is None:
                raise UsageError("there is no such flag", record[:16], "load the page again")
            row = acknowledge_flag(self._journal, alarm, person)
            self._mark_acknowledged(alarm, person.strip())
        self._on_change()
        return row

    def sync(self) -> None:
        """Read acknowledgements by `edgeapl journal acknowledge`, if due. Raises StorageError."""
        now = time.monotonic()
        if now < self._sync_at or not self.unacknowledged:
            return
        self._sync_at = now + SYNC_EVERY_S
        people = acknowledged(self._journal.path)
        known = [alarm for alarm in self.unacknowledged if alarm.record in people]
        with self._lock:
            for alarm in known:
                self._mark_acknowledged(alarm, people[alarm.record])
        if known:
            self._on_change()

    def _mark_acknowledged(self, alarm: Alarm, person: str) -> None:
        self._alarms[alarm.sitting] = replace(alarm, acknowledged_by=person)
        self._trouble.pop(alarm.sitting, None)

    def finish(self, immediately: Callable[[], bool]) -> None:
        """Wait until the commands have ended, at most their time limit; immediately: one second."""
        since_s: float | None = None
        for thread in self._running:
            while thread.is_alive():
                thread.join(0.05)
                if immediately():
                    since_s = since_s or time.monotonic()
                    if time.monotonic() - since_s > 1:
                        return

    def _run_missed_commands(self) -> None:
        """Run the command for flags whose station was stopped before it did."""
        if self._command is None:
            return
        for alarm in self.unacknowledged:
            if not alarm.noticed and _age(alarm) < LATE:
                self._notify(alarm, find_row(self._journal.path, alarm.record).content)

    def _notify(self, alarm: Alarm, verdict: dict[str, Any]) -> None:
        command = self._command
        if command is None:
            return

        def work() -> None:
            failure = notify(self._journal, command, {**verdict, "journal_record": alarm.record})
            self._add_failure(alarm, failure)

        thread = threading.Thread(target=work, name="edgeapl-on-flag", daemon=True)
        self._running = [one for one in self._running if one.is_alive()]
        self._running.append(thread)
        thread.start()

    def _add_failure(self, alarm: Alarm, failure: str) -> None:
        if failure:
            with self._lock:
                self.failures += 1
                if not self._alarms[alarm.sitting].acknowledged_by:
                    self._trouble[alarm.sitting] = failure
        self._on_change()


def _age(alarm: Alarm) -> timedelta:
    try:
        raised = datetime.fromisoformat(alarm.time.replace("Z", "+00:00"))
    except ValueError:
        return timedelta.max  # the row was edited
    return datetime.now(timezone.utc) - raised
