"""The page over a real socket: orders, streams, a station that hangs, and hostile requests."""

from __future__ import annotations

import asyncio
import http.client
import random
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest

pytest.importorskip("fastapi", reason="needs the extra: page")
pytest.importorskip("uvicorn", reason="needs the extra: page")
pytest.importorskip("prometheus_client", reason="needs the extra: page")

from edgeapl.errors import ConfigError, StorageError
from edgeapl.station.access import CameraState, CellView
from edgeapl.types import Decision
from edgeapl.web.authorisation import PageAccess
from edgeapl.web.events import Feed, Observation
from edgeapl.web.pages import to_handle
from edgeapl.web.server import PageServer
from tests.fake_station import FakeStation

TOKEN = "a-token-of-20-letters"


class Client:
    """Asks the page as a browser on it does."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        with closing(http.client.HTTPConnection(self.host, timeout=20)) as connection:
            own = {"host": self.host, "origin": f"http://{self.host}"}
            more = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {**own, **more})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read(), names

    def get(self, path: str) -> tuple[int, bytes]:
        return self.ask("GET", path)[:2]

    def post(self, path: str, **form: str | int) -> tuple[int, str]:
        kind = "application/x-www-form-urlencoded"
        status, body, _ = self.ask("POST", path, urlencode(form), content_type=kind)
        return status, body.decode("utf-8")

    @contextmanager
    def events(self) -> Iterator[Iterator[tuple[str, str]]]:
        """Follow the events; each is its name and its text."""
        with closing(http.client.HTTPConnection(self.host, timeout=20)) as connection:
            connection.request("GET", "/events", headers={"host": self.host})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            yield self._events(answer)

    def _events(self, answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
        name, lines = "", list[str]()
        while raw := answer.readline():
            line = raw.decode("utf-8").rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                lines.append(line[6:])
            elif not line and name:
                yield name, "\n".join(lines)
                name, lines = "", []


def until(events: Iterator[tuple[str, str]], name: str, text: str, limit_s: float = 15) -> str:
    """Read events until one of this name holds this text."""
    end = time.monotonic() + limit_s
    for found, html in events:
        if found == name and text in html:
            return html
        assert time.monotonic() < end, f"no {name} with {text!r}"
    raise AssertionError(f"the stream ended before {name} with {text!r}")


@pytest.fixture
def station(tmp_path: Path) -> FakeStation:
    return FakeStation(tmp_path)


@pytest.fixture
def client(station: FakeStation) -> Iterator[Client]:
    server = PageServer(station, PageAccess())
    yield Client(server.start("127.0.0.1", 0))
    server.stop()


def test_a_slide_from_start_to_report(station: FakeStation, client: Client) -> None:
    with client.events() as events:
        until(events, "verdict", "press Enter")
        assert client.post("/slide/start", slide=" 2026-1 ")[0] == 200
        until(events, "slide", "2026-1")
        assert client.get("/live.jpg") == (204, b"")
        station.capture()
        station.examine(Decision.FLAG, ["many cells"], 0.97)
        until(events, "verdict", "APL suspected")
        gallery = until(events, "gallery", "data-cell")
        assert f'data-slide="{to_handle("2026-1")}"' in gallery
        cell = station.cells(1)[0].cell
        slide, label = to_handle("2026-1"), to_handle("neutrophil")
        status, said = client.post("/cell", slide=slide, label=label, cell=cell, person="AB")
        assert (status, "neutrophil by AB" in said) == (200, True)
        until(events, "gallery", "called neutrophil")
        assert client.post("/slide/close")[0] == 200
        until(events, "history", "2026-1")
    assert station.calls == [
        ("start", "2026-1"),
        ("reclassify", "2026-1", cell, "neutrophil", "AB"),
        ("close", "2026-1"),
    ]
    record = station.history(1)[0].record
    status, body, headers = client.ask("GET", f"/report/{record}/")
    assert (status, b"Report 1" in body) == (200, True)
    assert "script" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]


def test_pictures_come_with_their_number_and_only_when_new(
    station: FakeStation, client: Client
) -> None:
    with client.events() as events:
        station.start_slide("a")
        station.capture()
        station.examine(Decision.CLEAR, ["made so"], 0.1)
        until(events, "slide", "1 frame used")
    for path in ("/live.jpg", "/examined.jpg"):
        status, body, headers = client.ask("GET", path)
        assert (status, body[:2], headers["content-type"]) == (200, b"\xff\xd8", "image/jpeg")
        assert client.get(f"{path}?after={headers['x-picture']}") == (204, b"")
    handle = to_handle("a")
    assert client.get(f"/cell.jpg?slide={handle}&cell=0")[1][:2] == b"\xff\xd8"
    assert b"<svg" in client.get(f"/cell.jpg?slide={handle}&cell=4711")[1]
    assert b"<svg" in client.get(f"/cell.jpg?slide={to_handle('b')}&cell=0")[1]


def test_an_identifier_is_used_again_after_a_question_and_a_verdict_is_signed(
    station: FakeStation, client: Client
) -> None:
    station.start_slide("<b>A")
    station.close_slide()
    before = list(station.calls)
    status, asked = client.post("/slide/start", slide="<b>A")
    assert status == 200
    assert "Slide has a record already" in asked
    assert "<b>A" not in asked
    assert station.calls == before
    assert client.post("/slide/start", slide="<b>A", again="1")[0] == 200
    assert station.calls[-1] == ("start", "<b>A")
    record = station.history(1)[0].record
    form = {"opinion": "overrule", "label": "AML", "person": "AB", "comment": "blasts"}
    status, said = client.post("/sign-off", record=record, **form)
    assert status == 200
    assert "Signed: overruled: AML" in said
    assert station.history(1)[0].signed == "overruled: AML by AB"
    client.post("/sign-off", record=record, **{**form, "opinion": "confirm"})
    assert station.history(1)[0].signed == "confirmed by AB"


def test_a_slide_that_waits_goes_on_at_a_persons_word(station: FakeStation, client: Client) -> None:
    station.start_slide("A")
    station.slide(waits=True)
    assert client.post("/slide/go-on", slide=to_handle("A"))[0] == 200
    assert station.calls[-1] == ("go on", "A")


@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("/slide/start", {"slide": " "}, "slide is empty"),
        ("/slide/start", {}, "slide is empty"),
        ("/slide/start", {"slide": "x" * 121}, "slide is too long"),
        ("/slide/start", {"slide": ".."}, "slide identifier is wrong"),
        ("/cell", {"slide": "61", "label": "", "cell": 0, "person": "AB"}, "label is empty"),
        ("/cell", {"slide": "zz", "label": "61", "cell": 0, "person": "AB"}, "not understood"),
        ("/cell", {"slide": "61", "label": "61", "cell": 0, "person": " "}, "person is empty"),
        ("/cell", {"slide": "61", "label": "61", "cell": "-1", "person": "A"}, "not a number"),
        ("/cell", {"slide": "61", "label": "61", "cell": 0, "person": "AB"}, "no such cell"),
        ("/slide/go-on", {"slide": "61"}, "does not wait"),
        ("/sign-off", {"record": "a", "person": "AB"}, "nothing is chosen"),
        ("/sign-off", {"record": "a", "opinion": "confirm"}, "initials missing"),
        ("/sign-off", {"record": "a", "opinion": "repeat", "person": "AB"}, "comment missing"),
        ("/sign-off", {"opinion": "confirm", "person": "AB"}, "record is empty"),
    ],
)
def test_bad_orders_are_answered_in_words_and_change_nothing(
    station: FakeStation, client: Client, path: str, form: dict[str, str | int], words: str
) -> None:
    status, said = client.post(path, **form)
    assert status == 422
    assert words in said
    assert 'class="bad"' in said
    assert station.calls == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", "slide=a"),
        ("application/json", '{"slide": "a"}'),
        ("application/x-www-form-urlencoded", "slide=a&slide=b"),
        ("application/x-www-form-urlencoded", "slide=%ff"),
        ("application/x-www-form-urlencoded", "&".join(f"a{n}=1" for n in range(20))),
    ],
)
def test_what_is_no_form_is_refused(
    station: FakeStation, client: Client, kind: str, body: str
) -> None:
    assert client.ask("POST", "/slide/start", body, content_type=kind)[0] == 422
    assert station.calls == []


def test_what_the_station_cannot_do_is_said(
    station: FakeStation, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(slide: str) -> None:
        raise StorageError("disk is full", "journal", "free some space")

    monkeypatch.setattr(station, "start_slide", full)
    status, said = client.post("/slide/start", slide="a")
    assert (status, "disk is full: journal: free some space" in said) == (503, True)


def test_a_lost_camera_is_said_within_a_second(station: FakeStation, client: Client) -> None:
    with client.events() as events:
        until(events, "beat", "answers")
        station.camera(CameraState.LOST, "pull the plug and put it in again")
        until(events, "trouble", "pull the plug", limit_s=1)


def test_a_station_that_hangs_is_said_and_the_page_still_comes_up(
    station: FakeStation, client: Client
) -> None:
    with client.events() as events:
        until(events, "beat", "answers")
        station.hanging.set()
        until(events, "trouble", "has not answered for", limit_s=6)
        until(events, "beat", "silent")
        status, page = client.get("/")
        assert (status, b"has not answered for" in page) == (200, True)
        station.hanging.clear()
        until(events, "beat", "answers")


def test_cells_of_the_next_slide_are_never_shown_under_the_name_of_the_last(
    station: FakeStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.start_slide("first")
    take = station.cells
    shown: list[Observation] = []

    def cells(limit: int) -> Sequence[CellView]:
        if station.calls == [("start", "first")]:
            station.start_slide("second")  # between the view and its cells
            station.capture()
            station.examine(Decision.FLAG, ["made so"], 0.9)
        return take(limit)

    def render(seen: Observation) -> dict[str, str]:
        shown.append(seen)
        return {}

    async def follow() -> None:
        feed = Feed(station, render)
        feed.start()
        while len(shown) < 2:
            await asyncio.sleep(0.05)
        feed.stop()

    monkeypatch.setattr(station, "cells", cells)
    asyncio.run(asyncio.wait_for(follow(), 20))
    slides = {seen.view.slide.slide for seen in shown if seen.cells and seen.view.slide}
    assert slides == {"second"}


def test_a_fault_of_the_station_is_said_until_it_is_gone(
    station: FakeStation, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(limit: int) -> None:
        raise StorageError("journal is locked", "j.db", "end the other program")

    with client.events() as events:
        until(events, "beat", "answers")
        with monkeypatch.context() as change:
            change.setattr(station, "cells", locked)
            station.show()
            until(events, "trouble", "journal is locked")
        while "journal is locked" in until(events, "trouble", ""):
            pass


def events_status(client: Client) -> int:
    """Give the status of a new stream, and leave it."""
    with closing(http.client.HTTPConnection(client.host, timeout=5)) as connection:
        connection.request("GET", "/events", headers={"host": client.host})
        return connection.getresponse().status


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_of_the_station_is_never_shown_as_all_is_well(
    station: FakeStation, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(limit: int) -> None:
        raise RuntimeError("a bug")

    with client.events() as events:
        until(events, "beat", "answers")
        monkeypatch.setattr(station, "cells", broken)
        station.show()
        until(events, "trouble", "has not answered for", limit_s=6)


def test_streams_are_counted_and_given_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeapl.web.app.MOST_STREAMS", 16)
    with ExitStack() as opened:
        for _ in range(16):
            next(opened.enter_context(client.events()))
        assert events_status(client) == 503
    end = time.monotonic() + 10
    while events_status(client) != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_metrics_are_served(station: FakeStation, client: Client) -> None:
    station.capture()
    status, body = client.get("/metrics")
    assert status == 200
    assert b"edgeapl_frames_received_total 1.0" in body


def test_nothing_but_the_pages_own_addresses_is_served(client: Client) -> None:
    for path in ("/docs", "/openapi.json", "/static/../app.py", "/static/%2e%2e/app.py",
                 "/report/", "/report/zz/", f"/report/{'0' * 64}/", "/report/..%2f..%2fetc/",
                 "/static/", "/templates/page.html.j2"):  # fmt: skip
        assert client.get(path)[0] in (404, 405), path


def test_a_token_lets_in_once_shown(station: FakeStation) -> None:
    access = PageAccess(token=TOKEN)
    server = PageServer(station, access)
    url = server.start("127.0.0.1", 0)
    try:
        client = Client(url)
        assert "token" not in url
        assert client.get("/")[0] == client.get("/events")[0] == client.get("/live.jpg")[0] == 401
        status, _, headers = client.ask("GET", f"/?token={TOKEN}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"].partition(";")[0]
        assert client.ask("GET", "/", cookie=cookie)[0] == 200
    finally:
        server.stop()


def test_a_taken_port_is_one_clear_error(station: FakeStation) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port is taken: 127.0.0.1:{port}: give another"):
            PageServer(station, PageAccess()).start("127.0.0.1", port)


def test_an_examined_frame_is_drawn_once_whoever_asks(
    station: FakeStation, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, asked = station.examined_jpeg, list[float]()

    def counted() -> tuple[int, bytes] | None:
        asked.append(time.monotonic())
        return take()

    monkeypatch.setattr(station, "examined_jpeg", counted)
    with client.events() as events:
        station.start_slide("first")
        until(events, "slide", "first")
        status, _, headers = client.ask("GET", "/examined.jpg")
        assert (status, headers["x-picture"]) == (204, "none")
        station.capture()
        station.examine(Decision.CLEAR, ["made so"], 0.1)
        until(events, "slide", "1 frame used")
        numbers = {client.ask("GET", "/examined.jpg")[2]["x-picture"] for _ in range(5)}
        assert len(numbers) == 1
        station.start_slide("second")  # its first frame has the very same number
        station.examine(Decision.CLEAR, ["made so"], 0.1)
        until(events, "gallery", to_handle("second"))
        again = client.ask("GET", f"/examined.jpg?after={numbers.pop()}")
        assert again[0] == 200
    assert len(asked) <= 4


def test_a_page_for_others_is_reached_by_name_and_by_number(station: FakeStation) -> None:
    access = PageAccess(token=TOKEN)
    server = PageServer(station, access)
    url = server.start("0.0.0.0", 0)
    try:
        port = urlsplit(url).port
        assert url == f"http://{socket.gethostname()}:{port}/"
        client = Client(f"http://127.0.0.1:{port}/")
        for host in (f"127.0.0.1:{port}", f"192.0.2.7:{port}", urlsplit(url).netloc):
            bearer = f"Bearer {TOKEN}"
            status = client.ask(
                "GET", "/", host=host, origin=f"http://{host}", authorization=bearer
            )
            assert status[0] == 200
    finally:
        server.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "station.invalid"])
def test_a_page_for_others_needs_a_token(station: FakeStation, host: str) -> None:
    with pytest.raises(ConfigError, match="open to everyone"):
        PageServer(station, PageAccess()).start(host, 0)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70000)])
def test_an_address_that_is_not_ours_is_one_clear_error(
    station: FakeStation, host: str, port: int
) -> None:
    with pytest.raises(ConfigError, match="page cannot be served there"):
        PageServer(station, PageAccess(token=TOKEN)).start(host, port)


def test_stopping_ends_open_streams_and_frees_the_port(station: FakeStation) -> None:
    server = PageServer(station, PageAccess())
    url = server.start("127.0.0.1", 0)
    port = urlsplit(url).port
    with Client(url).events() as events:
        next(events)
        server.stop()
        server.stop()
        assert len(list(events)) < 100
    again = PageServer(station, PageAccess())
    assert port is not None
    assert again.start("127.0.0.1", port) == url
    again.stop()


PIECES = (
    "/", "/events", "/live.jpg", "/cell.jpg", "/report/", "/metrics", "/slide/start", "/cell",
    "/static/", "..", "%2e%2e", "%00", "%ff", "%", "?", "after=", "-1", "9" * 40, "nan",
    "cell=", "slide=", "&", ";", "#", "61", "\\", "//", "{{7*7}}", "<script>", "'", "\xfc", "\x7f",
    "a" * 300,
)  # fmt: skip
STARTS = (
    "/live.jpg?after=",
    "/live.jpg?after=1",
    "/cell.jpg?cell=1&slide=",
    "/report/",
    "/static/",
    "/metrics",
    "/",
)
ORDERS = ("/slide/start", "/slide/close", "/cell")
FORMS = ("slide=", "slide=61&cell=", "slide=61&label=61&cell=0&person=", "&=", "")
HEADERS = (
    "Origin: null", "Origin: http://evil", "Cookie: a=b; =; ;", "Range: bytes=0-",
    "Upgrade: websocket", "Content-Type: application/x-www-form-urlencoded; charset=\xff",
    "Content-Type: text/plain", "If-None-Match: *", "If-Modified-Since: x", "X: \xff",
    "Authorization: Bearer", "Accept: text/event-stream", "Sec-Fetch-Site: cross-site",
)  # fmt: skip
BROKEN = (
    "Content-Length: 99999999999", "Content-Length: x", "Transfer-Encoding: chunked",
    "Expect: 100-continue", "no colon", "\x01: a", " folded",
)  # fmt: skip


def hostile_request(chance: random.Random, host: str) -> tuple[bytes, bool]:
    """Give a request, and whether it is one that HTTP allows."""
    whole = chance.random() < 0.8
    tail = "".join(chance.choices(PIECES, k=chance.randint(0, 4)))
    order = chance.random() < 0.4
    method = "POST" if order else chance.choice(("GET", "GET", "GET", "HEAD", "PUT", "TRACE"))
    path = chance.choice(ORDERS if order else STARTS) + ("" if order else tail)
    named = host if chance.random() < 0.95 else "evil"
    lines = [f"Host: {named}", f"Origin: http://{host}", "Connection: close"]
    lines += ["Content-Type: application/x-www-form-urlencoded"]
    lines += chance.sample(HEADERS, chance.choice((0, 0, 0, 1, 2)))
    lines += [] if whole else chance.sample(BROKEN, chance.randint(1, 2))
    body = (chance.choice(FORMS) + tail).encode("utf-8") if order else b""
    path = quote(path, safe="/?=&;%.{}<>'\\#") if whole else path
    head = "\r\n".join((f"{method} {path} HTTP/1.1", *lines, f"Content-Length: {len(body)}"))
    return f"{head}\r\n\r\n".encode("latin-1") + body, whole


def status_of(address: tuple[str, int], request: bytes, whole: bool) -> str:
    """Give the status that comes back; a request that is broken may get none."""
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(request)
        if not whole:
            connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(64)
        except ConnectionResetError:
            assert not whole, request
            return "none"
        assert answer or not whole, request
        return answer[9:12].decode("ascii") or "none"


@pytest.mark.slow
def test_hostile_requests_never_break_the_page(station: FakeStation, client: Client) -> None:
    station.start_slide("a")
    station.capture()
    station.examine(Decision.FLAG, ["made so"], 0.9)
    chance = random.Random(5)
    host, port = client.host.split(":")
    seen: dict[str, int] = {}
    for number in range(1000):
        request, whole = hostile_request(chance, client.host)
        status = status_of((host, int(port)), request, whole)
        seen[status] = seen.get(status, 0) + 1
        assert status < "500" or status == "none", (number, request)
    assert {"200", "204", "400", "403", "404", "405", "421", "422"} <= set(seen), seen
    assert client.get("/")[0] == 200
    with client.events() as events:
        until(events, "beat", "answers")
