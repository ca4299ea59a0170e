"""What the page says: every state in words, and nothing that a name can break."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgeapl.errors import UsageError
from edgeapl.station.access import (
    Alarm,
    CameraState,
    CameraView,
    CellView,
    HistoryItem,
    SlideView,
    StationView,
)
from edgeapl.types import CellStatus, Decision, Interval, Reason, RoleCount, Tally
from edgeapl.web.events import Observation, _SlideCounter, event
from edgeapl.web.pages import PageRenderer, from_handle, to_handle
from edgeapl.wording.verdicts import HEADLINES

OWNED = "<img src=x onerror=\"document.title='owned'\">"
SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"'\"></title></p>{OWNED}{SCRIPT}\r\n\ndata: x\n\n\x1b[31m\u202e\udcff{{{{7*7}}}}"

CAMERA = CameraView("camera0", CameraState.LIVE, "", 640, 480, 14.8, 0.1, 100, 3, 2, 1.7)
SLIDE = SlideView(
    slide="2026-0815",
    open=True,
    decision=Decision.FLAG,
    probability=0.97,
    interval=Interval(0.92, 0.99),
    tally=Tally(69, 60, 3, 2, 4),
    counts=(RoleCount("auer_rod", 12, 60, 0.2, Interval(0.118, 0.318)),),
    reasons=(Reason("a", "many cells look suspicious"), Reason("b", "3 cells were not examined")),
    frames_used=4,
    frames_rejected=1,
    rejected=(Reason("focus", "out of focus"),),
    budget_s=45.0,
    budget_left_s=31.4,
    record="ab" * 32,
    report=None,
)
CELLS = (
    CellView(7, CellStatus.SCORED, (("promyelocyte", 0.2), ("auer_rod", 0.93)), 0.93, None),
    CellView(9, CellStatus.SCORED, (("promyelocyte", 0.1),), 0.1, "neutrophil"),
    CellView(11, CellStatus.NOT_EXAMINED, (), None, None),
    CellView(12, CellStatus.FAILED, (), None, None),
)
PAST = HistoryItem("2026-0814", "2026-11-20T09:08:07Z", "CLEAR", 0.02, "cd" * 32, Path("r.html"), 2)
TIME = "2026-11-20T09:08:07Z"
VIEW = StationView(5, CAMERA, SLIDE, "apl-demo 1", "ef" * 32, "a runtime", ("promyelocyte",), ())
SEEN = Observation(VIEW, CELLS, (PAST,), 1)
PAGES = PageRenderer()


class Texts(HTMLParser):
    """What a browser would make of a fragment: its tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def fragments(**changes: object) -> dict[str, str]:
    """Render with some fields of the camera, the slide or the view changed."""
    camera = {name: v for name, v in changes.items() if name in CameraView.__dataclass_fields__}
    slide = {name: v for name, v in changes.items() if name in SlideView.__dataclass_fields__}
    view = {name: v for name, v in changes.items() if name in ("trouble", "labels")}
    return PAGES.fragments(
        replace(
            SEEN,
            view=replace(
                VIEW,
                camera=replace(CAMERA, **camera),  # type: ignore[arg-type]
                slide=replace(SLIDE, **slide),  # type: ignore[arg-type]
                **view,  # type: ignore[arg-type]
            ),
        )
    )


@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("is_open", [True, False])
def test_a_verdict_is_shown_in_colour_and_in_words(decision: Decision, is_open: bool) -> None:
    shown = fragments(decision=decision, open=is_open)
    words = HEADLINES[decision.value]
    assert f'class="answer {decision.value}"' in shown["verdict"]
    for part in ("verdict", "spoken"):
        text = Texts(shown[part]).text
        assert decision.value in text
        assert words in text
        assert ("provisional" in text) == is_open
        assert ("final" in text) != is_open


def test_figures_intervals_tally_budget_and_all_reasons_are_shown() -> None:
    text = " ".join(Texts(fragments()["verdict"]).text.split())
    for expected in (
        "0.970", "0.920 to 0.990",
        "69 cells seen: 60 scored, 3 not examined, 2 failed, 4 not needed.",
        "Auer rod", "12 of 60", "11.8",
        "31 s of 45 s left",
        "many cells look suspicious", "3 cells were not examined",
    ):  # fmt: skip
        assert expected in text


