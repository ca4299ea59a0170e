"""Rows of the journal: a table for people, lines with tabs for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer

from edgeapl.cli.output import DECISION_STYLES, RESEARCH_USE_ONLY, answer_console, one_line

WIDE = 120
"""Terminals from this width, in columns, get all fields."""


def print_records(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    narrow: Sequence[str],
    notes: Sequence[str] = (),
) -> None:
    """Print rows of text, one field per heading.

    Parameters
    ----------
    headings : of the fields; ``time`` is UTC, ISO 8601: a terminal shows it as local time.
    narrow : headings that a terminal of 80 columns has room for; a pipe always gets all.
    notes : lines below the table.
    """
    if not sys.stdout.isatty():
        typer.echo("\t".join(headings))
        for row in rows:
            typer.echo("\t".join(one_line(field) for field in row))
        for note in (*notes, RESEARCH_USE_ONLY):
            typer.echo(note)
        return
    from rich.table import Table
    from rich.text import Text

    from edgeapl.wording.local_time import local_time

    terminal = answer_console()
    shown = headings if terminal.width >= WIDE else narrow
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in shown:
        fixed = heading in ("record", "time", "verdict")
        table.add_column(heading, overflow="fold", no_wrap=fixed)
    for row in rows:
        fields = dict(zip(headings, map(one_line, row), strict=True))
        fields["time"] = local_time(fields["time"])
        texts = [Text(fields[heading]) for heading in shown]
        for text in texts:
            text.stylize(DECISION_STYLES.get(text.plain.partition(" ")[0], ""))
        table.add_row(*texts)
    terminal.print(table)
    for note in (*notes, RESEARCH_USE_ONLY):
        terminal.print(note, style="dim", markup=False)
