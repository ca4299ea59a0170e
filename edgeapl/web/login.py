"""The page's entrance: the token is typed into a form and becomes a cookie, never an address."""

from __future__ import annotations

from urllib.parse import parse_qs

from edgeapl.web.access import PageAccess

LOGIN = "/login"
PUBLIC = ("/static/login.css", "/static/icon.svg")
"""What the form needs; the same for everyone."""

FORM_HEADERS = ((b"referrer-policy", b"same-origin"),)
"""With no-referrer a browser would not say where its form comes from, and be refused."""

_FORM = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>EdgeAPL station</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/login.css">
</head>
<body>
<form method="post" action="/login">
<h1>EdgeAPL station</h1>
<p>Research use only. Not for diagnosis.</p>
<p class="wrong" role="alert">{words}</p>
<label for="token">Token of this station</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Open the page</button>
</form>
</body>
</html>
"""
_ONWARD = '<!DOCTYPE html><meta http-equiv="refresh" content="0;url=/"><title>EdgeAPL</title>'

Answer = tuple[int, str, tuple[tuple[bytes, bytes], ...]]
"""Status, HTML, headers."""


def form(wrong: bool = False) -> Answer:
    """Give the form that asks for the token."""
    words = "That is not the token of this station." if wrong else ""
    return 401, _FORM.format(words=words), FORM_HEADERS


def typed(body: bytes, access: PageAccess, cookie_name: str) -> Answer:
    """Take what was typed into the form."""
    fields = parse_qs(body.decode("latin-1"), encoding="utf-8", errors="surrogateescape")
    shown = fields.get("token", [])
    if len(shown) == 1 and access.is_token(shown[0].strip()):
        return let_in(access, cookie_name, at_once=True)
    return form(wrong=True)


def let_in(access: PageAccess, cookie_name: str, *, at_once: bool) -> Answer:
    """Put the token into a cookie and send the browser to the page itself.

    at_once : by a redirect, so that an address with the token is never in the history. A browser
        that came from another site would not send a strict cookie along with one: it gets a page
        that leads on.
    """
    cookie = f"{cookie_name}={access.cookie()}; Path=/; HttpOnly; SameSite=Strict"
    kept = ((b"set-cookie", cookie.encode("ascii")),)
    return (303, "", (*kept, (b"location", b"/"))) if at_once else (200, _ONWARD, kept)
