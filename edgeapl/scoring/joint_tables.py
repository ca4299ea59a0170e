"""Which slides the tables of a result folder hold when several runs write into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.report.results import (
    finished_record,
    newest_by_name,
    newest_folders,
    read_record,
)
from edgeapl.report.safe_names import safe_name
from edgeapl.sources.discover import SlideInput

Record = dict[str, Any]

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

    records: tuple[Record, ...]
    missing: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def joint_tables(
    out: Path,
    slides: Sequence[SlideInput],
    own: Sequence[Record],
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
    scored = {str(record["slide"]): record for record in own}
    records, missing = [], []
    newest = newest_by_name(out)
    for slide in slides:
        record = scored.get(slide.name) or finished_record(out, slide.name, newest)
        if record is not None and record["bundle_digest"] == bundle:
            records.append(record)
        else:
            missing.append(slide.name)
    kept, left_out = [], []
    files = {str(file) for slide in slides for file in slide.files}
    for record in _others(out, slides):
        new = record.get(SLIDE_LIST, "") != slide_list and not _share(record, files)
        if new and record["bundle_digest"] == bundle:
            kept.append(record)
        else:
            left_out.append(str(record["slide"]))
    return JointTables(
        (*records, *kept),
        tuple(missing),
        tuple(str(record["slide"]) for record in kept),
        tuple(left_out),
    )


def _others(out: Path, slides: Sequence[SlideInput]) -> Iterator[Record]:
    """Yield the newest records of slides that the input does not have."""
    names = {safe_name(slide.name) for slide in slides}
    for home in newest_folders(out):
        if home.name.rpartition(".record")[0] not in names and home.name not in names:
            record = read_record(home)
            if record:
                yield record


def _share(record: Mapping[str, Any], files: set[str]) -> bool:
    """Whether an image of a record is one of these; a scan's are named after its file."""
    sources = [str(frame["source"]) for frame in record["frames"]]
    if "scan" in record:
        return any(source.startswith(file) for source in sources[:1] for file in files)
    return not files.isdisjoint(sources)
