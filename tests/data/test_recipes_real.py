"""The published systems at full size, with random weights, on a real marrow field."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.real_data, pytest.mark.slow]

from edgeapl.export.exporter import ExportRequest, export  # noqa: E402
from edgeapl.export.proof_images import ProofImages  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.journal import Journal  # noqa: E402
from edgeapl.model import ModelRequest, open_model  # noqa: E402
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder  # noqa: E402

# Recipe, segmenter, a heading of its picture, and whether it takes minutes.
SYSTEMS = [
    ("eckardt2022", "hsv-watershed", "A grey patch of", False),
    ("manescu2023", None, "features it alone decides", False),
    ("spatial-attention", None, "Each row of three", False),
    ("eckardt2022", None, "A grey patch of", True),
    ("yan2025", None, "Each row of three", True),
]


@pytest.mark.parametrize(("name", "segmenter", "picture", "long"), SYSTEMS)
def test_a_published_system_runs_from_weights_to_its_picture(
    name: str, segmenter: str | None, picture: str, long: bool, real_data: Path, tmp_path: Path
) -> None:
    if long and os.environ.get("EDGEAPL_LONG_TESTS") != "1":
        pytest.skip("takes minutes: set EDGEAPL_LONG_TESTS=1")
    field = sorted((real_data / "segpc_bone_marrow" / "images").iterdir())[0]
    (tmp_path / "slide").mkdir()
    shutil.copyfile(field, tmp_path / "slide" / field.name)
    images = ProofImages(tmp_path / "slide", most_cells=4)
    request = ExportRequest(seed=1, explain=True, images=images)
    done = export(find_recipe(name, segmenter), request, tmp_path / "bundle", lambda text: None)
    assert not done.report["problems"]
    score = ScoreRequest(tmp_path / "slide", tmp_path / "out", um_per_px=0.044)
    with (
        open_model(ModelRequest(tmp_path / "bundle", threads=2)) as model,
        Journal.open(tmp_path / "journal.db") as journal,
    ):
        result = score_folder(score, model, journal, ScoreListener())
    (record,) = result.records
    assert record["verdict"] == "REVIEW"
    assert record["tally"]["scored"] == record["tally"]["seen"] > 0
    assert "untrained" in [reason["code"] for reason in record["reasons"]]
    page = (tmp_path / "out" / "slides" / "slide" / "report.html").read_text(encoding="utf-8")
    assert picture in page
    assert f'alt="{model.bundle.manifest.explanation.title}:' in page  # type: ignore[union-attr]
