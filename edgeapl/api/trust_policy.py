"""What a station file requires of bundles, for programs that run on a station."""

from __future__ import annotations

import os
from pathlib import Path

from edgeapl.bundle.trust import Trust, read_trust
from edgeapl.config import load_station


def station_trust(station: str | os.PathLike[str] | None) -> Trust | None:
    """Return what a station file requires of bundles and engines; None without a file.

    Raises ConfigError when the file is missing or wrong.
    """
    if station is None:
        return None
    config = load_station(Path(station))
    return read_trust(config.trusted_keys, config.oldest_versions)