@pytest.mark.parametrize(
    ("left", "text", "short"),
    [
        (45.0, "45 s of 45 s left", False),
        (5.0, "5 s of 45 s left", True),
        (-3.2, "3 s over 45 s", True),
        (None, "nothing waits; 45 s per frame", False),
    ],
)
def test_the_budget_is_shown_in_words(left: float | None, text: str, short: bool) -> None:
    shown = fragments(budget_left_s=left)["verdict"]
    assert text in Texts(shown).text
    assert ("bar budget short" in shown) == short


def test_a_slide_without_a_probability_says_so() -> None:
    shown = fragments(probability=None, interval=None, decision=Decision.REVIEW, tally=Tally())[
        "verdict"
    ]
    assert "none: nothing could be scored" in Texts(shown).text


@pytest.mark.parametrize(
    ("state", "alarm", "cover"),
    [
        (CameraState.OPENING, "", "Opening the camera"),
        (CameraState.LIVE, "", ""),
        (CameraState.LOST, "gives no picture", "No picture for 7 s"),
        (CameraState.FROZEN, "the same picture", "Picture stands still for 7 s"),
        (CameraState.ENDED, "", "No more frames"),
        (CameraState.FAILED, "has failed", "Camera failed for 7 s"),
    ],
)
def test_every_state_of_the_camera_is_said_in_words(
    state: CameraState, alarm: str, cover: str
) -> None:
    shown = fragments(state=state, age_s=7.2)
    assert state.value in Texts(shown["camera"]).text
    assert Texts(shown["cover"]).text.strip() == cover
    text = Texts(shown["trouble"]).text
    assert ("camera0" in text) == bool(alarm)
    assert alarm in text


def test_the_stations_own_words_and_troubles_are_shown() -> None:
    shown = fragments(state=CameraState.LOST, text="pull the plug", trouble=("disk is full",))
    text = Texts(shown["trouble"]).text
    assert "pull the plug" in text
    assert "disk is full" in text
    failed = PAGES.fragments(replace(SEEN, error="journal is locked"))
    assert "journal is locked" in Texts(failed["trouble"]).text


@pytest.mark.parametrize(
    ("focus", "text"),
    [
        (1.7, "Focus 1.7 times the limit: sharp"),
        (0.4, "Focus 0.4 times the limit: not sharp enough"),
        (None, ""),
    ],
)
def test_the_focus_is_said_in_words(focus: float | None, text: str) -> None:
    shown = Texts(fragments(focus=focus)["camera"]).text
    assert text in shown
    assert ("Focus" in shown) == bool(text)


def test_why_a_frame_was_not_used_is_shown() -> None:
    assert "out of focus" in Texts(fragments()["examined"]).text
    assert "not used" not in Texts(fragments(rejected=())["examined"]).text


def test_cells_are_shown_in_the_order_given_with_what_became_of_them() -> None:
    shown = Texts(fragments()["gallery"])
    names = [value for name, value in shown.attributes if name == "data-cell"]
    assert names == ["7", "9", "11", "12"]
    assert shown.text.split() == [
        "0.93", "7", "Auer", "rod", "0.10", "9", "neutrophil",
        "-", "11", "not", "examined", "-", "12", "failed",
        "4", "of", "69", "cells", "are", "shown.",
    ]  # fmt: skip


def picture_names(html: str) -> list[str | None]:
    return [value for name, value in Texts(html).attributes if name == "id" and "pic" in str(value)]


def test_pictures_of_two_slides_are_never_taken_for_each_other() -> None:
    first = picture_names(PAGES.fragments(SEEN)["gallery"])
    assert len(set(first)) == len(CELLS)
    assert picture_names(PAGES.fragments(SEEN)["gallery"]) == first
    again = picture_names(PAGES.fragments(replace(SEEN, sitting=2))["gallery"])
    other = picture_names(fragments(slide="2026-0816")["gallery"])
    assert not {*first} & {*again}
    assert not {*first} & {*other}


def test_every_slide_is_a_sitting_of_its_own_also_under_the_same_name() -> None:
    sittings = _SlideCounter()
    closed = replace(SLIDE, open=False)
    fewer = replace(SLIDE, tally=Tally(1, 1, 0, 0))
    steps = [None, SLIDE, SLIDE, closed, closed, SLIDE, fewer, replace(SLIDE, slide="x")]
    assert [sittings.number(slide) for slide in steps] == [0, 1, 1, 1, 1, 2, 3, 4]


def test_history_links_only_reports_that_are_there() -> None:
    shown = Texts(fragments()["history"])
    assert ("href", f"/report/{PAST.record}/") in shown.attributes
    assert "2 amended" in shown.text
    gone = PAGES.fragments(replace(SEEN, history=(replace(PAST, report=None),)))
    assert "/report/" not in gone["history"]


