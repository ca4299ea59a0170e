"""The result folder: one folder per slide, and tables of all slides at its top."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeapl.errors import StorageError
from edgeapl.report.names import safe_name
from edgeapl.report.storage import replacing, storing
from edgeapl.sources.names import printable

VERDICT = "verdict.json"
CELLS = "cells.csv"


def slide_folder(folder: Path, slide: str) -> Path:
    """Give where the finished results of a slide lie."""
    return folder / "slides" / safe_name(slide)


def record_folders(folder: Path, slide: str) -> list[Path]:
    """Give the folders of all results of a slide, oldest first."""
    home = slide_folder(folder, slide)
    return [home] if home.is_dir() else []


def record_line(record: Mapping[str, Any]) -> bytes:
    """Give a record as the one line of `verdict.json` and `verdicts.jsonl`."""
    return (json.dumps(record, allow_nan=False, ensure_ascii=True) + "\n").encode("ascii")


def finished_record(folder: Path, slide: str) -> dict[str, Any] | None:
    """Read the record of a slide whose results are complete; None when there are none.

    Raises StorageError when the folder is there but damaged or belongs to another slide.
    """
    home = slide_folder(folder, slide)
    if not home.exists():
        return None
    path = home / VERDICT
    mend = f"remove {printable(str(home))} to score the slide again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError("results of a slide are damaged", printable(str(path)), mend) from error
    if not isinstance(record, dict) or not (home / CELLS).is_file():
        raise StorageError("results of a slide are damaged", printable(str(home)), mend)
    if record.get("slide") != slide:
        # Only where the disk takes upper and lower case for the same.
        which = f"{printable(slide)} and {printable(str(record.get('slide')))}"
        raise StorageError("two slides need one folder", which, "give one another name")
    return record


def finished_records(folder: Path, slide: str) -> Iterator[dict[str, Any]]:
    """Give the records of all finished results of a slide; what can not be read is passed over."""
    for home in record_folders(folder, slide):
        try:
            record = json.loads((home / VERDICT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("slide") == slide:
            yield record


def assemble(folder: Path, slides: Sequence[str]) -> None:
    """Write `verdicts.jsonl` and `cells.csv` of all named slides, in this order.

    Each file is replaced at once, so that a reader finds the old or the new one. Raises
    StorageError when a slide has no results or a file cannot be written.
    """
    homes = [slide_folder(folder, slide) for slide in slides]
    with replacing(folder / "verdicts.jsonl") as out:
        for home in homes:
            with storing(home), (home / VERDICT).open("rb") as file:
                shutil.copyfileobj(file, out)
    header: bytes | None = None
    with replacing(folder / CELLS) as out:
        for home in homes:
            with storing(home), (home / CELLS).open("rb") as file:
                columns = file.readline()
                if header is None:
                    out.write(columns)
                elif columns != header:
                    raise StorageError(
                        "tables of two bundles do not fit together",
                        printable(str(home / CELLS)),
                        "score the slides again or choose another folder with --out",
                    )
                header = columns
                shutil.copyfileobj(file, out)
