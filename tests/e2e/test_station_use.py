"""A running station takes the bundle that was chosen, between slides, and goes back."""

from __future__ import annotations

import queue
import re
import signal
import threading
import time
from pathlib import Path
from typing import IO

import pytest

from edgeapl.journal import BUNDLE, VERDICT, read_rows
from tests.e2e.station import Station

pytestmark = pytest.mark.slow

LONGEST_S = 90.0


class Lines:
    """What a process says, line by line, while it runs."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)

    def close(self) -> None:
        """Wait for the end of the process that says them."""
        self._thread.join(LONGEST_S)
        self._stream.close()

    def until(self, words: str) -> str:
        """Wait for a line with these words."""
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                continue
            self.seen.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} was not said: {self.seen}")


def test_a_station_switches_between_slides_and_back_on_the_same_page(
    station: Station, bundle: Path
) -> None:
    process = station.start(
        *("watch", "demo://apl?seed=1", "--page", "--port", "0", "--engines", "none"),
        *("--slide", "S1", "--max-frames", "2"),
    )
    said = Lines(process.stderr)
    pages = [re.sub(r"\s", "", said.until("page: "))]
    chosen = station.run("station", "use", bundle, "--engines", "none")
    assert chosen.code == 0, chosen.err
    said.until("another bundle was chosen")
    said.until("chosen by edgeapl station use: small 1.0")
    pages.append(re.sub(r"\s", "", said.until("page: ")))
    assert station.run("station", "use", "--back").code == 0
    said.until("another bundle was chosen")
    pages.append(re.sub(r"\s", "", said.until("page: ")))
    assert len(set(pages)) == 1
    process.send_signal(signal.SIGINT)
    process.wait(LONGEST_S)
    said.close()
    assert process.stdout is not None
    process.stdout.close()
    journal = station.folder / "state" / "edgeapl" / "journal.sqlite3"
    (verdict,) = read_rows(journal, kinds=(VERDICT,))
    assert verdict.content["bundle"]["name"] != "small", "no slide changes its bundle"
    changes = [row.content["action"] for row in read_rows(journal, kinds=(BUNDLE,))]
    assert changes == ["use", "back"]
