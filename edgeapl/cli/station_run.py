"""Runs a station at the terminal, from opening everything to the last verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgeapl.cli.bundle_switch import BundleSwitch
from edgeapl.cli.camera_choice import resolved_camera, warn_of_number
from edgeapl.cli.choices import FLAGGED
from edgeapl.cli.keyboard import CommandHandler, LineReader
from edgeapl.cli.output import INTERRUPTED, console, one_line
from edgeapl.cli.served_page import ServedPage
from edgeapl.cli.terminal import Display
from edgeapl.cli.watch_signals import Signals, handled_signals, sigterm_interrupts
from edgeapl.wording.numbers import plural

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.cli.served_page import PageAddress
    from edgeapl.config import StationConfig
    from edgeapl.errors import EdgeAplError
    from edgeapl.model.assembled import Model
    from edgeapl.station.idle_tuning import IdleTuning
    from edgeapl.station.options import StationOptions
    from edgeapl.station.session import ClosedSlide
    from edgeapl.station.station import Station

REFRESH_S = 0.25

CLOSING = (
    "closing the slide: its last frames are still examined; press Ctrl-C again to stop at once"
)


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
    """Open everything, examine slides, and print their verdicts; for `watch` and `demo`.

    Where no bundle is named, the one that `edgeapl station use` has chosen is opened. When another
    is chosen meanwhile, everything is opened again as soon as no slide is open.
    """
    from edgeapl.report.folder_lock import locked_folder
    from edgeapl.station.idle_tuning import IdleTuning

    terminal = console()
    address, serial, options = _resolved(address, options, config, terminal)
    reads = interactive and sys.stdin is not None and sys.stdin.isatty() and not as_json
    minutes = config.tune_idle_minutes
    tuning = None if minutes is None else IdleTuning(minutes * 60)
    run = _Run(
        address,
        serial,
        journal,
        BundleSwitch(bundle, journal, config, engines, segmenter, options.drawn),
        tuning,
        None if page is None else ServedPage(page),
        LineReader() if reads else None,
        terminal,
        as_json,
    )
    with ExitStack() as held:
        held.enter_context(sigterm_interrupts())  # where no signals are handled below
        held.enter_context(locked_folder(options.out))
        if tuning is not None:
            held.callback(tuning.close)
        options = replace(options, attended=run.attended, first_slide=None if again else slide)
        result = run.once(options, slide, again)
        while result is None:
            result = run.once(replace(options, resume=None, first_slide=None), None, False)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What stays the same while a station runs, whichever bundle it uses.

    serial : of the camera, if stated. keyboard : None where nobody types.
    tuning : measures settings of engines between slides; None for never.
    closed, not_closed : slides so far, and why others have no verdict.
    """

    address: str
    serial: str | None
    journal: Path
    switch: BundleSwitch
    tuning: IdleTuning | None
    page: ServedPage | None
    keyboard: LineReader | None
    terminal: Console
    as_json: bool
    closed: list[ClosedSlide] = field(default_factory=list)
    not_closed: list[EdgeAplError] = field(default_factory=list)

    @property
    def attended(self) -> bool:
        """Whether somebody can open slides while it runs."""
        return self.keyboard is not None or self.page is not None

    def once(self, options: StationOptions, slide: str | None, again: bool) -> RunResult | None:
        """Open everything and examine slides; None when another bundle is to be opened."""
        from edgeapl.capture.opener import open_watched
        from edgeapl.journal import Journal
        from edgeapl.station.station import Station

        terminal, patient, shown = self.terminal, self.page is not None, len(self.closed)
        with ExitStack() as opened:
            hosted = self.switch.open_model(opened, terminal)
            if options.stop_error is not None and not hosted.model.reducer.bounded:
                text = "this bundle judges a slide by features of all its cells: all are examined"
                terminal.print(text, style="yellow", markup=False, soft_wrap=True)
            self._watch_idle(hosted.model)
            record = opened.enter_context(Journal.open(self.journal))
            station = opened.enter_context(
                Station(
                    hosted,
                    lambda scale: open_watched(
                        self.address, scale, patient=patient, serial=self.serial
                    ),
                    record,
                    options,
                    self.closed.append,
                )
            )
            if self.page is not None:
                opened.enter_context(self.page.served(station, terminal))
            signals = opened.enter_context(handled_signals())
            display = opened.enter_context(Display(terminal, as_json=self.as_json))
            goal = len(station.interrupted)
            if options.resume is None:
                goal += 1
                if slide is None and not self.attended:
                    slide, again = datetime.now().strftime("slide-%Y%m%d-%H%M%S"), True
            if slide is not None:
                station.start_slide(slide, again)
            elif self.keyboard is not None:
                display.say("type or scan a slide's identifier and press Enter")
            most = None if self.attended else goal
            switched = _follow(
                station,
                display,
                signals,
                self.keyboard,
                self.closed,
                shown=shown,
                most=most,
                served=self.page is not None,
                other_bundle=self.switch.wanted,
                tuning=self.tuning if self.attended else None,
            )
            self.not_closed.extend(station.not_closed)
            for error in station.not_closed:
                terminal.print(f"error: slide was not closed: {one_line(str(error))}", markup=False)
            for text in station.alerts.trouble:
                terminal.print(f"error: {one_line(text)}", style="red", markup=False)
            if switched:
                tuned = self.tuning is not None and self.tuning.changed
                why = "engines have other settings" if tuned else "another bundle was chosen"
                terminal.print(f"{why}: the station opens again", markup=False)
                return None
            stopped = bool(signals.count) and not self.attended and len(self.closed) < goal
            return RunResult(self.closed, self.not_closed, stopped)

    def _watch_idle(self, model: Model) -> None:
        """Measure these engines once the station idles, or say why not."""
        from edgeapl.station.idle_tuning import Tuning, tuning_command, tuning_of

        if self.tuning is None:
            return
        possible = tuning_of(model.built)
        if model.built is None or possible is not Tuning.POSSIBLE:
            self.tuning.watch(None)
            text = f"tune_idle_minutes changes nothing here: {possible.value}"
            self.terminal.print(text, style="yellow", markup=False, soft_wrap=True)
            return
        self.tuning.watch(tuning_command(model.built, str(model.bundle.folder)))


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
    shown: int,
    most: int | None,
    served: bool,
    other_bundle: Callable[[], bool],
    tuning: IdleTuning | None,
) -> bool:
    """Show what happens until the station is done or told to end; True for another bundle.

    shown : slides whose verdicts were shown before.
    other_bundle : asked between slides, where somebody can open more, whether to end for one.
    most : slides to close, interrupted ones included; None for any number.
    served : there is a page, which stays when the source has ended.
    tuning : told whether there is a slide; None for no measurements.
    """
    from edgeapl.errors import StorageError, UsageError
    from edgeapl.station.service import StationService
    from edgeapl.station.systemd_notifier import SystemdNotifier

    service = StationService(station)
    systemd = SystemdNotifier()
    systemd.ready()
    commands = CommandHandler(station)
    revision, switched = -1, False
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
        idle = station.idle
        text = None if tuning is None else tuning.step(idle=idle)
        if text is not None:
            display.say(text)
        other = (tuning is not None and tuning.changed) or (idle and other_bundle())
        # What is asked for meanwhile is refused for the moment, so no slide gets lost.
        switched = most is None and idle and other and station.end_if_idle()
        if switched:
            break
    if not switched:
        systemd.stopping()
    if signals.count and view.slide is not None and view.slide.open:
        display.say(CLOSING)
    station.finish(signals.immediate)
    for one in closed[shown:]:
        display.final(one)
    return switched
