"""Runs a station at the terminal, from opening everything to the last verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgeapl.cli.camera_choice import resolved_camera, warn_of_number
from edgeapl.cli.keyboard import CommandHandler, LineReader
from edgeapl.cli.options import FLAGGED, chosen_bundle, hosted_model
from edgeapl.cli.output import INTERRUPTED, console, one_line
from edgeapl.cli.terminal import Display
from edgeapl.cli.watch_signals import Signals, handled_signals, sigterm_interrupts
from edgeapl.wording.numbers import plural

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.config import StationConfig
    from edgeapl.errors import EdgeAplError
    from edgeapl.station.options import StationOptions
    from edgeapl.station.session import ClosedSlide
    from edgeapl.station.station import Station

REFRESH_S = 0.25

CLOSING = (
    "closing the slide: its last frames are still examined; press Ctrl-C again to stop at once"
)


@dataclass(frozen=True, slots=True)
class PageAddress:
    """Where the page is served. token : opens it; None for nobody but this machine."""

    host: str
    port: int
    token: str | None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The outcome of a run.

    closed : slides with their verdicts. not_closed : why others have none.
    stopped : a signal came before the requested slide had been opened.
    """

    closed: Sequence[ClosedSlide]
    not_closed: Sequence[EdgeAplError]
    stopped: bool

    def exit_code(self, *, fail_on_flag: bool) -> int:
        """Return the exit code. A slide that was not closed weighs more than any verdict."""
        if self.not_closed:
            return max(error.exit_code for error in self.not_closed)
        if fail_on_flag and any(one.record["verdict"] == "FLAG" for one in self.closed):
            return FLAGGED
        if self.stopped:
            return INTERRUPTED
        return max((one.exit_code for one in self.closed), default=0)


def run_station(
    address: str,
    slide: str | None,
    options: StationOptions,
    *,
    config: StationConfig,
    bundle: Path | None,
    engines: str = "auto",
    segmenter: str | None = None,
    journal: Path,
    page: PageAddress | None = None,
    as_json: bool,
    interactive: bool = True,
    again: bool = False,
) -> RunResult:
    """Open everything, examine slides, and print their verdicts; for `watch` and `demo`."""
    from edgeapl.capture.opener import open_watched
    from edgeapl.journal import Journal
    from edgeapl.report.folder_lock import locked_folder
    from edgeapl.station.station import Station

    terminal = console()
    address, serial, options = _resolved(address, options, config, terminal)
    reads = interactive and sys.stdin is not None and sys.stdin.isatty() and not as_json
    attended = reads or page is not None
    options = replace(options, attended=attended, first_slide=None if again else slide)
    bundle = chosen_bundle(bundle, config, drawn=options.drawn)
    closed: list[ClosedSlide] = []
    with ExitStack() as opened:
        opened.enter_context(sigterm_interrupts())  # until the signals are handled below
        opened.enter_context(locked_folder(options.out))
        hosted = opened.enter_context(hosted_model(bundle, config, engines, terminal, segmenter))
        if options.stop_error is not None and not hosted.model.reducer.bounded:
            text = "this bundle judges a slide by features of all its cells: all are examined"
            terminal.print(text, style="yellow", markup=False, soft_wrap=True)
        record = opened.enter_context(Journal.open(journal))
        station = opened.enter_context(
            Station(
                hosted,
                lambda scale: open_watched(address, scale, patient=page is not None, serial=serial),
                record,
                options,
                closed.append,
            )
        )
        if page is not None:
            opened.enter_context(_served(station, page, terminal))
        signals = opened.enter_context(handled_signals())
        keyboard = LineReader() if reads else None
        display = opened.enter_context(Display(terminal, as_json=as_json))
        goal = len(station.interrupted)
        if options.resume is None:
            goal += 1
            if slide is None and not attended:
                slide, again = datetime.now().strftime("slide-%Y%m%d-%H%M%S"), True
        if slide is not None:
            station.start_slide(slide, again)
        elif keyboard is not None:
            display.say("type or scan a slide's identifier and press Enter")
        most = None if attended else goal
        _follow(station, display, signals, keyboard, closed, most=most, served=page is not None)
        for error in station.not_closed:
            terminal.print(f"error: slide was not closed: {one_line(str(error))}", markup=False)
        for text in station.alerts.trouble:
            terminal.print(f"error: {one_line(text)}", style="red", markup=False)
        stopped = bool(signals.count) and not attended and len(closed) < goal
        return RunResult(closed, station.not_closed, stopped)


def _resolved(
    address: str, options: StationOptions, config: StationConfig, terminal: Console
) -> tuple[str, str | None, StationOptions]:
    """Return the camera's address, its serial number if stated, and the options it brings."""
    from edgeapl.slide_findings import of_camera

    camera = config.cameras.get(address)
    stated, serial = options.um_per_px, None
    if camera is not None:
        address, stated, serial = camera.address, stated or camera.um_per_px, camera.serial
        options = replace(options, findings=of_camera(options.camera, camera))
    elif not Path(address).exists():
        address = resolved_camera(address, config)
    warn_of_number(address, terminal)
    drawn = address.startswith("demo://")
    return address, serial, replace(options, um_per_px=stated or config.um_per_px, drawn=drawn)


def _follow(
    station: Station,
    display: Display,
    signals: Signals,
    keyboard: LineReader | None,
    closed: list[ClosedSlide],
    *,
    most: int | None,
    served: bool,
) -> None:
    """Show what happens until the station is done or told to end.

    most : slides to close, interrupted ones included; None for any number.
    served : there is a page, which stays when the source has ended.
    """
    from edgeapl.errors import StorageError, UsageError
    from edgeapl.station.service import StationService
    from edgeapl.station.systemd_notifier import SystemdNotifier

    service = StationService(station)
    systemd = SystemdNotifier()
    systemd.ready()
    commands = CommandHandler(station)
    revision, shown = -1, 0
    while True:
        view = service.wait(revision, REFRESH_S)
        revision = view.revision
        display.show(view)
        with suppress(StorageError):  # committing a verdict will report it
            station.alerts.sync()
        if station.alive:
            closed_now = plural(len(closed), "slide")
            systemd.alive(f"camera {view.camera.state.value}, {closed_now} closed")
        for one in closed[shown:]:
            display.final(one)
        shown = len(closed)
        ended = station.ended and not served
        over = most is not None and (shown >= most or station.not_closed)
        if signals.count or not station.alive or over or ended:
            break
        for line in keyboard.lines() if keyboard is not None else ():
            try:
                commands.handle(line)
            except UsageError as error:
                display.say(str(error))
    systemd.stopping()
    if signals.count and view.slide is not None and view.slide.open:
        display.say(CLOSING)
    station.finish(signals.immediate)
    for one in closed[shown:]:
        display.final(one)


@contextmanager
def _served(station: Station, page: PageAddress, terminal: Console) -> Iterator[None]:
    from edgeapl.errors import ConfigError
    from edgeapl.station.service import StationService

    try:
        from edgeapl.web.authorisation import PageAccess
        from edgeapl.web.server import PageServer
    except ModuleNotFoundError as error:
        mend = "pip install 'edgeapl[page]'"
        raise ConfigError("the page needs more packages", error.name or "", mend) from error
    server = PageServer(StationService(station), PageAccess(token=page.token))
    address = server.start(page.host, page.port)
    # Without the token: what is printed ends in logs. The page asks for it.
    asks = "" if page.token is None else " (asks for the token)"
    terminal.print(f"page: {address}{asks}", markup=False, soft_wrap=True)
    try:
        yield
    finally:
        server.stop()
