"""The page in a real browser: scan, see the flag, call cells otherwise, close, read the report.

Set EDGEAPL_SCREENSHOTS to a folder to look at what the browser painted.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install playwright"
)
pytest.importorskip("fastapi", reason="needs the extra: page")
pytest.importorskip("uvicorn", reason="needs the extra: page")

from edgeapl.report.writer import SlideWriter  # noqa: E402
from edgeapl.station.access import CameraState, HistoryItem  # noqa: E402
from edgeapl.types import Decision  # noqa: E402
from edgeapl.web.authorisation import PageAccess  # noqa: E402
from edgeapl.web.server import PageServer  # noqa: E402
from tests.drawn_slides import context, examined, record  # noqa: E402
from tests.fake_station import FakeStation  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

OWNED = "<img src=x onerror=\"document.title='owned'\">"
LONG_REASONS = (
    "42 of 79 cells look suspicious: 40 promyelocyte, 3 auer rod (33 % to 52 %), probability 0.970",
    "2 of 81 cells were not examined; the interval counts each of them as possibly suspicious",
    "the stain lies outside the calibrated domain: hue 3.1 deviations from the set",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        pytest.skip("no browser: install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def station(tmp_path: Path) -> FakeStation:
    station = FakeStation(tmp_path)
    station.capture()
    return station


@pytest.fixture
def server(station: FakeStation) -> Iterator[PageServer]:
    server = PageServer(station, PageAccess())
    yield server
    server.stop()


@pytest.fixture
def complaints() -> list[str]:
    """Everything the browser complained of: errors of scripts, of the policy, of loading."""
    return []


@pytest.fixture
def page(browser: Browser, server: PageServer, complaints: list[str]) -> Iterator[Page]:
    yield from opened(browser, server.start("127.0.0.1", 0), complaints)


def opened(
    browser: Browser, url: str, complaints: list[str], token: str | None = None
) -> Iterator[Page]:
    """Open the page at a touch screen of 1280 x 720."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, has_touch=True)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    if token is not None:
        shoot(page, "0-token")
        page.keyboard.type("not that one")
        page.keyboard.press("Enter")
        see(page.get_by_role("alert"), "not the token")
        page.keyboard.type(token)
        page.keyboard.press("Enter")
        complaints.clear()  # that 401 is the answer
    playwright.expect(page.locator("#camera")).to_contain_text("live")
    yield page
    context.close()


