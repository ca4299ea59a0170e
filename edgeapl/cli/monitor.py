"""`edgeapl monitor`: a station over weeks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.options import (
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line, print_json

if TYPE_CHECKING:
    from edgeapl.monitoring.monitor import MonitoringResult

PAGE = "edgeapl-monitor.html"


def monitor(
    journal: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="Journal; without it the station's, or the default one."),
    ] = None,
    station: StationOption = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path(PAGE),
    demonstrations: Annotated[
        bool, typer.Option("--demonstrations", help="Drawn slides in place of patients'.")
    ] = False,
    fail_on_alarm: Annotated[
        bool, typer.Option("--fail-on-alarm", help="Exit code 10 when there is an alarm.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a station over weeks: verdicts, drift, corrections.

    Writes a page; with --json also prints all figures. Research use only.
    """
    from edgeapl.cli.choices import FLAGGED
    from edgeapl.config import load_station
    from edgeapl.monitoring.monitor import monitor as look_at
    from edgeapl.monitoring.monitor import monitor_document
    from edgeapl.monitoring.writer import write_page

    found = look_at(chosen_journal(journal, load_station(station)), demonstrations=demonstrations)
    write_page(found, out)
    if as_json:
        print_json({**monitor_document(found), "page": str(out)})
    else:
        _show(found, out)
    if fail_on_alarm and found.alarms:
        raise typer.Exit(FLAGGED)


def _show(found: MonitoringResult, page: Path) -> None:
    from collections import Counter

    from rich.console import Console

    out = Console(highlight=False)
    first, last = (f"{found.slides[place].time:%Y-%m-%d}" for place in (0, -1))
    said = Counter(slide.decision for slide in found.slides)
    counts = ", ".join(f"{said[name]} {name}" for name in ("FLAG", "REVIEW", "CLEAR"))
    out.print(f"{len(found.slides)} slides from {first} to {last}: {counts}")
    out.print(f"{len(found.drifts)} control charts of the newest bundle's slides")
    for text in found.alarms:
        out.print(f"alarm: {one_line(text)}", style="yellow", markup=False, soft_wrap=True)
    if not found.alarms:
        out.print("no alarm")
    people = found.people
    if people["agreement"] is not None:
        agreed = people["agreement"]
        out.print(
            f"people signed {people['signed']} and agreed with {agreed['k']}: "
            f"{agreed['value']:.0%} ({agreed['low']:.0%} to {agreed['high']:.0%})"
        )
    out.print(f"page {page}", markup=False, soft_wrap=True)
    out.print(RESEARCH_USE_ONLY)
