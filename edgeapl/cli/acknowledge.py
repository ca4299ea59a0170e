"""`edgeapl journal acknowledge`: acknowledge a flag where there is no page for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.options import (
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line, print_json
from edgeapl.cli.record_table import print_records
from edgeapl.cli.verdicts import probability_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeapl.journal.alarms import Alarm

HEADINGS = ("flag", "time", "slide", "probability of APL")


def acknowledge(
    record: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="N|HASH",
            help="A row in which the slide is flagged; without it the flags that nobody has "
            "acknowledged are listed.",
        ),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Your initials.")] = "",
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Acknowledge a flag, or list those that nobody has.

    Records in the journal who has seen it; the verdict does not change. A running station shows
    that within seconds. Research use only.
    """
    from edgeapl.config import load_station
    from edgeapl.journal import Journal
    from edgeapl.journal.alarms import acknowledge_flag, find_alarm, read_alarms

    path = chosen_journal(journal, load_station(station))
    head: dict[str, Any] = {"schema": 1, "research_use_only": True, "journal": str(path)}
    if record is None:
        standing = [alarm for alarm in read_alarms(path) if not alarm.acknowledged_by]
        if as_json:
            print_json(head | {"flags_not_acknowledged": [_as_json(alarm) for alarm in standing]})
        else:
            _show(standing)
        return
    alarm = find_alarm(path, record)
    with Journal.open(path) as opened:
        row = acknowledge_flag(opened, alarm, by)
    if as_json:
        print_json(head | {"slide": alarm.slide, "record": alarm.record, "row": row})
        return
    typer.echo(one_line(f"the flag of slide {alarm.slide} is acknowledged by {by.strip()}"))
    typer.echo(f"journal record: {row}")
    typer.echo(RESEARCH_USE_ONLY)


def _show(standing: Sequence[Alarm]) -> None:
    if not standing:
        typer.echo("every flag is acknowledged")
        typer.echo(RESEARCH_USE_ONLY)
        return
    print_records(HEADINGS, [_fields(alarm) for alarm in standing], narrow=HEADINGS)


def _fields(alarm: Alarm) -> tuple[str, ...]:
    slide = alarm.slide + (" (demonstration)" if alarm.demonstration else "")
    reasons = [{"code": code} for code in alarm.codes]
    figures = {"probability": alarm.probability, "interval": None, "reasons": reasons}
    return (alarm.record[:12], alarm.time, slide, probability_text(figures))


def _as_json(alarm: Alarm) -> dict[str, Any]:
    return {
        "slide": alarm.slide,
        "journal_record": alarm.record,
        "time": alarm.time,
        "probability": alarm.probability,
        "demonstration": alarm.demonstration,
    }
