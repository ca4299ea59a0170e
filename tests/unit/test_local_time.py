"""Times for people say where they are."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest

from edgeapl.wording.local_time import local_time

EAST = timezone(timedelta(hours=5, minutes=30))
WEST = timezone(-timedelta(hours=8))


@pytest.mark.parametrize(
    ("time", "zone", "shown"),
    [
        ("2026-01-05T10:20:30+00:00", timezone.utc, "2026-01-05 10:20 UTC"),
        ("2026-01-05T10:20:30Z", EAST, "2026-01-05 15:50 UTC+05:30"),
        ("2026-01-05T03:20:30.123456+00:00", WEST, "2026-01-04 19:20 UTC-08:00"),
        ("2026-01-05T10:20:30", EAST, "2026-01-05 15:50 UTC+05:30"),
        ("2026-01-05T10:20:30+01:00", timezone.utc, "2026-01-05 09:20 UTC"),
        ("edited", EAST, "edited"),
        ("", EAST, ""),
    ],
)
def test_a_time_is_local_and_says_its_offset(time: str, zone: timezone, shown: str) -> None:
    assert local_time(time, zone=zone) == shown


def test_seconds_are_written_when_they_are_asked_for() -> None:
    assert local_time("2026-01-05T10:20:30Z", seconds=True, zone=EAST) == (
        "2026-01-05 15:50:30 UTC+05:30"
    )
