"""`edgeapl score`: one verdict for every slide of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import (
    FLAGGED,
    chosen_journal,
    chosen_results,
    flag_command,
    model_request,
    opened_model,
)
from edgeapl.cli.options import (
    IMAGES,
    BundleOption,
    CropsOption,
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
from edgeapl.cli.output import console, one_line, print_json
from edgeapl.cli.slides_table import slides_table
from edgeapl.wording.numbers import plural

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.journal import Journal
    from edgeapl.model import Model, ModelRequest
    from edgeapl.scoring import JointTables, ScoreListener, ScoreRequest, ScoreResult
    from edgeapl.sources.discover import SlideInput
    from edgeapl.station.alert_record import FolderNotifier
    from edgeapl.types import ExaminedFrame


def score(
    folder: Annotated[Path, typer.Argument(help="Images; sub-folders are slides.")],
    crops: CropsOption = False,
    slides: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=IMAGES,
            help="CSV with the columns slide,file[,um_per_px,patient]; others are kept.",
        ),
    ] = None,
    slide_from: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="REGEX",
            rich_help_panel=IMAGES,
            help="Pattern for file names: its group 'slide', or the first, is the slide.",
        ),
    ] = None,
    part: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="I/N",
            rich_help_panel=IMAGES,
            help="Only part I of N of the slides: the others are scored by other machines.",
        ),
    ] = None,
    cluster: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="ADDRESS",
            help="Examine slides on a Dask cluster: local:N, HOST:PORT or file:PATH.",
        ),
    ] = None,
    um_per_px: ScaleOption = None,
    out: OutOption = None,
    bundle: BundleOption = None,
    engines: EnginesOption = "auto",
    segmenter: SegmenterOption = None,
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
    fail_on_flag: FailOnFlagOption = False,
    on_flag: OnFlagOption = None,
    log: LogOption = None,
    log_json: LogJsonOption = False,
) -> None:
    """Score all slides of a folder; write verdicts and reports.

    Each slide gets a verdict, tables, pictures and a report. After Ctrl-C or a power cut run the
    same command again: finished slides are not scored twice. Research use only.
    """
    from edgeapl.config import load_station
    from edgeapl.journal import Journal
    from edgeapl.logs import logging_to
    from edgeapl.scoring import Part, ScoreRequest, score_folder
    from edgeapl.station.alert_record import FolderNotifier

    config = load_station(station)
    request = ScoreRequest(
        folder=folder,
        out=chosen_results(out, config, folder.resolve().name),
        crops=crops,
        slide_list=slides,
        slide_from=slide_from,
        um_per_px=um_per_px or config.um_per_px,
        batch_size=config.batch_size,
        part=None if part is None else Part.parse(part),
    )
    command = flag_command(on_flag)
    terminal = console()
    with (
        logging_to(log, as_json=log_json),
        opened_model(bundle, config, engines, terminal, segmenter) as model,
        Journal.open(chosen_journal(journal, config)) as record,
    ):
        notices = FolderNotifier(record, command)
        with _Bar(terminal, notices) as bar:
            if cluster is None:
                result = score_folder(request, model, record, bar.listener())
            else:
                wanted = model_request(bundle, config, engines, segmenter)
                result = _on_cluster(cluster, request, wanted, model, record, bar)
        for text in notices.finish():
            typer.echo(f"error: {one_line(text)}", err=True)
        document = result.document(model, request)
    if as_json:
        print_json(document)
    else:
        slides_table(result.records, request.out)
    say_errors(result.errors)
    flagged = fail_on_flag and any(record["verdict"] == "FLAG" for record in result.records)
    raise typer.Exit(FLAGGED if flagged else result.exit_code)


def _on_cluster(
    address: str,
    request: ScoreRequest,
    wanted: ModelRequest,
    model: Model,
    journal: Journal,
    bar: _Bar,
) -> ScoreResult:
    from edgeapl.errors import UsageError

    try:
        from edgeapl.cluster.address import ClusterAddress
        from edgeapl.cluster.scoring import score_on_cluster
        from edgeapl.cluster.worker import worker_settings
    except ModuleNotFoundError as error:
        if error.name not in {"dask", "distributed"}:
            raise
        mend = "pip install 'edgeapl[cluster]'"
        raise UsageError("needs Dask distributed", "--cluster", mend) from None
    place = ClusterAddress.parse(address)
    settings = worker_settings(wanted, model, share_cores=place.local)
    return score_on_cluster(place, request, settings, model, journal, bar.listener())


def say_errors(errors: Sequence[Mapping[str, Any]]) -> None:
    """Print the images that could not be examined, one line each."""
    for error in errors:
        parts = (error["what"], error["which"], error["mend"])
        text = one_line(": ".join(part for part in parts if part))
        typer.echo(f"error: {text}", err=True)


def _say_part(slides: int, of: int) -> None:
    if slides < of:
        typer.echo(f"note: this part has {slides} of {of} slides", err=True)


def say_waiting() -> None:
    """Say that another program writes what we are about to write."""
    text = "another program writes the tables of the result folder: waiting until it is our turn"
    typer.echo(f"note: {text}", err=True)


def _say_refused(slide: SlideInput, text: str) -> None:
    """Say why kept tiles of a scan are examined again."""
    typer.echo(f"note: {one_line(slide.name)}: {text}, so examined again", err=True)


def _say_tables(tables: JointTables) -> None:
    """Say what the tables hold beside the slides of this run, and what they lack."""
    from edgeapl.wording.numbers import plural

    def note(names: Sequence[str], text: str) -> None:
        if names:
            first = f"; the first: {one_line(names[0])}"
            typer.echo(f"note: {plural(len(names), 'slide')} {text}{first}", err=True)

    note(tables.missing, "of this folder not scored yet by this bundle, so not in the tables")
    note(tables.kept, "scored with another list in the tables as well")
    note(
        tables.left_out,
        "with results not in the tables: no longer in the input, or of another bundle",
    )


EVERY_S = 30.0
"""Between two lines about one scan, where no bar is shown."""


LONGEST_NAME = 24
"""Characters of a slide's name in a line of progress."""


