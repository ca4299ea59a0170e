"""Runs the command for flags and records its outcome in the journal."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgeapl.errors import EdgeAplError
from edgeapl.journal import NOTICE, Journal
from edgeapl.station.flag_command import FlagCommand

MOST_AT_ONCE = 4


def notify(journal: Journal, command: FlagCommand, verdict: Mapping[str, Any]) -> str:
    """Run the command for a flagged slide; return a failure in one sentence, else nothing.

    verdict : as in the journal, with its row's hash as ``journal_record``.
    """
    outcome = command.run({"event": "flag", **verdict})
    content = {
        "slide": verdict["slide"],
        "record": verdict["journal_record"],
        "command": command.name,
        "succeeded": outcome.succeeded,
        "text": outcome.text,
    }
    failures = [] if outcome.succeeded else [outcome.text]
    try:
        journal.append_event(NOTICE, content)
    except EdgeAplError as error:
        failures.append(f"not recorded: {error}")
    if not failures:
        return ""
    return (
        f"command for flags failed, so nobody may know of slide {verdict['slide']}: "
        f"{command.name}: {'; '.join(failures)}"
    )


class FolderNotifier:
    """Runs the command for flagged slides of a folder while the others are scored."""

    def __init__(self, journal: Journal, command: FlagCommand | None) -> None:
        self._journal = journal
        self._command = command
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "edgeapl-on-flag")
        self._failures: list[str] = []

    def on_slide(self, record: Mapping[str, Any], resumed: bool) -> None:
        """Run the command if this verdict is a new flag."""
        if self._command is None or resumed or record["verdict"] != "FLAG":
            return
        self._threads.submit(self._notify, record)

    def finish(self) -> tuple[str, ...]:
        """Wait until all commands have ended, at most their time limit; return the failures."""
        self._threads.shutdown()
        return tuple(self._failures)

    def _notify(self, record: Mapping[str, Any]) -> None:
        assert self._command is not None
        if failure := notify(self._journal, self._command, record):
            self._failures.append(failure)