def see(where: Locator, text: str | re.Pattern[str]) -> None:
    playwright.expect(where).to_contain_text(text)


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("EDGEAPL_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(600)
        page.screenshot(path=Path(folder) / f"{name}.png")


def open_slide(page: Page, station: FakeStation, slide: str = "2026-0815") -> None:
    """Scan a slide as a barcode reader does, and let the station flag it."""
    page.keyboard.type(slide)
    page.keyboard.press("Enter")
    see(page.locator("#slide"), slide)
    station.examine(Decision.FLAG, LONG_REASONS, 0.97)
    see(page.locator("#verdict"), "APL suspected")


def sign(page: Page, initials: str) -> None:
    playwright.expect(page.locator("#ask")).to_be_visible()
    page.keyboard.type(initials)
    page.keyboard.press("Enter")


def amendments(station: FakeStation) -> list[tuple[object, ...]]:
    return [said for said in station.calls if said[0] == "reclassify"]


def cut_off(page: Page) -> Any:
    """Give what reaches out of the window or is too small to be touched."""
    return page.evaluate(
        """() => {
          const found = [];
          const root = document.documentElement;
          if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight) found.push("page");
          for (const part of document.querySelectorAll("body *")) {
            const box = part.getBoundingClientRect();
            const scrolls = "#gallery, #history, .reasons, .figures, #labels, .unseen, dialog";
            if (!box.width || part.closest(scrolls)) continue;
            if (box.right > innerWidth + 0.5 || box.bottom > innerHeight + 0.5) {
              found.push(`${part.tagName}#${part.id}.${part.className} is cut off`);
            }
          }
          for (const part of document.querySelectorAll("button, input, a, [role=option]")) {
            const box = part.getBoundingClientRect();
            if (box.width && (box.height < 44 || box.width < 44)) {
              found.push(`${part.tagName}#${part.id} is ${box.width} x ${box.height}`);
            }
          }
          return found;
        }"""
    )


def test_a_slide_from_the_barcode_to_the_report(
    page: Page, station: FakeStation, complaints: list[str]
) -> None:
    see(page.locator("#verdict"), "press Enter")
    shoot(page, "1-before")
    assert page.evaluate("document.activeElement.id") == "identifier"
    assert cut_off(page) == []
    open_slide(page, station)
    see(page.locator("#verdict"), "provisional")
    for reason in LONG_REASONS:
        see(page.locator("#verdict"), reason)
    see(page.locator("#spoken"), "Slide 2026-0815: FLAG, APL suspected, provisional.")
    assert page.input_value("#identifier") == ""
    playwright.expect(page.locator("#live[data-number='1']")).to_be_visible()
    playwright.expect(page.locator("#boxed[data-number]")).to_be_visible()
    shoot(page, "2-flag")
    assert cut_off(page) == []

    # By key.
    page.keyboard.press("F4")
    first, second = (f"cell-{cell.cell}" for cell in station.cells(2))
    playwright.expect(page.locator(f"#{first}")).to_be_focused()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.locator(f"#{second}")).to_be_focused()
    page.keyboard.press("3")
    sign(page, "AB")
    see(page.locator(f"#{second}"), "neutrophil")
    playwright.expect(page.locator(f"#{second}")).to_be_focused()

    # By drag: the initials are not asked again.
    page.locator(f"#{first}").drag_to(page.get_by_role("button", name="lymphocyte"))
    see(page.locator(f"#{first}"), "lymphocyte")

    # By touch.
    page.locator(f"#{second}").tap()
    page.get_by_role("button", name="monocyte").tap()
    see(page.locator(f"#{second}"), "monocyte")
    shoot(page, "3-called")
    numbers = [int(cell.removeprefix("cell-")) for cell in (second, first, second)]
    labels = ("neutrophil", "lymphocyte", "monocyte")
    assert amendments(station) == [
        ("reclassify", "2026-0815", number, label, "AB")
        for number, label in zip(numbers, labels, strict=True)
    ]

    page.keyboard.press("F8")
    see(page.locator("#verdict"), "final")
    see(page.locator("#history"), "2026-0815")
    playwright.expect(page.locator("#close")).to_be_disabled()
    shoot(page, "4-closed")
    assert cut_off(page) == []
    with page.expect_popup() as popup:
        page.locator("#history a.report").first.click()
    see(popup.value.locator("body"), "Report 1")
    colour = popup.value.evaluate("getComputedStyle(document.querySelector('p')).color")
    assert colour == "rgb(17, 34, 51)"  # its own style is allowed
    assert complaints == []


def test_a_real_report_keeps_its_style_and_its_pictures(
    page: Page, station: FakeStation, complaints: list[str], tmp_path: Path
) -> None:
    frame = examined(0, ["promyelocyte", "other"])
    writer = SlideWriter(tmp_path / "out", "2026-1", context())
    writer.add(frame)
    report = writer.finish(record([frame], name="2026-1"), "ab" * 32).report
    time = "2026-11-20T09:08:07Z"
    station.past(HistoryItem("2026-1", time, "FLAG", 0.97, "ab" * 32, report, 0))
    station.start_slide("2026-2")  # the history is read again
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Report of 2026-1").click()
    shown = popup.value
    shown.wait_for_load_state()
    shown.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
    shown.reload()
    see(shown.locator("h1"), "2026-1")
    answer = shown.locator(".answer").evaluate("part => getComputedStyle(part).backgroundColor")
    assert answer == "rgb(168, 50, 11)"
    shoot(shown, "9-report")
    shown.locator("figure a").first.click()
    shown.wait_for_url("**/overlays/*.png")
    size = shown.locator("img").evaluate("picture => picture.naturalWidth")
    assert size > 0
    assert complaints == []


def test_a_bad_identifier_is_answered_in_words(page: Page, station: FakeStation) -> None:
    page.keyboard.type("..")
    page.keyboard.press("Enter")
    see(page.locator("#said"), "slide identifier is wrong")
    assert page.input_value("#identifier") == ".."
    playwright.expect(page.locator("#identifier")).to_be_focused()
    page.keyboard.type("9")
    playwright.expect(page.locator("#said")).to_be_empty()
    assert station.calls == []


