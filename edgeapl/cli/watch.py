"""`edgeapl watch`: one slide after another in front of the camera, each to its verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgeapl.cli.options import (
    FLAGGED,
    BundleOption,
    EnginesOption,
    FailOnFlagOption,
    JournalOption,
    JsonOption,
    LogJsonOption,
    LogOption,
    OnFlagOption,
    OutOption,
    ScaleOption,
    StationOption,
    chosen_journal,
    chosen_results,
    flag_command,
    hosted_model,
)
from edgeapl.cli.output import INTERRUPTED, console, one_line
from edgeapl.cli.page_token import page_token
from edgeapl.cli.terminal import (
    YES,
    Display,
    Signals,
    Typed,
    signals_taken,
    sigterm_interrupts,
)

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.config import StationConfig
    from edgeapl.errors import EdgeAplError
    from edgeapl.station.session import Closed
    from edgeapl.station.station import Station, StationOptions

LOOK_S = 0.25


def watch(
    source: Annotated[
        str,
        typer.Argument(
            help="A camera named in the station file, a camera's number or address (edgeapl "
            "cameras lists them), a folder that fills up, a video, demo://apl?seed=1."
        ),
    ],
    slide: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Identifier of the first slide; without it you are asked, or the time."),
    ] = None,
    resume: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Go on with this slide, which was left open when the station stopped."),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="--slide has a record already: open one more, beside the first."
        ),
    ] = False,
    budget: Annotated[
        float, typer.Option(min=5, max=3600, help="Seconds from a frame to its verdict.")
    ] = 45.0,
    cells: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1, help="Close the slide once so many cells are scored or, with a flag, not needed."
        ),
    ] = None,
    max_frames: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Close the slide after this many frames."),
    ] = None,
    idle: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.5, help="Close the slide after this many seconds without a frame."),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive",
            help="Examine every cell, also when the others already decide the flag.",
        ),
    ] = False,
    page: Annotated[bool, typer.Option("--page", help="Serve the station's page.")] = False,
    host: Annotated[str, typer.Option(help="Address the page is served on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = (
        8765
    ),
    token: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            envvar="EDGEAPL_TOKEN",
            help="Word that opens the page; needed for other machines. Better in --token-file.",
        ),
    ] = None,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--token-file", help="File with that word; chmod 600."),
    ] = None,
    on_flag: OnFlagOption = None,
    um_per_px: ScaleOption = None,
    out: OutOption = None,
    bundle: BundleOption = None,
    engines: EnginesOption = "auto",
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
    fail_on_flag: FailOnFlagOption = False,
    log: LogOption = None,
    log_json: LogJsonOption = False,
) -> None:
    """Watch slides and end each with its verdict. Research use only.

    On a terminal: type or scan an identifier and press Enter to open a slide, press Enter alone to
    close it, Ctrl-C to close it and leave.

    A slide that was left open, by a power cut for one, is examined again by its kept frames alone.
    On a terminal and on the page it waits for your word to go on with the camera; else it is
    closed, and only --resume goes on with it.

    Once the cells seen so far decide a flag, the others are counted as not needed; only a flag ever
    ends a frame early, and no slide is cleared before all its cells were examined.
    """
    from edgeapl.config import load_station
    from edgeapl.errors import UsageError
    from edgeapl.logs import logging_to
    from edgeapl.station import slide_log
    from edgeapl.station.station import StationOptions
    from edgeapl.wording.names import canonical_name

    secret = page_token(token, token_file, console())
    if slide is not None and resume is not None:
        raise UsageError("--slide and --resume", slide, "name one slide to begin with")
    config = load_station(station)
    options = StationOptions(
        camera=source,
        out=chosen_results(out, config, "watch"),
        um_per_px=um_per_px,
        budget_s=budget,
        batch_size=config.batch_size,
        max_frames=max_frames,
        idle_s=idle,
        enough_cells=cells,
        resume=None if resume is None else canonical_name(resume),
        stop_error=None if exhaustive or config.exhaustive else config.stop_error,
        on_flag=flag_command(config.on_flag if on_flag is None else on_flag),
    )
    with logging_to(log, as_json=log_json, secrets=[secret]), slide_log.station_day():
        done = run_watch(
            source,
            slide,
            options,
            config=config,
            bundle=bundle,
            engines=engines,
            journal=chosen_journal(journal, config),
            served=(host, port, secret) if page else None,
            as_json=as_json,
            again=again,
        )
    raise typer.Exit(done.exit_code(fail_on_flag=fail_on_flag))


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of watching.

    closed : slides with their verdicts. not_closed : why others have none.
    stopped : a signal came, before the slide that was asked for had been opened.
    """

    closed: Sequence[Closed]
    not_closed: Sequence[EdgeAplError]
    stopped: bool

    def exit_code(self, *, fail_on_flag: bool) -> int:
        """Give the code to leave with. What was not closed weighs more than any verdict."""
        if self.not_closed:
            return max(error.exit_code for error in self.not_closed)
        if fail_on_flag and any(one.record["verdict"] == "FLAG" for one in self.closed):
            return FLAGGED
        if self.stopped:
            return INTERRUPTED
        return max((one.exit_code for one in self.closed), default=0)


