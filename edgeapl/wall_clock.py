"""The time of day, for timestamps; deadlines use the monotonic clock."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(timezone.utc)
