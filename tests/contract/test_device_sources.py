"""Cameras behind drivers and networks keep the promises of every source, for real."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeapl.errors import CameraError, ConfigError, EndOfSource, SourceStalled
from edgeapl.protocols import FrameSource
from edgeapl.sources.devices.aravis import AravisSource
from edgeapl.sources.devices.aravis_library import find_cameras
from edgeapl.sources.devices.gstreamer import GstreamerSource
from edgeapl.sources.devices.inventory import find_all
from edgeapl.sources.devices.micromanager import MicroManagerSource
from edgeapl.sources.devices.rtsp import RtspSource
from edgeapl.types import Frame, ScaleOrigin, UInt8
from tests.devices.lossy_proxy import lossy
from tests.devices.picture_folder import FOLDER, PICTURES_CONFIG
from tests.devices.programs import RtspCamera, gige_camera, need_micromanager, rtsp_camera
from tests.pictures import encoded, field, stated_scale

pytestmark = pytest.mark.slow

COUNT = 3
GIGE = "aravis://GV01?socket=1&packet_size=1400"
DEMO = "mm://demo?width=320&height=240"


def assumed_scale(pixels: UInt8) -> tuple[float, ScaleOrigin]:
    return 0.5, ScaleOrigin.ASSUMED


@pytest.fixture(scope="module")
def rtsp_server() -> Iterator[RtspCamera]:
    with rtsp_camera() as camera:
        yield camera


@pytest.fixture(scope="module")
def gige() -> Iterator[None]:
    with gige_camera():
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[UInt8]]:
    """Fill a folder with pictures that the picture camera plays."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = [field(number) for number in range(4)]
    for number, picture in enumerate(drawn):
        (folder / f"{number}.png").write_bytes(encoded(".png", picture))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        yield drawn


