"""A scan is read where its cells lie in one layer, and whatever cannot be read is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeapl.errors import EndOfSource, InputError
from edgeapl.journal import Journal
from edgeapl.model import EMBEDDED, open_model
from edgeapl.scoring import ScoreListener, ScoreRequest, ScoreResult, score_folder
from edgeapl.scoring.scan import split_scans
from edgeapl.sources.discover import find_slides
from edgeapl.types import Frame, ScaleOrigin, UInt8
from edgeapl.whole_slide import WholeSlideSource, is_whole_slide, open_pyramid, opening
from tests.pictures import encoded, field
from tests.scans import damage, drawn_scan, of_canvas, patch, smear, torn, write_scan

openslide = pytest.importorskip("openslide")

UM = 0.25
ZONES = {"thick": (0.06, 0.4), "monolayer": (0.4, 0.68), "edge": (0.68, 0.9)}


def opened(path: Path, stated: float | None = None, wanted: float = UM) -> WholeSlideSource:
    def measured(pixels: UInt8) -> tuple[float, ScaleOrigin]:
        return UM, ScaleOrigin.MEASURED

    return WholeSlideSource(open_pyramid(path), "0" * 64, wanted, stated, measured)


def drain(source: WholeSlideSource) -> tuple[list[Frame], list[InputError]]:
    frames, errors = [], []
    while True:
        try:
            frames.append(source.read(0))
        except InputError as error:
            errors.append(error)
        except EndOfSource:
            return frames, errors


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smear of 20,000 x 15,000 px, 5 x 3.75 mm."""
    path = tmp_path_factory.mktemp("scan") / "smear.tif"
    write_scan(path, 15_000, 20_000, of_canvas(smear(3750, 5000, ZONES)), UM)
    return path


def test_of_a_large_smear_the_monolayer_is_chosen(large: Path) -> None:
    with opened(large) as source:
        start, end = (share * 20_000 for share in ZONES["monolayer"])
        middles = [source.grid.place(*tile)[0] + source.grid.side / 2 for tile in source.tiles]
        inside = [start <= x <= end for x in middles]
        assert len(source.tiles) >= 30
        assert np.mean(inside) >= 0.95
        # The best come first, and most of the monolayer is among them.
        assert all(inside[:20])
        frame = source.read(0)
        assert frame.um_per_px == pytest.approx(UM, rel=1e-3)
        assert frame.scale is ScaleOrigin.STATED
        assert frame.pixels.shape == (1024, 1024, 3)
        place = source.place(0)
        straight = open_pyramid(large).read(0, place.x, place.y, 1024, 1024)
        assert np.array_equal(frame.pixels, straight)


def test_a_coarser_bundle_reads_a_coarser_level(large: Path) -> None:
    with opened(large, wanted=1.0) as source:
        assert source.place(0).shrink == pytest.approx(4, rel=0.01)
        frames, _ = drain(source)
    assert frames[0].um_per_px == pytest.approx(4 * UM, rel=0.01)


@pytest.mark.parametrize("measurable", [True, False])
def test_a_scale_that_nobody_states_is_measured_in_the_tiles(
    tmp_path: Path, measurable: bool
) -> None:
    origin = ScaleOrigin.MEASURED if measurable else ScaleOrigin.ASSUMED
    wanted, measured = 0.2, 0.25
    path = tmp_path / "s.tif"
    write_scan(path, 6000, 8000, of_canvas(smear(1500, 2000, {"monolayer": (0.05, 0.95)})), None)
    with WholeSlideSource(
        open_pyramid(path),
        "0" * 64,
        wanted,
        None,
        lambda pixels: (measured if measurable else wanted, origin),
    ) as source:
        frames, _ = drain(source)
    assert frames[0].scale is origin
    assert frames[0].um_per_px == pytest.approx(measured if measurable else wanted)


def test_no_cell_lies_in_two_tiles(large: Path) -> None:
    with opened(large) as source:
        grid = source.grid
        assert (grid.step - grid.side) * UM >= 20


@pytest.mark.parametrize(
    ("canvas", "words"),
    [
        (np.full((1500, 2000, 3), 236, np.uint8), "hardly anything is on the glass"),
        (torn(np.zeros((1500, 2000, 3), np.uint8)), "no monolayer was found"),
        (smear(1500, 2000, {"thick": (0.05, 0.9)}), "no monolayer was found"),
        (smear(1500, 2000, {"edge": (0.05, 0.9)}), "hardly anything is on the glass"),
    ],
    ids=["empty", "marrow particles", "thick", "edge"],
)
def test_a_slide_without_a_monolayer_says_what_it_is(
    tmp_path: Path, canvas: UInt8, words: str
) -> None:
    write_scan(tmp_path / "s.tif", 6000, 8000, of_canvas(canvas), UM)
    with opened(tmp_path / "s.tif") as source:
        _, errors = drain(source)
    assert words in str(errors[0])


def test_a_damaged_part_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    write_scan(path, 6000, 8000, of_canvas(smear(1500, 2000, {"monolayer": (0.05, 0.95)})), UM)
    with opened(path) as source:
        whole = len(source.tiles)
        x, y = source.grid.place(*source.tiles[3])
    damage(path, x + 300, y + 300)
    with opened(path) as source:
        frames, errors = drain(source)
    assert len(errors) >= 1
    assert "damaged" in errors[0].what
    assert len(frames) >= whole - 6