def test_a_lost_camera_and_a_silent_station_are_said(page: Page, station: FakeStation) -> None:
    open_slide(page, station)
    station.camera(CameraState.LOST, "no picture for 5 s: check its cable", age_s=5.0)
    see(page.locator("#trouble"), "camera0: no picture for 5 s: check its cable")
    see(page.locator("#cover"), "No picture for 5 s")
    shoot(page, "5-lost")
    assert cut_off(page) == []
    station.camera(CameraState.LIVE, age_s=0.1)
    playwright.expect(page.locator("#trouble")).to_be_empty()
    station.hanging.set()
    see(page.locator("#trouble"), "The station has not answered for")
    playwright.expect(page.locator("body.silent")).to_be_visible()
    shoot(page, "6-silent")
    station.hanging.clear()
    playwright.expect(page.locator("body.silent")).to_have_count(0)


def test_a_station_that_is_gone_is_said_and_its_return_is_seen(
    page: Page, station: FakeStation, server: PageServer
) -> None:
    open_slide(page, station)
    port = int(page.url.rstrip("/").rpartition(":")[2])
    server.stop()
    playwright.expect(page.locator("#lost")).to_contain_text("lost the station", timeout=8000)
    playwright.expect(page.locator("body.gone")).to_be_visible()
    shoot(page, "7-gone")
    server.start("127.0.0.1", port)
    playwright.expect(page.locator("#lost")).to_be_hidden(timeout=8000)
    station.camera(CameraState.LOST, "gone again", age_s=1.0)
    see(page.locator("#trouble"), "gone again")


def test_a_barcode_read_while_a_cell_is_chosen_judges_no_cell(
    page: Page, station: FakeStation
) -> None:
    open_slide(page, station)
    page.keyboard.press("F4")
    page.keyboard.press("1")
    sign(page, "AB")
    see(page.locator("#said"), "is called promyelocyte")
    page.keyboard.type("1234-21", delay=5)
    page.keyboard.press("Enter")
    see(page.locator("#slide"), "1234-21")
    assert len(amendments(station)) == 1


def test_the_gallery_keeps_still_while_a_cell_is_dragged(page: Page, station: FakeStation) -> None:
    open_slide(page, station)
    before = [cell.cell for cell in station.cells(1)]
    page.locator(f"#cell-{before[0]}").hover()
    page.mouse.down()
    label = page.get_by_role("button", name="myeloblast")
    label.hover()
    station.capture(seed=9)
    station.examine(Decision.FLAG, ("more",), 0.98)
    see(page.locator("#verdict"), "more")
    label.hover()
    count = page.locator("#gallery [role=option]").count()
    page.mouse.up()
    sign(page, "CD")
    see(page.locator("#said"), f"Cell {before[0]} is called myeloblast by CD")
    assert count < len(station.cells(60))
    seen = page.locator("#gallery [role=option]")
    playwright.expect(seen).to_have_count(min(60, len(station.cells(1000))))
    assert [said[2] for said in amendments(station)] == before


def test_hostile_names_do_not_run(page: Page, station: FakeStation, complaints: list[str]) -> None:
    name = f"x'\"></title>{OWNED}"
    page.fill("#identifier", name)
    page.keyboard.press("Enter")
    see(page.locator("#slide"), name)
    station.examine(Decision.REVIEW, (OWNED,), 0.5)
    station.show(trouble=(OWNED,))
    see(page.locator("#trouble"), OWNED)
    cell = page.locator("#gallery [role=option]").first
    cell.click()
    page.keyboard.press("1")
    sign(page, "<b>")
    see(page.locator("#said"), "by <b>")
    assert amendments(station)[0][1] == name
    station.close_slide()
    see(page.locator("#history"), name)
    assert page.title() == "EdgeAPL station"
    assert page.locator("img[src='x']").count() == 0
    assert complaints == []


def test_a_script_put_into_the_page_is_refused(page: Page, complaints: list[str]) -> None:
    page.evaluate("html => document.querySelector('footer').innerHTML = html", OWNED)
    page.wait_for_timeout(300)
    assert page.title() == "EdgeAPL station"
    assert any("Content Security Policy" in text for text in complaints)


TOKEN = "a secret; of 25 letters ü"


@pytest.mark.parametrize("typed", [True, False])
def test_a_browser_that_shows_the_token_once_is_let_in(
    browser: Browser, station: FakeStation, complaints: list[str], typed: bool
) -> None:
    server = PageServer(station, PageAccess(token=TOKEN))
    url = server.start("127.0.0.1", 0)
    link = url if typed else f"{url}?token={quote(TOKEN, safe='')}"
    for page in opened(browser, link, complaints, token=TOKEN if typed else None):
        page.wait_for_url(url)
        assert page.evaluate("document.referrer") == ""
        if not typed:
            page.go_back()
            assert page.url == "about:blank"
        page.goto(url)
        open_slide(page, station)
        playwright.expect(page.locator("#live[data-number='1']")).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        assert complaints == []
        page.context.clear_cookies()
        assert page.goto(url).status == 401
    server.stop()