class _Pipeline:
    """Gives a drawn picture every 20 ms."""

    def __init__(self, pictures: int = 10_000) -> None:
        self.left = pictures
        self.released = 0

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.02)
        self.left -= 1
        if self.left < 0:
            return False, None
        return True, cv2.cvtColor(field(self.left % 7), cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        self.released += 1


def rtsp(request: pytest.FixtureRequest) -> FrameSource:
    return RtspSource(request.getfixturevalue("rtsp_server").url, stated_scale)


def democamera(request: pytest.FixtureRequest) -> FrameSource:
    need_micromanager()
    return MicroManagerSource(DEMO, stated_scale)


def picture_camera(request: pytest.FixtureRequest) -> FrameSource:
    need_micromanager()
    request.getfixturevalue("pictures")
    return MicroManagerSource(PICTURES_CONFIG, stated_scale)


def gige_vision(request: pytest.FixtureRequest) -> FrameSource:
    request.getfixturevalue("gige")
    return AravisSource(f"{GIGE}&pixel_format=RGB8", stated_scale)


def pipeline(request: pytest.FixtureRequest) -> FrameSource:
    address = "gst://fakesrc ! appsink drop=true max-buffers=1"
    return GstreamerSource(address, stated_scale, open_pipeline=lambda _: _Pipeline())


Make = Callable[[pytest.FixtureRequest], FrameSource]


def opened(request: pytest.FixtureRequest) -> Iterator[FrameSource]:
    make: Make = request.param
    with closing(make(request)) as made:
        yield made


REAL_CAMERA = pytest.param(gige_vision, id="gige_vision", marks=pytest.mark.slow)
"""Speaks GigE Vision over the network; starting it takes longer than all tests of the others."""

source = pytest.fixture(params=[REAL_CAMERA, rtsp, democamera, picture_camera, pipeline])(opened)
newest_first = pytest.fixture(params=[REAL_CAMERA, democamera, picture_camera])(opened)


def read_some(source: FrameSource) -> list[Frame]:
    return [source.read(5.0) for _ in range(COUNT)]


def why_it_fails(source: FrameSource) -> str:
    """Read until the source fails for good, and give the reason."""
    for _ in range(20):
        try:
            source.read(1.0)
        except SourceStalled:
            continue
        except CameraError as error:
            return error.what
    pytest.fail("the source does not fail")


def test_it_is_a_live_source_with_a_name_and_closes_itself(source: Any) -> None:
    with source as entered:
        assert entered is source
        assert isinstance(source, FrameSource)
        assert source.name
        assert source.live
    for _ in range(2):
        with pytest.raises(EndOfSource):
            source.read(1.0)
        source.close()


def test_frames_come_in_order_with_growing_index_and_time(source: FrameSource) -> None:
    frames = read_some(source)
    indices = [frame.index for frame in frames]
    times = [frame.captured_ns for frame in frames]
    assert indices == sorted(set(indices))
    assert times == sorted(set(times))
    assert times[-1] <= time.monotonic_ns()


def test_a_frame_is_as_old_as_the_source_says(source: FrameSource) -> None:
    """The first may have waited since the source was opened; what comes now is new."""
    for _ in range(10):
        frame = source.read(5.0)
    assert 0 <= time.monotonic_ns() - frame.captured_ns < 2e9


def test_frames_are_read_only_rgb_with_scale_source_and_digest(source: FrameSource) -> None:
    frames = read_some(source)
    for frame in frames:
        assert frame.pixels.dtype == np.uint8
        assert frame.um_per_px > 0
        assert frame.source.endswith(f"#{frame.index}")
        with pytest.raises(ValueError, match="read-only"):
            frame.pixels[0, 0] = 0
    digests = {frame.digest for frame in frames}
    assert len(digests) == COUNT
    assert all(len(digest) == 64 for digest in digests)


def test_a_frame_keeps_its_pixels_when_others_are_read(source: FrameSource) -> None:
    first = source.read(5.0)
    before = first.pixels.copy()
    for _ in range(8):
        source.read(5.0)
    assert np.array_equal(first.pixels, before)


def test_a_slow_reader_gets_the_newest_picture_and_a_gap(newest_first: FrameSource) -> None:
    first = newest_first.read(5.0)
    time.sleep(0.8)
    second = newest_first.read(5.0)
    assert second.index > first.index + 2
    assert second.captured_ns - first.captured_ns > 0.4e9


# RTSP


@pytest.mark.parametrize("size", ["320x240", "1280x720"])
def test_a_stream_keeps_its_colours(size: str) -> None:
    """Both sizes: streams of large pictures state another colour matrix."""
    with (
        rtsp_camera("--colour", "0xff5a3282", "--size", size) as camera,
        RtspSource(camera.url, stated_scale) as source,
    ):
        pixel = source.read(5.0).pixels[100, 100]
    assert np.abs(pixel.astype(int) - (0x5A, 0x32, 0x82)).max() <= 3


def test_no_password_is_ever_shown(rtsp_server: RtspCamera) -> None:
    with rtsp_camera("--user", "eve:s3cret") as camera:
        with RtspSource(camera.url.replace("//", "//eve:s3cret@"), stated_scale) as source:
            shown = [source.name, source.read(5.0).source]
        refused = {}
        for address in (
            camera.url,
            camera.url.replace("//", "//eve:s3crets@"),
            camera.url.replace("//", "//eve:s3cret@") + "/nothing?password=s3cret",
            "rtsp://eve:s3cret@127.0.0.1:9/camera",
            "http://eve:s3cret@127.0.0.1/camera",
            "rtsp://eve:s3cret@[::1/camera",
        ):
            with pytest.raises((CameraError, ConfigError)) as caught:
                RtspSource(address, stated_scale)
            shown += traceback.format_exception(caught.value)[-1:]
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None or caught.value.__suppress_context__
            refused[address] = caught.value.what
    assert "s3cret" not in "".join(shown)
    assert shown[0].startswith("rtsp://***@127.0.0.1:")
    assert list(refused.values()) == [
        "camera refuses the user or password (401)",
        "camera refuses the user or password (401)",
        "camera has no such stream (404)",
        "camera refuses the connection",
        "camera address is wrong",
        "camera address is wrong",
    ]


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/x",
        "file:///etc/passwd",
        "concat:a|b",
        "rtsp://",
        "rtsp://a b/",
        "rtmp://a/b",
    ],
)
def test_only_rtsp_addresses_are_opened(address: str) -> None:
    with pytest.raises(ConfigError, match="camera address is wrong"):
        RtspSource(address, stated_scale)


def test_late_pictures_are_refused_by_age() -> None:
    with rtsp_camera() as camera, RtspSource(camera.url, stated_scale) as source:
        first = source.read(5.0)
        # Nobody reads: what the network holds back grows old.
        time.sleep(2.5)
        second = source.read(5.0)
        assert source.refused > 10
        assert second.index == first.index + source.refused + 1


