"""Nobody but a browser on the page itself, at a host of ours, gets an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest

from edgeapl.errors import ConfigError
from edgeapl.web.access import PageAccess
from edgeapl.web.authorisation import (
    HEADERS,
    MOST_BODY,
    AccessMiddleware,
    Message,
    Receive,
    Scope,
    Send,
)

TOKEN = "0123456789abcdef; ü"
OPEN = PageAccess()
LOCKED = PageAccess(hosts=("station.lab",), token=TOKEN)
HOST = "127.0.0.1:8000"
OWN = {"host": HOST, "origin": f"http://{HOST}"}
QUERY = f"token={quote(TOKEN, safe='')}"
COOKIE = f"edgeapl-8000={LOCKED.cookie()}"


class Answer:
    """What came back, and the body that the application was given; None when it was not asked."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.given: bytes | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


def ask(
    access: PageAccess,
    headers: dict[str, str] | Sequence[tuple[str, str]],
    method: str = "GET",
    query: str = "",
    parts: Sequence[bytes] = (b"",),
    own_headers: Sequence[tuple[bytes, bytes]] = (),
    path: str = "/",
) -> Answer:
    answer = Answer()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer.given = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": list(own_headers)})
        await send({"type": "http.response.body", "body": b"secret"})

    pairs = headers.items() if isinstance(headers, dict) else headers
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
        "server": ("127.0.0.1", 8000),
    }
    waiting = [
        {"type": "http.request", "body": part, "more_body": n < len(parts) - 1}
        for n, part in enumerate(parts)
    ]

    async def receive() -> Message:
        return waiting.pop(0)

    asyncio.run(AccessMiddleware(app, access)(scope, receive, answer.send))
    return answer


@pytest.mark.parametrize(
    ("access", "method", "headers", "status"),
    [
        (OPEN, "GET", {"host": HOST}, 200),
        (OPEN, "GET", {"host": "localhost"}, 200),
        (OPEN, "GET", {"host": "LOCALHOST:1"}, 200),
        (OPEN, "GET", {"host": "[::1]:8000"}, 200),
        (OPEN, "GET", OWN, 200),
        (OPEN, "POST", OWN, 200),
        # Another name that was made to point here, or none, or two.
        (OPEN, "GET", {}, 421),
        (OPEN, "GET", {"host": "evil.example:8000"}, 421),
        (OPEN, "GET", {"host": "127.0.0.1.evil.example"}, 421),
        (OPEN, "GET", {"host": "127.0.0.1:8000@evil.example"}, 421),
        (OPEN, "GET", {"host": "localhost:port"}, 421),
        (OPEN, "GET", {"host": "station.lab"}, 421),
        (OPEN, "GET", [("host", HOST), ("host", "evil.example")], 421),
        (OPEN, "POST", {"host": "evil.example", "origin": "http://evil.example"}, 421),
        # Another site, also one on this machine.
        (OPEN, "GET", {"host": HOST, "origin": "http://evil.example"}, 403),
        (OPEN, "GET", {"host": HOST, "origin": "null"}, 403),
        (OPEN, "GET", {"host": HOST, "origin": ""}, 403),
        (OPEN, "GET", {"host": HOST, "origin": "http://127.0.0.1:3000"}, 403),
        (OPEN, "GET", {"host": HOST, "origin": "http://localhost:8000"}, 403),
        (OPEN, "GET", [*OWN.items(), ("origin", "http://evil.example")], 403),
        (OPEN, "POST", {"host": HOST, "origin": "http://evil.example"}, 403),
        (OPEN, "POST", {"host": HOST}, 403),
        # A picture or a frame of another site sends no origin, but says this.
        (OPEN, "GET", {"host": HOST, "sec-fetch-site": "cross-site"}, 403),
        (OPEN, "GET", {"host": HOST, "sec-fetch-site": "same-site"}, 403),
        (
            OPEN,
            "GET",
            {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"},
            403,
        ),
        (
            OPEN,
            "GET",
            {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-dest": "document"},
            200,
        ),
        (OPEN, "GET", {"host": HOST, "sec-fetch-site": "same-origin"}, 200),
        (OPEN, "DELETE", OWN, 405),
        (OPEN, "OPTIONS", OWN, 405),
        # The token.
        (LOCKED, "GET", {"host": HOST}, 401),
        (LOCKED, "GET", {"host": "station.lab:8000"}, 401),
        (LOCKED, "GET", {"host": "192.0.2.7:8000", "cookie": COOKIE}, 200),
        (LOCKED, "GET", {"host": "[2001:db8::7]:8000", "cookie": COOKIE}, 200),
        (LOCKED, "GET", {"host": "evil.example", "cookie": COOKIE}, 421),
        (OPEN, "GET", {"host": "192.0.2.7:8000"}, 421),
        (LOCKED, "POST", OWN, 401),
        (LOCKED, "GET", {"host": HOST, "cookie": COOKIE}, 200),
        (LOCKED, "GET", {"host": "station.lab", "cookie": f"a=b; {COOKIE};c"}, 200),
        (LOCKED, "POST", {**OWN, "cookie": COOKIE}, 200),
        (LOCKED, "GET", {"host": HOST, "cookie": COOKIE.replace("8000", "8001")}, 401),
        (LOCKED, "GET", {"host": HOST, "cookie": "edgeapl-8000="}, 401),
        (LOCKED, "GET", {"host": HOST, "cookie": "edgeapl-8000=\xff"}, 401),
        (LOCKED, "GET", {"host": HOST, "cookie": COOKIE[:-1]}, 401),
        (LOCKED, "GET", {"host": HOST, "authorization": "Bearer " + "x" * 20}, 401),
        (LOCKED, "POST", {"host": HOST, "origin": "http://evil.example", "cookie": COOKIE}, 403),
    ],
)
def test_only_our_own_page_is_answered(
    access: PageAccess, method: str, headers: dict[str, str], status: int
) -> None:
    answer = ask(access, headers, method)
    assert answer.status == status
    assert (answer.given is not None) == (status == 200)
    assert (b"secret" in answer.body) == (status == 200)


@pytest.mark.parametrize(
    ("site", "status"), [(None, 303), ("none", 303), ("same-origin", 303), ("cross-site", 200)]
)
def test_a_token_is_shown_once_and_becomes_a_strict_cookie(site: str | None, status: int) -> None:
    followed = {} if site is None else {"sec-fetch-site": site, "sec-fetch-dest": "document"}
    answer = ask(LOCKED, {"host": HOST, **followed}, query=QUERY)
    assert answer.status == status
    assert answer.given is None
    assert (answer.headers.get("location") == "/") == (status == 303)
    assert ('url=/"' in answer.body.decode()) == (status == 200)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(COOKIE)
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert "0123" not in repr(LOCKED)


@pytest.mark.parametrize("query", ["token=", "token=0123456789abcdef", "token=%ff%00", "token"])
def test_a_wrong_token_is_refused_even_with_the_cookie(query: str) -> None:
    assert ask(LOCKED, {"host": HOST, "cookie": COOKIE}, query=query).status == 401


def test_a_token_in_the_address_does_not_let_a_form_through() -> None:
    assert ask(LOCKED, OWN, "POST", query=QUERY).status == 401


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (QUERY, OWN, 303),
        ("token=wrong", OWN, 401),
        ("", OWN, 401),
        (f"{QUERY}&{QUERY}", OWN, 401),
        (QUERY, {"host": HOST}, 403),
        (QUERY, {"host": HOST, "origin": "http://evil.example"}, 403),
        (QUERY, {"host": "evil.example", "origin": "http://evil.example"}, 421),
    ],
)
def test_a_typed_token_becomes_the_cookie(body: str, headers: dict[str, str], status: int) -> None:
    answer = ask(LOCKED, headers, "POST", path="/login", parts=[body.encode()])
    assert answer.status == status
    assert answer.given is None
    assert answer.headers.get("set-cookie", "").startswith(COOKIE) == (status == 303)
    assert (b"That is not the token" in answer.body) == (status == 401)