EVIL = """<title>calm</title><iframe src="{url}"></iframe><img src="{url}live.jpg">
<form id="form" method="post" action="{url}slide/start" target="taken"><input name="slide"
value="evil"></form><iframe name="taken"></iframe><script>
window.seen = [];
document.querySelector("img").onload = () => seen.push("picture");
const stream = new EventSource("{url}events");
stream.onopen = () => seen.push("stream");
stream.addEventListener("beat", () => seen.push("beat"));
const body = new URLSearchParams({{slide: "evil"}});
fetch("{url}slide/start", {{method: "POST", mode: "no-cors", body}});
fetch("{url}").then(() => seen.push("page"), () => 0);
form.submit();
</script>"""


def test_another_site_in_the_same_browser_sees_and_does_nothing(
    page: Page, station: FakeStation
) -> None:
    answers: list[int] = []
    with evil_site(EVIL.format(url=page.url)) as site:
        evil = page.context.new_page()
        evil.on("response", lambda answer: answers.append(answer.status))
        evil.goto(site)
        evil.wait_for_timeout(1500)
        assert evil.evaluate("window.seen") == []
    assert station.calls == []
    assert set(answers) == {200, 403}  # its own page, and ours never
    assert answers.count(200) == 1


@contextmanager
def evil_site(html: str) -> Iterator[str]:
    """Serve one page from another port of this machine."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode("utf-8"))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as site:
        thread = threading.Thread(target=site.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{site.server_address[1]}/"
        site.shutdown()
        thread.join()


def test_an_enlarged_picture_hides_neither_verdict_nor_alarm(
    page: Page, station: FakeStation
) -> None:
    open_slide(page, station)
    station.camera(CameraState.LOST, "check its cable", age_s=5.0)
    picture = page.get_by_role("button", name="Last examined frame")
    small = picture.bounding_box()
    picture.click()
    see(page.locator("#trouble"), "check its cable")
    large = picture.bounding_box()
    assert small is not None
    assert large is not None
    assert large["width"] > 2 * small["width"]
    shoot(page, "10-large")
    playwright.expect(page.locator("#verdict .headline")).to_be_in_viewport()
    assert cut_off(page) == []
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#gallery")).to_be_visible()


def test_help_names_the_keys(page: Page) -> None:
    page.keyboard.press("F1")
    playwright.expect(page.get_by_role("dialog")).to_contain_text("barcode reader")
    shoot(page, "8-keys")
    page.keyboard.press("Escape")
    playwright.expect(page.get_by_role("dialog")).to_have_count(0)


LISTEN = """
window.tones = 0;
const make = AudioContext.prototype.createOscillator;
AudioContext.prototype.createOscillator = function () {
  window.tones += 1;
  return make.call(this);
};
"""


def banner(page: Page) -> Locator:
    return page.locator("#flags")


def acknowledged(station: FakeStation) -> list[object]:
    return [said[2] for said in station.calls if said[0] == "acknowledge"]


def overlooks(page: Page) -> Any:
    """Give what lies above the banner at its four corners."""
    return page.evaluate(
        """() => {
          const banner = document.getElementById("flags");
          const box = banner.getBoundingClientRect();
          return [[2, 2], [box.width - 3, 2], [2, box.height - 3], [box.width - 3, box.height - 3]]
            .map(([x, y]) => document.elementFromPoint(x, y))
            .filter((part) => !banner.contains(part)).map((part) => part && part.outerHTML);
        }"""
    )


def top_left(page: Page) -> list[int]:
    """Give the colour of the page's first pixels, as seen."""
    data = np.frombuffer(page.screenshot(clip={"x": 3, "y": 3, "width": 2, "height": 2}), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert pixels is not None
    colour: list[int] = pixels[0, 0].tolist()
    return colour


def test_a_flag_stays_over_everything_until_it_is_acknowledged_in_every_page(
    page: Page, station: FakeStation, complaints: list[str]
) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    page.bring_to_front()
    assert page.title() == "EdgeAPL station"
    open_slide(page, station)
    for one in (page, other):
        see(banner(one), "FLAG: APL suspected")
        see(banner(one), "2026-0815")
        assert one.title() == "⚠ FLAG not acknowledged - EdgeAPL station"
        icon = one.locator("link[rel=icon]").get_attribute("href")
        assert icon == "/static/icon-flag.svg"
        assert one.request.get(f"{one.url}static/icon-flag.svg").ok
    assert overlooks(page) == []
    assert cut_off(page) == []
    shoot(page, "11-banner")

    # The next slide, a reload, a dialog and an enlarged picture leave it where it is.
    page.keyboard.type("2026-0816")
    page.keyboard.press("Enter")
    see(page.locator("#verdict"), "Waiting for the first frame")
    see(banner(page), "2026-0815")
    shoot(page, "12-next-slide")
    before = top_left(page)
    page.keyboard.press("F1")
    playwright.expect(page.get_by_role("dialog")).to_be_visible()
    page.wait_for_timeout(300)
    assert top_left(page) == before  # neither covered nor dimmed
    shoot(page, "13-dialog")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Last examined frame").click()
    assert overlooks(page) == []
    page.reload()
    see(banner(page), "2026-0815")
    assert page.title().startswith("⚠ FLAG")
    station.examine(Decision.FLAG, ("more",), 0.98)
    see(banner(page), "2026-0816")
    assert overlooks(page) == []

    # Escape and an empty field acknowledge nothing.
    banner(page).get_by_role("button", name="2026-0815").click()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert acknowledged(station) == []
    banner(page).get_by_role("button", name="2026-0815").click()
    sign(page, "AB")
    see(page.locator("#said"), "The flag was seen by AB")
    playwright.expect(banner(page)).not_to_contain_text("2026-0815")
    see(banner(page), "2026-0816")
    playwright.expect(banner(other)).not_to_contain_text("2026-0815")
    page.keyboard.press("F7")
    page.keyboard.press("Enter")  # the same person
    for one in (page, other):
        playwright.expect(banner(one)).to_be_hidden()
        assert one.title() == "EdgeAPL station"
        assert one.locator("link[rel=icon]").get_attribute("href") == "/static/icon.svg"
    assert acknowledged(station) == ["AB", "AB"]
    assert cut_off(page) == []
    shoot(page, "14-acknowledged")
    assert complaints == []


def test_a_flag_sounds_once_a_person_has_touched_the_page(
    page: Page, station: FakeStation, complaints: list[str]
) -> None:
    page.add_init_script(LISTEN)
    page.reload()
    see(page.locator("#sound"), "No sound")
    station.start_slide("2026-0815")
    station.examine(Decision.FLAG, LONG_REASONS, 0.97)
    see(banner(page), "2026-0815")
    assert page.evaluate("window.tones") == 0
    playwright.expect(page.locator("#sound.urgent")).to_be_visible()
    shoot(page, "15-no-sound")
    page.locator("#verdict").tap()
    playwright.expect(page.locator("#sound")).to_be_hidden()
    for count in (3, 6):  # and again
        end = time.monotonic() + 10
        while page.evaluate("window.tones") < count:
            assert time.monotonic() < end
            page.wait_for_timeout(100)
    page.keyboard.press("F7")
    sign(page, "AB")
    playwright.expect(banner(page)).to_be_hidden()
    before = page.evaluate("window.tones")
    page.wait_for_timeout(6500)
    assert page.evaluate("window.tones") == before
    assert complaints == []


def test_many_flags_leave_room_for_the_next_slide_and_a_narrow_screen_shows_them(
    page: Page, station: FakeStation
) -> None:
    for number in range(5):
        station.start_slide(f"2026-{number} " + "long name " * 8 * (number == 4))
        station.capture(seed=number)
        station.examine(Decision.FLAG, LONG_REASONS, 0.97)
    see(banner(page), "5 flags wait")
    shoot(page, "16-many")
    playwright.expect(page.locator("#identifier")).to_be_in_viewport()
    page.keyboard.type("next")
    page.keyboard.press("Enter")
    see(page.locator("#slide"), "next")
    page.set_viewport_size({"width": 390, "height": 844})
    see(banner(page), "2026-4")
    shoot(page, "17-narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert overlooks(page) == []
    for _ in range(5):
        banner(page).get_by_role("button").first.click()
        page.keyboard.type("AB")
        page.keyboard.press("Enter")
        see(page.locator("#said"), "seen by AB")
        page.wait_for_timeout(200)
    playwright.expect(banner(page)).to_be_hidden()
