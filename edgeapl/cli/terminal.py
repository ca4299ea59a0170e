"""What `edgeapl watch` shows on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from edgeapl.cli.keyboard import resume_question
from edgeapl.cli.output import one_line, print_json
from edgeapl.cli.verdicts import camera_line, slide_record, verdict_panel

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.station.access import Alarm, StationView
    from edgeapl.station.session import ClosedSlide


class Display:
    """Shows the station: a live panel on a terminal, JSON lines, or one line per change."""

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

    def final(self, closed: ClosedSlide) -> None:
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
        """Show the station if it has changed."""
        if self._live is not None:
            self._live.update(self._panel(view))
            return
        camera = (view.camera.state, view.camera.text, view.trouble)
        if camera != self._last_camera:
            self._last_camera = camera
            self._say_camera(view)
        self._say_alarms(view)
        slide = view.slide
        if slide is None or not slide.open or not (slide.record or slide.decision is None):
            return
        if slide.waits and slide.record != self._asked and not self._as_json:
            self._asked = slide.record
            self.say(resume_question(slide))
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

    def _say_alarms(self, view: StationView) -> None:
        """Print every flag once when it is raised, and once when it is acknowledged."""
        standing = {alarm.record: alarm for alarm in view.alarms}
        for record, alarm in standing.items():
            if record not in self._alarms:
                self._say_alarm(alarm, "not acknowledged yet")
        for record, alarm in self._alarms.items():
            if record not in standing:
                self._say_alarm(alarm, "acknowledged")
        self._alarms = standing

    def _say_alarm(self, alarm: Alarm, words: str) -> None:
        if not self._as_json:  # there every state names them
            self.say(f"FLAG of slide {alarm.slide}: {words}")

    def _say_camera(self, view: StationView) -> None:
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

        from edgeapl.wording.local_time import local_time

        lines: list[Any] = [camera_line(view.camera)]
        lines += [Text(one_line(text), style="bold red") for text in view.trouble]
        lines += [
            Text(
                f" FLAG of slide {one_line(alarm.slide)} since {local_time(alarm.time)}: "
                "not acknowledged yet ",
                style="bold white on red",
            )
            for alarm in view.alarms
        ]
        if view.slide is not None and view.slide.open:
            if view.slide.waits:
                lines.append(Text(one_line(resume_question(view.slide)), style="bold yellow"))
            lines.append(verdict_panel(slide_record(view.slide), running=True))
        else:
            lines.append(Text("no slide is open: type or scan its identifier", style="bold"))
        return Group(*lines)
