"""Merge parts: journals first, then results, then tables; may be run again at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.errors import InputError, StorageError, UsageError
from edgeapl.journal import Journal, row_with_hash
from edgeapl.merging.journal_rows import RowPlan, append_rows, plan_rows
from edgeapl.merging.part_results import PartResults, ordered_names, read_part
from edgeapl.merging.selection import Selection, select_slides
from edgeapl.merging.slide_copy import copy_slide
from edgeapl.report.folder_lock import LOCK, TABLES, locked_folder, locked_part, locked_tables
from edgeapl.report.index import write_index
from edgeapl.report.results import newest_by_name
from edgeapl.report.stored_records import Record, StoredRecords
from edgeapl.report.writer import assemble
from edgeapl.scoring.marker import read_marker, write_marker
from edgeapl.sources.discover import RESULTS_MARKER
from edgeapl.wording.printable import printable

SCHEMA = 1

OURS = (LOCK, TABLES, f"{RESULTS_MARKER}.partial")
"""Files that a merge leaves behind when it is killed before it marks the folder."""


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What to merge.

    parts : result folders; none to merge journals alone. out : the folder that gets all of them; it
    may be one of the parts; None without parts. journals : of the parts; none where the parts
    committed to the merged journal itself.
    """

    parts: tuple[Path, ...]
    out: Path | None
    journals: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of it.

    records : of all slides, on disk; each is read when it is asked for. errors : images that could
    not be examined, of all slides. missing : slides of the input that no part has
    finished. left_out : slides with results that are not of their input any more. added, known,
    twice : rows that were appended; that were there; that say what another journal's row says.
    duplicates : slides that several parts have.
    """

    records: Sequence[Record]
    errors: tuple[dict[str, Any], ...]
    missing: tuple[str, ...]
    left_out: tuple[str, ...]
    added: int
    known: int
    twice: int
    duplicates: int

    @property
    def exit_code(self) -> int:
        """That of the worst error, and 3 where slides are missing."""
        codes = [int(error["exit_code"]) for error in self.errors]
        return max([*codes, InputError.exit_code if self.missing else 0])

    def document(self, out: Path | None, journal: Path) -> dict[str, Any]:
        """Return the document that `merge --json` prints; its slides are read one by one."""
        return {
            "schema": SCHEMA,
            "software": f"edgeapl {__version__}",
            "research_use_only": True,
            "out": None if out is None else str(out),
            "journal": str(journal),
            "slides": self.records,
            "errors": list(self.errors),
            "missing": list(self.missing),
            "left_out": list(self.left_out),
            "duplicates": self.duplicates,
            "rows": {"added": self.added, "known": self.known, "duplicates": self.twice},
        }


def merge(
    request: MergeRequest, journal: Journal, on_wait: Callable[[], None] = lambda: None
) -> Merged:
    """Merge journals and results; all is checked before anything is written.

    Raises UsageError when there is nothing to merge, InputError for folders without results, and
    StorageError when a journal was changed, parts contradict each other, a part is still at work,
    or something cannot be written.
    """
    if bool(request.parts) != (request.out is not None) or not (request.parts or request.journals):
        mend = "name result folders and --out, or journals with --from"
        raise UsageError("nothing to merge", "", mend)
    with ExitStack() as held:
        held.enter_context(
            locked_tables(journal.path.parent, on_wait, f".{journal.path.name}.merge")
        )
        parts = _locked_parts(request, held)
        selection = select_slides(parts)
        plan = plan_rows(request.journals, journal)
        _refuse_unknown_rows(selection, plan)
        moved = {}
        if request.out is not None:
            moved = {one.row: str(request.out.resolve()) for one in selection.slides.values()}
        hashes = append_rows(plan, request.journals, journal, moved)
        records: Sequence[Record] = ()
        if request.out is not None:
            records = _write_results(request.out, parts, selection, hashes, journal, on_wait)
    names = ordered_names(parts)
    return Merged(
        records,
        tuple(error for record in records for error in record["errors"]),
        tuple(name for name in names if name not in selection.slides),
        tuple(name for part in parts for name in part.left_out),
        len(plan.entries),
        plan.known,
        plan.twice,
        len(selection.duplicates),
    )


def _locked_parts(request: MergeRequest, held: ExitStack) -> list[PartResults]:
    """Read the parts, what was merged before first; nobody writes into them meanwhile."""
    out = request.out
    if out is None:
        return []
    others = [part for part in request.parts if part.resolve() != out.resolve()]
    for part in others:
        held.enter_context(locked_part(part))
    found = [read_part(part) for part in others]
    started = [read_part(out)] if read_marker(out) else []
    if not started and out.is_dir() and any(one.name not in OURS for one in out.iterdir()):
        mend = "choose a new folder with --out"
        raise UsageError("folder holds something else than results", printable(str(out)), mend)
    held.enter_context(locked_folder(out))
    return [*started, *found]


def _refuse_unknown_rows(selection: Selection, plan: RowPlan) -> None:
    for slide in (*selection.slides.values(), *selection.duplicates):
        if not plan.has(slide.row):
            what = "verdict of a slide is in none of the journals"
            mend = "name the part's journal with --from"
            raise StorageError(what, printable(str(slide.home)), mend)


def _write_results(
    out: Path,
    parts: Sequence[PartResults],
    selection: Selection,
    hashes: dict[str, str],
    journal: Journal,
    on_wait: Callable[[], None],
) -> StoredRecords:
    inputs = {part.input for part in parts}
    names = ordered_names(parts)
    # Results of several inputs belong to none of them, so none is ever scored into them.
    write_marker(out, inputs.pop() if len(inputs) == 1 else "", names, on_wait)
    newest = newest_by_name(out)
    for slide in selection.slides.values():
        row = hashes[slide.row]
        copy_slide(slide, out, row, row_with_hash(journal.path, row).content, newest)
    listed = set(names)
    order = [name for name in names if name in selection.slides]
    order += [name for name in selection.slides if name not in listed]
    records = StoredRecords(out, order)
    with locked_tables(out, on_wait):
        assemble(out, order)
        write_index(out, records)
    return records
