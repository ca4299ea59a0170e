"""What `edgeapl watch` shows on a terminal and hears from it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import one_line, print_json
from edgeapl.cli.verdicts import camera_line, slide_record, verdict_panel

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.station.access import Alarm, SlideView, StationView
    from edgeapl.station.session import Closed


YES = "+"
"""What is typed to say yes to what the station asks; no barcode is that alone."""


class Signals:
    """The signals that came: SIGINT closes the slide, a second one or SIGTERM does so at once."""

    def __init__(self) -> None:
        self.count = 0
        self.hurried = threading.Event()

    def take(self, number: int, _: object) -> None:
        """Handle a signal; a third one ends the program."""
        self.count += 1
        if number == signal.SIGTERM or self.count == 2:
            self.hurried.set()
        if self.count > 2:
            raise KeyboardInterrupt


@contextmanager
def signals_taken() -> Iterator[Signals]:
    """Take SIGINT and SIGTERM while inside."""
    signals = Signals()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signals.take) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end what is under way like Ctrl-C: child processes are then ended as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Typed:
    """Lines typed or scanned at the terminal; a barcode reader types and presses Enter."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        threading.Thread(target=self._listen, name="edgeapl-typed", daemon=True).start()

    def lines(self) -> list[str]:
        """Give what was typed since the last call, line by line."""
        taken, self._lines = self._lines, []
        return taken

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.append(line.strip())


def question(slide: SlideView) -> str:
    """Ask whether a slide that was left open goes on."""
    return (
        f"slide {slide.slide} was left open: type {YES} and Enter to go on with it, Enter alone to "
        "close it, or the next slide's identifier"
    )


class Display:
    """What is going on: a live panel on a terminal, JSON lines, or one line per change."""

    def __init__(self, terminal: Console, *, as_json: bool) -> None:
        from rich.live import Live

        self._as_json = as_json
        self._terminal = terminal
        self._last: tuple[object, ...] | None = None
        self._asked = ""
        self._last_camera: tuple[object, ...] | None = None
        self._alarms: dict[str, Alarm] = {}
        shown = terminal.is_terminal and not as_json
        self._live = Live(console=terminal, transient=True, refresh_per_second=8) if shown else None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print one line for people."""
        self._terminal.print(one_line(text), markup=False)

    def final(self, closed: Closed) -> None:
        """Print the verdict of a closed slide."""
        if self._as_json:
            print_json({"event": "verdict", **closed.record, "report": str(closed.report)})
            return
        from rich.console import Console

        # On a terminal through the console of the live panel, which makes room for it.
        both = self._live is not None and sys.stdout.isatty()
        out = self._terminal if both else Console(highlight=False)
        out.print(verdict_panel(closed.record, running=False))
        out.print(f"report: {closed.report}", markup=False, soft_wrap=True)
        out.print(f"journal record: {closed.record['journal_record']}", markup=False)

    def show(self, view: StationView) -> None:
        """Show the station as it is, if that is news."""
        if self._live is not None:
            self._live.update(self._panel(view))
            return
        camera = (view.camera.state, view.camera.text, view.trouble)
        if camera != self._last_camera:
            self._last_camera = camera
            self._tell_camera(view)
        self._tell_alarms(view)
        slide = view.slide
        if slide is None or not slide.open or not (slide.record or slide.decision is None):
            return
        if slide.waits and slide.record != self._asked and not self._as_json:
            self._asked = slide.record
            self.say(question(slide))
        state = (slide.slide, slide.decision, slide.record, tuple(self._alarms))
        if state == self._last:
            return
        self._last = state
        from edgeapl.station.access import WAITING

        if self._as_json:
            flags = [
                {"slide": alarm.slide, "journal_record": alarm.record} for alarm in view.alarms
            ]
            state_now = {**slide_record(slide), "flags_not_acknowledged": flags}
            print_json({"event": "state", **state_now})
        elif slide.decision is None:
            self.say(f"slide {slide.slide}: {WAITING}")
        else:
            frames = slide.frames_used + slide.frames_rejected
            self.say(f"frame {frames}: {slide.decision.value}, {slide.tally.scored} cells scored")

    def _tell_alarms(self, view: StationView) -> None:
        """Say once of every flag that it stands, and once that it was seen."""
        standing = {alarm.record: alarm for alarm in view.alarms}
        for record, alarm in standing.items():
            if record not in self._alarms:
                self._tell_alarm(alarm, "not acknowledged yet")
        for record, alarm in self._alarms.items():
            if record not in standing:
                self._tell_alarm(alarm, "acknowledged")
        self._alarms = standing

    def _tell_alarm(self, alarm: Alarm, words: str) -> None:
        if not self._as_json:  # there every state names them
            self.say(f"FLAG of slide {alarm.slide}: {words}")

    def _tell_camera(self, view: StationView) -> None:
        camera = view.camera
        if self._as_json:
            state = {"state": camera.state.value, "text": camera.text, "trouble": view.trouble}
            print_json({"event": "camera", "name": camera.name, **state})
            return
        for text in (camera.text, *view.trouble):
            if text:
                self.say(text)

    def _panel(self, view: StationView) -> Any:
        from rich.console import Group
        from rich.text import Text

        lines: list[Any] = [camera_line(view.camera)]
        lines += [Text(one_line(text), style="bold red") for text in view.trouble]
        lines += [
            Text(
                f" FLAG of slide {one_line(alarm.slide)} since {alarm.time[:16]}: "
                "not acknowledged yet ",
                style="bold white on red",
            )
            for alarm in view.alarms
        ]
        if view.slide is not None and view.slide.open:
            if view.slide.waits:
                lines.append(Text(one_line(question(view.slide)), style="bold yellow"))
            lines.append(verdict_panel(slide_record(view.slide), running=True))
        else:
            lines.append(Text("no slide is open: type or scan its identifier", style="bold"))
        return Group(*lines)
