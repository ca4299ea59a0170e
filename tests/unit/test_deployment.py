"""What stations are installed with and watched by, in deploy/: alarms, dashboard, containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edgeapl.station.systemd_unit import START_S
from tests.deployed import DEPLOY

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


CONTAINERS = sorted((DEPLOY / "containers").glob("*.Dockerfile"))


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda path: path.stem)
def test_a_container_runs_without_rights_and_tells_whether_it_is_well(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    base = next(line for line in lines if line.startswith("FROM "))
    assert re.fullmatch(r"FROM [\w./-]+:[\w.-]*\d[\w.-]*", base), "an image by its version"
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 880:880"]
    assert lines.index(users[0]) < next(
        number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT [")
    )
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert "--read-only" in text
    assert "Research use only" in text
    for copied in re.findall(r"/opt/archive/(containers/\S+\.py|constraints/\S+\.txt)", text):
        place = DEPLOY / copied if copied.startswith("containers") else DEPLOY.parent / copied
        assert place.is_file(), copied


def test_a_container_on_a_gpu_may_take_as_long_to_start_as_the_unit() -> None:
    """Kernels are compiled at the first start, and a container that is not well may be ended."""
    for file in CONTAINERS:
        (period,) = re.findall(r"--start-period=(\d+)s", file.read_text(encoding="utf-8"))
        assert (int(period) == START_S) is (file.stem != "cpu"), file.name


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda path: path.stem)
def test_hadolint_finds_nothing_in_a_container_file(file: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("needs hadolint")
    done = subprocess.run([program, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class _Page(BaseHTTPRequestHandler):
    """Answers as a station's page does to somebody with the token `word`."""

    metrics = ""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer word"
        self.send_response(200 if known and self.path == "/metrics" else 401)
        self.end_headers()
        self.wfile.write(self.metrics.encode() if known else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.mark.parametrize(
    ("metrics", "token", "code", "said"),
    [
        ("edgeapl_camera_live 1.0\n", "word", 0, ""),
        ("edgeapl_camera_live 0.0\n", "word", 1, "the camera is not live"),
        ("edgeapl_camera_live 1.0\n", "other", 1, "the page does not answer"),
        (None, "word", 1, "the page does not answer"),
    ],
)
def test_a_container_is_healthy_only_with_a_live_camera(
    metrics: str | None, token: str, code: int, said: str, tmp_path: Path
) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Page", (_Page,), {"metrics": metrics}))
    if metrics is None:
        server.server_close()
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    script = (DEPLOY / "containers/healthcheck.py").read_text(encoding="utf-8")
    moved = tmp_path / "healthcheck.py"
    moved.write_text(script.replace(":8765/", f":{server.server_port}/"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, moved],
        env={**os.environ, "EDGEAPL_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    if metrics is not None:
        server.shutdown()
        server.server_close()
    assert done.returncode == code
    assert done.stdout.startswith(said)
