"""Flags at the station: kept in front of everybody until a person acknowledges them."""

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
"""The command is still run for a flag so old, when a power cut came between the two."""

HEARS_EVERY_S = 2.0
"""How often the journal is asked for what was acknowledged elsewhere, while a flag stands."""


class Alerts:
    """Raises flags, has a command run for each, and takes acknowledgements; from any thread.

    Parameters
    ----------
    journal : has them all; those without an acknowledgement stand again after a restart.
    demonstration : this station shows no patients: only then are flags of demonstrations read.
    command : run once for every flagged slide, in a thread of its own; None for none.
    recall : take up the flags of the journal.
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
        self._hear_next = 0.0
        self._run_late()

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """Flags that nobody has acknowledged, newest first."""
        with self._lock:
            alarms = list(self._alarms.values())
        return tuple(alarm for alarm in reversed(alarms) if not alarm.acknowledged_by)

    @property
    def trouble(self) -> tuple[str, ...]:
        """What went wrong with the command, in sentences; until its flag is acknowledged."""
        with self._lock:
            return tuple(self._trouble.values())

    def committed(self, verdict: Verdict, record: str) -> None:
        """Take a committed verdict with its origin: the first FLAG of a sitting is an alarm."""
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
        """Record who has seen a flag; gives the hash of the row.

        Raises UsageError when there is no such flag, it was seen before, or nobody is named;
        StorageError when that could not be recorded: the flag then stands.
        """
        with self._lock:
            alarm = next((one for one in self._alarms.values() if one.record == record), None)
            if alarm is None:
                raise UsageError("there is no such flag", record[:16], "load the page again")
            row = acknowledge_flag(self._journal, alarm, person)
            self._settle(alarm, person.strip())
        self._on_change()
        return row

    def hear(self) -> None:
        """Take up what `edgeapl journal acknowledge` has recorded, now and then; StorageError."""
        now = time.monotonic()
        if now < self._hear_next or not self.standing:
            return
        self._hear_next = now + HEARS_EVERY_S
        seen = acknowledged(self._journal.path)
        heard = [alarm for alarm in self.standing if alarm.record in seen]
        with self._lock:
            for alarm in heard:
                self._settle(alarm, seen[alarm.record])
        if heard:
            self._on_change()

    def _settle(self, alarm: Alarm, person: str) -> None:
        self._alarms[alarm.sitting] = replace(alarm, acknowledged_by=person)
        self._trouble.pop(alarm.sitting, None)

    def finish(self, in_a_hurry: Callable[[], bool]) -> None:
        """Wait until the commands have ended, which takes bounded time; in a hurry one second."""
        hurried_s: float | None = None
        for thread in self._running:
            while thread.is_alive():
                thread.join(0.05)
                if in_a_hurry():
                    hurried_s = hurried_s or time.monotonic()
                    if time.monotonic() - hurried_s > 1:
                        return

    def _run_late(self) -> None:
        """Run the command for flags whose station was stopped before it could."""
        if self._command is None:
            return
        for alarm in self.standing:
            if not alarm.noticed and _age(alarm) < LATE:
                self._notify(alarm, find_row(self._journal.path, alarm.record).content)

    def _notify(self, alarm: Alarm, verdict: dict[str, Any]) -> None:
        command = self._command
        if command is None:
            return

        def work() -> None:
            failure = notify(self._journal, command, {**verdict, "journal_record": alarm.record})
            self._note(alarm, failure)

        thread = threading.Thread(target=work, name="edgeapl-on-flag", daemon=True)
        self._running = [one for one in self._running if one.is_alive()]
        self._running.append(thread)
        thread.start()

    def _note(self, alarm: Alarm, failure: str) -> None:
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
