"""A checkpoint trained on real patients, exported by a recipe file: the numbers must be its own."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.real_data]

from edgeapl.calibration.calibrator import CalibrateRequest, calibrate  # noqa: E402
from edgeapl.evaluation.evaluator import EvaluationOptions, evaluate_slides  # noqa: E402
from edgeapl.evaluation.labels import read_slide_labels  # noqa: E402
from edgeapl.evaluation.results import read_slides  # noqa: E402
from edgeapl.export.exporter import Exported, ExportRequest, export  # noqa: E402
from edgeapl.export.proof_images import ProofImages  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.journal import Journal  # noqa: E402
from edgeapl.model import open_model  # noqa: E402
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder  # noqa: E402
from edgeapl.sources.decode import read_image  # noqa: E402
from edgeapl.stages.crop import cut_cells  # noqa: E402
from edgeapl.stages.whole_image import WholeField  # noqa: E402
from edgeapl.types import Frame  # noqa: E402
from tests.data.measure_pooling import cleared_before, mix, score  # noqa: E402

RECIPE = Path(__file__).parent / "apl-cell-mil.toml"
TOLERANCE = 1e-4
FILES = ("model.py", "weights.pt", "reference.npz", "reference_slides.csv")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's folder, copied, with the recipe beside it."""
    given = os.environ.get("EDGEAPL_TEST_CHECKPOINTS")
    beside = Path(__file__).parents[2].parent / "shared" / "checkpoints"
    folder = (Path(given) if given else beside) / "apl-cell-mil"
    if not all((folder / name).is_file() for name in FILES):
        pytest.skip("needs the checkpoint apl-cell-mil: set EDGEAPL_TEST_CHECKPOINTS")
    copy = tmp_path_factory.mktemp("apl-cell-mil")
    for name in FILES:
        shutil.copyfile(folder / name, copy / name)
    shutil.copyfile(RECIPE, copy / RECIPE.name)
    return copy


@pytest.fixture(scope="module")
def cohort(real_data: Path) -> Path:
    folder = real_data / "deepapl_discovery"
    if not folder.is_dir():
        pytest.skip("needs the set deepapl_discovery")
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint: Path, cohort: Path) -> Exported:
    request = ExportRequest(
        weights={"model": checkpoint / "weights.pt"},
        images=ProofImages(cohort, cell_images=True),
    )
    recipe = find_recipe(str(checkpoint / RECIPE.name))
    return export(recipe, request, checkpoint / "bundle", lambda text: None)


def test_it_is_proven_on_real_cells(exported: Exported) -> None:
    assert exported.report["images"]["kind"] == "real"
    assert not exported.report["problems"]


def test_every_cells_logits_are_the_reference(
    exported: Exported, checkpoint: Path, cohort: Path
) -> None:
    with np.load(checkpoint / "reference.npz") as reference:
        names, wanted = reference["cell"].tolist(), reference["cell_logits"]
    spec = exported.bundle.manifest.crop
    worst = 0.0
    with open_model(exported.bundle.folder) as model:
        for start in range(0, len(names), 32):
            crops = []
            for name in names[start : start + 32]:
                image = read_image(cohort / name)
                frame = Frame(image.pixels.copy(), 0, 0, 0.1, name, "0" * 64)
                crops.append(cut_cells(WholeField().segment(frame), spec, cell_image=True)[0])
            given = model.engines["cells"].run({"cells": np.stack(crops)})["cell_logits"]
            worst = max(worst, float(np.abs(given - wanted[start : start + 32]).max()))
    print(f"largest difference of a cell's logits: {worst:.1e}")
    assert len(names) == 1007
    assert worst <= TOLERANCE


def test_the_cohorts_slides_are_the_reference_and_rank_as_it_does(
    exported: Exported, checkpoint: Path, cohort: Path, tmp_path: Path
) -> None:
    request = ScoreRequest(cohort, tmp_path / "out", crops=True, um_per_px=0.1)
    with (
        open_model(exported.bundle.folder) as model,
        Journal.open(tmp_path / "journal.db") as journal,
    ):
        result = score_folder(request, model, journal, ScoreListener())
    records = {record["slide"]: record for record in result.records}
    with (checkpoint / "reference_slides.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records) == 20
    worst = 0.0
    for row in rows:
        record = records[row["patient"]]
        # A whole blast of Patient_10 touches others that reach the edge of its image.
        assert record["tally"]["not_examined"] == 0
        margin = float(row["logit_APL"]) - float(row["logit_AML"])
        worst = max(worst, abs(record["probability"] - 1 / (1 + math.exp(-margin))))
        assert record["tally"]["scored"] == int(row["cells"])
    assert all(record["verdict"] != "CLEAR" for record in records.values())
    print(f"largest difference of a slide's probability: {worst:.1e}, {len(rows)} slides")
    assert worst <= TOLERANCE
    known = read_slide_labels(cohort / "patients.csv")
    document = evaluate_slides(read_slides(tmp_path / "out"), known, EvaluationOptions()).document
    area, sensitive = (document["slides"][k] for k in ("roc_auc", "positives_flagged_or_review"))
    print(f"area under the ROC curve: {area}\nAPL with FLAG or REVIEW: {sensitive}")
    assert area["value"] == pytest.approx(0.98, abs=0.005)
    assert document["slides"]["n"] == 20
    json.dumps(document, allow_nan=False)


PAIRS = (
    ("Patient_69", "Patient_03"),
    ("Patient_81", "Patient_65"),
    ("Patient_22", "Patient_17"),
)


def test_a_few_cells_of_apl_are_not_hidden_among_many_of_another_leukaemia(
    exported: Exported, cohort: Path, tmp_path: Path
) -> None:
    """12 cells of APL among 40, ten draws of each pair; pooled, most would be cleared."""
    request = CalibrateRequest(
        exported.bundle.folder, cohort, crops=True, um_per_px=0.1, out=tmp_path / "calibrated"
    )
    bundle = calibrate(request, lambda text, share: None).bundle
    leave_out = bundle.manifest.crop.leave_out
    for (few, many), draw in itertools.product(PAIRS, range(10)):
        mix(cohort, few, many, draw, tmp_path / "mixed", leave_out)
    with open_model(bundle.folder) as model:
        records = score(model, tmp_path / "mixed", tmp_path / "scored")
    would = [record for record in records if cleared_before(record)]
    print(f"mixtures: {len(records)}, cleared but for their parts: {len(would)}")
    assert len(records) == 30
    assert len(would) >= 20
    assert not [record["slide"] for record in records if record["verdict"] == "CLEAR"]
