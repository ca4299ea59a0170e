"""`edgeapl watch`: one slide after another in front of the camera, each to its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgeapl.cli.options import (
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
    SegmenterOption,
    StationOption,
    chosen_journal,
    chosen_results,
    flag_command,
)
from edgeapl.cli.output import console
from edgeapl.cli.page_token import page_token
from edgeapl.cli.station_run import PageAddress, run_station


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
    segmenter: SegmenterOption = None,
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
    from edgeapl.station.options import StationOptions
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
    with logging_to(log, as_json=log_json, secrets=[secret]), slide_log.station_run():
        result = run_station(
            source,
            slide,
            options,
            config=config,
            bundle=bundle,
            engines=engines,
            segmenter=segmenter,
            journal=chosen_journal(journal, config),
            page=PageAddress(host, port, secret) if page else None,
            as_json=as_json,
            again=again,
        )
    raise typer.Exit(result.exit_code(fail_on_flag=fail_on_flag))
