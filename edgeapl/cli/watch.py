"""`edgeapl watch`: a verdict for one slide after another at a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgeapl.cli.choices import chosen_journal, chosen_results, flag_command
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
)
from edgeapl.cli.output import console
from edgeapl.cli.page_token import page_token


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
        typer.Option(
            rich_help_panel="Slides",
            help="Identifier of the first slide; without it you are asked for one.",
        ),
    ] = None,
    resume: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel="Slides",
            help="Continue this slide, which was open when the station stopped.",
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            rich_help_panel="Slides",
            help="Open one more record of a slide that has one.",
        ),
    ] = False,
    budget: Annotated[
        float,
        typer.Option(
            min=5,
            max=3600,
            rich_help_panel="When a slide ends",
            help="Seconds from a frame to its verdict.",
        ),
    ] = 45.0,
    cells: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="When a slide ends",
            help="Close the slide once this many cells are scored or not needed.",
        ),
    ] = None,
    max_frames: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="When a slide ends",
            help="Close the slide after this many frames.",
        ),
    ] = None,
    idle: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0.5,
            rich_help_panel="When a slide ends",
            help="Close the slide after this many seconds without a frame.",
        ),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive",
            rich_help_panel="When a slide ends",
            help="Examine every cell, even if the others already decide a flag.",
        ),
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", rich_help_panel="Page", help="Serve the station's page.")
    ] = False,
    host: Annotated[
        str, typer.Option(rich_help_panel="Page", help="Address to serve the page on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, rich_help_panel="Page", help="Port of the page; 0 takes a free one."
        ),
    ] = (8765),
    token: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            envvar="EDGEAPL_TOKEN",
            rich_help_panel="Page",
            help="Token that opens the page; needed for other machines. Safer in --token-file.",
        ),
    ] = None,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--token-file", rich_help_panel="Page", help="File with the token; chmod 600."
        ),
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
    """Examine one slide after another at a camera.

    On a terminal: type or scan an identifier and press Enter to open a slide, press Enter alone to
    close it. Ctrl-C closes it and exits; a second Ctrl-C does not wait for its last frames.

    A slide that a power cut left open is examined again from its stored frames alone. On a terminal
    and on the page it then asks you whether to continue with the camera; otherwise it is closed,
    unless --resume names it.

    Once the cells seen so far decide a flag, the others are counted as not needed. Only a flag ends
    a frame early: no slide is cleared before all its cells were examined. Research use only.
    """
    from edgeapl.cli.served_page import PageAddress
    from edgeapl.cli.station_run import run_station
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
