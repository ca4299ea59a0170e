"""`edgeapl watch`: frames come in, the verdict of the slide grows, Ctrl-C closes the slide."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.options import (
    FLAGGED,
    BundleOption,
    EnginesOption,
    FailOnFlagOption,
    JournalOption,
    JsonOption,
    OutOption,
    ScaleOption,
    StationOption,
    chosen_journal,
    chosen_results,
    opened_model,
)
from edgeapl.cli.output import console, print_json
from edgeapl.cli.verdicts import verdict_panel

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.config import StationConfig
    from edgeapl.pipeline import Progress
    from edgeapl.watching import Closed


def watch(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder that fills up, a video file, demo://apl?seed=1, a camera's number, "
            "or a camera named in the station file."
        ),
    ],
    slide: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Identifier of the slide; without it, the date and time."),
    ] = None,
    max_frames: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Close the slide after this many frames."),
    ] = None,
    idle: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.5, help="Close the slide after this many seconds without a frame."),
    ] = None,
    um_per_px: ScaleOption = None,
    out: OutOption = None,
    bundle: BundleOption = None,
    engines: EnginesOption = "auto",
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
    fail_on_flag: FailOnFlagOption = False,
) -> None:
    """Watch one slide and end with its verdict. Research use only.

    Ctrl-C closes the slide: what was captured by then is judged and committed.
    """
    from edgeapl.config import load_station

    config = load_station(station)
    closed = run_watch(
        source,
        slide or datetime.now().strftime("slide-%Y%m%d-%H%M%S"),
        config=config,
        max_frames=max_frames,
        idle=idle,
        um_per_px=um_per_px,
        out=chosen_results(out, config, "watch"),
        bundle=bundle,
        engines=engines,
        journal=chosen_journal(journal, config),
        as_json=as_json,
    )
    flagged = closed.record["verdict"] == "FLAG"
    raise typer.Exit(FLAGGED if fail_on_flag and flagged else closed.exit_code)


def run_watch(
    address: str,
    slide: str,
    *,
    config: StationConfig,
    max_frames: int | None,
    idle: float | None,
    um_per_px: float | None,
    out: Path,
    bundle: Path | None,
    engines: str = "auto",
    journal: Path,
    as_json: bool,
) -> Closed:
    """Open everything, watch, and print the result; shared by `watch` and `demo`."""
    from edgeapl.journal import Journal
    from edgeapl.pipeline import SlideOptions
    from edgeapl.scale import SlideScale
    from edgeapl.sources.address import open_source
    from edgeapl.watching import watch_slide

    camera = config.cameras.get(address)
    if camera is not None:
        address, um_per_px = camera.source, um_per_px or camera.um_per_px
    terminal = console()
    options = SlideOptions(batch_size=config.batch_size, max_frames=max_frames, stop_when_idle=idle)
    with (
        opened_model(bundle, config, engines, terminal) as model,
        Journal.open(journal) as record,
    ):
        scale = SlideScale(um_per_px or config.um_per_px, model.bundle.manifest.um_per_px)
        source = open_source(address, scale_for=scale)
        try:
            with _closing_on_signals() as stop, _Display(terminal, as_json=as_json) as display:
                closed = watch_slide(model, source, slide, out, record, options, display.show, stop)
        finally:
            source.close()
    if as_json:
        print_json({"event": "verdict", **closed.record, "report": str(closed.report)})
    else:
        _print_final(closed)
    return closed


def _print_final(closed: Closed) -> None:
    from rich.console import Console

    out = Console(highlight=False)
    out.print(verdict_panel(closed.record, running=False))
    out.print(f"report: {closed.report}", markup=False, soft_wrap=True)
    out.print(f"journal record: {closed.record['journal_record']}", markup=False)


@contextmanager
def _closing_on_signals() -> Iterator[threading.Event]:
    """Give an event that the first SIGINT or SIGTERM sets; a second one ends the program."""
    stop = threading.Event()

    def close(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Display:
    """The running verdict: a live panel on a terminal, JSON lines, or one line per change."""

    def __init__(self, terminal: Console, *, as_json: bool) -> None:
        from rich.live import Live

        self._as_json = as_json
        self._terminal = terminal
        self._last: tuple[object, ...] | None = None
        shown = terminal.is_terminal and not as_json
        self._live = Live(console=terminal, transient=True, refresh_per_second=8) if shown else None

    def __enter__(self) -> _Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        from edgeapl.journal import verdict_to_json

        verdict = progress.verdict
        record = verdict_to_json(verdict)
        if self._live is not None:
            self._live.update(verdict_panel(record, running=True))
            return
        state = (verdict.decision, tuple(reason.code for reason in verdict.reasons))
        if state == self._last:
            return
        self._last = state
        if self._as_json:
            print_json({"event": "state", "frames_seen": progress.frames, **_brief(record)})
        else:
            self._terminal.print(
                f"frame {progress.frames}: {verdict.decision.value}, "
                f"{verdict.tally.scored} cells scored",
                markup=False,
            )


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out what grows with the slide."""
    return {key: value for key, value in record.items() if key not in ("frames", "timings")}
