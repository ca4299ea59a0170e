"""A real browser shows a report of hostile names, runs nothing of it and keeps its style."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeapl.report.writer import SlideWriter
from edgeapl.types import Reason
from tests.drawn_slides import context, examined, record

pytestmark = pytest.mark.slow

OWNED = "<img src=x onerror=\"document.title='owned'\">"
SCRIPT = "<script>document.title='owned'</script>"
HOSTILE = f"'\"></title></style></svg>{OWNED}{SCRIPT}\n\x1b[31m\udcff"


@pytest.fixture(scope="module")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no browser: install chromium")


def seen_by(browser: str, page: Path, profile: Path) -> str:
    """Give the page as the browser holds it after a while, with what scripts did to it."""
    options = ["--headless", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [browser, *options, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return done.stdout.decode("utf-8")


def test_hostile_names_do_not_run_in_a_browser(browser: str, tmp_path: Path) -> None:
    control = tmp_path / "control.html"
    control.write_text(f"<title>calm</title><p>{OWNED}", encoding="utf-8")
    assert "<title>owned</title>" in seen_by(browser, control, tmp_path / "profile")

    frame = examined(0, ["promyelocyte", "other"], source=HOSTILE)
    bad = examined(1, [], source=HOSTILE, rejected=(Reason(HOSTILE, HOSTILE),))
    settings = context(bundle_name=HOSTILE, intended_use=HOSTILE)
    writer = SlideWriter(tmp_path / "out", HOSTILE, settings)
    writer.add(frame)
    writer.add(bad)
    error = {"slide": HOSTILE, "what": HOSTILE, "which": HOSTILE, "mend": HOSTILE, "exit_code": 3}
    reasons = [{"code": HOSTILE, "text": HOSTILE}]
    data = record([frame, bad], name=HOSTILE, reasons=reasons, errors=[error], runtime=HOSTILE)
    files = writer.finish(data, HOSTILE)

    page = seen_by(browser, files.report, tmp_path / "profile")
    title = page[page.index("<title>") : page.index("</title>")]
    assert "FLAG" in title
    assert "<script" not in page
    assert "onerror=" in page  # shown as text
    assert '<img src="x"' not in page


def test_the_page_allows_its_own_style_and_refuses_a_script_put_into_it(
    browser: str, tmp_path: Path
) -> None:
    frame = examined(0, ["promyelocyte"])
    writer = SlideWriter(tmp_path / "out", "s", context())
    writer.add(frame)
    text = writer.finish(record([frame]), "a").report.read_text(encoding="utf-8")
    put = tmp_path / "put.html"
    put.write_text(text.replace("</main>", f"{OWNED}{SCRIPT}</main>"))
    page = seen_by(browser, put, tmp_path / "profile")
    assert "<title>owned</title>" not in page

    # The policy names the style's own digest: the picture of the page changes without it.
    plain = tmp_path / "plain.html"
    plain.write_text(text.replace("'sha256-", "'sha256-AAAA"))
    with_style = picture(browser, tmp_path / "out" / "slides" / "s" / "report.html", tmp_path)
    without = picture(browser, plain, tmp_path)
    assert with_style != without


def picture(browser: str, page: Path, folder: Path) -> bytes:
    """Give what the browser paints."""
    target = folder / f"{page.stem}.png"
    options = ["--headless", "--disable-gpu", f"--screenshot={target}", "--window-size=1280,720"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    subprocess.run(
        [browser, *options, f"--user-data-dir={folder / 'profile'}", page.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return target.read_bytes()
