"""Checks of `edgeapl doctor` for a running station and its systemd unit."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from edgeapl.doctor import Check, Health
from edgeapl.station.systemd_unit import INSTALLED, hidden_by, missing_from
from edgeapl.wording.numbers import plural

METRICS = "http://127.0.0.1:8765/metrics"
"""Address of the metrics that `edgeapl watch --page` serves by default."""

ANSWER_S = 2.0


def station_checks(metrics: str = METRICS, unit: Path = INSTALLED) -> tuple[Check, ...]:
    """Check for a running station on this machine and its systemd unit; changes nothing."""
    return (*_running(metrics), *_unit(unit))


def _running(address: str) -> Iterator[Check]:
    try:
        # The address is ours and http, never a file; the own machine needs no proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=ANSWER_S) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        text = f"{address} answers {error.code}: its page may ask for a token"
        yield Check("station", Health.NOTE, text)
        return
    except OSError:
        yield Check("station", Health.NOTE, f"none is running at {address}")
        return
    values = dict(re.findall(r"^(edgeapl_\w+) (\S+)$", text, re.MULTILINE))
    if not values:
        yield Check("station", Health.PROBLEM, f"{address} is something else's", 2)
        return
    restarts = values.get("edgeapl_camera_restarts_total", "0")
    slides = values.get("edgeapl_slides_total", "0")
    closed, again = plural(int(float(slides)), "slide"), plural(int(float(restarts)), "time")
    words = f"{closed} closed, camera restarted {again}"
    if float(values.get("edgeapl_camera_live", "0")) == 1:
        yield Check("station", Health.OK, f"runs, camera live, {words}")
    else:
        yield Check("station", Health.PROBLEM, f"runs, but its camera is not live; {words}", 6)


def _unit(path: Path) -> Iterator[Check]:
    write = f"edgeapl doctor --unit CAMERA > {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        yield Check("systemd unit", Health.NOTE, f"not installed: {write}")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Check("systemd unit", Health.PROBLEM, f"{path} cannot be read: {error}", 2)
        return
    missing, hidden = missing_from(text), hidden_by(text)
    if hidden:
        detail = f"{path} hides {', '.join(hidden)}: {write}"
        yield Check("systemd unit", Health.PROBLEM, detail, 2)
    elif missing:
        detail = f"{path} lacks {', '.join(missing)}: {write}"
        yield Check("systemd unit", Health.PROBLEM, detail, 2)
    else:
        yield Check("systemd unit", Health.OK, f"{path}: watchdog and hardening are set")
