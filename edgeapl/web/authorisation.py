"""Checks every request to the page: host, origin and token; and adds the security headers.

Every web site open in the same browser can reach a page on the loopback address: through a name
that it points to 127.0.0.1 (DNS rebinding), by forms and by pictures. So a request is refused
unless its Host is one of ours and it does not come from another site.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from edgeapl.logs import warn
from edgeapl.web import login
from edgeapl.web.access import PageAccess

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 8192
"""Bytes; the longest form of the page has four short fields."""
BODY_S = 10.0
"""Longest time for a request to send its body, seconds."""

LOG_EVERY_S = 10.0
"""At most one line in the log per kind of refusal and this time, seconds."""

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
"""Headers of every answer that does not set its own."""

__all__ = ["AccessMiddleware", "PageAccess"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a refused request: status and one line of plain text."""

    status: int
    text: str


class AccessMiddleware:
    """ASGI middleware that passes on only requests that `PageAccess` allows."""

    def __init__(self, app: App, access: PageAccess) -> None:
        self._app = app
        self._access = access
        self._quiet_until: dict[int, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, pass it on with its whole body, and add the headers."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        request = _Request(scope)
        refusal = refused(request, self._access)
        if refusal is not None:
            self._record(refusal.status, refusal.text)
            await _answer(send, refusal.status, refusal.text)
            return
        if self._access.token is not None and request.path not in login.PUBLIC:
            shown = _shows_token(request, self._access)
            if shown and "token" in request.query:
                at_once = request.header(b"sec-fetch-site") in (None, "none", "same-origin")
                answer = login.granted(self._access, request.cookie_name, at_once=at_once)
                await _answer_in_html(send, answer)
                return
            if not shown and not request.is_login:
                self._record(401, "token is missing or wrong")
                await _ask_for_token(request, send)
                return
        body = await _whole_body(request, receive)
        if isinstance(body, Refusal):
            self._record(body.status, body.text)
            await _answer(send, body.status, body.text)
        elif self._access.token is not None and request.is_login:
            answer = login.submitted(body, self._access, request.cookie_name)
            await _answer_in_html(send, answer)
        else:
            await self._app(scope, _replayed(body, receive), _with_headers(send))

    def _record(self, status: int, text: str) -> None:
        """Log a refusal, each kind once in a while: an attack must not fill the log."""
        now = time.monotonic()
        if now >= self._quiet_until.get(status, 0.0):
            self._quiet_until[status] = now + LOG_EVERY_S
            warn("page", "request_refused", f"request refused ({status}): {text}", status=status)


class _Request:
    """A request as the checks see it; header values as text, all of one name in a list."""

    def __init__(self, scope: Scope) -> None:
        self.method = str(scope["method"])
        self.path = str(scope["path"])
        self.is_login = self.method == "POST" and self.path == login.LOGIN
        self._headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        text = scope.get("query_string", b"").decode("latin-1")
        self.query = parse_qs(text, keep_blank_values=True)
        server = scope.get("server") or ("", 0)
        # Cookies ignore ports; two stations on one machine must not share one.
        self.cookie_name = f"edgeapl-{server[1]}"

    def header(self, name: bytes) -> str | None:
        """Return the only value of a header; None when there is none or more than one."""
        values = self._headers.get(name, [])
        return values[0] if len(values) == 1 else None

    def has(self, name: bytes) -> bool:
        return name in self._headers

    def cookies(self) -> list[str]:
        """Return the values of our cookie."""
        parts = "; ".join(self._headers.get(b"cookie", [])).split(";")
        pairs = [part.strip().partition("=") for part in parts]
        return [value for name, _, value in pairs if name == self.cookie_name]


def refused(request: _Request, access: PageAccess) -> Refusal | None:
    """Return why a request is refused; None when it is allowed."""
    host = request.header(b"host")
    if host is None or not access.allows_host(host):
        return Refusal(421, "this page is not served under that name: use the address printed")
    if _from_elsewhere(request, host):
        return Refusal(403, "request comes from another site: open the page itself")
    if request.method not in ("GET", "POST"):
        return Refusal(405, "method is not allowed: use GET or POST")
    if request.method == "POST" and not request.has(b"origin"):
        return Refusal(403, "request does not say where it comes from: use the page itself")
    return None


def _from_elsewhere(request: _Request, host: str) -> bool:
    """Whether a browser sent this for another site; following links to the page is allowed."""
    if request.has(b"origin"):
        origin = (request.header(b"origin") or "").lower()
        if origin not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return True
    site = request.header(b"sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return False
    followed = request.method == "GET" and request.header(b"sec-fetch-dest") == "document"
    return not followed


def _shows_token(request: _Request, access: PageAccess) -> bool:
    if request.method == "GET" and any(map(access.is_token, request.query.get("token", []))):
        return True
    kind, _, bearer = (request.header(b"authorization") or "").partition(" ")
    if kind.lower() == "bearer" and access.is_token(bearer.strip()):
        return True
    return "token" not in request.query and any(map(access.is_cookie, request.cookies()))


async def _whole_body(request: _Request, receive: Receive) -> bytes | Refusal:
    """Read the body before anything else happens with the request."""
    too_long = Refusal(413, f"request is too long: send at most {MOST_BODY} bytes")
    announced = request.header(b"content-length") or "0"
    if not (announced.isascii() and announced.isdigit()) or int(announced[:12]) > MOST_BODY:
        return too_long
    body = bytearray()
    limit = time.monotonic() + BODY_S
    try:
        while True:
            message = await asyncio.wait_for(receive(), limit - time.monotonic())
            if message["type"] != "http.request":
                return Refusal(400, "request was cut off: send it again")
            body += message.get("body", b"")
            if len(body) > MOST_BODY:
                return too_long
            if not message.get("more_body", False):
                return bytes(body)
    except asyncio.TimeoutError:
        return Refusal(408, "request did not end: send it again")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receiver of the body as one message, and of the messages after it."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", [])}
            more = [pair for pair in HEADERS if pair[0] not in own]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sending


async def _ask_for_token(request: _Request, send: Send) -> None:
    """Ask a person with a form, a program with a line."""
    if request.method == "GET" and "text/html" in (request.header(b"accept") or ""):
        await _answer_in_html(send, login.form(wrong="token" in request.query))
    else:
        text = "token is missing or wrong: open the page in a browser, or send it as Bearer"
        await _answer(send, 401, text)


async def _answer_in_html(send: Send, answer: login.Answer) -> None:
    status, html, headers = answer
    await _answer(send, status, html, "text/html", headers)


async def _answer(
    send: Send,
    status: int,
    text: str,
    kind: str = "text/plain",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    body = text.encode("utf-8")
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        *more,
    ]
    sending = _with_headers(send)
    await sending({"type": "http.response.start", "status": status, "headers": headers})
    await sending({"type": "http.response.body", "body": body})
