"""Finished results of a slide, copied into the merged folder under the hash of their new row."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeapl.merging.part_results import FinishedSlide
from edgeapl.report.results import (
    REPORT,
    VERDICT,
    finished_record,
    put_in_place,
    record_line,
    unfinished_folder,
)
from edgeapl.report.storage import replacing, storing


def copy_slide(
    slide: FinishedSlide,
    out: Path,
    row: str,
    content: Mapping[str, Any],
    newest: Mapping[str, str] | None = None,
) -> None:
    """Bring a slide's results into a folder, unless it has them.

    row, content : hash and payload of the verdict's row in the merged journal; record and page name
    that row afterwards. newest : of `newest_by_name`, for whoever copies many slides.

    The folder is renamed when it is whole, so whoever is stopped can begin again. Raises
    StorageError.
    """
    if slide.home.parent.resolve() == (out / "slides").resolve():
        name_row(slide, slide.home, row, content)
        return
    there = finished_record(out, slide.name, newest)
    if there is not None and there.get("journal_record") == row:
        return
    home = unfinished_folder(out, slide.name, newest)
    with storing(home):
        if home.exists():
            shutil.rmtree(home)
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(slide.home, home)
    name_row(slide, home, row, content)
    put_in_place(home, out, slide.name)


def name_row(slide: FinishedSlide, home: Path, row: str, content: Mapping[str, Any]) -> None:
    """Have a slide's record and page name another row of the journal. Raises StorageError."""
    if slide.row == row:
        return
    page = home / REPORT
    with storing(page):
        text = page.read_bytes()
    with replacing(page) as file:
        file.write(text.replace(slide.row.encode("ascii"), row.encode("ascii")))
    with replacing(home / VERDICT) as file:
        file.write(record_line({**slide.record, **content, "journal_record": row}))