def test_a_person_is_asked_with_a_form_that_needs_nothing_else_of_the_page() -> None:
    answer = ask(LOCKED, {"host": HOST, "accept": "text/html,*/*"})
    assert (answer.status, b"<form" in answer.body) == (401, True)
    assert b"Research use only" in answer.body
    assert answer.headers["referrer-policy"] == "same-origin"
    for path in ("/static/login.css", "/static/icon.svg"):
        assert ask(LOCKED, {"host": HOST}, path=path).status == 200
    for path in ("/static/page.js", "/login", "/static/../metrics", "/metrics"):
        assert ask(LOCKED, {"host": HOST}, path=path).status == 401


def test_programs_may_show_the_token_in_a_header() -> None:
    access = PageAccess(token="0123456789abcdef")
    headers = {"host": HOST, "authorization": "Bearer 0123456789abcdef"}
    assert ask(access, headers).status == 200


def test_every_answer_carries_the_security_headers() -> None:
    for answer in (
        ask(OPEN, {"host": HOST}),
        ask(OPEN, {"host": "evil.example"}),
        ask(LOCKED, {"host": HOST}),
    ):
        for name, value in HEADERS:
            assert answer.headers[name.decode()] == value.decode()
    policy = dict(HEADERS)[b"content-security-policy"].decode()
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_an_answer_may_bring_its_own_policy() -> None:
    own = (b"Content-Security-Policy", b"default-src 'none'")
    answer = ask(OPEN, {"host": HOST}, own_headers=[own])
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
    assert "content-security-policy" not in answer.headers


@pytest.mark.parametrize(
    ("length", "parts", "status"),
    [
        (None, [b"a=1"], 200),
        (None, [b"a", b"=", b"1"], 200),
        (None, [b"x" * MOST_BODY], 200),
        (None, [b"x" * MOST_BODY, b"x"], 413),
        (str(MOST_BODY + 1), [b""], 413),
        ("9" * 5000, [b""], 413),
        ("-1", [b""], 413),
        ("\xb2", [b""], 413),
    ],
)
def test_long_requests_are_refused(length: str | None, parts: list[bytes], status: int) -> None:
    headers = OWN if length is None else {**OWN, "content-length": length}
    answer = ask(OPEN, headers, "POST", parts=parts)
    assert answer.status == status
    assert answer.given == (b"".join(parts) if status == 200 else None)


def test_websockets_are_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the application was asked")

    asyncio.run(AccessMiddleware(app, OPEN)({"type": "websocket", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("host", ["http://a", "a:80", "a/b", "", "a b", "*", "<a>"])
def test_a_host_is_a_name_alone(host: str) -> None:
    with pytest.raises(ConfigError, match="host of the page is not a name"):
        PageAccess(hosts=(host,))


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="token of the page is too short"):
        PageAccess(token="x" * 15)
