"""The station file is read strictly and its mistakes are named with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeapl.config import StationConfig, load_station
from edgeapl.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "edgeapl.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'results = "out"\n[cameras.camera0]\nsource = "0"\num_per_px = 0.1\n')
    config = load_station(path)
    assert config.results == tmp_path / "out"
    assert config.cameras["camera0"].um_per_px == 0.1


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("mm://scope.cfg", "mm://scope.cfg?exposure_ms=20"),
        ("aravis://GV01?socket=1", "aravis://GV01?socket=1&exposure_us=20000"),
    ],
)
def test_a_cameras_exposure_goes_into_its_address(
    tmp_path: Path, source: str, address: str
) -> None:
    text = f"[cameras.camera0]\nsource = '{source}'\nexposure_ms = 20\nserial = 'X1'\n"
    camera = load_station(written(tmp_path, text)).cameras["camera0"]
    assert camera.address == address


def test_a_mark_before_the_text_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "edgeapl.toml"
    path.write_bytes(b"\xef\xbb\xbfthreads = 3\n")
    assert load_station(path).threads == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads = 2\nbudle = 'x'\n", ["unknown setting", "budle", "line 2", "'bundle'?"]),
        ("[cameras.a]\nsource = '0'\n\nserail = 'x'\n", ["cameras.a.serail", "line 4"]),
        ("threads = 1\num_per_px = nan\n", ["um_per_px", "line 2"]),
        ("um_per_px = -0.1\n", ["um_per_px", "line 1"]),
        ("batch_size = 0\n", ["batch_size", "line 1"]),
        ("threads = \n", ["not valid TOML"]),
        ("[cameras.A]\nsource = '0'\n", ["cameras.A", "line 1"]),
        (
            "[cameras.a]\nsource = 'rtsp://h/x'\nexposure_ms = 5\n",
            ["cameras.a", "line 1", "set it in the driver"],
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_station(written(tmp_path, text))
    for part in said:
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_station_file_means_defaults_but_a_named_one_must_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_station() == StationConfig()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_station(tmp_path / "other.toml")