def run_watch(
    address: str,
    slide: str | None,
    options: StationOptions,
    *,
    config: StationConfig,
    bundle: Path | None,
    engines: str = "auto",
    journal: Path,
    served: tuple[str, int, str | None] | None = None,
    as_json: bool,
    many: bool = True,
    again: bool = False,
) -> Watched:
    """Open everything, watch, and print what comes of it; shared by `watch` and `demo`."""
    from edgeapl.capture.opener import open_watched
    from edgeapl.journal import Journal
    from edgeapl.report.folder_lock import claimed
    from edgeapl.slide_findings import of_camera
    from edgeapl.station.station import Station

    terminal = console()
    camera = config.cameras.get(address)
    stated, serial = options.um_per_px, None
    if camera is not None:
        address, stated, serial = camera.address, stated or camera.um_per_px, camera.serial
        options = replace(options, findings=of_camera(options.camera, camera))
    elif not Path(address).exists():
        address = camera_meant(address, config)
    _warn_of_number(address, terminal)
    drawn = address.startswith("demo://")
    reads = many and sys.stdin is not None and sys.stdin.isatty() and not as_json
    attended = reads or served is not None
    options = replace(options, um_per_px=stated or config.um_per_px, drawn=drawn, waits=attended)
    options = replace(options, begins_with=None if again else slide)
    closed: list[Closed] = []
    with ExitStack() as opened:
        opened.enter_context(sigterm_interrupts())  # until the signals are taken below
        opened.enter_context(claimed(options.out))
        hosted = opened.enter_context(hosted_model(bundle, config, engines, terminal))
        if options.stop_error is not None and not hosted.model.reducer.bounded:
            text = "this bundle judges a slide by features of all its cells: all are examined"
            terminal.print(text, style="yellow", markup=False, soft_wrap=True)
        record = opened.enter_context(Journal.open(journal))
        station = opened.enter_context(
            Station(
                hosted,
                lambda scale: open_watched(
                    address, scale, patient=served is not None, serial=serial
                ),
                record,
                options,
                closed.append,
            )
        )
        if served is not None:
            opened.enter_context(_page(station, *served, terminal=terminal))
        signals = opened.enter_context(signals_taken())
        typed = Typed() if reads else None
        display = opened.enter_context(Display(terminal, as_json=as_json))
        first, goal = slide, len(station.left_open)
        if options.resume is None:
            goal += 1
            if first is None and not attended:
                first, again = datetime.now().strftime("slide-%Y%m%d-%H%M%S"), True
        if first is not None:
            station.start_slide(first, again)
        elif typed is not None:
            display.say("type or scan a slide's identifier and press Enter")
        most = None if attended else goal
        _serve(station, display, signals, typed, closed, most=most, served=served is not None)
        for error in station.not_closed:
            terminal.print(f"error: slide was not closed: {one_line(str(error))}", markup=False)
        for text in station.alerts.trouble:
            terminal.print(f"error: {one_line(text)}", style="red", markup=False)
        stopped = bool(signals.count) and not attended and len(closed) < goal
        return Watched(closed, station.not_closed, stopped)


