"""Folders named like classes show at once that classes or colours are in a wrong order."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.cli.main import run  # noqa: E402
from edgeapl.export.confusion import class_of  # noqa: E402
from tests.own_networks import RECIPE, forward, own_recipe  # noqa: E402

RED_OR_BLUE = forward("m = x.mean((2, 3))", "return 0 * self.fc(self.features(x)) + 50 * m[:, ::2]")
CASES = {
    "right": ("", RECIPE, 12),
    "classes in another order": (
        "are the classes in the order of the training?",
        RECIPE.replace('["promyelocyte", "other"]', '["other", "promyelocyte"]'),
        0,
    ),
    "colours in another order": (
        "with red and blue exchanged 12: is colour_order right?",
        RECIPE.replace("size_px = 32", 'size_px = 32\ncolour_order = "bgr"'),
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_order_is_seen(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, recipe, right = CASES[case]
    code = RED_OR_BLUE.replace("m[:, ::2]", "m[:, [0, 2]]")
    own_recipe(tmp_path, code, recipe)
    place: dict[str, object] = {}
    exec(code, place)
    torch.save(place["build"]().state_dict(), tmp_path / "weights.pt")  # type: ignore[operator]
    rng = np.random.default_rng(1)
    for folder, colour in (("Promyelocytes", (60, 90, 200)), ("other_cells", (200, 90, 60))):
        (tmp_path / "cells" / folder).mkdir(parents=True)
        for number in range(6):
            noise = rng.integers(-20, 20, (40, 40, 3))
            file = str(tmp_path / "cells" / folder / f"{number}.png")
            cv2.imwrite(file, np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))
    weights = ["--weights", f"model={tmp_path / 'weights.pt'}", "--out", str(tmp_path / "bundle")]
    images = ["--images", str(tmp_path / "cells"), "--crops", "--um-per-px", "0.2"]
    assert run(["export", str(tmp_path / "recipe.toml"), *weights, *images]) == 0
    shown = capsys.readouterr().out
    report = json.loads((tmp_path / "bundle" / "export-report.json").read_text())
    (table,) = report["confusion"]
    assert (table["right"], table["cells"]) == (right, 12)
    assert f"{right} of 12 cells are classified like their folders" in shown
    assert "Promyelocytes" in shown
    assert words in " ".join(report["warnings"])
    assert bool(report["warnings"]) == bool(words)


def test_folders_are_named_like_classes() -> None:
    classes = ("promyelocyte", "blast", "granulocyte", "other")
    assert class_of("Promyelocyte", classes) == "promyelocyte"
    assert class_of("Blast_no_lineage_spec", classes) == "blast"
    assert class_of("Granulocytes", classes) == "granulocyte"
    assert class_of("Patient_03", classes) == ""
    assert class_of("blast or promyelocyte", classes) == ""
