"""The whole station for real: a microscope's camera, the networks, the journal, the page.

The camera is Micro-Manager's, played by a Python device that shows drawn fields of an APL smear.
Set EDGEAPL_SCREENSHOTS to a folder to look at what the browser painted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeapl.model import EMBEDDED
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.demo import DemoSource
from tests.e2e.station import Station

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install playwright"
)
for module in ("fastapi", "uvicorn", "pymmcore_plus"):
    pytest.importorskip(module, reason="needs the extras: page, cameras")

ROOT = Path(__file__).parents[2]
CAMERA = ROOT / "tests" / "devices" / "pictures.cfg"
PATIENCE_MS = 60_000


def browser_program() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        pytest.skip("no browser: install chromium")
    return found


def draw_fields(folder: Path) -> None:
    folder.mkdir()
    with DemoSource.from_address("demo://apl?seed=1&frames=6") as source:
        for number in range(6):
            (folder / f"{number}.png").write_bytes(png_bytes(source.read(1).pixels))


@contextmanager
def serving(station: Station) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the station on the camera; gives its process and the page's address."""
    draw_fields(station.folder / "fields")
    camera = f"mm://{CAMERA}?python=1&exposure_ms=1500"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgeapl", "watch", camera, "--page", "--port", "0"),
            *("--um-per-px", "0.15", "--out", str(station.folder / "out")),
            *("--bundle", str(EMBEDDED)),
        ],
        cwd=station.folder,
        env={
            **station.environment,
            "PYTHONPATH": str(ROOT),
            "EDGEAPL_TEST_PICTURES": str(station.folder / "fields"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if found := re.match(r"page: (\S+)", line):
            break
    else:
        raise AssertionError("".join(heard))
    try:
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def shoot(page: object, name: str) -> None:
    folder = os.environ.get("EDGEAPL_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")  # type: ignore[attr-defined]


def test_a_slide_under_a_microscope_is_flagged_called_otherwise_and_reported(
    station: Station,
) -> None:
    program = browser_program()
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    complaints: list[str] = []
    with serving(station) as (process, address), playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        expect = playwright.expect
        expect(page.locator("#camera")).to_contain_text("live", timeout=PATIENCE_MS)

        page.keyboard.type("2026-0815")
        page.keyboard.press("Enter")
        expect(page.locator("#verdict")).to_contain_text("APL suspected", timeout=PATIENCE_MS)
        expect(page.locator("#gallery [role=option]").first).to_be_visible(timeout=PATIENCE_MS)
        shoot(page, "station-flag")

        page.keyboard.press("F4")
        page.keyboard.press("4")
        expect(page.locator("#ask")).to_be_visible()
        page.keyboard.type("AB")
        page.keyboard.press("Enter")
        expect(page.locator("#gallery")).to_contain_text("other cell", timeout=PATIENCE_MS)

        page.keyboard.press("F8")
        expect(page.locator("#verdict")).to_contain_text("final", timeout=PATIENCE_MS)
        expect(page.locator("#history")).to_contain_text("2026-0815", timeout=PATIENCE_MS)
        shoot(page, "station-closed")
        page.locator("#history summary").click()  # a drawn slide is no patient's
        with page.expect_popup() as popup:
            page.locator("#history a.report").first.click()
        expect(popup.value.locator("h1")).to_contain_text("2026-0815", timeout=PATIENCE_MS)
        browser.close()

        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert complaints == []
    rows = station.run("journal", "list", "--json").document["records"]
    kinds = [row["kind"] for row in rows]
    assert kinds[0] == "provisional"
    assert sorted(kinds[-2:]) == ["amendment", "verdict"]
    verdict = next(row["content"] for row in rows if row["kind"] == "verdict")
    assert verdict["verdict"] == "FLAG"
    amendment = next(row["content"] for row in rows if row["kind"] == "amendment")
    assert (amendment["label"], amendment["person"]) == ("other cell", "AB")
    assert json.dumps(verdict)
    assert station.run("journal", "verify").code == 0
