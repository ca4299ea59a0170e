"""Segment Anything becomes part of a bundle: which checkpoints are taken, and one that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.errors import BundleError, ConfigError, UsageError  # noqa: E402
from edgeapl.export.architectures.initialise import initialise  # noqa: E402
from edgeapl.export.architectures.segment_anything import (  # noqa: E402
    SegmentAnything,
    TinyVitSize,
    VitSize,
)
from edgeapl.export.exporter import ExportRequest, export  # noqa: E402
from edgeapl.export.recipes import custom, segment_anything  # noqa: E402
from edgeapl.export.recipes.recipe import Recipe  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.weights import Weights  # noqa: E402
from edgeapl.model import open_model  # noqa: E402
from edgeapl.stages.sam import SamSegmenter  # noqa: E402
from edgeapl.types import Frame  # noqa: E402
from tests.small_bundle import drawn_field  # noqa: E402

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "own_model"
VIT = VitSize(width=24, heads=3, windows=(3, None), side=128)
TINY = TinyVitSize((8, 16, 20, 24), (1, 1, 1, 1), (2, 2, 3), (7, 14, 7), side=128)


def saved(
    size: VitSize | TinyVitSize,
    path: Path,
    prefix: str = "",
    changes: Mapping[str, object] | None = None,
) -> Path:
    model = SegmentAnything(size)
    initialise(model, 1)
    state = {prefix + name: value for name, value in model.state_dict().items()}
    changed = {**state, **(changes or {})}
    torch.save({name: value for name, value in changed.items() if value is not None}, path)
    return path


def weights(file: Path, size: VitSize | TinyVitSize | None = None, side: int = 128) -> Weights:
    networks = segment_anything.segment_anything(size, side=side).networks
    recipe = Recipe("sam", "a test", networks, settings={}, explanation={}, card="")
    return Weights(recipe, {"sam": file})


@pytest.mark.parametrize(("size", "prefix"), [(VIT, "module."), (TINY, "")])
def test_a_checkpoint_is_loaded_strictly_and_tells_its_size(
    size: VitSize | TinyVitSize, prefix: str, tmp_path: Path
) -> None:
    given = weights(saved(size, tmp_path / "sam.pth", prefix))
    encoder, decoder = given.recipe.networks
    for network in (encoder, decoder):
        graph = given.graph(network, explain=False)
        again = given.reference(network, explain=False)
        for name, value in graph.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name
    assert given.graph(encoder, explain=False).example().shape == (1, 128, 128, 3)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"prompt_encoder.no_mask_embed.weight": None}, "no_mask_embed"),
        ({"mask_decoder.surplus": torch.zeros(2)}, "surplus"),
        ({"image_encoder.neck.0.weight": torch.zeros(3, 3)}, "neck"),
        ({"image_encoder.pos_embed": None}, "no Segment Anything that is known"),
    ],
)
def test_what_is_missing_surplus_or_of_another_shape_is_named(
    changes: dict[str, object], word: str, tmp_path: Path
) -> None:
    given = weights(saved(VIT, tmp_path / "sam.pth", changes=changes))
    with pytest.raises(BundleError, match=word):
        given.graph(given.recipe.networks[0], explain=False)


def test_another_size_than_was_named_or_published_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(VIT, tmp_path / "sam.pth")
    for given, word in (
        (weights(file, side=256), "images of another size"),
        (weights(file, TINY), "not of the size that was named"),
    ):
        with pytest.raises(BundleError, match=word):
            given.graph(given.recipe.networks[0], explain=False)
    monkeypatch.setattr(segment_anything, "MOST_WEIGHTS", 1000)
    given = weights(file)
    with pytest.raises(BundleError, match="2 GB"):
        given.graph(given.recipe.networks[0], explain=False)


@pytest.mark.parametrize("recipe", ["yan2025", "manescu2023", "eckardt2022"])
@pytest.mark.parametrize("name", ["sam", "sam-vit-b", "sam-mobile-grid"])
def test_published_recipes_take_it_in_place_of_their_own(recipe: str, name: str) -> None:
    found = find_recipe(recipe, name)
    assert found.weight_roles.count("sam") == 1
    assert [network.name for network in found.networks][:2] == ["sam_encoder", "sam_decoder"]
    sam = found.settings["segmenter"]["sam"]
    assert sam["prompts"] == ("grid" if name.endswith("grid") else "boxes")
    assert sam["side"] == 1024


@pytest.mark.parametrize(
    ("recipe", "name"),
    [("yan2025", "sam-vit-h"), ("yan2025", "faster-rcnn"), ("eckardt2022", "watershed")],
)
def test_a_segmenter_that_is_none_is_refused_with_those_that_are(recipe: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"no such segmenter.*sam-mobile"):
        find_recipe(recipe, name)


def test_a_recipe_file_does_not_describe_it(tmp_path: Path) -> None:
    text = (EXAMPLE / "recipe.toml").read_text()
    section = '\n[segmenter]\nkind = "sam"\nsam = {encoder = "a", decoder = "b", side = 128}\n'
    (tmp_path / "recipe.toml").write_text(text + section)
    with pytest.raises(ConfigError, match="export with --segmenter sam"):
        custom.recipe(tmp_path / "recipe.toml")
    with pytest.raises(UsageError, match="own segmenter"):
        find_recipe(str(EXAMPLE / "recipe.toml"), "hsv-watershed")


@pytest.mark.slow
def test_a_bundle_with_it_is_exported_proven_and_finds_cells(tmp_path: Path) -> None:
    finder = segment_anything.segment_anything(TINY, side=128, min_agreement=0.0)
    recipe = custom.recipe(EXAMPLE / "recipe.toml", finder)
    done = export(recipe, ExportRequest(seed=1), tmp_path / "bundle", lambda text: None)
    assert not done.report["problems"]
    networks = done.report["networks"]
    assert [line["batch"] for line in networks["sam_encoder"]["outputs"]["embedding"]] == [1]
    assert [line["batch"] for line in networks["sam_decoder"]["outputs"]["masks"]] == [1, 5, 16]
    assert all(line["ok"] for line in networks["sam_decoder"]["outputs"]["predicted_iou"])
    assert "embedding float32 (1, 256, 8, 8)" in done.bundle.read("MODEL_CARD.md").decode()
    with open_model(tmp_path / "bundle") as model:
        assert isinstance(model.segmenter, SamSegmenter)
        found = model.segmenter.segment(Frame(drawn_field(), 0, 0, 0.2, "t", "0" * 64))
    assert len(found) == 2
