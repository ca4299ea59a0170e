"""`edgeapl journal`: lists, shows and verifies the record; these never create or change a journal.

Commands that add to it, a sign-off or an acknowledgement, have modules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.acknowledge import acknowledge
from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.history import history
from edgeapl.cli.journal_wording import bundle_text, said_in_short
from edgeapl.cli.options import (
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line, print_json
from edgeapl.cli.record_table import print_records
from edgeapl.cli.sign_off import sign_off
from edgeapl.cli.verdicts import probability_text, signed_by, verdict_panel
from edgeapl.errors import StorageError
from edgeapl.wording.local_time import local_time
from edgeapl.wording.numbers import plural
from edgeapl.wording.verdicts import tally_row

if TYPE_CHECKING:
    from edgeapl.journal import Problem, Row

SCHEMA = 1

VERDICTS = ("verdict", "provisional")
"""Version of the JSON documents; raised when a field changes its meaning or goes."""

app = typer.Typer(
    help="Read, verify and sign the record of verdicts.",
    no_args_is_help=True,
)
app.command("history")(history)
app.command("sign-off")(sign_off)
app.command("acknowledge")(acknowledge)


@app.command("list")
def list_rows(
    last: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Only the newest so many."),
    ] = None,
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the record, oldest first. Research use only."""
    from edgeapl.journal import read_rows

    path = _path(journal, station)
    rows = read_rows(path, last)
    edited = [row.sequence for row in rows if not row.consistent]
    if as_json:
        print_json(_head(path) | {"records": [_as_json(row) for row in rows if row.consistent]})
    else:
        _print_rows([row for row in rows if row.consistent])
    if edited:
        which = f"row {', '.join(map(str, edited))} of {path}"
        raise StorageError("journal rows were edited", which, "run 'edgeapl journal verify'")


@app.command("show")
def show(
    key: Annotated[
        str, typer.Argument(metavar="N|HASH", help="Row number, or 8 or more digits of its hash.")
    ],
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything in one record. Research use only."""
    from rich.console import Console
    from rich.markup import escape

    from edgeapl.journal import find_row, verdict_from_json, verdict_to_json
    from edgeapl.wording.certificate import certificate_of_record

    path = _path(journal, station)
    row = find_row(path, key)
    if as_json:
        print_json(_head(path) | {"record": _as_json(row)})
        return
    facts = {
        "record": row.sequence,
        "kind": row.kind,
        "time": local_time(row.time, seconds=True),
        "hash": row.hash,
        "follows": row.previous,
    }
    content = row.content
    if row.kind in VERDICTS:
        provisional = row.kind == "provisional"
        content = _printable(verdict_to_json(verdict_from_json(content)))
        for count in content["counts"]:
            count["role"] = escape(count["role"])
        Console(highlight=False).print(verdict_panel(content, running=provisional))
        facts |= {
            "bundle": f"{bundle_text(content)} {content['bundle_digest']}",
            "signed by": signed_by(content),
            "may clear": certificate_of_record(row.content),
            "networks": content["engine_digest"],
            "runtime": content["runtime"],
        }
        facts |= {f"seconds in {stage}": f"{s:.3f}" for stage, s in content["timings"].items()}
        facts |= {f"frame {frame['sha256']}": frame["source"] for frame in content["frames"]}
    else:
        facts |= content
    for name, value in facts.items():
        typer.echo(one_line(f"{name}: {value}"))
    typer.echo(RESEARCH_USE_ONLY)


@app.command("verify")
def verify(
    journal: JournalOption = None, station: StationOption = None, as_json: JsonOption = False
) -> None:
    """Find rows that were edited, deleted, added or moved.

    Exit code 5 when there is one. Changes made to both the journal and its anchor only show against
    a hash kept elsewhere, such as in a report: edgeapl journal show HASH.
    """
    from edgeapl.journal import verify as check

    path = _path(journal, station)
    report = check(path)
    if as_json:
        document = {
            "rows": report.rows,
            "newest": report.newest,
            "intact": not report.problems,
            "problems": [_problem_as_json(problem) for problem in report.problems],
        }
        print_json(_head(path) | document)
    else:
        for problem in report.problems:
            typer.echo(one_line(problem.text))
        if not report.problems:
            typer.echo(
                one_line(f"intact: {plural(report.rows, 'row')} in {path}, newest {report.newest}")
            )
    if report.problems:
        raise StorageError(
            "journal is not as it was written",
            f"{path} ({plural(len(report.problems), 'problem')})",
            "keep it for inquiry; to go on, move journal and anchor away together",
        )


def _path(journal: Path | None, station: Path | None) -> Path:
    from edgeapl.config import load_station

    return chosen_journal(journal, load_station(station))


def _head(path: Path) -> dict[str, Any]:
    return {"schema": SCHEMA, "research_use_only": True, "journal": str(path)}


def _as_json(row: Row) -> dict[str, Any]:
    return {
        "sequence": row.sequence,
        "time": row.time,
        "kind": row.kind,
        "previous": row.previous,
        "hash": row.hash,
        "content": row.content,
    }


def _problem_as_json(problem: Problem) -> dict[str, Any]:
    return {"sequence": problem.sequence, "kind": problem.kind, "text": problem.text}


def _print_rows(rows: Sequence[Row]) -> None:
    headings = (
        *("record", "time", "slide", "verdict", "probability of APL", "cells", "hash"),
        "bundle",
    )
    print_records(
        headings,
        [_fields(row) for row in rows],
        narrow=("record", "time", "slide", "verdict", "probability of APL"),
    )


def _fields(row: Row) -> tuple[str, ...]:
    from edgeapl.journal import EVENTS, verdict_from_json, verdict_to_json

    slide, verdict, probability, cells, made = "-", f"({row.kind})", "-", "-", "-"
    if row.kind in EVENTS:
        content = row.content
        slide = str(content.get("slide", "-"))
        verdict = f"({said_in_short(row)})"
    if row.kind in VERDICTS:
        content = verdict_to_json(verdict_from_json(row.content))
        slide, verdict = content["slide"], content["verdict"]
        if row.kind == "provisional":
            verdict += " (so far)"
        probability, cells = probability_text(content), tally_row(content["tally"])
        made = bundle_text(content)
    return (str(row.sequence), row.time, slide, verdict, probability, cells, row.hash, made)


def _printable(value: Any) -> Any:
    """Make every text in JSON values safe for a terminal."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {one_line(key): _printable(item) for key, item in value.items()}
    return value