def test_pictures_that_lost_packets_damaged_are_refused(tmp_path: Path) -> None:
    """Also those after them, which are made from the damaged one."""
    picture = field(3)
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(encoded(".png", picture))
    with (
        rtsp_camera("--pictures", f"{tmp_path}/%d.png") as camera,
        lossy(camera.url, lose_every=97) as address,
        RtspSource(address, stated_scale) as source,
    ):
        wrong = [
            float(np.abs(source.read(5.0).pixels.astype(int) - picture).mean()) for _ in range(25)
        ]
        assert source.refused > 4
    assert max(wrong) < 1.05 * min(wrong)


def test_a_silent_camera_is_an_error_after_three_seconds() -> None:
    with rtsp_camera() as camera, RtspSource(camera.url, stated_scale) as source:
        source.read(5.0)
        camera.process.send_signal(signal.SIGSTOP)
        assert why_it_fails(source) == "camera sends nothing for 3 s"
        with pytest.raises(CameraError, match="sends nothing for 3 s"):
            source.read(1.0)


def test_a_camera_that_goes_away_is_an_error_at_once() -> None:
    with rtsp_camera() as camera, RtspSource(camera.url, stated_scale) as source:
        source.read(5.0)
        camera.kill()
        why = why_it_fails(source)
        assert why == "camera ended the stream" or why.startswith("stream broke")


# Micro-Manager


def configuration(folder: Path, *lines: str) -> str:
    path = folder / "camera.cfg"
    camera = ("Device,Camera,DemoCamera,DCam", "Property,Core,Initialize,1")
    path.write_text("\n".join((*camera, "Property,Core,Camera,Camera", *lines)) + "\n")
    return f"mm://{path}"


GREY = "Property,Camera,PixelType,8bit"
COLOUR = "Property,Camera,PixelType,32bitRGB"
DEEP = ("Property,Camera,PixelType,16bit", "Property,Camera,BitDepth,12")


@pytest.mark.parametrize(
    ("lines", "option"),
    [
        ((COLOUR,), ""),
        ((GREY,), "?grey=1"),
        ((GREY,), "?mosaic=RGGB"),
        (DEEP, "?grey=1"),
        (("Property,Camera,PixelType,64bitRGB", "Property,Camera,BitDepth,14"), ""),
    ],
)
def test_kinds_of_pictures_become_rgb(tmp_path: Path, lines: tuple[str, ...], option: str) -> None:
    need_micromanager()
    with MicroManagerSource(configuration(tmp_path, *lines) + option, stated_scale) as source:
        pixels = source.read(5.0).pixels
    assert pixels.shape == (512, 512, 3)
    # Of the 8 bits kept, the waves of the DemoCamera use the lower part: not none, not above.
    assert 10 < pixels.max() < 120


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ((GREY,), "without colour"),
        (DEEP, "without colour"),
        (("Property,Camera,PixelType,32bit",), "not understood"),
        (("Property,Camera,PixelType,purple",), "camera failed"),
        (("Device,Other,NoSuchDriver,X",), "camera failed"),
        (("Property,Core,Camera,",), "no camera"),
    ],
)
def test_what_can_not_be_understood_is_one_line(
    tmp_path: Path, lines: tuple[str, ...], what: str
) -> None:
    need_micromanager()
    address = configuration(tmp_path, *lines)
    with (
        pytest.raises(CameraError, match=what) as caught,
        MicroManagerSource(address, stated_scale) as source,
    ):
        source.read(5.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["mm://", "mm:///no/such.cfg", "mm://demo?speed=1"])
def test_a_wrong_address_of_micromanager_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        MicroManagerSource(address, stated_scale)


def test_the_scale_of_the_configuration_is_used_unless_the_user_states_one(tmp_path: Path) -> None:
    need_micromanager()
    size = ("ConfigPixelSize,Oil,Camera,Binning,1", "PixelSize_um,Oil,0.0645")
    address = configuration(tmp_path, COLOUR, *size)
    scales = []
    for scale_for in (assumed_scale, stated_scale):
        with MicroManagerSource(address, scale_for) as source:
            frame = source.read(5.0)
            scales.append((frame.um_per_px, frame.scale))
    with MicroManagerSource(DEMO, assumed_scale) as source:
        scales.append((source.read(5.0).um_per_px, source.read(5.0).scale))
    assert scales == [
        (0.0645, ScaleOrigin.STATED),
        (0.15, ScaleOrigin.STATED),
        (0.5, ScaleOrigin.ASSUMED),
    ]


