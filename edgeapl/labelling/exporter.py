"""Exports the labels of a result folder, with the journal's corrections, in a chosen format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError, StorageError
from edgeapl.journal import Record
from edgeapl.labelling import coco, table
from edgeapl.labelling.cell import LabelledSlide
from edgeapl.labelling.corrections import corrections_of, records_by_hash
from edgeapl.labelling.crops import MARGIN_UM, FrameReader
from edgeapl.labelling.folders import write_crops
from edgeapl.labelling.qupath import write_qupath
from edgeapl.labelling.reader import HOW, read_record, read_slide
from edgeapl.labelling.storage import LabelsFolder
from edgeapl.report.results import every_folder, newest_folders
from edgeapl.wording.numbers import plural
from edgeapl.wording.printable import printable

FORMATS = ("coco", "csv", "folders", "qupath")


@dataclass(frozen=True, slots=True)
class LabelsRequest:
    """What to export and how.

    results : result folder of `score` or `watch`. out : folder for the labels.
    format : one of `FORMATS`.
    journal : the one with the records; None uses the machine's classes only.
    images : folders in which frames are looked for after their recorded paths.
    all_records : export every record of a slide; else the newest.
    margin_um : shown around a cell in its image, µm.
    """

    results: Path
    out: Path
    format: str
    journal: Path | None
    images: tuple[Path, ...] = ()
    all_records: bool = False
    margin_um: float = MARGIN_UM


@dataclass(frozen=True, slots=True)
class ExportedLabels:
    """What was exported.

    classes : number of cells per class. without_class : number of cells without one, by reason.
    corrected : cells that people named. left_out : number of older records that were not exported,
        and
    of cells that people named in them. errors : frames without images.
    """

    slides: int
    frames: int
    classes: Mapping[str, int]
    without_class: Mapping[str, int]
    corrected: int
    left_out: tuple[int, int]
    errors: tuple[InputError, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or the exit code of a frame that could not be read."""
        return max((error.exit_code for error in self.errors), default=0)


def export_labels(
    request: LabelsRequest, tell: Callable[[InputError], None] = lambda error: None
) -> ExportedLabels:
    """Export the labels of all slides; `tell` is called for each frame without images.

    Raises InputError when the results cannot be read, UsageError when the folder holds anything
    else, StorageError when the journal is not intact or lacks a record.
    """
    people = _JournalCorrections(request.journal)
    homes = _homes(request)
    slides = tuple(people.slide(home) for home in homes)
    errors: list[InputError] = []

    def note(error: InputError) -> None:
        errors.append(error)
        tell(error)

    with LabelsFolder(request.out) as out:
        files: dict[tuple[str, int], str] = {}
        if request.format == "folders":
            files = write_crops(slides, out, FrameReader(request.images), note, request.margin_um)
        elif request.format == "coco":
            out.add(coco.NAME, coco.coco_bytes(slides))
        elif request.format == "qupath":
            write_qupath(slides, out, request.out.resolve())
        out.add(table.NAME, table.table_bytes(slides, files))
        if errors and out.replaces:
            what = f"{plural(len(errors), 'frame')} gave no images, so the labels there were kept"
            raise InputError(what, printable(request.out), "choose another folder with --out")
        out.finish({"format": request.format})
    others = [] if request.all_records else _older(request.results, homes)
    return _summary(slides, (len(others), sum(map(people.named_in, others))), errors)


def _homes(request: LabelsRequest) -> list[Path]:
    find = every_folder if request.all_records else newest_folders
    homes = find(request.results)
    if not homes:
        raise InputError("no results there", printable(request.results), HOW)
    return homes


def _older(results: Path, homes: Sequence[Path]) -> list[Path]:
    return [home for home in every_folder(results) if home not in homes]


@dataclass(slots=True)
class _JournalCorrections:
    """People's corrections of cells; none without a journal."""

    journal: Path | None
    _records: Mapping[str, Record] = field(init=False)

    def __post_init__(self) -> None:
        self._records = {} if self.journal is None else records_by_hash(self.journal)

    def slide(self, home: Path) -> LabelledSlide:
        """Read a record with people's corrections of its cells."""
        content = read_record(home)
        if self.journal is None:
            return read_slide(home, content, {}, "")
        record = self._record(home, content)
        return read_slide(home, content, corrections_of(record), record.row.time)

    def named_in(self, home: Path) -> int:
        """Count the cells that people named in a record."""
        if self.journal is None:
            return 0
        return len(corrections_of(self._record(home, read_record(home))))

    def _record(self, home: Path, content: Mapping[str, Any]) -> Record:
        found = self._records.get(str(content["journal_record"]))
        if found is None:
            which = f"{printable(home)} is not in {printable(self.journal)}"
            mend = "name the journal with --journal, or use --machine-only"
            raise StorageError("journal does not know these results", which, mend)
        return found


def _summary(
    slides: Sequence[LabelledSlide], left_out: tuple[int, int], errors: Sequence[InputError]
) -> ExportedLabels:
    cells = [cell for slide in slides for cell in slide.cells]
    found = Counter(cell.label for cell in cells if cell.label)
    nameless = Counter(
        "unsure" if cell.correction else cell.status for cell in cells if not cell.label
    )
    return ExportedLabels(
        slides=len(slides),
        frames=sum(len(slide.frames) for slide in slides),
        classes={name: found[name] for name in coco.classes_of(slides)},
        without_class=dict(sorted(nameless.items())),
        corrected=sum(cell.correction is not None for cell in cells),
        left_out=left_out,
        errors=tuple(errors),
    )
