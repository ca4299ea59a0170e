"""From labelled cells to a verdict: train, export what was written, score a slide with it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("matplotlib", reason="needs the train extra")
pytest.importorskip("tomli_w", reason="needs the train extra")
pytest.importorskip("onnxscript", reason="needs the train extra")

# The exporter of torch warns about its own changes to come.
pytestmark = [pytest.mark.filterwarnings("ignore")]

from edgeapl.bundle.load import open_bundle  # noqa: E402
from edgeapl.cli.main import run  # noqa: E402
from edgeapl.export.architectures.mil_small import MilSmall  # noqa: E402
from edgeapl.export.training.cell_pool import Cutting, load_pool  # noqa: E402
from edgeapl.export.training.labelled_set import read_labelled_set  # noqa: E402
from edgeapl.export.training.registry import find_training  # noqa: E402
from tests.training_cohort import write_cohort  # noqa: E402


def train(folder: Path, out: Path, recipe: str, *more: str) -> int:
    data = ["--slides", f"{folder}/slides", "--labels", f"{folder}/labels.csv", "--crops"]
    return run(["train", recipe, *data, "--out", str(out), "--threads", "1", *more])


def test_what_is_trained_is_exported_and_scores_a_slide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_cohort(tmp_path / "cohort", 6, 4)
    out, bundle, results = (tmp_path / name for name in ("out", "bundle", "results"))
    steps = ("--folds", "2", "--epochs", "2", "--bag", "4", "--json")
    assert train(folder, out, "mil-small", *steps) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cross_validation"]["sought"]["APL"]["mean_of_seeds"]["slides"]["n"] == 6
    page = (out / "train-report.html").read_text(encoding="utf-8")
    assert "Research use only" in page
    assert page.count("data:image/svg+xml") >= 7
    assert page.count("data:image/jpeg") >= 8
    assert "<script" not in page

    command = ["export", str(out / "recipe.toml"), "--weights", f"model={out}/weights.pt"]
    command += ["--trained-on", str(out / "training-set.json"), "--out", str(bundle)]
    assert run([*command, "--images", f"{folder}/slides", "--crops", "--um-per-px", "0.1"]) == 0
    training = open_bundle(bundle).manifest.training
    assert training is not None
    assert len(json.loads((bundle / training.images).read_text())["images"]) == 24

    command = ["score", "--crops", f"{folder}/slides", "--bundle", str(bundle), "--out"]
    command += [str(results), "--journal", str(tmp_path / "journal.db"), "--um-per-px", "0.1"]
    assert run(command) == 0
    lines = (results / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    said = {record["slide"]: record["probability"] for record in map(json.loads, lines)}
    assert said.keys() == {f"P{number}" for number in range(6)}
    assert all(probability is not None for probability in said.values())
    # The station sees the pixels that the network learned from: it answers like the network.
    assert said == pytest.approx(judged(folder, out), abs=1e-3)


def test_cells_of_one_cohort_are_brought_to_the_colours_of_another_and_so_are_the_bundles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = (write_cohort(tmp_path / name, 4, 3) for name in ("cohort", "other"))
    for file in sorted((other / "slides").rglob("*.png")):
        warm = cv2.imread(str(file)) * np.array([0.6, 0.8, 1.0])
        assert cv2.imwrite(str(file), warm.astype(np.uint8))
    out, plain, bundle = (tmp_path / name for name in ("out", "plain", "bundle"))
    steps = ("--epochs", "1", "--bag", "3", "--um-per-px", "0.25")
    assert train(folder, out, "mil-small", *steps, "--colours", f"{other}/slides") == 0
    assert train(folder, plain, "mil-small", *steps) == 0
    figures = [json.loads((one / "training.json").read_text()) for one in (out, plain)]
    assert figures[1]["colours"] is None

    command = ["export", str(out / "recipe.toml"), "--weights", f"model={out}/weights.pt"]
    assert run([*command, "--out", str(bundle)]) == 0
    crop = open_bundle(bundle).manifest.crop
    assert crop.colours is not None
    assert crop.colours.model_dump(mode="json") == figures[0]["colours"]
    labelled = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    warmer = read_labelled_set(other / "slides", other / "labels.csv", crops=True)
    pools = [
        load_pool(each, Cutting(crop, "hsv-watershed", True, 0.25, 0.1), lambda done, images: None)
        for each in (labelled, warmer)
    ]
    # Both cohorts show the same cells through two lamps: once moved, they look alike.
    assert np.abs(pools[0].crops.astype(int) - pools[1].crops).mean() < 3

    capsys.readouterr()
    assert train(folder, plain, "mil-small", *steps, "--colours", f"{other}/slides") == 2
    assert "another training" in capsys.readouterr().err
    assert train(folder, tmp_path / "x", "eckardt2022", "--colours", f"{other}/slides") == 2
    assert "eckardt2022 has no such choice: --colours" in capsys.readouterr().err


def judged(folder: Path, out: Path) -> dict[str, float]:
    """Give what the trained module itself says of every slide."""
    recipe = find_training("mil-small")
    cutting = Cutting(recipe.crop, recipe.segmenter, True, None, 0.1)
    labelled = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    pool = load_pool(labelled, cutting, lambda done, images: None)
    module = MilSmall().eval()
    module.load_state_dict(torch.load(out / "weights.pt", weights_only=True))
    said = {}
    for patient in set(pool.patients):
        cells = torch.from_numpy(pool.crops[pool.rows_of([patient])])
        with torch.no_grad():
            logits = module(cells.permute(0, 3, 1, 2).float() / 255)[2]
        said[patient] = float(logits.softmax(-1)[1])
    return said


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_cohort(tmp_path / "cohort", 4, 1)
    cases = {
        ("mil-smal",): (2, "no such recipe: mil-smal: name one of: "),
        ("mil-small", "--folds", "9"): (3, "too few patients (2 of 9 that are needed): AML"),
        ("mil-small", "--positive", "M3"): (3, "no patient has the label: M3"),
        ("mil-small", "--init", f"{tmp_path}/none.pt"): (4, "checkpoint cannot be read"),
    }
    for words, (code, text) in cases.items():
        assert train(folder, tmp_path / "out", *words) == code
        error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(error) == 1
        assert text in error[0]