def test_scans_in_one_folder_are_slides_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LARGEST_IMAGE_PX", 1_000_000)
    for name in ("a", "b"):
        write_scan(
            tmp_path / f"{name}.tif", 1024, 2048, of_canvas(patch(10, 512, 0, jitter=0.9)), UM
        )
    (tmp_path / "photo.png").write_bytes(encoded(".png", field(1)))
    slides = split_scans(find_slides(tmp_path).slides)
    assert [[file.name for file in slide.files] for slide in slides] == [
        ["photo.png"],
        ["a.tif"],
        ["b.tif"],
    ]
    assert len({slide.name for slide in slides}) == 3


def test_a_file_that_is_no_scan_is_none(tmp_path: Path) -> None:
    small = tmp_path / "a.tif"
    write_scan(small, 1024, 2048, of_canvas(patch(10, 512, 0, jitter=0.9)), UM)
    (tmp_path / "b.svs").write_bytes(b"II*\0" + bytes(8))
    (tmp_path / "c.txt").write_text("no")
    assert not any(is_whole_slide(file) for file in tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot be opened"):
        open_pyramid(tmp_path / "b.svs")


def test_without_the_extra_nothing_is_a_scan(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    assert not is_whole_slide(large)
    with pytest.raises(InputError, match="slides"):
        open_pyramid(large)


def scored(scan: Path, out: Path, journal: Path) -> tuple[ScoreResult, list[int]]:
    told: list[int] = []
    listener = ScoreListener(on_tile=lambda slide, done, of: told.append(of))
    with open_model(EMBEDDED) as model, Journal.open(journal) as record:
        return score_folder(ScoreRequest(scan, out), model, record, listener), told


@pytest.mark.parametrize("kind", ["apl", "healthy"])
def test_a_scan_is_scored_to_a_verdict_with_all_that_people_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(opening, "LARGEST_IMAGE_PX", 10_000_000)
    monkeypatch.setattr(
        openslide.OpenSlide, "associated_images", property(lambda self: pytest.fail("label read"))
    )
    scan = tmp_path / "p7.tif"
    drawn_scan(scan, kind)
    result, told = scored(scan, tmp_path / "out", tmp_path / "j.db")
    (record,) = result.records
    assert record["verdict"] == {"apl": "FLAG", "healthy": "CLEAR"}[kind], record["reasons"]
    assert told
    home = tmp_path / "out" / "slides" / "p7"
    picture = cv2.imread(str(home / "overview.png"))
    assert picture is not None
    assert "tiles of the monolayer were examined" in (home / "report.html").read_text("utf-8")
    features = json.loads((home / "slide.geojson").read_text())["features"]
    assert len(features) == record["tally"]["seen"]
    points = np.array([outer(one) for one in features])
    assert points.min() >= 0
    assert (points.max(axis=0) <= [6400, 3840]).all()
    assert np.ptp(points[:, 0]) > 3000
    said = record["scan"]
    assert said["tiles_examined"] + said["tiles_not_usable"] <= said["tiles_of_monolayer"]
    early = said["tiles_examined"] < said["tiles_of_monolayer"]
    assert said["decided"] is early
    page = (home / "report.html").read_text("utf-8")
    assert ("By then the rule was decided" in page) is early
    # Where on the slide it was looked comes before the cells.
    assert page.index("<h2>The scan</h2>") < page.index("<h2>How many cells")
    # Run again, it is not scored twice.
    again, told = scored(scan, tmp_path / "out", tmp_path / "j.db")
    assert not told
    assert again.records[0]["journal_record"] == record["journal_record"]


def outer(feature: dict[str, Any]) -> list[float]:
    """The first point of a cell's outline."""
    point: Any = feature["geometry"]["coordinates"]
    while isinstance(point[0], list):
        point = point[0]
    return list(point)


def test_a_blurred_scan_is_reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = tmp_path / "soft.tif"
    canvas = smear(1500, 2000, {"monolayer": (0.05, 0.95)})
    soft = np.asarray(cv2.GaussianBlur(canvas, (0, 0), 1.2), np.uint8)
    write_scan(scan, 6000, 8000, of_canvas(soft), UM)
    monkeypatch.setattr(opening, "LARGEST_IMAGE_PX", 10_000_000)
    result, _ = scored(scan, tmp_path / "out", tmp_path / "j.db")
    (record,) = result.records
    assert record["verdict"] == "REVIEW"
    assert record["scan"]["tiles_not_usable"] > 0
    assert "frame_unfocused" in {reason["code"] for reason in record["reasons"]}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the memory")
def test_memory_does_not_grow_with_the_scan(large: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from edgeapl.types import ScaleOrigin
        from edgeapl.whole_slide import WholeSlideSource, open_pyramid
        scale = lambda pixels: (0.25, ScaleOrigin.MEASURED)
        scan = open_pyramid(Path(sys.argv[1]))
        with WholeSlideSource(scan, "0" * 64, 0.25, None, scale) as source:
            frames = [source.read(0) for _ in range(5)]
        status = Path("/proc/self/status").read_text().split()
        print(int(status[status.index("VmHWM:") + 1]) // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(large)], check=True, capture_output=True, text=True
    )
    # The picture alone would take 858 MiB.
    assert int(done.stdout.split()[-1]) < 450
