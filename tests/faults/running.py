"""A station in a process of its own, and what must hold for it whatever was done to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeapl.journal import PROVISIONAL, VERDICT, read_rows, verify
from edgeapl.model import EMBEDDED

ROOT = Path(__file__).resolve().parents[2]

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a station works: results, journal and state in one folder. logs : what it says."""

    folder: Path
    logs: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite3"


@dataclass(slots=True, eq=False)
class Running:
    """`edgeapl watch` at work.

    family : all its children so far, each with when it began: numbers are given anew on a busy
        machine, and another's process must neither be blamed nor ended.
    """

    place: Place
    process: subprocess.Popen[bytes]
    log: Path
    family: dict[int, str] = field(default_factory=dict)
    busy_s: float = 0.0

    @classmethod
    def start(cls, place: Place, address: str, *options: str, clock: Path | None = None) -> Running:
        """Start it; what it says is kept in a file of its own. clock : see `shifted_clock`."""
        for folder in (place.folder, place.logs):
            folder.mkdir(parents=True, exist_ok=True)
        log = place.logs / f"station-{time.monotonic_ns()}.log"
        where = ("--out", str(place.out), "--journal", str(place.journal))
        program = ["edgeapl"] if clock is None else ["tests.faults.shifted_clock", str(clock)]
        named = () if "--bundle" in options else ("--bundle", str(EMBEDDED))
        watch = ["watch", address, *where, "--json", *named, *options]
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", *program, *watch],
                cwd=ROOT,
                env={**os.environ, "XDG_STATE_HOME": str(place.folder / "state")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(place, process, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def events(self) -> list[Event]:
        """What it printed as JSON; the last line may be cut."""
        events = []
        for line in self.said().splitlines():
            if line.startswith("{"):
                with suppress(ValueError):
                    events.append(json.loads(line))
        return events

    def until(self, true: Callable[[Running], bool], most_s: float) -> bool:
        """Wait for something; False when it does not come, or the station has ended."""
        end = time.monotonic() + most_s
        while time.monotonic() < end:
            if true(self):
                return True
            if self.ended:
                return False
            time.sleep(0.05)
        return False

    def children(self) -> list[int]:
        """Give its children now, zombies left out."""
        found = [pid for pid, parent in _parents().items() if parent == self.pid]
        self.family.update({pid: began(pid) for pid in found})
        return found

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - a number is wanted

    def end(self, number: int, most_s: float) -> float | None:
        """Send a signal; gives the seconds until it was gone, None when it is not.

        `busy_s` is then the processor time that it took for that, in all its threads.
        """
        self.children()
        start, busy_s = time.monotonic(), self._processor_s()
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        while time.monotonic() - start < most_s:
            now_s = self._processor_s()
            if self.ended:
                return time.monotonic() - start
            self.busy_s = max(self.busy_s, now_s - busy_s)
            time.sleep(0.01)
        return None

    def _processor_s(self) -> float:
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def living(self) -> list[int]:
        """Give the children so far that still run."""
        there = _parents()
        return [pid for pid, time in self.family.items() if pid in there and began(pid) == time]

    def put_down(self) -> None:
        """Make sure that nothing of it is left running."""
        self.children()
        for pid in (self.pid, *self.living()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def began(pid: int) -> str:
    """Give when a process began, in ticks since the machine did; empty when it is gone."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _parents() -> dict[int, int]:
    """Give every process that runs and its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
    return found


def orphans(run: Running, within_s: float) -> list[int]:
    """Give children of an ended station that outlive it by so long."""
    end = time.monotonic() + within_s
    while left := run.living():
        if time.monotonic() > end:
            return left
        time.sleep(0.05)
    return []


def of_events(run: Running) -> list[str]:
    """Say what is wrong with what a station said."""
    wrong = [f"{run.log}: traceback"] if "Traceback" in run.said() else []
    flagged: set[str] = set()
    for event in run.events():
        if event.get("event") not in ("state", "verdict"):
            continue
        slide, verdict, tally = event["slide"], event["verdict"], event["tally"]
        parts = ("scored", "not_examined", "failed", "not_needed")
        if tally["seen"] != sum(tally[part] for part in parts):
            wrong.append(f"{slide}: cells do not add up: {tally}")
        if slide in flagged and verdict != "FLAG":
            wrong.append(f"{slide}: the flag went away: {verdict}")
        if verdict == "FLAG":
            flagged.add(slide)
    return wrong


def of_journal(place: Place, *, over: bool) -> list[str]:
    """Say what is wrong with a journal. over : all slides must have their final verdict."""
    if not place.journal.exists():
        return []
    wrong = [f"journal: {problem}" for problem in verify(place.journal).problems]
    raised: set[str] = set()
    final: dict[str, list[str]] = {}
    for row in read_rows(place.journal):
        if row.kind not in (PROVISIONAL, VERDICT):
            continue
        slide, verdict = row.content["slide"], row.content["verdict"]
        final.setdefault(slide, [])
        if row.kind == VERDICT:
            final[slide].append(verdict)
        if slide in raised and verdict != "FLAG":
            wrong.append(f"{slide}: FLAG in the journal, then {verdict}")
        if verdict == "FLAG":
            raised.add(slide)
    for slide, verdicts in final.items():
        if len(verdicts) > 1 or (over and not verdicts):
            wrong.append(f"{slide}: {len(verdicts)} final verdicts")
    return wrong


def cells_accounted(place: Place) -> list[str]:
    """Compare the cells in the tables of closed slides with their verdicts."""
    wrong = []
    for document in place.out.glob("slides/**/verdict.json"):
        verdict = json.loads(document.read_text())
        table = document.with_name("cells.csv")
        rows = len(table.read_text().splitlines()) - 1 if table.exists() else 0
        seen = verdict["tally"]["seen"]
        # A frame in work when the station was killed is counted, but was never written.
        cut_short = any(reason["code"] == "cut_short" for reason in verdict["reasons"])
        if rows != seen and not (cut_short and rows < seen):
            wrong.append(f"{document.parent.name}: {rows} cells in its table, {verdict['tally']}")
    return wrong
