"""Every recipe keeps to its paper, learns, goes on after a kill, and its files are exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
tomli_w = pytest.importorskip("tomli_w", reason="needs the train extra")

from torch import nn  # noqa: E402

from edgeapl.export.architectures.vgg19 import Millie  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.training.device import Device  # noqa: E402
from edgeapl.export.training.labelled_set import read_labelled_set  # noqa: E402
from edgeapl.export.training.loop import area  # noqa: E402
from edgeapl.export.training.overrides import changed  # noqa: E402
from edgeapl.export.training.plan import TrainingRequest  # noqa: E402
from edgeapl.export.training.recipe import Classes, TrainingRecipe, output_names  # noqa: E402
from edgeapl.export.training.registry import TRAINED, find_training  # noqa: E402
from edgeapl.export.training.settings import Rate  # noqa: E402
from edgeapl.export.training.trainer import Trained, data_for, read_cells, train  # noqa: E402
from edgeapl.export.training.writer import training_document  # noqa: E402
from tests.training_cohort import write_cohort, write_labels  # noqa: E402
from tests.unit.test_training import Quiet, same  # noqa: E402


def test_manescu2023_is_trained_as_the_paper_says() -> None:
    recipe = find_training("manescu2023")
    settings, augmentation = recipe.settings, recipe.augmentation
    assert settings.bag == 50  # "up to fifty image patches"
    assert settings.batch == 1  # "per sample for each iteration"
    assert (settings.optimiser, settings.rate) == ("sgd", Rate(0.0003))
    assert settings.epochs == 100
    assert settings.patience is not None  # "or early stopping"
    assert settings.stopping > 0
    assert augmentation.turn
    assert augmentation.mirror
    assert min(augmentation.hue, augmentation.gamma, augmentation.noise) > 0
    assert settings.views > 1  # "the same augmentations were applied during testing"
    assert not recipe.cell_classes  # slides' labels alone
    assert recipe.crop.size_px == 200
    assert recipe.crop.window_um == 12.8


def test_a_test_of_manescu2023_averages_passes_of_other_colours_and_is_the_same_twice(
    tmp_path: Path,
) -> None:
    """Geometry apart, "the same augmentations" change how cells are stained and lit."""
    folder = write_cohort(tmp_path / "cohort", 2, 3)
    labelled = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    recipe = find_training("manescu2023")
    spectral = replace(recipe.augmentation, turn=False, mirror=False)
    recipe = replace(recipe, augmentation=spectral)
    request = TrainingRequest(tmp_path / "out", crops=True, um_per_px=0.1)
    pool = read_cells(recipe, labelled, request, Quiet())
    data, _ = data_for(recipe, pool, Device(threads=1), "APL")
    rows = np.arange(len(pool))
    passes, again = ([torch.cat(list(one)) for one in data.passes(rows)] for _ in range(2))
    assert len(passes) == recipe.settings.views
    assert all(torch.equal(one, other) for one, other in zip(passes, again, strict=True))
    hues = torch.stack([one.mean((2, 3)) for one in passes])
    assert float(hues.std(0).min()) > 0.01
    assert not torch.equal(passes[0], data.plain(rows))


def test_spatial_attention_is_trained_as_the_paper_says() -> None:
    recipe = find_training("spatial-attention")
    assert recipe.settings.optimiser == "adam"
    assert recipe.settings.rate.kind == "halved"
    assert recipe.judges == "images"
    assert recipe.segmenter == "field"


def reduced(name: str, **changes: int) -> TrainingRecipe:
    """Make a recipe quick: small cells, and for VGG-19 small layers after them."""
    recipe = changed(find_training(name), seed=1, epochs=3, **changes)
    crop = recipe.crop.model_copy(update={"size_px": 32, "resized_px": None})
    settings = replace(recipe.settings, save_every=2, patience=None, stopping=0.0)
    build: Callable[[Classes], nn.Module] = recipe.build
    if name == "manescu2023":
        build = narrow
    return replace(recipe, crop=crop, settings=settings, build=build)


def narrow(classes: Classes) -> Millie:
    """Give MILLIE with one layer in place of VGG's sixteen."""
    module = Millie(32, (32, 16), len(classes.slides))
    module.features = nn.Sequential(nn.Conv2d(3, 512, 8, 8), nn.ReLU(), nn.MaxPool2d(4))
    return module


