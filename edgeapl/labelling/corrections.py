"""Classes that people gave cells, from the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal import Record, read_records, verify
from edgeapl.labelling.cell import Correction
from edgeapl.wording.printable import printable


def records_by_hash(journal: Path) -> dict[str, Record]:
    """Read the records of a journal that is intact.

    Raises StorageError otherwise: a forged or lost correction must not become a label.
    """
    problems = verify(journal).problems
    if problems:
        mend = "run 'edgeapl journal verify'; --machine-only takes nothing from it"
        which = f"{printable(journal)} ({problems[0]})"
        raise StorageError("journal is not as it was written", which, mend)
    return {record.row.hash: record for record in read_records(journal)}


def corrections_of(record: Record) -> Mapping[int, tuple[Correction, ...]]:
    """Return the corrections of each cell of a record, oldest first."""
    found: dict[int, list[Correction]] = defaultdict(list)
    for row in record.cells:
        content = row.content
        word = Correction(
            label=str(content.get("label", "")),
            person=str(content.get("person", "")),
            time=row.time,
            row=row.sequence,
        )
        found[int(content["cell"])].append(word)
    return {cell: tuple(words) for cell, words in found.items()}
