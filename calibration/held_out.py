"""Slides reserved for testing: none of their images may determine ranges or limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import ConfigError, UsageError
from edgeapl.sources.digests import image_digests
from edgeapl.sources.discover import SlideInput, has_image_name
from edgeapl.sources.listed_file import WINDOWS_MEND, NamedFiles, is_windows_path
from edgeapl.sources.table_file import TableReader
from edgeapl.wording.names import canonical_name, has_undecoded_bytes, listed
from edgeapl.wording.printable import printable

NAMES = ("slide", "patient")
FILE = "file"
SPLIT = "split"
TEST = "test"

NOT_THERE = "put the list beside its images, or add a column slide"
_READER = TableReader(
    what="list of test slides",
    mend="write a CSV with a column slide, patient or file",
    fits=lambda columns: not {*NAMES, FILE}.isdisjoint(columns),
    own=(*NAMES, FILE, SPLIT),
    raw_names=True,
)


@dataclass(frozen=True, slots=True)
class Excluded:
    """Test slides. slides : their names, case-folded. digests : SHA-256 (hex) of their images."""

    slides: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()

    def names(self, slide: str) -> bool:
        """Return whether this slide name is one of theirs."""
        return _compared(slide) in self.slides

    def names_slide(self, slide: SlideInput) -> bool:
        """Return whether the name of this slide, or of its patient, is one of theirs."""
        return self.names(slide.name) or self.names(slide.patient)


def read_exclusions(path: Path, frames: Path) -> Excluded:
    """Read which slides are for testing.

    Parameters
    ----------
    path : CSV with a column ``slide``, ``patient`` or ``file``, or several; other columns are
        ignored. If there is a column ``split``, only its rows ``test`` count.
    frames : folder of the calibration images.

    Files are searched for beside the list and in the folder of the images, folders named like a
    slide beside the list; what is found is recognised by content too, under any name.
    Raises ConfigError when the list cannot be read or names nothing, or when a file without a
    slide's name is in neither place, as nothing would keep it out.
    """
    slides: set[str] = set()
    digests: set[str] = set()
    folders = [NamedFiles(path.parent), NamedFiles(frames)]
    for line, row in _rows(path):
        for column in NAMES:
            name = row.get(column, "").strip()
            if has_undecoded_bytes(name):
                raise _READER.not_utf8(path, line)
            if name:
                slides.add(_compared(name))
                digests.update(_digests_below(path.parent, name))
        file = row.get(FILE, "").strip()
        if file:
            found = [place for folder in folders if (place := folder.find(file)) is not None]
            if not found and is_windows_path(file):
                raise _READER.wrong(path, line, f"{printable(file)!r} is not there", WINDOWS_MEND)
            if not found and has_undecoded_bytes(file):
                raise _READER.not_utf8(path, line)
            if not found and not any(row.get(column, "").strip() for column in NAMES):
                what = f"{printable(file)!r} is not there, nor is a slide named"
                raise _READER.wrong(path, line, what, NOT_THERE)
            for place in found:
                digests.update(image_digests(place))
    if not slides and not digests:
        raise _wrong(path, "names no test slide")
    return Excluded(frozenset(slides), frozenset(digests))


def refuse_named(slides: Sequence[SlideInput], excluded: Excluded) -> None:
    """Raise UsageError when slides of the calibration set are test slides by name."""
    named = [slide.name for slide in slides if excluded.names_slide(slide)]
    if named:
        raise overlap("slide", named)


def overlap(what: str, names: Sequence[str]) -> UsageError:
    """Return the error for calibration images that are test images; `what` is the singular."""
    return UsageError(
        f"calibration set holds {len(names)} test {what}{'s' if len(names) > 1 else ''}",
        listed(names),
        "take them out of --frames, or add --leave-out-excluded",
    )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of test slides, each with its line."""
    table = _READER.read(path)
    if {*NAMES, FILE}.isdisjoint(table.columns):
        what = f"has no column slide, patient or file (separated by {table.separated_by})"
        raise _wrong(path, what)
    for line in table.rows:
        row = dict(zip(table.columns, line.cells, strict=True))
        if row.get(SPLIT, TEST).strip().casefold() == TEST:
            yield line.line, row


def _wrong(path: Path, what: str) -> ConfigError:
    mend = "write a CSV with a column slide, patient or file"
    return ConfigError(f"list of test slides {what}", printable(path), mend)


def _compared(name: str) -> str:
    """Return a name as used for comparison: Unicode NFC, case-folded."""
    return canonical_name(name.strip()).casefold()


def _digests_below(parent: Path, name: str) -> Iterator[str]:
    folder = NamedFiles(parent).find(name)
    if folder is not None and folder.parent == parent and name != ".." and folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if has_image_name(path.name):
                yield from image_digests(path)
