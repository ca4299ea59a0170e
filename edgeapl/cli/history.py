"""`edgeapl journal history`: final verdicts and their sign-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.journal_wording import bundle_text, said_in_short
from edgeapl.cli.options import (
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import print_json
from edgeapl.cli.record_table import print_records
from edgeapl.cli.verdicts import probability_text
from edgeapl.wording.numbers import plural

if TYPE_CHECKING:
    from edgeapl.journal import Record

SCHEMA = 1
"""Version of the JSON document; raised when a field changes its meaning or goes."""

HEADINGS = ("record", "time", "slide", "verdict", "probability of APL", "signed", "cells amended")


def history(
    slide: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only records of this identifier."),
    ] = None,
    demonstrations: Annotated[
        bool, typer.Option("--demonstrations", help="Demonstrations too, which are no patient's.")
    ] = False,
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List final verdicts, oldest first, signed or not. Research use only."""
    from edgeapl.config import load_station
    from edgeapl.journal import read_records, records_of_slide

    path = chosen_journal(journal, load_station(station))
    records = read_records(path) if slide is None else records_of_slide(path, slide)
    wanted = [record for record in records if demonstrations or not record.demonstration]
    left_out = len(records) - len(wanted)
    if as_json:
        document = {"schema": SCHEMA, "research_use_only": True, "journal": str(path)}
        print_json(document | {"records": [_as_json(record) for record in wanted]})
        return
    note = f"{plural(left_out, 'demonstration')} left out: --demonstrations shows them."
    print_records(
        (*HEADINGS, "bundle"),
        [_fields(record) for record in wanted],
        narrow=("record", "time", "slide", "verdict", "signed"),
        notes=(note,) if left_out else (),
    )


def _fields(record: Record) -> tuple[str, ...]:
    content, row = record.content, record.row
    signed = said_in_short(record.sign_offs[-1]) if record.sign_offs else "not signed"
    cells = len({one.content.get("cell") for one in record.cells})
    figures = (str(content["verdict"]), probability_text(content), signed, str(cells))
    return (str(row.sequence), row.time, record.slide, *figures, bundle_text(content))


def _as_json(record: Record) -> dict[str, Any]:
    return {
        "sequence": record.row.sequence,
        "time": record.row.time,
        "hash": record.row.hash,
        "signed": bool(record.sign_offs),
        "content": record.content,
        "amendments": [
            {"sequence": row.sequence, "time": row.time, "hash": row.hash, "content": row.content}
            for row in record.amendments
        ],
    }
