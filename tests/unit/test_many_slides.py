"""Folders of very many slides: records stay on disk, nothing is listed once per slide."""

from __future__ import annotations

import io
import json
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from edgeapl.cli import slides_table
from edgeapl.cli.output import print_json
from edgeapl.errors import StorageError
from edgeapl.journal import Journal
from edgeapl.merging import MergeRequest, merge
from edgeapl.model import Model, open_model
from edgeapl.report.index import write_index
from edgeapl.report.results import (
    THUMBNAIL,
    VERDICT,
    newest_by_name,
    next_folder,
    record_line,
    slide_folder,
)
from edgeapl.report.stored_records import StoredRecords
from edgeapl.scoring import ScoreResult
from tests.scored_parts import draw_slides, score_part
from tests.small_bundle import drawn_field, png, small_bundle
from tests.unit.test_report_index import ROWS, row

SLIDES = 24
PADDING = 1 << 19
"""Bytes that each record is made larger: all of them are 12 MiB, one is a half."""

MOST_BYTES = 5 << 20
"""Two records as text and read, and what a run needs besides; measured: 2.1 MiB at most."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with open_model(small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder) as opened:
        yield opened


@dataclass(frozen=True)
class Finished:
    """A folder of slides whose results are there, each with a large record."""

    folder: Path
    slides: Path
    model: Model

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def score(self) -> ScoreResult:
        return score_part(self.model, self.slides, self.out, self.folder / "journal.sqlite3")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Finished:
    folder = tmp_path_factory.mktemp("many")
    slides = draw_slides(folder / "slides", tuple(f"s{number:02d}" for number in range(SLIDES)))
    (slides / "s00" / "later.png").write_bytes(png(drawn_field(((100, 60), (60, 150)))))
    made = Finished(folder, slides, model)
    made.score()
    for home in (made.out / "slides").iterdir():
        record = json.loads((home / VERDICT).read_bytes())
        (home / VERDICT).write_bytes(record_line({**record, "padding": "x" * PADDING}))
    made.score()
    return made


def scored_again(finished: Finished) -> None:
    assert len(finished.score().records) == SLIDES


def merged(finished: Finished) -> None:
    parts, out = (finished.out,), finished.folder / "all"
    with Journal.open(finished.folder / "all.sqlite3", reserve_bytes=0) as journal:
        done = merge(MergeRequest(parts, out, (finished.folder / "journal.sqlite3",)), journal)
    assert len(done.records) == SLIDES


def printed(finished: Finished) -> None:
    records = finished.score().records

    class Length(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Length())
        print_json({"slides": records})


@pytest.mark.parametrize("step", [scored_again, merged, printed])
def test_memory_does_not_grow_with_the_records_of_a_folder(
    finished: Finished, step: Callable[[Finished], None]
) -> None:
    tracemalloc.start()
    try:
        step(finished)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES


@dataclass
class Listings:
    """Counts how often a folder is listed."""

    folder: Path
    count: int = 0
    watching: bool = field(default=True)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event in {"os.scandir", "os.listdir"}:
            self.count += str(arguments[0]) == str(self.folder)


def listings(model: Model, home: Path, slides: int) -> int:
    names = tuple(f"s{number}" for number in range(slides))
    listed = Listings(home / "out" / "slides")
    draw_slides(home / "slides", names)
    sys.addaudithook(listed)  # stays until the process ends, so it is told to count no more
    score_part(model, home / "slides", home / "out", home / "journal.sqlite3")
    listed.watching = False
    return listed.count


def test_results_are_listed_a_few_times_a_run_and_not_for_every_slide(
    model: Model, tmp_path: Path
) -> None:
    few, more = (listings(model, tmp_path / str(slides), slides) for slides in (2, 6))
    assert 0 < few == more


def test_a_new_record_never_takes_the_folder_of_another_whatever_a_list_says(
    tmp_path: Path,
) -> None:
    newest = newest_by_name(tmp_path)
    assert next_folder(tmp_path, "s", newest) == slide_folder(tmp_path, "s")
    slide_folder(tmp_path, "s", 1).mkdir(parents=True)
    assert next_folder(tmp_path, "s", newest) == slide_folder(tmp_path, "s", 2), "an old list"
    slide_folder(tmp_path, "s", 3).mkdir()
    for known in (newest, newest_by_name(tmp_path), None):
        assert next_folder(tmp_path, "s", known) == slide_folder(tmp_path, "s", 4)


def test_a_record_that_has_gone_is_told_by_its_slide(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="results of a slide have gone: lost: run the same"):
        StoredRecords(tmp_path, ["lost"])[0]


PAGED = [*ROWS, row("clear-2", "CLEAR"), row("review-3", "REVIEW")]
IN_ORDER = ["flag-1", "flag-2", "review-2", "review-1", "review-3", "clear-1", "clear-2"]


def links(page: Path) -> dict[str, str]:
    return {text: to for to, text in re.findall(r'<a href="([^"]*)">([^<]*)</a>', page.read_text())}


def slides_of(page: Path) -> list[str]:
    return re.findall(r"<bdi>(.*?)</bdi>", page.read_text("utf-8"))


def test_pages_lead_through_all_slides_and_back_and_each_says_what_it_is(tmp_path: Path) -> None:
    first = page = write_index(tmp_path, PAGED, slides_a_page=3)
    forward, seen = [page], slides_of(page)
    while "next" in links(page):
        page = (page.parent / links(page)["next"]).resolve()
        forward.append(page)
        seen += slides_of(page)
    assert seen == IN_ORDER
    assert [len(slides_of(one)) for one in forward] == [3, 3, 1]
    back = [page]
    while "previous" in links(page):
        page = (page.parent / links(page)["previous"]).resolve()
        back.append(page)
    assert back == [*reversed(forward)]
    assert (forward[1].parent / links(forward[1])["first"]).resolve() == first
    assert (first.parent / links(first)["last"]).resolve() == forward[-1]
    for number, one in enumerate(forward, 1):
        text = one.read_text("utf-8")
        assert f"page {number} of 3" in text
        assert len(re.findall(r'<div class="strip.*?"><p>Research use only', text)) == 2
        assert "<h1>7 slides: 2 FLAG, 3 REVIEW, 2 CLEAR</h1>" in text
        reports = re.findall(r'href="([^"]*report\.html)"', text)
        wanted = [slide_folder(tmp_path, slide) / "report.html" for slide in slides_of(one)]
        assert [(one.parent / unquote(to)).resolve() for to in reports] == wanted


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_from_every_page_one_click_leads_to_the_first_slide_of_each_verdict(
    tmp_path: Path, size: int
) -> None:
    first = write_index(tmp_path, PAGED, slides_a_page=size)
    for page in (first, *(tmp_path / "index").iterdir()):
        found = {name.split()[0]: to for name, to in links(page).items() if "(" in name}
        assert list(found) == ["FLAG", "REVIEW", "CLEAR"]
        for verdict, slide in (("FLAG", "flag-1"), ("REVIEW", "review-2"), ("CLEAR", "clear-1")):
            name, _, anchor = found[verdict].partition("#")
            text = ((page.parent / name) if name else page).read_text("utf-8")
            start = text.index(f'id="{anchor}"')
            assert re.findall(r"<bdi>(.*?)</bdi>", text[start:])[0] == slide


def test_pages_of_an_earlier_run_with_more_slides_go_and_nothing_else(tmp_path: Path) -> None:
    write_index(tmp_path, PAGED, slides_a_page=2)
    (tmp_path / "index" / "mine.html").write_text("kept")
    write_index(tmp_path, PAGED, slides_a_page=4)
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["2.html", "mine.html"]
    write_index(tmp_path, PAGED)
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["mine.html"]
    (tmp_path / "index" / "mine.html").unlink()
    page = write_index(tmp_path, PAGED)
    assert not (tmp_path / "index").exists()
    assert "next" not in links(page)


def test_a_slide_keeps_a_small_picture_of_its_first_overlay_for_the_pages(
    finished: Finished,
) -> None:
    picture = (slide_folder(finished.out, "s00") / THUMBNAIL).read_bytes()
    assert picture.startswith(b"\xff\xd8\xff")
    assert len(picture) < 20_000
    # A slide of an older version has none: it is drawn anew, to the same pixels.
    before = write_index(finished.out, [*StoredRecords(finished.out, ["s00"])]).read_bytes()
    (slide_folder(finished.out, "s00") / THUMBNAIL).unlink()
    after = write_index(finished.out, [*StoredRecords(finished.out, ["s00"])]).read_bytes()
    (slide_folder(finished.out, "s00") / THUMBNAIL).write_bytes(picture)
    assert before == after
    assert b"data:image/jpeg;base64," in before


def test_a_document_printed_in_parts_is_the_same_document(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    records = StoredRecords(finished.out, ["s00", "s01"])
    for document in ({"a": "\u00e4", "slides": records, "n": [1]}, {"slides": records[:0]}, {}):
        whole = {
            name: [*value] if isinstance(value, StoredRecords) else value
            for name, value in document.items()
        }
        print_json(document)
        assert capsys.readouterr().out == json.dumps(whole) + "\n"
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"slides": records, "figure": float("nan")})
    assert capsys.readouterr().out == "", "no half document"


@pytest.mark.parametrize("columns", ["80", "160"])
def test_a_terminal_shows_the_most_urgent_of_very_many_slides_and_says_how_many_more(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(slides_table, "MOST_PRINTED", 3)
    slides_table.slides_table(PAGED, tmp_path)
    out = capsys.readouterr().out
    assert [name for name in IN_ORDER if name in out] == IN_ORDER[:3]
    assert "and 4 more slides, none of them more urgent: see the pages" in out
    assert "7 slides: 2 FLAG, 3 REVIEW, 2 CLEAR" in out
