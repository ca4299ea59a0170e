"""Names of the metrics that the files of deploy/ ask of a station."""

from __future__ import annotations

import re
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


def metrics_asked_for() -> set[str]:
    """Return the names of metrics in the alarms and in the dashboard."""
    files = (DEPLOY / "prometheus/alerts.yml", DEPLOY / "grafana/stations.json")
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    return set(re.findall(r"\bedgeapl_[a-z_]+", text))