def trained(recipe: TrainingRecipe, folder: Path, out: Path, watcher: Quiet) -> Trained:
    read = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    return train(recipe, read, Device(), TrainingRequest(out, crops=True), watcher)


@pytest.mark.parametrize("name", ["manescu2023", "spatial-attention"])
def test_it_learns_and_goes_on_after_a_kill(name: str, tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "cohort", 4, 3)
    recipe = reduced(name, batch=4, bag=3)
    # MILLIE's steps are small and its dropout is large: it takes more of them to be seen.
    few, rate = (12, 0.01) if name == "manescu2023" else (3, 0.001)
    settings = replace(recipe.settings, epochs=few, rate=Rate(rate))
    recipe = replace(recipe, settings=settings)
    watcher = Quiet()
    whole = trained(recipe, folder, tmp_path / "whole", watcher)
    assert watcher.epochs[-1].loss < watcher.epochs[0].loss
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, folder, tmp_path / "cut", Quiet(stop_at=2))
    assert same(whole, trained(recipe, folder, tmp_path / "cut", Quiet()))


def test_images_of_three_classes_have_figures_each_against_the_rest(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "cohort", 6, 2)
    kinds = ("PML-RARA", "TTMV-RARA", "NPM1-RARA")
    write_labels(folder, ["patient,label", *(f"P{n},{kinds[n % 3]}" for n in range(6))])
    recipe = reduced("spatial-attention")
    read = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    request = TrainingRequest(tmp_path / "out", folds=2, crops=True)
    made = train(recipe, read, Device(), request, Quiet())
    figures = training_document(made)["cross_validation"]
    assert set(figures["sought"]) == set(kinds)
    assert figures["confusion"]["n"] == 12
    for one in figures["sought"].values():
        assert one["mean_of_seeds"]["slides"]["n"] == 12
        assert one["mean_of_seeds"]["patients"]["n"] == 6


@pytest.mark.parametrize("name", sorted(TRAINED))
@pytest.mark.parametrize(
    "labels", [("AML", "APL"), ("not APL", "APL (M3)"), ("ä", "ö", "APL")], ids=str
)
def test_what_it_writes_is_a_recipe_for_the_export(
    name: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = find_training(name)
    assert recipe.bundle is not None
    for cells in {recipe.cell_order, ()}:
        files = recipe.bundle(Classes(labels, cells))
        (tmp_path / "recipe.toml").write_text(tomli_w.dumps(dict(files.recipe)), encoding="utf-8")
        (tmp_path / "model.py").write_text(files.model, encoding="utf-8")
        found = find_recipe(str(tmp_path / "recipe.toml"))
        assert "Research use only" in found.settings["intended_use"]
        with torch.device("meta"):
            wanted = [shapes(network.build({})) for network in found.networks]
        assert wanted
        if name != "manescu2023" or len(labels) == 3:  # 79 million weights
            own = shapes(recipe.build(Classes(labels, cells)))
            assert all(each == own for each in wanted)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_no_two_outputs_have_one_name() -> None:
    assert output_names(("AML", "APL")) == ["AML", "APL"]
    assert output_names(("a b", "a-b", "ß")) == ["a_b", "a_b_2", "label"]


def test_the_area_of_many_classes_is_the_mean_of_each_against_the_rest() -> None:
    truth = [0, 0, 1, 1, 2]
    said = np.array(
        [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]],
        dtype=np.float32,
    )
    # 0: pairs 0.8 and 0.2 over 0.3, 0.6, 0.1: 4 of 6; 1: 0.6 and 0.3 over 0.1, 0.5, 0.1: 5 of 6.
    assert area(truth, said) == pytest.approx((4 / 6 + 5 / 6 + 1) / 3)
    assert area([1, 1], said[:2, :2]) is None
    assert area([], said[:0]) is None
