"""The login: the token is typed into a form and becomes a cookie, never part of an address."""

from __future__ import annotations

from urllib.parse import parse_qs

from edgeapl.web.access import PageAccess

LOGIN = "/login"
PUBLIC = ("/static/login.css", "/static/icon.svg")
"""Files of the form, served without a token."""

FORM_HEADERS = ((b"referrer-policy", b"same-origin"),)
"""With no-referrer a browser would send no Origin with the form, and be refused."""

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
    """Return the form that asks for the token."""
    words = "That is not the token of this station." if wrong else ""
    return 401, _FORM.format(words=words), FORM_HEADERS


def submitted(body: bytes, access: PageAccess, cookie_name: str) -> Answer:
    """Answer the submitted form."""
    fields = parse_qs(body.decode("latin-1"), encoding="utf-8", errors="surrogateescape")
    shown = fields.get("token", [])
    if len(shown) == 1 and access.is_token(shown[0].strip()):
        return granted(access, cookie_name, at_once=True)
    return form(wrong=True)


def granted(access: PageAccess, cookie_name: str, *, at_once: bool) -> Answer:
    """Put the token into a cookie and send the browser to the page itself.

    at_once : redirect, so that an address with the token never enters the history. After a link on
        another site a browser would not send a strict cookie with a redirect: it gets a page that
        forwards it.
    """
    cookie = f"{cookie_name}={access.cookie()}; Path=/; HttpOnly; SameSite=Strict"
    kept = ((b"set-cookie", cookie.encode("ascii")),)
    return (303, "", (*kept, (b"location", b"/"))) if at_once else (200, _ONWARD, kept)
