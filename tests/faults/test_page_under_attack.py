"""Whatever clients do to the page, verdicts go on and a browser still gets it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra: page")
pytest.importorskip("uvicorn", reason="needs the extra: page")

from edgeapl.journal import read_rows
from edgeapl.web.rate_limit import Rates
from tests.faults import hostile_clients as hostile
from tests.faults.flood import flooding
from tests.faults.page_station import serving

PATIENCE_S = 40.0
ANSWER_S = 5.0


def verdicts(folder: Path) -> list[str]:
    """Give the slides with a final verdict."""
    rows = read_rows(folder / "journal.sqlite3")
    return [str(row.content["slide"]) for row in rows if row.kind == "verdict"]


def until(promise: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not promise():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def ask(address: tuple[str, int], method: str, path: str, body: str = "") -> tuple[int, bytes]:
    """Ask as a browser does; it tries again once when its connection was closed."""
    host = f"{address[0]}:{address[1]}"
    headers = {
        "Host": host,
        "Origin": f"http://{host}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    for last in (False, True):
        try:
            with closing(http.client.HTTPConnection(host, timeout=ANSWER_S)) as connection:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
        except (ConnectionResetError, http.client.RemoteDisconnected):
            if last:
                raise
    raise AssertionError


def one_slide(address: tuple[str, int], folder: Path, slide: str) -> None:
    """Start a slide on the page, see it and its picture there, close it and get its verdict."""
    status, said = ask(address, "POST", "/slide/start", f"slide={slide}")
    assert status == 200, said
    until(lambda: slide.encode() in ask(address, "GET", "/")[1], "never shown")
    until(lambda: ask(address, "GET", "/live.jpg")[1][:2] == b"\xff\xd8", "no picture")
    status, said = ask(address, "POST", "/slide/close")
    assert status == 200, said
    until(lambda: slide in verdicts(folder), "no verdict")


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param({hostile.half_head: 250}, id="250 halves of headers", marks=pytest.mark.slow),
        pytest.param(
            {hostile.half_head: 1450}, id="1450 halves of headers", marks=pytest.mark.slow
        ),
        pytest.param({hostile.listener: 500}, id="500 listeners", marks=pytest.mark.slow),
        pytest.param(
            {
                hostile.half_head: 100,
                hostile.half_body: 100,
                hostile.nothing: 300,
                hostile.silent_reader: 100,
                hostile.idle: 200,
                hostile.huge_head: 50,
                hostile.websocket: 50,
            },
            id="all kinds at once",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_verdicts_and_the_page_go_on(tmp_path: Path, counts: dict[hostile.Kind, int]) -> None:
    with serving(tmp_path) as (address, _):
        until(lambda: ask(address, "GET", "/")[0] == 200, "the page never came up")
        with hostile.attacking(address, counts):
            for number in range(2):
                one_slide(address, tmp_path, f"under-attack-{number}")


@pytest.mark.slow
def test_a_flood_of_complete_requests_is_answered_no_faster_than_allowed(tmp_path: Path) -> None:
    """What it takes from the frames is bounded, and a browser at the same address goes on."""
    with serving(tmp_path) as (address, _):
        until(lambda: ask(address, "GET", "/")[0] == 200, "the page never came up")
        start = time.monotonic()
        with flooding(address, 8, keep=True) as answers:
            one_slide(address, tmp_path, "flooded")
            while time.monotonic() - start < 6:
                time.sleep(0.1)
        took_s = time.monotonic() - start
    rates = Rates()
    assert 100 < sum(answers) <= rates.burst + rates.per_address * took_s