def test_before_the_first_slide_the_page_says_what_to_do() -> None:
    shown = PAGES.fragments(replace(SEEN, view=replace(VIEW, slide=None), cells=(), history=()))
    assert "press Enter" in shown["verdict"]
    assert "data-open" not in shown["slide"]


def hostile_page() -> tuple[dict[str, str], str]:
    slide = replace(
        SLIDE,
        slide=HOSTILE,
        counts=(RoleCount(HOSTILE, 1, 2, 0.5, Interval(0.1, 0.9)),),
        reasons=(Reason(HOSTILE, HOSTILE),),
        rejected=(Reason(HOSTILE, HOSTILE),),
        record=HOSTILE,
        report=Path("x"),
        open=False,
    )
    camera = replace(CAMERA, name=HOSTILE, text=HOSTILE, state=CameraState.FAILED)
    view = StationView(1, camera, slide, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,))
    view = replace(view, alarms=(Alarm(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 0.5, False),))
    cell = CellView(1, CellStatus.SCORED, ((HOSTILE, 0.9),), 0.9, HOSTILE)
    past = HistoryItem(HOSTILE, HOSTILE, HOSTILE, 0.5, HOSTILE, Path("x"), 1)
    shown = PAGES.fragments(Observation(view, (cell,), (past,), 1, HOSTILE))
    shown["said"] = PAGES.message(HOSTILE, bad=True)
    return shown, PAGES.page(shown)


def test_hostile_names_stay_text() -> None:
    for name, html in hostile_page()[0].items():
        found = Texts(html)
        assert "script" not in found.tags, name
        assert all(not attribute.startswith("on") for attribute, _ in found.attributes), name
        sources = [str(value) for key, value in found.attributes if key == "src"]
        assert all(source.startswith("/cell.jpg?slide=") for source in sources), name
        assert "49" not in found.text.replace("{{7*7}}", ""), name
        html.encode("utf-8")  # what is not text was made so
        assert "\x1b" not in html, name


def test_the_page_runs_no_script_and_holds_no_style_of_its_own() -> None:
    _, page = hostile_page()
    found = Texts(page)
    scripts = page.count("<script")
    assert scripts == page.count('<script src="/static/') == 4
    assert "style" not in found.tags
    assert all(name != "style" and not name.startswith("on") for name, _ in found.attributes)
    assert "Research use only" in found.text


def test_no_text_can_break_out_of_an_event() -> None:
    for name, html in hostile_page()[0].items():
        written = event(name, html).decode("utf-8")
        assert written.endswith("\n\n")
        head, *lines = written[:-2].split("\n")
        assert head == f"event: {name}"
        assert all(line.startswith("data: ") for line in lines)
    assert (
        event("a", "x\r\ny\rz\n\nw") == b"event: a\ndata: x\ndata: y\ndata: z\ndata: \ndata: w\n\n"
    )


@pytest.mark.parametrize("text", ["2026-1", HOSTILE, "\ud800", "ä/../?&=#", ""])
def test_handles_bring_back_the_very_same_text(text: str) -> None:
    handle = to_handle(text)
    assert handle.isascii()
    assert handle.isalnum() or not handle
    assert from_handle(handle) == text


@pytest.mark.parametrize("handle", ["x", "0", "ff", "é"])
def test_what_is_no_handle_is_refused(handle: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        from_handle(handle)


def test_a_slide_that_waits_for_its_first_frame_shows_no_figures() -> None:
    # Also when the station had some.
    shown = fragments(decision=None)
    text = Texts(shown["verdict"]).text
    assert "Waiting for the first frame" in text
    assert "none yet" in text
    assert "0.970" not in text
    assert "REVIEW" not in text
    assert "waiting for the first frame" in Texts(shown["spoken"]).text


def test_flags_that_nobody_acknowledged_are_named_with_their_time() -> None:
    alarms = tuple(Alarm(f"{n:064x}", f"{n}", f"S{n}", TIME, 0.9, n == 0) for n in range(5))
    view = replace(VIEW, alarms=alarms)
    banner = Texts(PAGES.fragments(replace(SEEN, view=view))["flags"])
    assert "S0" in banner.text
    assert "2026-11-20 09:08 UTC, demonstration" in banner.text
    assert "5 flags wait" in banner.text
    assert "Research use only" in banner.text
    records = [value for name, value in banner.attributes if name == "data-acknowledge"]
    assert records == [alarm.record for alarm in alarms[:3]]
    assert PAGES.fragments(SEEN)["flags"].strip() == ""
