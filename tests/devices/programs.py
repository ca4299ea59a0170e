"""Start the programs that stand in for cameras; skip where they are not installed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"
FAKE_GIGE = "arv-fake-gv-camera-0.8"
GIGE_PORT = 3956

_HERE = Path(__file__).parent
_NEEDS_GSTREAMER = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; "
    "Gst.init(None); assert Gst.ElementFactory.find('x264enc')"
)


class RtspCamera:
    """A server process. url : what it streams at."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, str(_HERE / "rtsp_server.py"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def need_rtsp() -> None:
    """Skip unless this machine can stream and receive RTSP."""
    pytest.importorskip("av", reason="RTSP needs the extra: pip install 'edgeapl[cameras]'")
    if not can_stream_rtsp():
        pytest.skip(
            "no RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
        )


def can_stream_rtsp() -> bool:
    """Whether the system's Python has what the RTSP server needs."""
    command = [SYSTEM_PYTHON, "-c", _NEEDS_GSTREAMER]
    there = Path(SYSTEM_PYTHON).exists()
    return there and not subprocess.run(command, capture_output=True, check=False).returncode


@contextmanager
def rtsp_camera(*options: str) -> Iterator[RtspCamera]:
    """Run an RTSP server; options as in rtsp_server.py."""
    need_rtsp()
    camera = RtspCamera(*options)
    try:
        yield camera
    finally:
        camera.kill()


@contextmanager
def gige_camera(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Aravis's fake GigE Vision camera on the loopback, one at a time on this machine."""
    if shutil.which(FAKE_GIGE) is None:
        pytest.skip(f"no {FAKE_GIGE}: apt install aravis-tools")
    with (Path(tempfile.gettempdir()) / "edgeapl-fake-gige.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start_gige(*options)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def start_gige(*options: str) -> subprocess.Popen[bytes]:
    """Start that camera until it listens; for who switched off that of `gige_camera`."""
    process = subprocess.Popen(
        [FAKE_GIGE, "-i", "lo", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _wait_for_port(process)
    return process


def need_micromanager() -> None:
    """Skip unless Micro-Manager and its DemoCamera are installed."""
    pytest.importorskip("pymmcore_plus", reason="needs the extra: pip install 'edgeapl[cameras]'")
    pytest.importorskip("mm_test_adapters", reason="no DemoCamera: pip install mm-test-adapters")


def _wait_for_port(process: subprocess.Popen[bytes]) -> None:
    """Wait until the camera listens."""
    listening = f":{GIGE_PORT:04X} "
    for _ in range(200):
        if process.poll() is not None:
            pytest.fail(f"{FAKE_GIGE} ended with {process.returncode}")
        if listening in Path("/proc/net/udp").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"{FAKE_GIGE} does not listen")
