"""An exported bundle answers like its checkpoint, is the same twice, and is refused otherwise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'edgeapl[export]'")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl import pixel_size  # noqa: E402
from edgeapl.bundle.load import open_bundle  # noqa: E402
from edgeapl.bundle.manifest import Manifest  # noqa: E402
from edgeapl.bundle.specs import ColoursSpec  # noqa: E402
from edgeapl.cli.main import run  # noqa: E402
from edgeapl.errors import BundleError, ConfigError, ProofError, UsageError  # noqa: E402
from edgeapl.export.exporter import (  # noqa: E402
    Exported,
    ExportRequest,
    check,
    export,
)
from edgeapl.export.graph import Graph  # noqa: E402
from edgeapl.export.proof_images import ProofImages  # noqa: E402
from edgeapl.export.recipes.factory import load_factory  # noqa: E402
from edgeapl.export.recipes.manifest import manifest_settings  # noqa: E402
from edgeapl.export.recipes.registry import PUBLISHED, find_recipe  # noqa: E402
from edgeapl.inference.routing import steps  # noqa: E402
from edgeapl.model import open_model  # noqa: E402
from edgeapl.stages.colour_transfer import cell_colours  # noqa: E402
from edgeapl.stages.segment import HsvWatershed  # noqa: E402
from edgeapl.types import Frame  # noqa: E402
from tests.conv_bundle import write_slides  # noqa: E402
from tests.small_bundle import drawn_field, png  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model"


def silent(text: str) -> None:
    """Say nothing."""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the example with weights that were never trained, and a way to break it."""
    folder = tmp_path / "own"
    shutil.copytree(EXAMPLE, folder)
    torch.manual_seed(3)
    model = load_factory("model.py:build", folder)()
    torch.save(model.state_dict(), folder / "weights.pt")
    return folder


def exported(folder: Path, out: str = "bundle", **changes: Any) -> Exported:
    request = ExportRequest(weights={"model": folder / "weights.pt"}, **changes)
    return export(find_recipe(str(folder / "recipe.toml")), request, folder / out, silent)


def test_the_same_checkpoint_gives_the_same_bundle_twice(own: Path) -> None:
    one, other = exported(own), exported(own, "again")
    assert one.bundle.digest == other.bundle.digest
    files = one.bundle.manifest.files
    assert {"cells.onnx", "head.onnx", "export-report.json", "MODEL_CARD.md"} <= set(files)


def test_the_report_says_what_was_compared_on_what(own: Path) -> None:
    bundle = exported(own).bundle
    report = json.loads(bundle.read("export-report.json"))
    assert report["passed"]
    assert report["research_use_only"]
    assert report["images"]["kind"] == "drawn"
    rows = report["networks"]["cells"]["outputs"]["promyelocyte"]
    assert [row["batch"] for row in rows] == [1, 5, 16]
    assert all(row["largest_absolute"] <= row["allowed"] for row in rows)
    assert report["networks"]["cells"]["class_agreement"][0]["same"] == 1
    assert report["slide"]["exported"]["cells"] == report["images"]["cells"] > 16
    assert report["weights"]["model"]["file"] == "weights.pt"
    assert len(report["weights"]["model"]["sha256"]) == 64


def test_an_exported_bundle_runs_and_never_clears_before_it_is_calibrated(own: Path) -> None:
    bundle = exported(own).bundle
    with open_model(bundle.folder) as model:
        assert set(model.engines) == {"cells", "head"}
        assert "promyelocyte" in model.engines["cells"].outputs
    assert bundle.manifest.trained
    assert bundle.manifest.domain is None


def write_fields(folder: Path) -> Path:
    """Write drawn fields as a folder of images."""
    folder.mkdir()
    for number, cells in enumerate([((60, 60), (150, 130)), ((50, 140), (140, 50))]):
        (folder / f"{number}.png").write_bytes(png(drawn_field(cells)))
    return folder


def test_cells_are_brought_to_the_colours_of_the_images_that_were_given(own: Path) -> None:
    images = ProofImages(write_fields(own / "fields"), um_per_px=0.2)
    plain, moving = exported(own), exported(own, "moving", colours=images)
    crop = moving.bundle.manifest.crop
    assert (plain.bundle.manifest.crop.colour_transfer, crop.colour_transfer) == (None, "reinhard")
    frames = [Frame(drawn_field(), 0, 0, 0.2, "field", "0" * 64)]
    own_colours = [cell_colours(HsvWatershed().segment(frame)) for frame in frames]
    assert crop.colours is not None
    assert own_colours[0] is not None
    np.testing.assert_allclose(crop.colours.mean, own_colours[0].mean, atol=0.05)
    assert plain.bundle.manifest.subject != moving.bundle.manifest.subject
    with open_model(moving.bundle.folder) as model:  # its self-test passes
        assert model.bundle.manifest.crop == crop


