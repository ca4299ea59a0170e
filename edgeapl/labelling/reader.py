"""Reads labelled cells from the folder of one record, as `edgeapl score` and `watch` write it."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError
from edgeapl.labelling.cell import (
    Correction,
    LabelledCell,
    LabelledFrame,
    LabelledSlide,
    Polygon,
)
from edgeapl.report.results import CELLS, VERDICT
from edgeapl.report.safe_names import table_text
from edgeapl.report.tables import AFTER_ROLES, role_columns
from edgeapl.wording.printable import printable

HOW = "name the result folder of edgeapl score or watch"
AGAIN = "score the slides again into another folder, with --out"


def read_record(home: Path) -> Mapping[str, Any]:
    """Read the verdict of a record. Raises InputError."""
    path = home / VERDICT
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise TypeError("no record")
        str(record["slide"]), record["frames"], record["journal_record"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("results of a slide are damaged", printable(path), AGAIN) from error
    return record


def read_slide(
    home: Path,
    record: Mapping[str, Any],
    corrections: Mapping[int, tuple[Correction, ...]],
    time: str,
) -> LabelledSlide:
    """Read all cells of a record.

    Parameters
    ----------
    home : its folder. record : see `read_record`.
    corrections : classes that people gave cells. time : of the record in the journal.

    Raises InputError when the folder is damaged, was written by an older version, or lacks a cell
    that a person has named.
    """
    path = home / CELLS
    try:
        frames = _frames(home, record)
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            header = list(table.fieldnames or ())
            roles = role_columns(header)
            if "class" not in header:
                what = "results were written before cells had a class"
                raise InputError(what, printable(path), AGAIN)
            cells: dict[int, list[LabelledCell]] = defaultdict(list)
            for row in table:
                number = int(row["frame_number"])
                outlines = frames[number][1]
                cells[number].append(_cell(row, roles, corrections, outlines))
    except (OSError, ValueError, KeyError, TypeError, UnicodeError) as error:
        raise InputError("results of a slide are damaged", printable(home), AGAIN) from error
    known = {cell.number for found in cells.values() for cell in found}
    lost = sorted(set(corrections) - known)
    if lost:
        which = f"{printable(home)} (cell {', '.join(map(str, lost))})"
        raise InputError("a person named cells that the results do not have", which, AGAIN)
    made = (_with_cells(frame, cells[number]) for number, (frame, _) in frames.items())
    slide, row_hash = str(record["slide"]), str(record["journal_record"])
    return LabelledSlide(slide, home, row_hash, time, roles, tuple(made))


def _with_cells(frame: LabelledFrame, cells: list[LabelledCell]) -> LabelledFrame:
    return LabelledFrame(
        frame.source,
        frame.digest,
        frame.number,
        frame.width,
        frame.height,
        frame.um_per_px,
        tuple(cells),
    )


_Outlines = Mapping[str, tuple[Polygon, ...]]


def _frames(home: Path, record: Mapping[str, Any]) -> dict[int, tuple[LabelledFrame, _Outlines]]:
    """Return the used frames by number, with the outlines of their cells.

    The table has names made safe to show; the record has the original ones, in the same order.
    """
    with (home / "frames.csv").open(encoding="utf-8-sig", newline="") as file:
        used = [row for row in csv.DictReader(file) if row["used"] == "yes"]
    named = record["frames"]
    if len(used) != len(named):
        raise ValueError(f"{len(used)} frames in the table, {len(named)} in the record")
    frames = {}
    for row, frame in zip(used, named, strict=True):
        source, digest = str(frame["source"]), str(frame["sha256"])
        if (row["frame"], row["sha256"]) != (table_text(source), digest):
            raise ValueError(f"frame {row['frame_number']} is another one in the record")
        number = int(row["frame_number"])
        made = LabelledFrame(
            source=source,
            digest=digest,
            number=number,
            width=int(row["width"]),
            height=int(row["height"]),
            um_per_px=float(row["um_per_px"]),
            cells=(),
        )
        frames[number] = (made, _outlines(home, number))
    return frames


def geojson_file(home: Path, number: int) -> Path | None:
    """Return the GeoJSON of a frame; None if there is none, as for images of single cells."""
    return next(iter((home / "geojson").glob(f"cells-{number:05d}-*.geojson")), None)


def _outlines(home: Path, number: int) -> _Outlines:
    """Read the outlines of a frame, by cell name; none for images of single cells."""
    file = geojson_file(home, number)
    if file is None:
        return {}
    features = json.loads(file.read_text(encoding="utf-8"))["features"]
    return {one["properties"]["name"]: _polygons(one["geometry"]) for one in features}


def _polygons(geometry: Mapping[str, Any]) -> tuple[Polygon, ...]:
    coordinates = geometry["coordinates"]
    pieces = coordinates if geometry["type"] == "MultiPolygon" else [coordinates]
    # Rings have no holes, and end where they begin.
    return tuple(tuple((float(x), float(y)) for x, y in piece[0][:-1]) for piece in pieces)


def _cell(
    row: Mapping[str, str],
    roles: tuple[str, ...],
    corrections: Mapping[int, tuple[Correction, ...]],
    outlines: _Outlines,
) -> LabelledCell:
    number = int(row["cell"])
    x0, y0, x1, y1 = (float(row[edge]) for edge in ("x0", "y0", "x1", "y1"))
    return LabelledCell(
        number=number,
        box=(x0, y0, x1, y1),
        area_um2=row["area_um2"],
        found=row["detection_score"],
        status=row["status"],
        machine_class=_unguarded(row["class"], roles),
        scores={name: row[name] for name in (*roles, *AFTER_ROLES)},
        corrections=corrections.get(number, ()),
        outline=outlines.get(f"cell {number}", ()),
    )


def _unguarded(text: str, roles: tuple[str, ...]) -> str:
    """Return the role behind a table's text, which is escaped against spreadsheet formulas."""
    return next((role for role in roles if table_text(role) == text), text)
