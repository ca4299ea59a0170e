"""Moments, numbers, colours and names of cameras, and what `edgeapl cameras` lists."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from edgeapl.cli.cameras import cameras
from edgeapl.errors import CameraError, ConfigError
from edgeapl.sources.devices import aravis_library, inventory, v4l
from edgeapl.sources.devices.aravis import AravisSource
from edgeapl.sources.devices.aravis_pictures import rgb_of_memory
from edgeapl.sources.devices.colour import MOSAICS, as_rgb, eight_bits, rgb_of_mosaic
from edgeapl.sources.devices.gstreamer import GstreamerSource
from edgeapl.sources.devices.micromanager import MicroManagerSource
from edgeapl.sources.devices.options import split_options, whole_number, yes_or_no
from edgeapl.sources.devices.rtsp import RtspSource, shown_address
from edgeapl.sources.devices.timestamps import CaptureTimes, FrameNumbers, PresentationTimes
from edgeapl.testing import FakeClock
from tests.pictures import stated_scale

SECOND = 10**9


# Moments and numbers


@pytest.mark.parametrize(
    ("age_s", "expected_s"),
    [
        (0.25, 9.75),
        (None, 10.0),
        (-3600.0, 10.0),  # the wall clock was set back
        (3600.0, 9.0),  # the wall clock was set forward: at most since the driver had none
    ],
)
def test_a_picture_is_as_old_as_the_driver_says_within_reason(
    age_s: float | None, expected_s: float
) -> None:
    clock = FakeClock(9 * SECOND)
    moments = CaptureTimes(clock)
    clock.move(1)
    age_ns = None if age_s is None else int(age_s * SECOND)
    assert moments.captured_ns(age_ns) == expected_s * SECOND


def test_moments_never_run_backwards() -> None:
    clock = FakeClock(0)
    moments = CaptureTimes(clock)
    clock.move(5)
    first = moments.captured_ns(SECOND)
    clock.move(0.1)
    assert moments.captured_ns(4 * SECOND) == first
    moments.none_waiting()
    assert moments.captured_ns(4 * SECOND) == 5.1 * SECOND


def test_a_stream_is_late_against_its_quickest_picture() -> None:
    times = PresentationTimes()
    # The camera's zero is 100 s before ours; the second picture comes quickest.
    arrivals = [(100.0, 0.3), (100.1, 0.1), (100.2, 1.5), (100.3, 0.35)]
    late = [times.late_ns(int(s * SECOND), int(a * SECOND)) / SECOND for s, a in arrivals]
    assert late == pytest.approx([0, 0, 1.3, 0.05], abs=0.002)


def test_a_clock_that_drifts_does_not_make_a_stream_late_for_ever() -> None:
    times = PresentationTimes()
    hours = range(0, 10 * 3600, 60)
    # The camera's clock loses a tenth of a millisecond per second: 3.6 s in ten hours.
    late = [times.late_ns(int(at * 0.9999 * SECOND), at * SECOND) for at in hours]
    assert max(late) < 0.1 * SECOND


@pytest.mark.parametrize(
    ("numbers", "wraps_at", "indices"),
    [
        ([7, 8, 9], None, [0, 1, 2]),
        ([7, 8, 11, 12], None, [0, 1, 4, 5]),
        ([None, None, None], None, [0, 1, 2]),
        ([65533, 65535, 1, 2], 65535, [0, 2, 3, 4]),  # 0 is left out, as GigE Vision does
        ([65534, 3], 65535, [0, 4]),
        ([500, 1, 2], 65535, [0, 1, 2]),  # the camera was started anew
        ([500, 500], None, [0, 1]),
    ],
)
def test_gaps_in_the_numbers_are_gaps_in_the_index(
    numbers: list[int | None], wraps_at: int | None, indices: list[int]
) -> None:
    counter = FrameNumbers(wraps_at)
    assert [counter.index_of(number) for number in numbers] == indices


def test_a_picture_without_a_number_that_cannot_be_used_leaves_a_gap() -> None:
    counter = FrameNumbers()
    counter.index_of(None)
    counter.skip()
    assert counter.index_of(None) == 2


# Colours


@pytest.mark.parametrize("mosaic", list(MOSAICS))
def test_mosaics_keep_red_red(mosaic: str) -> None:
    colours = {"R": 200, "G": 50, "B": 90}
    raw = np.zeros((16, 16), np.uint8)
    for at, letter in enumerate(mosaic):
        raw[at // 2 :: 2, at % 2 :: 2] = colours[letter]
    assert (rgb_of_mosaic(raw, mosaic) == (200, 50, 90)).all()


def test_deep_pixels_keep_their_upper_bits() -> None:
    deep = np.array([[0, 4095, 2048, 15]], np.uint16)
    assert eight_bits(deep, 12, "camera").tolist() == [[0, 255, 128, 0]]
    with pytest.raises(CameraError, match="above the 11 bits that it states"):
        eight_bits(deep, 11, "camera")


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [
        ((4, 4), np.uint8, "without colour"),
        ((4, 4, 3), np.uint32, "not understood"),
        ((4, 4, 3), np.float32, "not understood"),
        ((4, 4, 2), np.uint8, "not understood"),
        ((4, 4, 4), np.uint8, "not understood"),
    ],
)
def test_pictures_without_a_sure_colour_are_refused(
    shape: tuple[int, ...], dtype: Any, what: str
) -> None:
    with pytest.raises(CameraError, match=what):
        as_rgb(np.zeros(shape, dtype), 8, "camera", mosaic="", grey=False)


@pytest.mark.parametrize(
    ("kind", "memory", "pixel"),
    [
        ("RGB8", [1, 2, 3] * 4, [1, 2, 3]),
        ("BGR8", [3, 2, 1] * 4, [1, 2, 3]),
        ("BayerRG8", [9, 5, 5, 7], [9, 5, 7]),
        ("BayerBG8", [7, 5, 5, 9], [9, 5, 7]),
        ("BayerGR8", [5, 9, 7, 5], [9, 5, 7]),
        ("BayerGB8", [5, 7, 9, 5], [9, 5, 7]),
        ("Mono8", [4] * 4, [4, 4, 4]),
        ("RGB8", [1, 2, 3] * 4 + [0] * 9, [1, 2, 3]),  # padded at its end
    ],
)
def test_pixel_formats_come_out_as_rgb(kind: str, memory: list[int], pixel: list[int]) -> None:
    bayer = kind.startswith("Bayer")
    # A mosaic needs some neighbours: 6 x 6 of the same four pixels.
    raw = np.tile(np.array(memory, np.uint8).reshape(2, 2), (3, 3)) if bayer else np.array(memory)
    data = raw.astype(np.uint8).tobytes()
    side = 6 if bayer else 2
    buffer = ctypes.create_string_buffer(data, len(data))
    picture = rgb_of_memory(kind, ctypes.addressof(buffer), len(data), side, side)
    assert picture is not None
    assert picture.shape == (side, side, 3)
    assert (picture == pixel).all()


@pytest.mark.parametrize(
    ("kind", "size", "width"), [("RGB8", 11, 2), ("", 12, 2), ("RGB8", 12, 0), ("RGB8", 12, -2)]
)
def test_memory_that_does_not_hold_the_picture_is_none(kind: str, size: int, width: int) -> None:
    buffer = ctypes.create_string_buffer(12)
    assert rgb_of_memory(kind, ctypes.addressof(buffer), size, width, 2) is None
    assert rgb_of_memory(kind, None, size, width, 2) is None


# Addresses


def test_options_of_an_address_are_checked() -> None:
    checks = {"size": whole_number(1, 9), "on": yes_or_no}
    assert split_options("x://a%20b?size=3&on=1", "x://", checks) == (
        "a b",
        {"size": 3, "on": True},
    )
    for query in ("size=10", "size=-1", "size=", "size=٣", "on=yes", "of=1", "on=1&on=1"):
        with pytest.raises(ConfigError, match="camera option is"):
            split_options(f"x://a?{query}", "x://", checks)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://10.0.0.7/a", "rtsp://10.0.0.7/a"),
        ("rtsp://u:p@h:554/a?token=1", "rtsp://***@h:554/a?***"),
        ("rtsps://u@[fe80::1]:322/a", "rtsps://***@[fe80::1]:322/a"),
    ],
)
def test_addresses_are_shown_without_their_secrets(address: str, shown: str) -> None:
    assert shown_address(address) == shown


# What is missing is one line that says what to install


@pytest.mark.parametrize(
    ("make", "module", "mend"),
    [
        (lambda: RtspSource("rtsp://h/a", stated_scale), "av", "edgeapl[cameras]"),
        (
            lambda: MicroManagerSource("mm://demo", stated_scale),
            "pymmcore_plus",
            "edgeapl[cameras]",
        ),
    ],
)
def test_a_missing_package_names_the_extra(
    make: Any, module: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CameraError) as caught:
        make()
    assert mend in caught.value.mend


def test_a_missing_democamera_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymmcore_plus")
    monkeypatch.setitem(sys.modules, "mm_test_adapters", None)
    with pytest.raises(CameraError, match="pip install mm-test-adapters"):
        MicroManagerSource("mm://demo", stated_scale)


def test_missing_aravis_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis_library, "LIBRARY", "libaravis-0.0.so")
    with pytest.raises(CameraError, match=r"apt install libaravis-0\.8-0"):
        AravisSource("aravis://GV01", stated_scale)


# GStreamer


class _Pipeline:
    def __init__(self, *answers: tuple[bool, Any]) -> None:
        self.answers = list(answers)
        self.released = False

    def read(self) -> tuple[bool, Any]:
        return self.answers.pop(0)

    def release(self) -> None:
        self.released = True


END = "appsink drop=true max-buffers=1"


@pytest.mark.parametrize(
    ("pipeline", "what"),
    [
        ("videotestsrc ! fakesink", "does not end in appsink"),
        ("", "does not end in appsink"),
        ("videotestsrc ! appsink", "would give old pictures"),
        ("videotestsrc ! appsink drop=true", "would give old pictures"),
    ],
)
def test_a_pipeline_must_keep_the_newest_picture(pipeline: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        GstreamerSource(f"gst://{pipeline}", stated_scale, open_pipeline=lambda _: _Pipeline())


def test_an_opencv_without_gstreamer_says_so() -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(CameraError, match="OpenCV has no GStreamer"):
        GstreamerSource(f"gst://videotestsrc ! {END}", stated_scale)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((False, None), "no more pictures"),
        ((True, np.zeros((4, 4), np.uint8)), "no 8-bit colour"),
    ],
)
def test_a_pipeline_that_fails_stays_failed(answer: tuple[bool, Any], what: str) -> None:
    good = (True, np.full((4, 4, 3), (1, 2, 3), np.uint8))
    pipeline = _Pipeline(good, answer)
    source = GstreamerSource(
        f"gst://videotestsrc ! {END}", stated_scale, open_pipeline=lambda _: pipeline
    )
    assert source.read(1.0).pixels[0, 0].tolist() == [3, 2, 1]
    for _ in range(2):
        with pytest.raises(CameraError, match=what):
            source.read(1.0)
    source.close()
    assert pipeline.released


# Video4Linux


class Machine:
    """A made-up /dev and /sys."""

    def __init__(self, root: Path) -> None:
        self.dev = root / "dev"
        self.sys = root / "sys"
        for kind in ("by-id", "by-path"):
            (self.dev / "v4l" / kind).mkdir(parents=True)
        (self.sys / "class" / "video4linux").mkdir(parents=True)

    def plug(self, number: int, card: str, port: str, serial: str = "", by_id: str = "") -> None:
        """Plug a USB camera in."""
        usb = self.sys / "devices" / port
        interface = usb / f"{port}:1.0"
        interface.mkdir(parents=True, exist_ok=True)
        (usb / "idVendor").write_text("046d\n")
        (usb / "idProduct").write_text("0825\n")
        if serial:
            (usb / "serial").write_text(f"{serial}\n")
        node = self.sys / "class" / "video4linux" / f"video{number}"
        node.mkdir()
        (node / "name").write_text(f"{card}\n")
        (node / "device").symlink_to(interface)
        (self.dev / f"video{number}").write_bytes(b"")
        self.link("by-path", f"pci-usb-{port}-video-index0", number)
        if by_id:
            self.link("by-id", by_id, number)

    def link(self, kind: str, name: str, number: int) -> None:
        (self.dev / "v4l" / kind / name).symlink_to(f"../../video{number}")

    def describe(self, number: int) -> v4l.VideoCamera:
        return v4l.describe(number, self.dev, self.sys)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_camera_with_a_serial_number_is_known_by_it(machine: Machine) -> None:
    machine.plug(2, "Scope Cam", "1-2", serial="A1B2", by_id="usb-Scope_A1B2-video-index0")
    camera = machine.describe(2)
    assert camera.identity == "Scope Cam 046d:0825 A1B2"
    assert camera.stable_name.endswith("/v4l/by-id/usb-Scope_A1B2-video-index0")


def test_the_same_camera_in_another_socket_with_another_number_is_the_same(
    tmp_path: Path,
) -> None:
    before, after = Machine(tmp_path / "before"), Machine(tmp_path / "after")
    before.plug(0, "Scope Cam", "1-2", serial="A1B2")
    after.plug(4, "Scope Cam", "3-1", serial="A1B2")
    assert before.describe(0).identity == after.describe(4).identity


def test_another_camera_behind_the_same_number_is_another(tmp_path: Path) -> None:
    before, after = Machine(tmp_path / "before"), Machine(tmp_path / "after")
    before.plug(0, "Scope Cam", "1-2", serial="A1B2")
    after.plug(0, "Scope Cam", "1-2", serial="A1B3")
    assert before.describe(0).identity != after.describe(0).identity


def test_two_of_a_make_without_serial_numbers_are_told_apart_by_socket(machine: Machine) -> None:
    # Both would own the link by id: the system gives it to the one that came last.
    machine.plug(0, "Cheap Cam", "1-1")
    machine.plug(1, "Cheap Cam", "1-2", by_id="usb-Cheap-video-index0")
    first, second = machine.describe(0), machine.describe(1)
    assert first.identity != second.identity
    assert second.stable_name.endswith("/v4l/by-path/pci-usb-1-2-video-index0")


def test_a_camera_that_the_system_knows_little_of_keeps_its_number(machine: Machine) -> None:
    (machine.dev / "video7").write_bytes(b"")
    camera = machine.describe(7)
    assert (camera.identity, camera.stable_name) == ("", "/dev/video7")


def test_numbers_paths_and_links_lead_to_the_same_camera(machine: Machine, tmp_path: Path) -> None:
    machine.plug(12, "Scope Cam", "1-2", serial="A", by_id="usb-A-video-index0")
    link = machine.dev / "v4l" / "by-id" / "usb-A-video-index0"
    for address in ("12", str(machine.dev / "video12"), str(link)):
        assert v4l.number_of(address, machine.dev) == 12
    elsewhere = tmp_path / "video12"
    elsewhere.write_bytes(b"")
    for address in ("13", str(elsewhere), str(machine.dev / "v4l"), "x\0", "99999"):
        with pytest.raises(CameraError, match="no such camera"):
            v4l.number_of(address, machine.dev)


class _Webcam:
    """Gives one picture over and over."""

    def read(self) -> tuple[bool, Any]:
        return True, np.full((4, 6, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        pass


def test_a_camera_opened_by_a_link_says_who_it_is(machine: Machine) -> None:
    machine.plug(3, "Scope Cam", "1-2", serial="A", by_id="usb-A-video-index0")
    link = str(machine.dev / "v4l" / "by-id" / "usb-A-video-index0")
    opened: list[int] = []

    def open_device(number: int) -> _Webcam:
        opened.append(number)
        return _Webcam()

    for address in (link, "3"):
        with v4l.V4lSource(
            address, stated_scale, open_device=open_device, dev=machine.dev, sys=machine.sys
        ) as source:
            frame = source.read(5.0)
            assert frame.pixels[0, 0].tolist() == [3, 2, 1]
            assert frame.source.startswith(address)
            assert (source.name, source.stable_name) == (address, link)
            assert source.identity == "Scope Cam 046d:0825 A"
    assert opened == [3, 3]


def test_nodes_without_pictures_are_no_cameras(machine: Machine) -> None:
    for number in (10, 9, 2):
        machine.plug(number, f"Cam {number}", f"1-{number}")
    (machine.dev / "video-notes").write_bytes(b"")
    found = v4l.list_cameras(machine.dev, machine.sys, lambda path: path.name != "video9")
    assert [camera.number for camera in found] == [2, 10]


def test_a_file_that_is_no_camera_gives_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    assert not v4l.gives_pictures(tmp_path / "video0")


# edgeapl cameras


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import time; time.sleep(60)", "did not answer within 0.5 s"),
        ("import os; os.abort()", "crashed (signal 6)"),
        ("import sys; sys.exit(3)", "failed (exit code 3)"),
        ("print('[]')", "failed (exit code 0)"),
        ('print(\'{"why": "no \\\\u001b library"}\')', "no \\x1b library"),
    ],
)
def test_drivers_that_hang_or_crash_do_not_take_the_listing_along(text: str, why: str) -> None:
    limit_s = 0.5 if "sleep" in text else 20.0
    found = inventory.find_all(limit_s=limit_s, command=program(text))
    reasons = {missing.kind: missing.why for missing in found.not_searched}
    assert why in reasons["video"]
    assert why in reasons["aravis"]
    assert "rtsp" in reasons


def test_no_file_of_the_working_folder_is_imported_by_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert not any("exit code 9" in missing.why for missing in inventory.find_all().not_searched)


def test_cameras_are_listed_under_the_name_that_stays(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.plug(0, "Scope Cam", "1-2", serial="A1", by_id="usb-Scope_A1-video-index0")
    machine.plug(1, "Cheap Cam", "1-3", by_id="usb-Cheap-video-index0")
    (machine.dev / "video5").write_bytes(b"")
    found = v4l.list_cameras(machine.dev, machine.sys, lambda _: True)
    monkeypatch.setattr(v4l, "list_cameras", lambda: found)
    inventory.main("video")
    rows = json.loads(capsys.readouterr().out)["cameras"]
    assert [row["address"].rsplit("/", 1)[-1] for row in rows] == [
        "usb-Scope_A1-video-index0",
        "pci-usb-1-3-video-index0",
        "video5",
    ]
    assert [row["stays"].split(":")[0] for row in rows] == [
        "the camera with serial number A1",
        "the socket 1-3",
        "nothing",
    ]


def test_the_command_prints_one_json_document(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = inventory.FoundCamera("aravis", "Scope", "aravis://A", "the camera")
    missing = inventory.NotSearched("video", "its driver crashed")
    monkeypatch.setattr(inventory, "find_all", lambda: inventory.Listing((camera,), (missing,)))
    app = typer.Typer()
    app.command()(cameras)
    done = CliRunner().invoke(app, ["--json"])
    document = json.loads(done.stdout)
    assert document["cameras"][0]["address"] == "aravis://A"
    assert document["not_searched"] == [{"kind": "video", "why": "its driver crashed"}]
    people = CliRunner().invoke(app, [])
    assert people.exit_code == 0
    assert "aravis://A" in people.output
    assert "not searched: video: its driver crashed" in people.output