def camera_meant(name: str, config: StationConfig) -> str:
    """Find the camera for a name that the station file does not have; other addresses stay.

    Raises ConfigError or CameraError after all lines that could be written were printed.
    """
    from edgeapl.errors import ConfigError, EdgeAplError
    from edgeapl.sources.devices.inventory import find_all
    from edgeapl.sources.devices.unnamed import is_general, lines_for, only_camera

    if config.cameras and is_general(name):
        mend = f"the station file has: {', '.join(config.cameras)}"
        raise ConfigError("no camera has this name", name, mend)
    if not is_general(name):
        return name
    listing, terminal = find_all(), console()
    try:
        camera = only_camera(name, listing)
    except EdgeAplError:
        if listing.cameras:
            terminal.print("what is there; write one of these into edgeapl.toml:", style="yellow")
        for found in listing.cameras:
            for line in lines_for(name, found):
                terminal.print(one_line(line), markup=False, soft_wrap=True)
        raise
    text = f"{name} is the only camera that is there: {camera.name}, {camera.address}"
    terminal.print(one_line(text), style="yellow", markup=False, soft_wrap=True)
    return camera.address


def _warn_of_number(address: str, terminal: Console) -> None:
    """Say by which name a camera stays the same, when it is named by its number."""
    if not address.isdigit():
        return
    from edgeapl.sources.devices.v4l import describe

    stable = describe(int(address)).stable_name
    text = f"camera {address} may be another one after the next start: write {stable}"
    terminal.print(one_line(text), style="yellow", markup=False, soft_wrap=True)


def _serve(
    station: Station,
    display: Display,
    signals: Signals,
    typed: Typed | None,
    closed: list[Closed],
    *,
    most: int | None,
    served: bool,
) -> None:
    """Show what happens until the station is done or told to end.

    most : slides to close, those that were left open included; None for any number.
    served : there is a page, which stays when the source has ended.
    """
    from edgeapl.errors import StorageError, UsageError
    from edgeapl.station.notify import Supervisor
    from edgeapl.station.service import Desk

    desk = Desk(station)
    supervisor = Supervisor()
    supervisor.ready()
    listener = Listener(station)
    revision, told = -1, 0
    while True:
        view = desk.wait(revision, LOOK_S)
        revision = view.revision
        display.show(view)
        with suppress(StorageError):  # who commits verdicts will say so
            station.alerts.hear()
        if station.alive:
            supervisor.alive(f"camera {view.camera.state.value}, {len(closed)} slides closed")
        for one in closed[told:]:
            display.final(one)
        told = len(closed)
        ended = station.ended and not served
        over = most is not None and (told >= most or station.not_closed)
        if signals.count or not station.alive or over or ended:
            break
        for line in typed.lines() if typed is not None else ():
            try:
                listener.obey(line)
            except UsageError as error:
                display.say(str(error))
    supervisor.stopping()
    station.finish(in_a_hurry=signals.hurried)
    for one in closed[told:]:
        display.final(one)


@dataclass(slots=True)
class Listener:
    """Does what is typed.

    used : an identifier that has a record already; the next line says whether it is meant.
    """

    station: Station
    used: str = ""

    def obey(self, line: str) -> None:
        """Do what a line says. Raises UsageError."""
        from edgeapl.errors import IdentifierUsed, UsageError

        used, self.used = self.used, ""
        shown = self.station.shown()
        if line == YES and used:
            self.station.start_slide(used, again=True)
        elif line == YES and shown is not None and shown.waits:
            self.station.go_on(shown.slide)
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


@contextmanager
def _page(
    station: Station, host: str, port: int, token: str | None, *, terminal: Console
) -> Iterator[None]:
    from edgeapl.errors import ConfigError
    from edgeapl.station.service import Desk

    try:
        from edgeapl.web.authorisation import PageAccess
        from edgeapl.web.server import PageServer
    except ModuleNotFoundError as error:
        mend = "pip install 'edgeapl[page]'"
        raise ConfigError("the page needs more packages", error.name or "", mend) from error
    access = PageAccess(token=token)
    server = PageServer(Desk(station), access)
    address = server.start(host, port)
    # Without the token: what is printed ends in logs. The page asks for it.
    asks = "" if token is None else " (asks for the token)"
    terminal.print(f"page: {address}{asks}", markup=False, soft_wrap=True)
    try:
        yield
    finally:
        server.stop()
