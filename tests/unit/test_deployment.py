"""What stations are installed with and watched by, in deploy/: alarms, dashboard, containers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = (DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8")
ALERT_TESTS = (DEPLOY / "prometheus/alerts_test.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((DEPLOY / "grafana/stations.json").read_text(encoding="utf-8"))


def test_every_alarm_is_tried_where_it_must_be_raised_and_where_it_must_not() -> None:
    alarms = re.findall(r"- alert: (\w+)", ALERTS)
    assert len(alarms) == len(set(alarms)) >= 6
    for alarm in alarms:
        assert f"- name: {alarm} is raised" in ALERT_TESTS
        assert f"- name: {alarm} is not raised" in ALERT_TESTS


def test_promtool_takes_the_alarms_and_they_are_raised_as_promised() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    for verb, file in (("check", "alerts.yml"), ("test", "alerts_test.yml")):
        done = subprocess.run(
            [program, verb, "rules", file],
            cwd=DEPLOY / "prometheus",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_says_research_use_only_and_its_panels_do_not_overlap() -> None:
    assert "Research use only" in DASHBOARD["description"]
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        assert all(target["expr"] for target in panel["targets"])