def _short(name: str) -> str:
    """Shorten a name, so that a line of progress stays one line."""
    shown = one_line(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 3]}..."


class _Bar:
    """Progress on stderr: a bar on a terminal, one line per slide elsewhere."""

    def __init__(self, terminal: Console, notices: FolderNotifier) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._terminal = terminal
        self._scan, self._scan_from, self._scan_told = "", 0.0, 0.0
        self._kept: dict[str, int] = {}
        self._notices = notices
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=terminal,
            disable=not terminal.is_terminal,
            transient=True,
        )

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listener(self) -> ScoreListener:
        from edgeapl.scoring import ScoreListener

        return ScoreListener(
            on_slides=self._on_slides,
            on_frame=self._on_frame,
            on_slide=self._on_slide,
            on_unlisted=self._on_unlisted,
            on_tile=self._on_tile,
            on_kept=self._on_kept,
            on_refused=_say_refused,
            on_part=_say_part,
            on_wait=say_waiting,
            on_tables=_say_tables,
        )

    def _on_tile(self, slide: SlideInput, done: int, of: int) -> None:
        """Show the progress of a scan; one that is decided early ends early."""
        from time import monotonic

        now = monotonic()
        kept = self._kept.get(slide.name, 0)
        if slide.name != self._scan:
            self._scan, self._scan_told = slide.name, now
        if done <= kept + 1:
            self._scan_from = now  # tiles that are kept say nothing about the others
        left = (now - self._scan_from) / max(1, done - kept - 1) * (of - done)
        text = f"{_short(slide.name)}: tile {done} of {of}, {plural(self._cells, 'cell')}"
        text += f", at most {left / 60:.0f} min left" if done > kept + 1 else ""
        self._progress.update(self._task, note=text)
        if not self._terminal.is_terminal and now - self._scan_told >= EVERY_S:
            self._scan_told = now
            self._terminal.print(text, markup=False)

    def _on_kept(self, slide: SlideInput, tiles: int) -> None:
        self._kept[slide.name] = tiles
        text = f"{plural(tiles, 'tile')} of {one_line(slide.name)} examined before: answers kept"
        typer.echo(f"note: {text}", err=True)

    def _on_unlisted(self, files: Sequence[Path]) -> None:
        if files:
            images = plural(len(files), "image")
            text = f"{images} of the folder not examined, as the slide list lacks them; the first: "
            typer.echo(f"note: {text}{one_line(str(files[0]))}", err=True)

    def _on_slides(self, slides: Sequence[SlideInput]) -> None:
        self._images = {slide.name: len(slide.files) for slide in slides}
        self._task = self._progress.add_task(
            "images", total=sum(self._images.values()), note=plural(len(slides), "slide")
        )
        self._before = self._frames = self._cells = 0

    def _on_frame(self, slide: SlideInput, examined: ExaminedFrame) -> None:
        self._frames += 1
        self._cells += len(examined.detections)
        self._progress.update(
            self._task,
            completed=self._before + min(self._frames, self._images[slide.name]),
            note=f"{_short(slide.name)}: {plural(self._cells, 'cell')}",
        )

    def _on_slide(self, record: dict[str, Any], resumed: bool) -> None:
        from edgeapl.station import slide_log

        self._notices.on_slide(record, resumed)
        slide_log.scored(record, resumed=resumed)
        self._before += self._images[record["slide"]]
        self._frames = self._cells = 0
        self._progress.update(self._task, completed=self._before)
        if not self._terminal.is_terminal:
            kept = " (finished before)" if resumed else ""
            self._terminal.print(
                f"{one_line(record['slide'])}: {record['verdict']}{kept}", markup=False
            )