def test_cells_are_shown_in_eight_views_where_the_export_says_so(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = exported(own, views=8)
    assert done.bundle.manifest.crop.views == 8
    assert (
        done.report["slide"]["exported"]["verdict"] == done.report["slide"]["reference"]["verdict"]
    )
    weights = f"model={own / 'weights.pt'}"
    command = ["export", str(own / "recipe.toml"), "--weights", weights, "--out", str(own / "b")]
    assert run([*command, "--views", "3"]) == 2
    assert "1 view or in 8" in capsys.readouterr().err


def test_a_recipe_that_moves_colours_says_where_to_or_is_given_images(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own / "recipe.toml"
    text = path.read_text()
    wanted = 'size_px = 64\ncolour_transfer = "reinhard"\n'
    path.write_text(text.replace("size_px = 64\n", wanted))
    weights = f"model={own / 'weights.pt'}"
    command = ["export", str(path), "--weights", weights, "--out", str(own / "bundle")]
    assert run(command) == 2
    error = capsys.readouterr().err.strip()
    assert "--colours FOLDER" in error
    assert "\n" not in error
    (own / "empty").mkdir()
    (own / "empty" / "ground.png").write_bytes(png(np.full((200, 200, 3), 230, np.uint8)))
    assert run([*command, "--colours", str(own / "empty"), "--um-per-px", "0.2"]) == 3
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no cell with a spread of colours" in error
    assert not (own / "bundle").exists()
    colours = "\n[images.colours]\nmean = [-1.1, 0.15, 0.03]\ndeviation = [0.4, 0.12, 0.03]\n"
    path.write_text(
        path.read_text().replace("\n[networks.cells]", f"{colours}\n[networks.cells]", 1)
    )
    done = exported(own)
    assert done.bundle.manifest.crop.colours == ColoursSpec(
        mean=(-1.1, 0.15, 0.03), deviation=(0.4, 0.12, 0.03)
    )


def test_a_network_that_answers_otherwise_fails_the_export(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = Graph.forward

    def shifted(self: Graph, given: Any) -> Any:
        answers = original(self, given)
        tracing = torch.compiler.is_compiling() or torch.compiler.is_exporting()
        return answers if tracing else tuple(answer + 0.01 for answer in answers)

    monkeypatch.setattr(Graph, "forward", shifted)
    with pytest.raises(ProofError, match="differs by") as caught:
        exported(own)
    assert caught.value.exit_code == 1
    assert not (own / "bundle").exists()


def test_a_bundle_of_other_weights_does_not_pass_the_check(own: Path) -> None:
    exported(own)
    recipe = find_recipe(str(own / "recipe.toml"))
    request = ExportRequest(weights={"model": own / "weights.pt"})
    assert not check(recipe, request, own / "bundle", silent).report["problems"]
    state = torch.load(own / "weights.pt", weights_only=True)
    state["cell_head.bias"] += 0.1
    torch.save(state, own / "weights.pt")
    with pytest.raises(ProofError, match=r"cells\.cell_logits differs"):
        check(recipe, request, own / "bundle", silent)


def test_random_weights_are_marked_and_can_only_give_review(own: Path) -> None:
    recipe = find_recipe(str(own / "recipe.toml"))
    done = export(recipe, ExportRequest(seed=1), own / "bundle", silent)
    assert not done.bundle.manifest.trained
    assert done.report["slide"]["exported"]["verdict"] == "REVIEW"
    assert "random" in done.bundle.read("MODEL_CARD.md").decode()


@pytest.mark.parametrize(
    ("find", "put", "error", "word"),
    [
        ('factory = "model.py:build"', 'factory = "model.py:make"', ConfigError, "no function"),
        ('factory = "model.py:build"', 'factory = "nowhere.py:build"', ConfigError, "no such file"),
        ('factory = "model.py:build"', 'factory = "no_such_package:f"', ConfigError, "no module"),
        (
            'factory = "model.py:build"',
            'factory = "model.py"',
            ConfigError,
            "factory name is malformed",
        ),
        ('factory = "model.py:build"', 'factory = "model.py:train"', ConfigError, "factory failed"),
        ('part = "slide_head"', 'part = "slide_heat"', ConfigError, "nothing to call"),
        ("size_px = 64", "size_px = 8", ConfigError, r"images\.size_px"),
        ('outputs = ["slide_logits"]', 'outputs = ["a", "slide_logits"]', ConfigError, "2 are"),
        ("[rule]", "[rule]\nsurplus = 1", ConfigError, r"rule\.surplus"),
        ("[rule]", "[rule", ConfigError, "not valid TOML"),
        ('softmax.slide_logits = ["AML"', 'softmax.slide = ["AML"', ConfigError, "not among"),
    ],
)
def test_a_wrong_recipe_is_told_by_setting_and_leaves_nothing(
    own: Path, find: str, put: str, error: type[Exception], word: str
) -> None:
    text = (own / "recipe.toml").read_text()
    assert find in text
    (own / "recipe.toml").write_text(text.replace(find, put, 1 if "slide" in find else -1))
    with pytest.raises(error, match=word):
        exported(own)
    assert not (own / "bundle").exists()
    assert not list(own.glob(".bundle-*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--weights", "model=w.pt", "--random-weights", "1"], "given twice"),
        (["--weights", "modell=w.pt"], "no such role"),
        ([], "weights are missing: model: add --weights model=FILE"),
        (["--weights", "w.pt"], "role=FILE"),
        (["--weights", "model=w.pt", "--segmenter", "field"], "own segmenter"),
    ],
)
def test_wrong_weights_are_one_line(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(EXAMPLE / "recipe.toml")
    code = run(["export", recipe, *arguments, "--out", str(tmp_path / "b")])
    assert code == 2
    error = capsys.readouterr().err.strip()
    assert word in error
    assert "\n" not in error


def test_a_folder_that_is_no_bundle_is_not_replaced(own: Path) -> None:
    (own / "bundle").mkdir()
    (own / "bundle" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a bundle"):
        exported(own)
    assert (own / "bundle" / "thesis.txt").exists()


def test_a_checkpoint_that_does_not_fit_is_refused_with_its_keys(own: Path) -> None:
    state = torch.load(own / "weights.pt", weights_only=True)
    del state["embed.weight"]
    torch.save({**state, "surplus": torch.zeros(1)}, own / "weights.pt")
    with pytest.raises(BundleError, match=r"embed\.weight") as caught:
        exported(own)
    assert "surplus" in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_fits_its_manifest(name: str) -> None:
    """Networks, roles, rule and explanation make a manifest, also with another segmenter."""
    for segmenter in (None, "hsv-watershed", "field"):
        recipe = find_recipe(name, segmenter)
        settings = manifest_settings(recipe, trained=True, explain=True)
        wanted = [network.file for network in recipe.networks]
        files = dict.fromkeys([*wanted, "MODEL_CARD.md", "golden.png", "golden.npz"], "0" * 64)
        manifest = Manifest.model_validate({"schema_version": 1, **settings, "files": files})
        assert manifest.segmenter.kind == (segmenter or recipe.settings["segmenter"]["kind"])
        looking = {step.network for step in steps(manifest)} | set(manifest.detector_networks)
        assert looking | {manifest.reducer.head} >= set(manifest.networks)


def test_the_lightest_published_recipe_exports_with_random_weights(tmp_path: Path) -> None:
    request = ExportRequest(seed=1, explain=True)
    done = export(find_recipe("spatial-attention"), request, tmp_path / "b", silent)
    manifest = open_bundle(tmp_path / "b").manifest
    assert not done.report["problems"]
    assert manifest.answers == "subtype"
    assert manifest.explanation is not None
    assert manifest.explanation.maps == ("network.attention",)
    plain = export(find_recipe("spatial-attention"), ExportRequest(seed=1), tmp_path / "c", silent)
    assert plain.bundle.manifest.explanation is None
    with open_model(tmp_path / "c") as model:
        assert "attention" not in model.engines["network"].outputs


def test_an_export_says_what_it_assumed_of_its_images(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_size, "measure_scale", lambda pixels: None)
    slides = write_slides(tmp_path / "smears", slides=1, frames=1)
    for um_per_px in (None, 0.2):
        images = ProofImages(slides, um_per_px=um_per_px)
        warnings = exported(own, images=images).report["warnings"]
        told = [text for text in warnings if "µm per pixel was assumed" in text]
        assert len(told) == (um_per_px is None), warnings
