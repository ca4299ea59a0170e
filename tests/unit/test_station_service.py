"""What systemd is told, what its unit holds, and what the doctor says of both."""

from __future__ import annotations

import grp
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edgeapl.doctor import Health
from edgeapl.engines.hosted.service import OPENING_S
from edgeapl.station import checks
from edgeapl.station.checks import station_checks
from edgeapl.station.systemd_notifier import SystemdNotifier
from edgeapl.station.systemd_unit import hidden_by, missing_from, unit_text

NOWHERE = "http://127.0.0.1:1/metrics"


def test_systemd_hears_of_the_start_of_life_and_of_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    now = [0.0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(2)
        settings = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "9000000"}
        supervisor = SystemdNotifier(settings, lambda: now[0])
        supervisor.ready()
        for second in range(10):
            now[0] = second
            supervisor.alive("camera live,\n2 slides")
        supervisor.stopping()
        said = [heard.recv(200).decode() for _ in range(6)]
    life = "WATCHDOG=1\nSTATUS=camera live, 2 slides"
    assert said == ["READY=1", life, life, life, life, "STOPPING=1"]


def test_without_systemd_nothing_is_said() -> None:
    supervisor = SystemdNotifier({})
    supervisor.ready()
    supervisor.alive("x")
    supervisor.stopping()


def test_the_unit_is_what_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "edgeapl.service"
    unit.write_text(unit_text("camera0", Path("/bin/true")))
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert "edgeapl.service" not in done.stderr, done.stderr
    assert done.returncode == 0


def unit_on(dev: Path) -> str:
    return unit_text("camera0", Path("/bin/true"), dev=dev, groups="video")


def test_a_unit_lets_the_station_open_the_gpu_of_a_jetson(tmp_path: Path) -> None:
    dev = tmp_path / "dev"
    for name in ("nvmap", "nvhost-ctrl", "nvhost-as-gpu", "nvgpu/igpu0/ctrl", "null", "sda"):
        (dev / name).parent.mkdir(parents=True, exist_ok=True)
        (dev / name).touch()
    text = unit_on(dev)
    opened = [line.split("=")[1] for line in text.splitlines() if line.startswith("DeviceAllow=/")]
    names = ("nvgpu/igpu0/ctrl", "nvhost-as-gpu", "nvhost-ctrl", "nvmap")
    assert opened == [f"/dev/{name} rw" for name in names]
    assert hidden_by(text, dev) == ()
    assert hidden_by(unit_on(tmp_path), dev) == tuple(f"/dev/{name}" for name in names)
    assert hidden_by(text, tmp_path / "none") == ()


def test_the_doctor_finds_a_unit_that_hides_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = tmp_path / "edgeapl.service"
    unit.write_text(unit_on(tmp_path))
    monkeypatch.setattr(checks, "hidden_by", lambda text: ("/dev/nvmap",))
    _, check = station_checks(NOWHERE, unit)
    assert check.health is Health.PROBLEM
    assert "hides /dev/nvmap" in check.detail


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_a_unit_waits_for_a_gpu_and_for_all_that_is_opened_on_it(tmp_path: Path) -> None:
    found = settings(unit_on(tmp_path))
    (starts,) = found["TimeoutStartSec"]
    # Three processes of networks, and the bundle's own when engines took as long and then failed.
    assert int(starts) > 2 * 3 * OPENING_S - OPENING_S
    # The module is there before systemd looks which devices the service may open.
    assert found["Wants"] == ["modprobe@nvidia_uvm.service"]
    assert "modprobe@nvidia_uvm.service" in found["After"][0]
    (before,) = found["ExecStartPre"]
    assert before.startswith("+")
    assert "nvidia-modprobe -u -c=0" in before
    assert "char-nvidia* rwm" in found["DeviceAllow"]


def test_a_unit_names_no_group_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_video(name: str) -> None:
        if name != "video":
            raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", only_video)
    assert settings(unit_text("camera0"))["SupplementaryGroups"] == ["video"]


LINES = ["WatchdogSec=20", "Type=notify", "ProtectSystem=strict", "TimeoutStartSec=1800"]


@pytest.mark.parametrize("line", LINES)
def test_a_unit_without_watchdog_or_hardening_is_found(tmp_path: Path, line: str) -> None:
    text = unit_text("camera0", Path("/bin/true"))
    assert missing_from(text) == ()
    unit = tmp_path / "edgeapl.service"
    unit.write_text(text.replace(f"{line}\n", ""))
    station, check = station_checks(NOWHERE, unit)
    assert check.health is Health.PROBLEM
    assert line in check.detail
    assert station.health is Health.NOTE


@contextmanager
def answering(text: str, code: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()


@pytest.mark.parametrize(
    ("text", "code", "health", "words"),
    [
        ("edgeapl_camera_live 1.0\nedgeapl_slides_total 3.0\n", 200, Health.OK, "3 slides"),
        ("edgeapl_camera_live 0.0\n", 200, Health.PROBLEM, "not live"),
        ("<html>", 200, Health.PROBLEM, "something else"),
        ("", 401, Health.NOTE, "token"),
    ],
)
def test_the_doctor_says_how_a_running_station_is(
    tmp_path: Path, text: str, code: int, health: Health, words: str
) -> None:
    with answering(text, code) as address:
        station, unit = station_checks(address, tmp_path / "none.service")
    assert station.health is health
    assert words in station.detail
    assert unit.health is Health.NOTE
