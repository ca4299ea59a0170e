"""Under which hosts the page is reached, and the token that opens it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field, replace

from edgeapl.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
LEAST_TOKEN = 16
"""Characters; 16 random ones from A-Z, a-z, 0-9 are 95 bits."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Who may use the page.

    hosts : names and addresses of the page besides the loopback ones.
    token : secret that a browser must present once; None admits everyone who reaches the page.

    Raises ConfigError for a token below 16 characters or a host that is more than a name.
    """

    hosts: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise ConfigError(
                "token of the page is too short",
                f"{len(self.token)} characters",
                f"give {LEAST_TOKEN} or more",
            )
        for host in self.hosts:
            found = _HOST.fullmatch(host.lower())
            if found is None or found[1] != host.lower():
                raise ConfigError(
                    "host of the page is not a name", host, "give it without http:// and port"
                )

    def reached_as(self, host: str) -> PageAccess:
        """Return the same access with one more host."""
        return replace(self, hosts=(*self.hosts, host))

    def allows_host(self, header: str) -> bool:
        """Whether a Host header names this station, with any port.

        With a token every numeric address is allowed: nobody can make one point elsewhere.
        """
        found = _HOST.fullmatch(header.lower())
        if found is None:
            return False
        allowed = {*LOOPBACK, *(host.lower() for host in self.hosts)}
        return found[1] in allowed or (self.token is not None and _is_address(found[1]))

    def is_token(self, shown: str) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is not None and hmac.compare_digest(_digest(shown), _digest(self.token))

    def is_cookie(self, shown: str) -> bool:
        """Whether this is the cookie, compared in constant time."""
        return self.token is not None and hmac.compare_digest(
            shown.encode("utf-8", "surrogateescape"), _digest(self.token).encode("ascii")
        )

    def cookie(self) -> str:
        """Return the value of the cookie: the token's SHA-256, so that any token fits."""
        return _digest(self.token or "")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
