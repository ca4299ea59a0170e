"""GigE Vision cameras on a network that loses packets, or that are unplugged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeapl.errors import CameraError, EndOfSource, SourceStalled
from edgeapl.sources.devices.aravis import AravisSource
from tests.devices.programs import gige_camera
from tests.pictures import stated_scale

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "aravis://GV01?socket=1&packet_size=1400&pixel_format=RGB8"


def lost_packets(per_thousand: int) -> tuple[str, str]:
    return "-r", str(per_thousand)


@pytest.mark.slow
def test_incomplete_pictures_are_refused_and_leave_gaps() -> None:
    """A picture has 570 packets: of a thousand lost four, few pictures are whole."""
    with gige_camera(*lost_packets(4)), AravisSource(ADDRESS, stated_scale) as source:
        frames = [source.read(20.0) for _ in range(3)]
        assert source.refused > 0
        assert frames[-1].index >= source.refused
        assert all((frame.pixels.max(axis=(0, 1)) == 255).all() for frame in frames)


@pytest.mark.slow
def test_a_camera_without_one_whole_picture_says_what_is_wrong() -> None:
    with gige_camera(*lost_packets(100)), AravisSource(ADDRESS, stated_scale) as source:
        with pytest.raises(SourceStalled, match="pictures come incomplete") as caught:
            source.read(2.0)
        assert "packet_size" in caught.value.mend


CRASHES = """
import os, sys
from edgeapl.sources.devices.aravis import AravisSource
from tests.pictures import stated_scale
source = AravisSource(sys.argv[1], stated_scale)
source.read(5.0)
os._exit(9)
"""


@pytest.mark.slow
def test_a_camera_whose_program_crashed_is_opened_again() -> None:
    """It still streams, to a program that is gone."""
    with gige_camera():
        command = [sys.executable, "-c", CRASHES, ADDRESS]
        crashed = subprocess.run(command, cwd=ROOT, check=False)
        assert crashed.returncode == 9
        with AravisSource(ADDRESS, stated_scale) as source:
            assert source.read(5.0).height == 512


@pytest.mark.slow
def test_a_camera_that_is_unplugged_is_an_error_for_good() -> None:
    with gige_camera() as camera, AravisSource(ADDRESS, stated_scale) as source:
        source.read(5.0)
        camera.kill()
        error: CameraError | None = None
        for _ in range(20):
            try:
                source.read(1.0)
            except SourceStalled:
                continue
            except CameraError as caught:
                error = caught
                break
        assert error is not None
        assert error.what == "camera is lost"
        with pytest.raises(CameraError, match="camera is lost"):
            source.read(1.0)
    with pytest.raises(EndOfSource):
        source.read(1.0)
