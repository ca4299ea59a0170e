"""The slides of a folder in a terminal: flags first, a tally last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import DECISION_STYLES, RESEARCH_USE_ONLY, answer_console, one_line
from edgeapl.cli.record_table import WIDE
from edgeapl.cli.verdicts import probability_text, question_of_record
from edgeapl.wording.questions import APL
from edgeapl.wording.verdicts import (
    count_by_verdict,
    reasons_row,
    tally_row,
)

if TYPE_CHECKING:
    from rich.console import Console

INDENT = 4

MOST_PRINTED = 2000
"""Slides that a terminal shows; nobody reads more there, and their table is laid out in memory."""


def slides_table(records: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Print every slide, flags first, a tally, and where the reports are.

    A wide terminal gets a table; in a narrow one each slide has a few lines. Of very many slides
    the most urgent ones are printed.
    """
    from edgeapl.report.reading_order import ReadingOrder
    from edgeapl.report.results import INDEX

    order = ReadingOrder.of(records)
    found = (records[place] for place in order.places[:MOST_PRINTED])
    rows = [(order.shown[str(record["slide"])], record) for record in found]
    terminal = answer_console()
    if terminal.width >= WIDE:
        _print_table(terminal, rows)
    else:
        for name, record in rows:
            _print_lines(terminal, name, record)
    left = len(order.places) - len(rows)
    if left:
        terminal.print(f"and {left:,} more slides, none of them more urgent: see the pages")
    terminal.print(count_by_verdict(order.counts))
    terminal.print(f"reports: {out / INDEX}", markup=False, soft_wrap=True)
    terminal.print(RESEARCH_USE_ONLY, style="dim")


def _print_table(terminal: Console, rows: list[tuple[str, Mapping[str, Any]]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    figures = {question_of_record(record).figure for _, record in rows}
    figure = APL.figure if len(figures) != 1 else figures.pop()
    for heading in ("slide", "verdict", figure, "cells", "why"):
        table.add_column(heading, overflow="fold")
    for name, record in rows:
        decision = record["verdict"]
        table.add_row(
            Text(one_line(name)),
            Text(decision, style=DECISION_STYLES[decision]),
            probability_text(record, figure),
            tally_row(record["tally"]),
            Text(one_line(reasons_row(record))),
        )
    terminal.print(table)


def _print_lines(terminal: Console, name: str, record: Mapping[str, Any]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    decision = record["verdict"]
    head = Text(f"{one_line(name)}  ", overflow="fold")
    terminal.print(head.append(decision, DECISION_STYLES[decision]))
    figure = question_of_record(record).figure
    figures = f"{figure} {probability_text(record, figure)}; {tally_row(record['tally'])}"
    for text in (figures, reasons_row(record)):
        terminal.print(Padding(Text(one_line(text)), (0, 0, 0, INDENT)))
