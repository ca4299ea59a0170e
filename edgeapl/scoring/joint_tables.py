"""Which slides the tables of a result folder hold when several runs write into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.report.results import (
    finished_record,
    newest_by_name,
    read_record,
)
from edgeapl.report.safe_names import safe_name
from edgeapl.report.stored_records import Record, StoredRecords
from edgeapl.sources.discover import SlideInput

SLIDE_LIST = "slide_list"
"""Field of a record: the list that the slide stands in."""


@dataclass(frozen=True, slots=True)
class JointTables:
    """Slides of one result folder.

    records : those that the tables hold, in their order.
    missing : names of the other slides of the input: no part has scored them yet.
    kept : of `records`, those that only another slide list has.
    left_out : slides with results that the tables do not hold: they have gone from the input, their
        images belong to other slides now, or another bundle scored them.
    """

    records: StoredRecords
    missing: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def joint_tables(
    out: Path,
    slides: Sequence[SlideInput],
    own: StoredRecords,
    bundle: str,
    slide_list: str = "",
) -> JointTables:
    """Join the slides of this run with what other runs have finished in the folder.

    Parameters
    ----------
    slides : all of the input. own : records of this run. bundle : digest of its bundle.
    slide_list : path of the list that names the slides; empty without one.

    A slide of another list is kept unless one of its images is an image of `slides`: two lists into
    one folder give tables of both. Raises StorageError for results that are damaged.
    """
    there, missing = [], []
    newest, mine = newest_by_name(out), set(own.slides)
    for slide in slides:
        if slide.name in mine or _of_bundle(finished_record(out, slide.name, newest), bundle):
            there.append(slide.name)
        else:
            missing.append(slide.name)
    kept, left_out = [], []
    files = {str(file) for slide in slides for file in slide.files}
    for record in _others(out, slides, newest):
        new = record.get(SLIDE_LIST, "") != slide_list and not _share(record, files)
        if new and _of_bundle(record, bundle):
            kept.append(str(record["slide"]))
        else:
            left_out.append(str(record["slide"]))
    records = StoredRecords(out, (*there, *kept), newest)
    return JointTables(records, tuple(missing), tuple(kept), tuple(left_out))


def _of_bundle(record: Record | None, bundle: str) -> bool:
    return record is not None and record["bundle_digest"] == bundle


def _others(out: Path, slides: Sequence[SlideInput], newest: Mapping[str, str]) -> Iterator[Record]:
    """Yield the newest records of slides that the input does not have."""
    names = {safe_name(slide.name) for slide in slides}
    for first in sorted(newest.keys() - names):
        record = read_record(out / "slides" / newest[first])
        if record:
            yield record


def _share(record: Mapping[str, Any], files: set[str]) -> bool:
    """Whether an image of a record is one of these; a scan's are named after its file."""
    sources = [str(frame["source"]) for frame in record["frames"]]
    if "scan" in record:
        return any(source.startswith(file) for source in sources[:1] for file in files)
    return not files.isdisjoint(sources)
