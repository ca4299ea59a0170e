"""What `import edgeapl` offers: five lines to a verdict, the same as the command line's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeapl
from edgeapl.api.pixels import PixelStore
from edgeapl.errors import InputError, UsageError
from edgeapl.report.tables import cell_columns
from edgeapl.sources.decode import read_image
from edgeapl.testing import ScriptedSource
from edgeapl.types import Frame, UInt8
from tests.small_bundle import drawn_field, png, small_bundle

ROOT = Path(__file__).resolve().parents[2]
FIELDS = [
    drawn_field(),
    drawn_field(((60, 150), (140, 60))),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("api") / "small").folder


@pytest.fixture(scope="module")
def model(bundle: Path) -> Iterator[edgeapl.Model]:
    with edgeapl.open_model(bundle, engines="none") as opened:
        yield opened


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    folder = tmp_path / "smear"
    folder.mkdir()
    for number, field in enumerate(FIELDS):
        (folder / f"{number}.png").write_bytes(png(field))
    return folder


def frames() -> list[Frame]:
    return [
        Frame(field.copy(), index, 0, 0.2, f"f{index}", f"{index:064d}")
        for index, field in enumerate(FIELDS)
    ]


def in_a_new_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there_and_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgeapl\n"
        "heavy = {'numpy', 'cv2', 'pydantic', 'onnxruntime', 'typer', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(edgeapl.__all__) <= set(dir(edgeapl))\n"
        "for name in edgeapl.__all__: getattr(edgeapl, name)\n"
        "assert 'torch' not in sys.modules\n"
        "print(hasattr(edgeapl, 'nothing'))\n"
    )
    assert in_a_new_python(code) == "False"
    assert edgeapl.__all__ == sorted(edgeapl.__all__, key=str)


def test_export_can_be_called_whether_its_package_was_imported_before_or_not() -> None:
    """The package and the function have one name; the first call imports the package."""
    code = (
        "import edgeapl\n"
        "for _ in range(2):\n"
        "    try: edgeapl.export('no-such-recipe', out='x')\n"
        "    except edgeapl.EdgeAplError as error: print(type(error).__name__)\n"
        "import edgeapl.export\n"
        "print(edgeapl.export.__name__)\n"
    )
    said = in_a_new_python(code).split()
    assert said[0] == said[1]
    assert said[0] in ("UsageError", "EngineError"), "EngineError without the extra"
    assert said[2] == "edgeapl.export"


@pytest.mark.parametrize(
    "given",
    [
        lambda slide: slide,
        str,
        lambda slide: sorted(slide.iterdir()),
        lambda slide: FIELDS,
        lambda slide: np.stack(FIELDS),
        lambda slide: ScriptedSource(frames()),
    ],
    ids=["folder", "text", "files", "arrays", "one array of all", "source"],
)
def test_the_same_pictures_get_the_same_answer_however_they_are_given(
    model: edgeapl.Model, slide: Path, given: Callable[[Path], Any]
) -> None:
    images = given(slide)
    scale = None if isinstance(images, ScriptedSource) else 0.2
    verdict = model.examine(images, um_per_px=scale)
    wanted = model.examine(slide, um_per_px=0.2)
    assert verdict.decision is wanted.decision
    assert [reason.code for reason in verdict.reasons] == [r.code for r in wanted.reasons]
    assert verdict.probability == wanted.probability
    assert len(verdict.cells) == len(wanted.cells) == 4
    assert np.array_equal(verdict.cells.boxes, wanted.cells.boxes)
    assert np.array_equal(verdict.cells.suspicion, wanted.cells.suspicion)


def test_a_program_gets_bit_for_bit_what_the_command_line_gets(
    model: edgeapl.Model, slide: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    scored = edgeapl.score(
        slide,
        model,
        out=tmp_path / "out",
        journal=tmp_path / "journal.sqlite3",
        um_per_px=0.2,
        on_slide=lambda record, resumed: told.append(f"{record['slide']} {resumed}"),
    )
    (record,) = scored.slides
    verdict = model.examine(slide, um_per_px=0.2)
    mine = verdict.to_dict()
    for name in ("verdict", "probability", "interval", "tally", "reasons", "counts", "evidence"):
        assert mine[name] == record[name]
    assert verdict.slide == record["slide"] == "smear"
    assert told == ["smear False"]
    assert scored.exit_code == 0
    assert (tmp_path / "out" / "cells.csv").is_file()
    again = edgeapl.score(
        slide, model, out=tmp_path / "out", journal=tmp_path / "journal.sqlite3", um_per_px=0.2
    )
    assert again.slides == scored.slides


def several(slide: Path) -> Path:
    for name in ("one", "two"):
        shutil.copytree(slide, slide.parent / "many" / name)
    return slide.parent / "many"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (several, r"2 slides \(one, two, \.\.\.\): .*: pass the folder of one slide"),
        (lambda slide: slide / "nowhere", "does not exist"),
        (lambda slide: [], "no images"),
        (lambda slide: [FIELDS[0], "a.png"], "neither a file nor an array: str: image 1"),
        (lambda slide: FIELDS[0].astype(np.float32), "dtype float32, expected uint8: image 0"),
        (lambda slide: [FIELDS[0][..., 0]], r"shape \(200, 200\), expected \(H, W, 3\)"),
        (lambda slide: FIELDS[0][:4], r"image is too small \(200 x 4 px\)"),
        (lambda slide: ScriptedSource(frames(), live=True), "a camera never ends.*max_frames"),
    ],
)
def test_what_is_no_slide_is_refused_in_one_line(
    model: edgeapl.Model, slide: Path, given: Callable[[Path], Any], said: str
) -> None:
    with pytest.raises((UsageError, InputError), match=said) as caught:
        model.examine(given(slide))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), 11])
def test_a_scale_that_can_not_be_is_refused(
    model: edgeapl.Model, slide: Path, scale: float
) -> None:
    with pytest.raises(UsageError, match="um_per_px is out of range"):
        model.examine(slide, um_per_px=scale)


def test_a_scale_that_a_source_would_not_use_is_refused(model: edgeapl.Model) -> None:
    with pytest.raises(UsageError, match="state the scale in the source"):
        model.examine(ScriptedSource(frames()), um_per_px=0.1)


def test_a_bad_image_raises_nothing_and_the_slide_is_not_clear(
    model: edgeapl.Model, slide: Path
) -> None:
    (slide / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    verdict = model.examine(slide, um_per_px=0.2)
    (error,) = verdict.errors
    assert "2.png" in str(error)
    assert verdict.decision is not edgeapl.Decision.CLEAR
    assert len(verdict.cells) == 4


def test_arrays_are_left_as_they_were(model: edgeapl.Model) -> None:
    mine = FIELDS[0].copy()
    model.examine(mine, um_per_px=0.2)
    assert mine.flags.writeable
    assert np.array_equal(mine, FIELDS[0])


def test_a_crop_is_the_cell_and_a_margin_ends_with_the_frame(
    model: edgeapl.Model, slide: Path
) -> None:
    cells = model.examine(slide, um_per_px=0.2).cells
    x0, y0, x1, y1 = cells.boxes[0].astype(int)
    field = FIELDS[int(cells.frames[0])]
    assert np.array_equal(cells.crop(0, margin=0), field[y0:y1, x0:x1])
    assert cells.crop(-1).shape == cells.crop(len(cells) - 1).shape
    assert cells.crop(0, margin=99).shape == field.shape
    with pytest.raises(IndexError, match="cell 4 of 4"):
        cells.crop(4)
    with pytest.raises(UsageError, match="margin is below 0"):
        cells.crop(0, margin=-0.1)


def test_pixels_that_are_not_kept_come_from_their_file_and_never_from_another(
    slide: Path, model: edgeapl.Model
) -> None:
    file = slide / "0.png"
    image = read_image(file)
    few = PixelStore(kept_bytes=10)
    few.add(Frame(image.pixels, 0, 0, 0.2, str(file), image.digest))
    few.add(Frame(FIELDS[1].copy(), 1, 0, 0.2, "camera", "1" * 64))
    assert np.array_equal(few.of(0), image.pixels)
    with pytest.raises(InputError, match="pixels were not kept: camera"):
        few.of(1)
    file.write_bytes(png(FIELDS[1]))
    with pytest.raises(InputError, match="file changed since it was examined"):
        few.of(0)


def test_a_dataframe_has_the_columns_of_the_table(model: edgeapl.Model, slide: Path) -> None:
    pytest.importorskip("pandas")
    cells = model.examine(slide, um_per_px=0.2).cells
    table = cells.to_dataframe()
    columns = cell_columns(("promyelocyte", "myeloblast", "auer_rod"))
    assert set(table.columns) == set(columns) - {"slide", "um_per_px"}
    assert len(table) == len(cells)
    assert table.attrs["research_use_only"] is True


def test_a_frame_is_plotted_with_its_boxes(model: edgeapl.Model, slide: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    cells = model.examine(slide, um_per_px=0.2).cells
    axes: Any = cells.plot(1)
    assert len(axes.patches) == int((cells.frames == 1).sum())
    assert "Research use only" in axes.get_title()
    with pytest.raises(UsageError, match="no such frame was used: 7: choose one of 0, 1"):
        cells.plot(7)
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("library", "use", "said"),
    [
        ("pandas", lambda cells: cells.to_dataframe(), "pip install pandas"),
        ("matplotlib", lambda cells: cells.plot(), r"pip install 'edgeapl\[plots\]'"),
    ],
)
def test_a_library_that_is_not_there_is_named(
    model: edgeapl.Model,
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    use: Callable[[edgeapl.Cells], object],
    said: str,
) -> None:
    cells = model.examine(FIELDS, um_per_px=0.2).cells
    for name in (library, "matplotlib.pyplot", "matplotlib.patches"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=said):
        use(cells)


def test_a_notebook_shows_the_picture_and_the_verdict_and_runs_nothing(
    model: edgeapl.Model,
) -> None:
    verdict = model.examine(FIELDS, um_per_px=0.2, slide="<script>alert(1)</script>")
    shown = verdict._repr_html_()
    assert shown.count("<img") == 1
    assert "data:image/jpeg;base64," in shown
    assert verdict.decision.value in shown
    assert "Research use only" in shown
    assert "<script" not in shown
    assert "Research use only" in str(verdict)


def test_a_slide_without_a_usable_frame_is_shown_too(model: edgeapl.Model) -> None:
    black: UInt8 = np.zeros((64, 64, 3), np.uint8)
    verdict = model.examine(black, um_per_px=0.2)
    assert verdict.decision is edgeapl.Decision.REVIEW
    assert len(verdict.cells) == 0
    assert verdict.cells.boxes.shape == (0, 4)
    assert "<img" not in verdict._repr_html_()


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    path = ROOT / "examples" / "notebook" / "first_slide.ipynb"
    book = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells), "outputs are not kept"
    nbclient.NotebookClient(
        book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    pages = [output["data"].get("text/html", "") for output in outputs if "data" in output]
    assert any("Research use only" in page and "<img" in page for page in pages)
