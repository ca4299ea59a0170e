"""The line of progress of `edgeapl score` stays one line and leaves nothing behind."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from edgeapl.cli.score import _Bar
from edgeapl.journal import Journal
from edgeapl.sources.discover import SlideInput
from edgeapl.station.alert_record import FolderNotifier
from tests.drawn_slides import examined

WIDTH = 80


def screen(text: str) -> list[str]:
    """Show what a terminal shows: it knows lines, erasing, and the way up."""
    lines, row = [""], 0
    tokens = r"\x1b\[(\d*)([A-Za-z])|(\x1b\[\?\d+[hl])|(\r)|(\n)|([^\x1b\r\n]+)"
    for part in re.findall(tokens, text):
        count, code, _, start, end, words = part
        if code == "A":
            row -= int(count or 1)
        elif code == "K":
            lines[row] = ""
        elif start:
            pass  # the next words or erasing begin there
        elif end:
            row += 1
            lines += [""] * (row == len(lines))
        elif words:
            lines[row] += words
    return lines


@pytest.mark.parametrize("name", ["S-1", "x" * 200, "[bold]" * 30])
def test_progress_is_one_line_and_is_gone_at_the_end(name: str, tmp_path: Path) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=WIDTH, color_system=None)
    notifier = FolderNotifier(cast("Journal", None), None)
    slide = SlideInput(name, (tmp_path / "0.png", tmp_path / "1.png"))
    record: dict[str, Any] = {
        "slide": name, "verdict": "REVIEW", "errors": [], "journal_record": "a" * 64,
    }  # fmt: skip
    with _Bar(terminal, notifier) as bar:
        listener = bar.listener()
        listener.on_slides([slide])
        listener.on_frame(slide, examined(0, ["promyelocyte", "other"]))
        bar._progress.refresh()
        during = [line for line in screen(written.getvalue()) if line.strip()]
        listener.on_slide(record, False)
    assert len(during) == 1
    assert "images" in during[0]
    assert name[:20] in during[0], "a name is text, not markup"
    assert "2 cells" in during[0]
    assert len(during[0]) <= WIDTH
    assert not "".join(screen(written.getvalue())).strip()
