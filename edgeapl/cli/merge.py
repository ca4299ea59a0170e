"""`edgeapl merge`: results and journals of several parts to what one run would have given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.options import (
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line, print_json
from edgeapl.cli.score import say_errors, say_waiting
from edgeapl.cli.slides_table import slides_table

if TYPE_CHECKING:
    from edgeapl.merging import Merged


def merge(
    parts: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(metavar="RESULTS...", help="Result folders of edgeapl score."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder that gets all of them; it may be one of them."),
    ] = None,
    journals: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--from", help="Journal of a part; once for each. It is only read."),
    ] = None,
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge result folders and journals of several machines.

    Journals named by --from go into --journal. Chains are verified first, duplicates count once,
    and contradictions are refused before anything is written. Run it again to continue. Research
    use only.
    """
    from edgeapl.config import load_station
    from edgeapl.journal import Journal
    from edgeapl.merging import MergeRequest
    from edgeapl.merging import merge as merge_parts

    request = MergeRequest(tuple(parts or ()), out, tuple(journals or ()))
    with Journal.open(chosen_journal(journal, load_station(station))) as record:
        merged = merge_parts(request, record, say_waiting)
        document = merged.document(out, record.path)
    if as_json:
        print_json(document)
    elif out is not None:
        slides_table(merged.records, out)
        typer.echo(_rows_in_words(merged, record.path))
    else:
        typer.echo(_rows_in_words(merged, record.path))
        typer.echo(RESEARCH_USE_ONLY)
    _say_what_is_missing(merged)
    say_errors(merged.errors)
    raise typer.Exit(merged.exit_code)


def _rows_in_words(merged: Merged, journal: Path) -> str:
    from edgeapl.wording.numbers import plural

    told = f"journal: {one_line(str(journal))}: {plural(merged.added, 'row')} added"
    if merged.known:
        told += f", {plural(merged.known, 'row')} there already"
    if merged.twice:
        told += f", {plural(merged.twice, 'verdict')} that two journals have counted once"
    return told


def _say_what_is_missing(merged: Merged) -> None:
    def note(names: Sequence[str], text: str) -> None:
        if names:
            typer.echo(f"note: {len(names)} {text}; the first: {one_line(names[0])}", err=True)

    note(merged.missing, "slide(s) of the input finished by no part: score the parts again")
    note(merged.left_out, "slide(s) with results left out, as they are not in the input any more")
