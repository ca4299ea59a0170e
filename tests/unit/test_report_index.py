"""The page over all slides of a folder: flags first, safe, complete, and nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from edgeapl.cli.slides_table import slides_table
from edgeapl.report.index import write_index
from edgeapl.report.results import slide_folder

TALLY = {"seen": 9, "scored": 9, "not_examined": 0, "failed": 0, "not_needed": 0}


def row(slide: str, verdict: str, code: str = "few_cells", text: str = "few cells") -> Any:
    return {
        "slide": slide,
        "verdict": verdict,
        "probability": 0.9 if verdict == "FLAG" else None,
        "interval": [0.8, 0.95] if verdict == "FLAG" else None,
        "tally": TALLY,
        "reasons": [{"code": code, "text": text}],
    }


ROWS = [
    row("clear-1", "CLEAR"),
    row("review-1", "REVIEW"),
    row("flag-1", "FLAG", "flag"),
    row("review-2", "REVIEW", "would_flag"),
    row("flag-2", "FLAG", "flag"),
]


def written(folder: Path, rows: list[Any]) -> str:
    return write_index(folder, rows).read_text("utf-8")


def test_who_must_be_looked_at_first_stands_first_and_a_tally_at_the_top(tmp_path: Path) -> None:
    page = written(tmp_path, ROWS)
    assert re.findall(r"<bdi>(.*?)</bdi>", page) == [
        "flag-1", "flag-2", "review-2", "review-1", "clear-1",
    ]  # fmt: skip
    assert "<h1>5 slides: 2 FLAG, 2 REVIEW, 1 CLEAR</h1>" in page
    strips = re.findall(r'<div class="strip.*?"><p>(.*?)</p>', page)
    assert strips == ["Research use only. Not for diagnosis."] * 2


def test_the_terminal_has_the_same_order_and_its_tally_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    slides_table(ROWS, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if re.match(r"(flag|review|clear)-\d", line)] == [
        "flag-1", "flag-2", "review-2", "review-1", "clear-1",
    ]  # fmt: skip
    assert lines[-3] == "5 slides: 2 FLAG, 2 REVIEW, 1 CLEAR"
    assert lines[-2].startswith("reports: ")
    assert lines[-2].endswith("index.html")
    assert max(map(len, lines[:-2])) <= 80


def test_names_from_outside_are_text_and_nothing_runs_or_is_loaded(tmp_path: Path) -> None:
    hostile = "</bdi><script>alert(1)</script>\n\x1b[31m"
    page = written(tmp_path, [row(hostile, "FLAG", "flag", "<img src=x>")])
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:|slides/)', page)


def test_a_slide_leads_to_its_report_and_shows_its_first_overlay(tmp_path: Path) -> None:
    home = slide_folder(tmp_path, "a b#1%")
    (home / "overlays").mkdir(parents=True)
    (home / "report.html").write_text("x")
    cv2.imwrite(str(home / "overlays" / "00000-a.png"), np.full((600, 800, 3), 90, np.uint8))
    page = written(tmp_path, [row("a b#1%", "FLAG", "flag"), row("crops", "CLEAR")])
    link = re.search(r'href="(.*?)"', page)
    assert link is not None
    assert (tmp_path / unquote(link[1])).is_file()
    assert page.count("data:image/jpeg;base64,") == 1, "cells alone have no overlay"


def test_a_filter_is_there_for_every_verdict_that_occurs_and_only_for_those(tmp_path: Path) -> None:
    page = written(tmp_path, ROWS[:2])
    assert re.findall(r'id="only-(\w+)"', page) == ["REVIEW", "CLEAR"]
    assert "#only-CLEAR:checked) ~ .slides li:not(.CLEAR) { display: none; }" in page


def test_one_slide_is_one_slide_and_none_is_none(tmp_path: Path) -> None:
    assert "<h1>1 slide: 1 CLEAR</h1>" in written(tmp_path, ROWS[:1])
    assert "<h1>0 slides</h1>" in written(tmp_path, [])
