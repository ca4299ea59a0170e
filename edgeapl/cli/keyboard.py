"""Commands typed or scanned at the terminal of a station."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeapl.station.access import SlideView
    from edgeapl.station.station import Station

YES = "+"
"""The answer yes to a question of the station; no barcode consists of that alone."""


class LineReader:
    """Reads lines from standard input; a barcode reader types an identifier and presses Enter."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        threading.Thread(target=self._read, name="edgeapl-keyboard", daemon=True).start()

    def lines(self) -> list[str]:
        """Return the lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.append(line.strip())


def resume_question(slide: SlideView) -> str:
    """Return the question whether a slide that was left open continues."""
    return (
        f"slide {slide.slide} was left open: type {YES} and Enter to continue it, Enter alone to "
        "close it, or the next slide's identifier"
    )


@dataclass(slots=True)
class CommandHandler:
    """Carries out what is typed.

    used : an identifier that has a record already; the next line says whether it is meant.
    """

    station: Station
    used: str = ""

    def handle(self, line: str) -> None:
        """Carry out one line. Raises UsageError."""
        from edgeapl.errors import IdentifierUsed, UsageError

        used, self.used = self.used, ""
        snapshot = self.station.snapshot()
        if line == YES and used:
            self.station.start_slide(used, again=True)
        elif line == YES and snapshot is not None and snapshot.waits:
            self.station.resume_slide(snapshot.slide)
        elif line == YES:
            raise UsageError("nothing was asked", YES, "type an identifier")
        elif line:
            try:
                self.station.start_slide(line)
            except IdentifierUsed as error:
                self.used = line
                mend = f"type {YES} and Enter to open one more record of it, or another identifier"
                raise UsageError(error.what, error.which, mend) from error
        elif not used:  # Enter alone after the question means no
            self.station.close_slide()
