"""`edgeapl doctor`: whether this machine is ready, and what is missing if not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgeapl.cli.choices import chosen_bundle, chosen_journal, chosen_results, station_trust
from edgeapl.cli.options import (
    BundleOption,
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, answer_console, one_line, print_json

if TYPE_CHECKING:
    from edgeapl.doctor import Check


def doctor(
    bundle: BundleOption = None,
    journal: JournalOption = None,
    station: StationOption = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder meant for results.")] = None,  # noqa: UP045
    unit: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="CAMERA", help="Print a systemd unit for a camera, and do no more."),
    ] = None,
    verify: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="ARCHIVE",
            help="Compare what is installed with an unpacked archive of wheels, and do no more.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine: runtimes, CPU, disk, journal, station.

    Changes nothing. Exit code 0 when a station can run here, otherwise that of the first problem.
    """
    from edgeapl.config import load_station
    from edgeapl.doctor import examine_installation, examine_machine
    from edgeapl.station.checks import station_checks
    from edgeapl.station.systemd_unit import unit_text

    if unit is not None:
        typer.echo(unit_text(unit), nl=False)
        return
    if verify is not None:
        _show(examine_installation(verify), as_json)
        return
    config = load_station(station)
    machine = examine_machine(
        chosen_bundle(bundle, config),
        chosen_journal(journal, config),
        chosen_results(out, config, ""),
        station_trust(config),
    )
    _show((*machine, *station_checks()), as_json)


def _show(checks: Sequence[Check], as_json: bool) -> None:
    """Print the checks; end with the code of the first problem."""
    from edgeapl.doctor import Health

    if as_json:
        rows = [{"name": c.name, "health": c.health.value, "detail": c.detail} for c in checks]
        print_json({"schema": 1, "checks": rows})
    else:
        from rich.table import Table

        table = Table(box=None, show_header=False, pad_edge=False)
        styles = {Health.OK: "green", Health.NOTE: "yellow", Health.PROBLEM: "bold red"}
        for check in checks:
            health = f"[{styles[check.health]}]{check.health.value}[/]"
            table.add_row(check.name, health, _plain(check.detail))
        terminal = answer_console()
        terminal.print(table)
        terminal.print(RESEARCH_USE_ONLY, style="dim")
    problems = [check for check in checks if check.health is Health.PROBLEM]
    if problems:
        raise typer.Exit(problems[0].exit_code)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(one_line(text))
