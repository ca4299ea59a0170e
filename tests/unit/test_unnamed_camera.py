"""`edgeapl watch camera0` without a station file: the only camera, or what could be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeapl.cli.camera_choice import resolved_camera
from edgeapl.cli.main import run
from edgeapl.config import CameraConfig, StationConfig, load_station
from edgeapl.errors import CameraError, ConfigError
from edgeapl.sources.devices import inventory
from edgeapl.sources.devices.inventory import FoundCamera, Listing
from edgeapl.sources.devices.unnamed import lines_for

SCOPE = FoundCamera("aravis", 'Scope "1"\nCam', "aravis://GV01", "its serial number")
OTHER = FoundCamera("video", "Cam", "/dev/v4l/by-id/x", "the make")
PROGRAM = FoundCamera("micromanager", "DemoCamera", "mm://demo", "a program")


def there(monkeypatch: pytest.MonkeyPatch, *cameras: FoundCamera) -> None:
    monkeypatch.setattr(inventory, "find_all", lambda: Listing(cameras, ()))


def test_the_only_camera_is_taken_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there(monkeypatch, PROGRAM, SCOPE)
    assert resolved_camera("camera0", StationConfig()) == "aravis://GV01"
    assert "camera0 is the only camera that is there: Scope" in capsys.readouterr().err
    assert resolved_camera("demo://apl?seed=1", StationConfig()) == "demo://apl?seed=1"
    assert resolved_camera("folder", StationConfig()) == "folder"


@pytest.mark.parametrize(
    ("cameras", "error", "what"),
    [
        ((), CameraError, "no camera is there"),
        ((PROGRAM,), CameraError, "no camera is there but DemoCamera, a program"),
        ((SCOPE, OTHER, PROGRAM), ConfigError, "2 cameras are there"),
    ],
)
def test_else_the_lines_to_write_are_shown_and_work(
    cameras: tuple[FoundCamera, ...],
    error: type[ConfigError],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    there(monkeypatch, *cameras)
    with pytest.raises(error, match=what):
        resolved_camera("camera0", StationConfig())
    shown = capsys.readouterr().err
    for camera in cameras:
        lines = lines_for("camera0", camera)
        assert all(line in shown for line in lines)
        (tmp_path / "edgeapl.toml").write_text("\n".join(lines), encoding="utf-8")
        station = load_station(tmp_path / "edgeapl.toml")
        assert station.cameras["camera0"].source == camera.address


def test_a_station_file_with_other_cameras_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, SCOPE)
    config = StationConfig(cameras={"left": CameraConfig(source="0")})
    with pytest.raises(ConfigError, match=r"no camera has this name: camera0: .* left"):
        resolved_camera("camera0", config)


def test_cameras_are_listed_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there(monkeypatch, SCOPE)
    assert run(["cameras"]) == 0
    printed = capsys.readouterr()
    assert "aravis://GV01" in printed.out
    assert not printed.err
