"""Counters and gauges of a station, for Prometheus."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from edgeapl.capture.health import CameraHealth, CameraState
from edgeapl.station.access import WAITING
from edgeapl.station.station import Station
from edgeapl.types import Decision


def station_metrics(station: Station, health: CameraHealth, amendments: int) -> dict[str, Any]:
    """Return values by name, as `edgeapl.web.metrics.metrics_text` takes them.

    Parameters
    ----------
    station : at work.
    health : of its camera.
    amendments : how many cells people have called otherwise since the start.
    """
    counts = station.counts()
    open_now, slowest_s = counts.pop("slide_open"), counts.pop("slowest_s")
    certificate = station.hosted.model.clearing.certificate
    return {
        **{f"edgeapl_{name}_total": value for name, value in counts.items()},
        "edgeapl_amendments_total": amendments,
        "edgeapl_flags_unacknowledged": float(len(station.alerts.unacknowledged)),
        "edgeapl_flag_commands_failed_total": station.alerts.failures,
        "edgeapl_slide_state": _slide_states(station),
        "edgeapl_camera_live": float(health.state is CameraState.LIVE),
        "edgeapl_camera_received_total": health.received,
        "edgeapl_camera_dropped_total": health.dropped,
        "edgeapl_camera_restarts_total": health.restarts,
        "edgeapl_network_restarts_total": station.hosted.restarts,
        "edgeapl_slide_open": open_now,
        "edgeapl_slowest_commit_seconds": slowest_s,
        "edgeapl_budget_seconds": station.options.budget_s,
        # None where there is no certificate: then it is left out, and no alarm can ask for it.
        "edgeapl_certificate_holds": None
        if certificate is None
        else float(not station.standing.last),
        "edgeapl_slides_unlike_recent": None if certificate is None else station.standing.unlike,
        "edgeapl_disk_free_bytes": {
            "results": _free_bytes(station.options.out),
            "journal": _free_bytes(station.journal.path.parent),
        },
    }


def _slide_states(station: Station) -> dict[str, float]:
    """Return 1 for the state of the open slide, 0 for all others."""
    snapshot = station.snapshot()
    now = ""
    if snapshot is not None and snapshot.open:
        decision = snapshot.view(time.monotonic_ns()).decision
        now = WAITING if decision is None else decision.value
    names = (WAITING, *(decision.value for decision in Decision))
    return {name.replace(" ", "_"): float(name == now) for name in names}


def _free_bytes(folder: Path) -> float | None:
    """Return how many bytes are free where `folder` lies; None while it cannot be told."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return None
