"""`edgeapl journal sign-off`: a person's word on a verdict, beside it in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.options import (
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line, print_json


def sign_off(
    record: Annotated[
        str, typer.Argument(metavar="N|HASH", help="Row of a final verdict: see journal history.")
    ],
    by: Annotated[str, typer.Option("--by", help="Your initials.")],
    confirm: Annotated[bool, typer.Option("--confirm", help="The verdict is right.")] = False,
    overrule: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="LABEL", help='It is something else: what, e.g. "AML, not APL".'),
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="The slide must be repeated.")] = False,
    comment: Annotated[str, typer.Option(help="Why; may be left out with --confirm alone.")] = "",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Result folder with the report, where it is not the recorded one."),
    ] = None,
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm or overrule a verdict, or ask for a repeat. Research use only.

    Your word stands beside the verdict, which is never altered, in the journal, the history and a
    new version of the report; the one before is kept. Who signs again is heard again.
    """
    from edgeapl.config import load_station
    from edgeapl.errors import UsageError
    from edgeapl.journal import Journal, Opinion, SignOff, append_sign_off, find_record
    from edgeapl.report.versions import amended_report

    chosen = {Opinion.CONFIRM: confirm, Opinion.OVERRULE: overrule is not None}
    chosen[Opinion.REPEAT] = repeat
    opinions = [opinion for opinion, said in chosen.items() if said]
    if len(opinions) != 1:
        raise UsageError("sign-off", "", "give one of --confirm, --overrule LABEL and --repeat")
    said = SignOff(opinions[0], by.strip(), comment.strip(), (overrule or "").strip())
    path = chosen_journal(journal, load_station(station))
    found = find_record(path, record)
    with Journal.open(path) as opened:
        row = append_sign_off(opened, found, said)
    report = amended_report(path, found.row.hash, out)
    if as_json:
        document = {"schema": 1, "research_use_only": True, "record": found.row.hash, "row": row}
        print_json(document | {"report": None if report is None else str(report)})
        return
    words = f"record {found.row.sequence} ({found.slide}, {found.content['verdict']})"
    typer.echo(one_line(f"{words}: {said.words} by {said.person}"))
    typer.echo(f"journal record: {row}")
    missing = "not found, so it does not say so: name its result folder with --out"
    typer.echo(one_line(f"report: {report or missing}"))
    typer.echo(RESEARCH_USE_ONLY)
