"""The page says what the verdict says, in words, and nothing in it can run or load."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import Environment

from edgeapl.report.cell_classes import cell_kinds, role_kinds
from edgeapl.report.gallery import Gallery
from edgeapl.report.page import MOST_PICTURE_BYTES, choose_pictures, render_page
from edgeapl.types import CellStatus, ExaminedFrame, Reason
from edgeapl.wording.numbers import percent
from edgeapl.wording.verdicts import describe_tally
from tests.drawn_slides import context, examined, record, slide

NOW = datetime(2025, 11, 21, 9, 30, tzinfo=timezone.utc)
HOSTILE = "=<img src=x onerror=document.title='owned'>\n\x1b[31m\"'><script>1</script>\u202e\udcff"
TAGS = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer"}
TAGS |= {"h1", "h2", "p", "b", "br", "a", "bdi", "code", "ul", "li", "dl", "dt", "dd", "div"}
TAGS |= {"span", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img"}
TAGS |= {"svg", "path", "circle", "line", "text", "input", "label"}


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._hidden = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self._hidden = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def gallery_of(frames: list[ExaminedFrame], **changes: Any) -> Gallery:
    settings = context(**changes)
    gallery = Gallery(settings)
    for frame in frames:
        kinds = cell_kinds(frame, settings, role_kinds(settings))
        if frame.rejected:
            gallery.add_rejected(frame)
            continue
        gallery.frames_used += 1
        gallery.add_cells(frame, kinds)
        gallery.add_frame(frame, kinds, frame.frame.pixels, f"{frame.frame.index:05d}-x.png")
    return gallery


def page_of(frames: list[ExaminedFrame], verdict: str = "FLAG", **changes: Any) -> str:
    data = record(frames, verdict, **changes)
    return render_page(data, "a1" * 32, context(), gallery_of(frames), NOW)


@pytest.fixture(scope="module")
def frames() -> list[ExaminedFrame]:
    return list(slide(8))


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("FLAG", ["FLAG", "APL suspected", "Cells that raised the flag", "97.0 %", "91.0 %"]),
        ("REVIEW", ["REVIEW", "A person must look", "not vouched for", "31.0 % to 74.0 %"]),
        ("CLEAR", ["CLEAR", "APL not suspected among the cells examined", "rules nothing out"]),
    ],
)
def test_a_page_says_its_verdict_why_and_where_it_comes_from(
    frames: list[ExaminedFrame], verdict: str, words: list[str]
) -> None:
    text = Reader(page_of(frames, verdict)).text
    data = record(frames, verdict)
    tally = data["tally"]
    counted = f"{tally['seen']} cells seen: {tally['scored']} scored, 1 not examined, 1 failed."
    promyelocytes = data["counts"][0]
    common = [
        "Research use only. Not for diagnosis.",
        "drawn-1",
        "the drawn cells were made so",
        counted,
        f"{promyelocytes['positive']} of {promyelocytes['scored']}",
        percent(promyelocytes["interval"][0]),
        "b" * 64,
        "e" * 64,
        "a1" * 32,
        "onnxruntime 1.31.1",
        "infer 0.84 s",
        "edgeapl 0.1.0",
        "2025-11-21 09:30 UTC",
        "out of focus (0.02, at least 0.10 is needed)",
        "suggest APL",
    ]
    for word in (*words, *common):
        expected = re.sub(r"\s+", " ", word)
        if word == "suggest APL" and verdict == "CLEAR":
            continue
        assert expected in text, expected
    for other in {"FLAG", "REVIEW", "CLEAR"} - {verdict}:
        assert other not in text


def test_every_evidence_cell_is_shown_first_and_none_twice(frames: list[ExaminedFrame]) -> None:
    page = page_of(frames)
    shown = [int(number) for number in re.findall(r"<b>cell (\d+)</b>", page)]
    evidence = record(frames)["evidence"]
    assert shown[: len(evidence)] == evidence
    assert len(shown) == len(set(shown))


def test_evidence_without_a_picture_is_named(frames: list[ExaminedFrame]) -> None:
    assert "Not pictured: cell 123456" in Reader(page_of(frames, evidence=[0, 123456])).text


def test_cells_that_the_tables_do_not_hold_are_spoken_of(frames: list[ExaminedFrame]) -> None:
    warning = "The tables do not hold every cell of the verdict."
    assert warning not in Reader(page_of(frames)).text
    tally = dict(record(frames)["tally"])
    tally["seen"] += 3
    tally["not_examined"] += 3
    text = Reader(page_of(frames, tally=tally)).text
    assert warning in text
    assert "4 not examined in the verdict, 1 in the tables" in text


def test_an_empty_slide_has_a_page_without_a_probability() -> None:
    black = examined(0, [], rejected=(Reason("black", "all black"),))
    reasons = [{"code": "no_frames", "text": "no frame could be used"}]
    text = Reader(page_of([black], "REVIEW", reasons=reasons)).text
    for words in ("No probability", "No cell was seen.", "0 frames used, 1 not used.", "all black"):
        assert words in text


def test_networks_that_were_never_trained_are_named_at_the_top(
    frames: list[ExaminedFrame],
) -> None:
    words = "These networks were never trained."
    data = record(frames, "REVIEW")
    page = render_page(data, "a", context(trained=False), gallery_of(frames), NOW)
    assert Reader(page).text.index(words) < Reader(page).text.index("A person must look")
    assert words not in Reader(page_of(frames)).text


def test_hostile_texts_stay_texts() -> None:
    frame = examined(0, ["promyelocyte", "other"], source=HOSTILE)
    bad = examined(1, [], source=HOSTILE, rejected=(Reason(HOSTILE, HOSTILE),))
    error = {"slide": HOSTILE, "what": HOSTILE, "which": HOSTILE, "mend": HOSTILE, "exit_code": 3}
    changes: dict[str, Any] = {
        "name": HOSTILE,
        "reasons": [{"code": HOSTILE, "text": HOSTILE}],
        "runtime": HOSTILE,
        "errors": [error],
        "timings": {HOSTILE: 1.0},
        "bundle_digest": HOSTILE,
        "engine_digest": HOSTILE,
    }
    settings = context(bundle_name=HOSTILE, bundle_version=HOSTILE, intended_use=HOSTILE)
    gallery = gallery_of([frame, bad])
    page = render_page(record([frame, bad], **changes), HOSTILE, settings, gallery, NOW)
    page.encode("utf-8")
    reader = Reader(page)
    assert reader.tags <= TAGS
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name == "style"]
    assert "<img src=x onerror=document.title='owned'>\\n\\x1b[31m" in reader.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", page)


def test_a_page_loads_nothing_and_allows_no_script(frames: list[ExaminedFrame]) -> None:
    page = page_of(frames)
    reader = Reader(page)
    policy = next(value for name, value in reader.attributes if name == "content")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    sources = [value or "" for name, value in reader.attributes if name in ("src", "srcset")]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    links = {value or "" for name, value in reader.attributes if name == "href"}
    assert all(link.startswith(("#frame-", "overlays/")) for link in links)
    assert not re.search(r"url\(|@import", page)


def test_pictures_on_a_page_are_limited_and_the_count_left_out_is_said(
    frames: list[ExaminedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = gallery_of(frames)
    data = record(frames)
    whole = choose_pictures(data, gallery)
    assert len(whole.frames) == gallery.frames_used == 7
    cells = sum(len(cell.jpeg) for cell in (*gallery.best_cells(), *gallery.unscored))
    cells += sum(len(frame.jpeg or b"") for frame in gallery.rejected)
    limit = cells + len(whole.frames[0].jpeg) + 1
    assert limit < MOST_PICTURE_BYTES
    monkeypatch.setattr("edgeapl.report.page.MOST_PICTURE_BYTES", limit)
    assert [frame.number for frame in choose_pictures(data, gallery).frames] == [
        whole.frames[0].number
    ]
    assert "1 shown of 7 used" in Reader(render_page(data, "a", context(), gallery, NOW)).text


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0004, "below 0.1 %"),
        (0.99999, "above 99.9 %"),
        (0.425, "42.5 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, words: str) -> None:
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((0, 0, 0, 0, 0), "No cell was seen."),
        ((1, 1, 0, 0, 0), "1 cell seen: 1 scored."),
        ((213, 210, 3, 0, 0), "213 cells seen: 210 scored, 3 not examined."),
        ((9, 0, 4, 5, 0), "9 cells seen: 0 scored, 4 not examined, 5 failed."),
        ((90, 50, 0, 0, 40), "90 cells seen: 50 scored, 40 not needed."),
    ],
)
def test_a_tally_in_words_adds_up(counts: tuple[int, ...], words: str) -> None:
    names = ("seen", *(status.value for status in CellStatus))
    assert describe_tally(dict(zip(names, counts, strict=True))) == words


def test_only_suspicious_cells_are_said_to_have_raised_a_flag() -> None:
    frame = examined(0, ["promyelocyte", "other", "other"])
    page = page_of([frame], evidence=[0, 1, 2])
    raised, others = page.split("Cells that raised the flag")[1].split("Other cells")
    assert re.findall(r"<b>cell (\d+)</b>", raised) == ["0"]
    assert sorted(re.findall(r"<b>cell (\d+)</b>", others)) == ["1", "2"]
    assert "1 of 3 scored cells suggests APL (33.3 %; 95 % interval 6.1 % to 79.2 %)" in Reader(
        page
    ).text.replace("\N{NO-BREAK SPACE}", " ")


def test_a_model_without_suspicious_roles_does_not_blame_single_cells() -> None:
    frame = examined(0, ["other", "other"])
    settings = context(suspicious_roles=())
    gallery = gallery_of([frame], suspicious_roles=())
    text = Reader(render_page(record([frame], evidence=[]), "a", settings, gallery, NOW)).text
    assert "raised the flag" not in text
    assert "speak" not in text


def test_cells_are_grouped_by_class_without_a_script(frames: list[ExaminedFrame]) -> None:
    """Every cell stands in a group that has a heading, suspicious classes first."""
    page = page_of(frames, "REVIEW")
    listed = re.findall(r'<li class="(heading )?group-(\d+)">([^<]*)', page)
    headings = [text for heading, _, text in listed if heading]
    assert len(headings) > 1
    assert headings[0].startswith("promyelocyte, ")
    counts = Counter(group for heading, group, _ in listed if not heading)
    for number, text in enumerate(headings):
        count = counts[str(number)]
        assert text.endswith(f", {count} cell" + ("s" if count != 1 else ""))
    assert page.count('id="by-class"') == 1


def test_every_cell_can_be_enlarged_and_a_sheet_can_be_signed(frames: list[ExaminedFrame]) -> None:
    page = page_of(frames)
    pictures = len(re.findall(r'alt="cell \d', page))
    assert pictures
    assert (
        len(re.findall(r'<input type="checkbox" aria-label="Enlarge cell \d+">', page)) == pictures
    )
    for words in ("Name", "Signature", "Date"):
        assert f"<dt>{words}</dt>" in page


def test_the_page_is_compiled_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes longer than all else of a small slide's page."""
    frames = list(slide(2))
    shown = (record(frames), "0" * 64, context(), gallery_of(frames), NOW)
    first = render_page(*shown)
    monkeypatch.setattr(Environment, "compile", lambda *_, **__: pytest.fail("compiled again"))
    assert render_page(*shown) == first
