"""Times for people: local, with the offset from UTC. Programs get UTC."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo


def local_time(time: str, *, seconds: bool = False, zone: tzinfo | None = None) -> str:
    """Return ``2026-01-05 11:20 UTC+01:00`` for a time in ISO 8601, UTC unless it says otherwise.

    Parameters
    ----------
    seconds : write them as well. zone : the local one by default.

    A text that is not a time, as in an edited row of a journal, is returned unchanged.
    """
    try:
        parsed = datetime.fromisoformat(time.replace("Z", "+00:00"))
    except ValueError:
        return time
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=timezone.utc)
    local = parsed.astimezone(zone)
    offset = local.isoformat()[-6:]
    text = local.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
    return f"{text} UTC" if offset == "+00:00" else f"{text} UTC{offset}"