def test_a_camera_in_python_plays_pictures_bit_for_bit(pictures: list[UInt8]) -> None:
    need_micromanager()
    with MicroManagerSource(PICTURES_CONFIG, stated_scale) as source:
        for _ in range(5):
            frame = source.read(5.0)
            assert np.array_equal(frame.pixels, pictures[frame.index % len(pictures)])


def test_python_in_a_configuration_runs_only_when_asked_for(pictures: list[UInt8]) -> None:
    need_micromanager()
    with pytest.raises(CameraError, match="configuration has no camera"):
        MicroManagerSource(PICTURES_CONFIG.partition("?")[0], stated_scale)


def test_a_camera_that_stops_is_an_error(pictures: list[UInt8]) -> None:
    need_micromanager()
    unicore = pytest.importorskip("pymmcore_plus.experimental.unicore")
    core = unicore.UniMMCore()
    core.loadSystemConfiguration(PICTURES_CONFIG.partition("?")[0].removeprefix("mm://"))
    with MicroManagerSource("mm://demo", stated_scale, core=core) as source:
        source.read(5.0)
        core.stopSequenceAcquisition()
        assert why_it_fails(source) == "camera gives no more pictures"


# GigE Vision


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixel_format", "sign"), [("RGB8", 1), ("BayerGR8", 1), ("BayerGB8", 1), ("BayerBG8", -1)]
)
def test_colours_of_a_network_camera_come_out_right(
    gige: None, pixel_format: str, sign: int
) -> None:
    """The camera shows a ramp from blue over green to red: where green is full, red rises.

    The fake camera of Aravis 0.8 takes red for blue in BayerBG8 and BayerRG8: it writes the one as
    the other, against the Pixel Format Naming Convention. tests/unit/test_cameras.py has the proof
    for all four mosaics.
    """
    with AravisSource(f"{GIGE}&pixel_format={pixel_format}", stated_scale) as source:
        pixels = source.read(5.0).pixels.astype(int)
    left, right = pixels[20:-20, 20:-24], pixels[20:-20, 24:-20]
    middle = (left[..., 1] > 250) & (abs(left[..., 0] - left[..., 2]) < 60)
    assert middle.sum() > 500
    rise = (right - left)[middle].mean(axis=0)
    assert sign * rise[0] > 5
    assert sign * rise[2] < -5


@pytest.mark.parametrize(
    ("address", "what"),
    [
        (f"{GIGE}&pixel_format=Mono8", "without colour"),
        (f"{GIGE}&pixel_format=BGR8", "cannot be started"),
        ("aravis://nobody", "cannot be started"),
    ],
)
def test_a_network_camera_without_use_is_one_line(gige: None, address: str, what: str) -> None:
    with pytest.raises(CameraError, match=what) as caught:
        AravisSource(address, stated_scale)
    assert "\n" not in str(caught.value)


def test_a_grey_network_camera_is_taken_when_asked_for(gige: None) -> None:
    with AravisSource(f"{GIGE}&pixel_format=Mono8&grey=1", stated_scale) as source:
        pixels = source.read(5.0).pixels
        assert source.identity == "Aravis Fake GV01"
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    assert pixels.std() > 20


def test_network_cameras_are_found_by_serial_number(gige: None) -> None:
    found = [camera for camera in find_cameras() if camera.serial == "GV01"]
    assert [(camera.id, camera.protocol) for camera in found] == [
        ("Aravis-Fake-GV01", "GigEVision")
    ]


def test_a_listed_camera_can_be_opened_by_its_address(gige: None) -> None:
    found = {camera.name: camera for camera in find_all().cameras if camera.kind == "aravis"}
    camera = found["Aravis Fake (GigEVision, 127.0.0.1)"]
    assert camera.stays == "the camera with serial number GV01"
    address = f"{camera.address}?socket=1&packet_size=1400&pixel_format=RGB8"
    with AravisSource(address, stated_scale) as source:
        assert source.read(5.0).width == 512


@pytest.mark.parametrize(
    "address",
    [
        "aravis://",
        "aravis://GV01?packet_size=9",
        "aravis://GV01?packet_size=1400&packet_size=1400",
        "aravis://GV01?socket=yes",
        "aravis://GV01?pixel_format=Mono12",
        "aravis://GV01?speed=1",
    ],
)
def test_a_wrong_address_of_aravis_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        AravisSource(address, stated_scale)
