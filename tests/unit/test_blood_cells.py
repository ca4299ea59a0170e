"""The bundle for real images: small, attributed, with its figures in the card, and never CLEAR."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bundle.load import open_bundle
from edgeapl.cli.choices import chosen_bundle
from edgeapl.cli.main import run
from edgeapl.config import StationConfig
from edgeapl.model import BLOOD_CELLS, EMBEDDED, Model, is_embedded, open_model
from edgeapl.model.golden_slides import judged
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.synthetic import draw_frame, slide_recipe
from edgeapl.types import CellScores, Decision

ROOT = Path(__file__).resolve().parents[2]
KINDS = (
    *("neutrophil_segmented", "neutrophil_band", "metamyelocyte", "myelocyte", "promyelocyte"),
    *("eosinophil", "basophil", "lymphocyte", "monocyte", "erythroblast", "platelet"),
)
GROUPS = ("neutrophil", "immature_granulocyte")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with open_model(BLOOD_CELLS) as opened:
        yield opened


def test_it_takes_at_most_five_megabytes_of_the_wheel() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(BLOOD_CELLS.iterdir()):
            archive.write(path, path.name)
    assert len(file.getvalue()) <= 5_000_000


def test_card_and_notice_name_the_data_and_its_licence() -> None:
    card = (BLOOD_CELLS / "MODEL_CARD.md").read_text(encoding="utf-8")
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for text in (card, notice):
        plain = " ".join(text.split())
        assert "PBC, Acevedo et al. 2020" in plain
        assert "CC BY 4.0" in plain
        assert "resized" in plain
    plain = " ".join(card.split())
    assert "Research use only" in plain
    assert "healthy donors' cells alone" in plain
    assert "cannot tell APL from other acute leukaemia" in plain
    assert "never clears" in plain
    assert "Barnes et al. 2005" in plain, "a limit has a stated source"


def test_the_card_has_the_figures_that_were_promised() -> None:
    card = (BLOOD_CELLS / "MODEL_CARD.md").read_text(encoding="utf-8")
    interval = r"[01]\.\d{3} \(0\.\d{3} to [01]\.\d{3}\)"
    for kind in KINDS:
        line = rf"\| {kind.replace('_', ' ')} \| \d+ \| \d+ \| {interval} \|"
        assert re.search(line, card), f"no held-out figure of {kind}"
    assert re.search(rf"Promyelocytes against all others: .*{interval}", card)
    assert re.search(rf"Laid on the ground of a cell of another class: {interval}", card)
    for name in ("deepapl_discovery", "aml_lmu_sample"):
        assert re.search(rf"\| {name}, .*{interval}", card), name
    for name in ("chula_wbc", "bccd", "draaslan"):
        called = r"\d+ \([^|]*%\)"
        assert re.search(rf"\| {name} \| \d+ \| [^|]+ \| \d+ \| {called} \| {called} \|", card)


def test_eleven_kinds_and_two_groups_are_counted_and_cells_add_up(model: Model) -> None:
    manifest = model.bundle.manifest
    assert tuple(role.name for role in manifest.roles) == (*KINDS, *GROUPS)
    cells = np.random.default_rng(1).integers(0, 255, (5, 112, 112, 3), dtype=np.uint8)
    ran = model.engines["cells"].run({"cells": cells})
    answers = {name: np.asarray(values, np.float64) for name, values in ran.items()}
    total = np.stack([answers[kind] for kind in KINDS]).sum(0)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    np.testing.assert_allclose(
        answers["immature_granulocyte"],
        answers["metamyelocyte"] + answers["myelocyte"] + answers["promyelocyte"],
        atol=1e-5,
    )


def slide(**kinds: int) -> CellScores:
    """Make a slide of cells that are surely what they are."""
    count = sum(kinds.values())
    roles = {name: np.zeros(count, np.float32) for name in (*KINDS, *GROUPS)}
    first = 0
    for kind, cells in kinds.items():
        roles[kind][first : first + cells] = 1
        group = {"neutrophil_segmented": "neutrophil", "neutrophil_band": "neutrophil"}
        group |= dict.fromkeys(("metamyelocyte", "myelocyte", "promyelocyte"), GROUPS[1])
        if kind in group:
            roles[group[kind]][first : first + cells] = 1
        first += cells
    return CellScores(np.arange(count, dtype=np.int64), roles, np.zeros((count, 0), np.float32))


@pytest.mark.parametrize(
    ("kinds", "decision"),
    [
        ({"promyelocyte": 60}, Decision.FLAG),
        ({"promyelocyte": 25, "lymphocyte": 75}, Decision.FLAG),
        ({"metamyelocyte": 10, "neutrophil_segmented": 90}, Decision.FLAG),
        ({"metamyelocyte": 9, "neutrophil_segmented": 91}, Decision.REVIEW),
        (
            {"neutrophil_segmented": 120, "neutrophil_band": 6, "lymphocyte": 60, "monocyte": 14},
            Decision.REVIEW,
        ),
        ({"platelet": 100}, Decision.REVIEW),
        ({"lymphocyte": 1}, Decision.REVIEW),
    ],
    ids=str,
)
def test_immature_granulocytes_are_flagged_and_nothing_is_cleared(
    model: Model, kinds: dict[str, int], decision: Decision
) -> None:
    assert judged(model, slide(**kinds)).decision is decision


def test_the_kept_golden_slides_have_no_clear(model: Model) -> None:
    with np.load(BLOOD_CELLS / model.bundle.manifest.golden.expected) as arrays:
        decisions = {
            list(Decision)[int(arrays[key][1])] for key in arrays if key.endswith(".answer")
        }
    assert decisions == {Decision.FLAG, Decision.REVIEW}


def test_images_it_was_trained_on_are_named_by_digest(model: Model) -> None:
    training = model.bundle.manifest.training
    assert training is not None
    images = json.loads(model.bundle.read(training.images))["images"]
    assert len(images) > 5000


def test_it_answers_where_no_bundle_is_named_and_the_drawn_one_where_images_are_drawn() -> None:
    assert chosen_bundle(None, StationConfig()) == BLOOD_CELLS
    assert chosen_bundle(None, StationConfig(), drawn=True) == EMBEDDED
    assert is_embedded(BLOOD_CELLS)
    assert open_bundle(BLOOD_CELLS).manifest.answers == "differential"


def test_a_folder_is_scored_with_it_and_the_report_has_a_gallery_by_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "slide").mkdir()
    recipe = slide_recipe("healthy", 3, um_per_px=0.15, width=900, height=700, cells=8)
    (tmp_path / "slide/0.png").write_bytes(png_bytes(draw_frame(recipe, 0).pixels))
    command = ["score", str(tmp_path / "slide"), "--um-per-px", "0.15", "--json"]
    assert run([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "counts kinds of cells" in " ".join(said.err.split())
    verdict = json.loads(said.out)["slides"][0]
    assert verdict["verdict"] != "CLEAR"
    assert {count["role"] for count in verdict["counts"]} == {*KINDS, *GROUPS}
    page = next((tmp_path / "out").glob("slides/*/report.html")).read_text(encoding="utf-8")
    assert "Cells by kind" in page
    assert "share of immature granulocytes" in page
    assert "probability of APL" not in page
    assert "speaks for APL" not in page
    assert "clear below" not in page


def test_inspect_says_what_suspicious_cells_suggest_and_that_it_never_clears(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["inspect"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "suggests immature granulocytes" in said
    assert "FLAG above 0.045 promyelocyte" in said
    assert "clears no slide" in said
    assert "suggests APL" not in said
    assert "CLEAR below" not in said
