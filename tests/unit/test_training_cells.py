"""Networks of single cells: which cells they look for, what they are balanced by, who is apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
tomli_w = pytest.importorskip("tomli_w", reason="needs the train extra")
pytest.importorskip("matplotlib", reason="needs the train extra")

from torch import Tensor, nn  # noqa: E402

from edgeapl.cli.main import run  # noqa: E402
from edgeapl.errors import EdgeAplError, InputError, UsageError  # noqa: E402
from edgeapl.export.architectures.xception import Xception  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.training.cell_folders import read_cell_folders  # noqa: E402
from edgeapl.export.training.choices import Choices, read_cells  # noqa: E402
from edgeapl.export.training.device import Device  # noqa: E402
from edgeapl.export.training.embedding import embed  # noqa: E402
from edgeapl.export.training.labelled_set import LabelledImage, LabelledSet, read_labelled_set  # noqa: E402
from edgeapl.export.training.overrides import changed  # noqa: E402
from edgeapl.export.training.page import write_page  # noqa: E402
from edgeapl.export.training.plan import TrainingRequest, data_of  # noqa: E402
from edgeapl.export.training.plots import draw_training  # noqa: E402
from edgeapl.export.training.recipe import Classes, TrainingRecipe  # noqa: E402
from edgeapl.export.training.recipes.eckardt2022 import answer  # noqa: E402
from edgeapl.export.training.registry import find_parts  # noqa: E402
from edgeapl.export.training.search import search  # noqa: E402
from edgeapl.export.training.settings import Rate  # noqa: E402
from edgeapl.export.training.trainer import Trained, train  # noqa: E402
from edgeapl.export.training.trainer import read_cells as read_pool  # noqa: E402
from edgeapl.export.training.writer import training_document  # noqa: E402
from edgeapl.report.pictures import jpeg_bytes, png_bytes  # noqa: E402
from tests.training_cohort import drawn_cell, write_cohort  # noqa: E402
from tests.unit.test_training import Quiet, same  # noqa: E402

QUESTIONS = ("myeloblast", "promyelocyte", "auer_rod")


class Narrow(nn.Module):  # type: ignore[misc]
    """Answers as an Xception does, in a thousandth of the time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, 8)
        self.fc = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.conv(x)).mean((2, 3))
        return features, self.fc(features)[:, 0]


def parts(**choices: object) -> dict[str, TrainingRecipe]:
    found = find_parts("eckardt2022", Choices(**choices))  # type: ignore[arg-type]
    return {recipe.cell_order[-1]: recipe for recipe in found}


def named(cell_class: str) -> LabelledImage:
    return LabelledImage(Path("cell.png"), "slide", "patient", "", cell_class)


def quick(epochs: int = 2, **cells: tuple[str, ...]) -> TrainingRecipe:
    recipe = changed(parts(size=64, cells=cells)["promyelocyte"], seed=1, epochs=epochs, batch=4)
    settings = replace(recipe.settings, save_every=2, rate=Rate(0.01))
    return replace(recipe, build=lambda classes: Narrow(), settings=settings)


def write_folders(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write a folder per class: promyelocytes look like cells of APL."""
    seed = 0
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for _ in range(count):
            seed += 1
            cell = drawn_cell("APL" if name == "promyelocyte" else "AML", seed)
            (folder / name / f"{seed}.png").write_bytes(png_bytes(cell))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"promyelocyte": 3, "lymphocyte": 5, "Erythroblast": 4}
    return write_folders(tmp_path_factory.mktemp("cells") / "set", counts)


def fitted(
    labelled: LabelledSet, out: Path, recipe: TrainingRecipe, stop_at: int = 0, folds: int = 0
) -> Trained:
    request = TrainingRequest(out, folds=folds, crops=True)
    return train(recipe, labelled, Device(), request, Quiet(stop_at))


def test_three_networks_are_trained_as_the_paper_says() -> None:
    found = parts()
    assert tuple(found) == QUESTIONS
    for recipe in found.values():
        assert recipe.judges == "cells"
        assert recipe.crop.size_px == 299
        assert recipe.form["dropout"] > 0
        changes = recipe.augmentation
        assert min(changes.zoom, changes.shift, changes.hue, changes.light) > 0
        assert recipe.class_of(named("Lymphocyte")) == recipe.other
        assert recipe.class_of(named("")) == ""  # nobody said what it is
    for faggot in ("promyelocyte", "auer_rod"):
        assert found[faggot].class_of(named("Faggot_cell")) == faggot
    assert found["myeloblast"].class_of(named("faggot_cell")) == "not_myeloblast"


def test_the_network_for_use_has_the_layers_and_the_size_that_were_chosen(tmp_path: Path) -> None:
    asked = {"auer_rod": ("rods",)}
    recipe = parts(size=128, hidden=(64, 16), parts=("auer_rod",), cells=asked)["auer_rod"]
    assert recipe.bundle is not None
    files = recipe.bundle(Classes(recipe.cell_order))
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(dict(files.recipe)))
    (tmp_path / "model.py").write_text(files.model)
    found = find_recipe(str(tmp_path / "recipe.toml"))
    assert found.settings["crop"]["size_px"] == 128
    assert "calls it rods" in found.card
    with torch.device("meta"):
        built = found.networks[0].build({})
        own = Xception((64, 16))
    assert built.state_dict().keys() == own.state_dict().keys()


def test_two_sides_of_a_question_are_its_one_logit() -> None:
    logits, _ = answer(Narrow(), torch.rand(3, 3, 64, 64))
    assert torch.allclose(logits.softmax(-1)[:, 1], torch.sigmoid(logits[:, 1]))


def test_every_epoch_shows_both_sides_equally_often(folders: Path, tmp_path: Path) -> None:
    made = fitted(read_cell_folders(folders), tmp_path, quick(epochs=1))
    data = data_of(made.recipe, made.pool, made.classes, made.device)
    batches = made.recipe.objective(data).batches(np.random.default_rng(1))
    asked = data.truth[np.concatenate(batches)]
    assert (asked == 1).sum() == (asked == 0).sum() == 6


def test_it_learns_and_goes_on_after_a_kill(folders: Path, tmp_path: Path) -> None:
    labelled = read_cell_folders(folders)
    recipe = quick(epochs=4)
    whole = fitted(labelled, tmp_path / "whole", recipe, folds=3)
    losses = [epoch.loss for epoch in whole.rounds[-1].history]
    assert losses[-1] < losses[0]
    with pytest.raises(KeyboardInterrupt):
        fitted(labelled, tmp_path / "cut", recipe, stop_at=11, folds=3)
    again = fitted(labelled, tmp_path / "cut", recipe, folds=3)
    assert same(whole, again)
    document = training_document(again)
    assert document["cohort"]["split_by"] == "image"
    assert document["cohort"]["patients"] is None
    assert document["named"] == {
        "not_promyelocyte": ["Erythroblast", "lymphocyte"],
        "promyelocyte": ["promyelocyte"],
    }
    assert document["cross_validation"]["sought"].keys() == {"promyelocyte"}
    said = write_page(whole, document, tmp_path / "whole").read_text()
    assert "The cohort names no patients" in said
    assert "promyelocyte (promyelocyte)" in said
    assert "Settings were chosen" not in said
    document["form"]["trials"] = [{}, {}]
    assert "best of 2 trials" in write_page(whole, document, tmp_path / "whole").read_text()


def test_cells_of_unknown_patients_are_drawn_by_their_class_alone(
    folders: Path, tmp_path: Path
) -> None:
    trained = fitted(read_cell_folders(folders), tmp_path, quick(epochs=1))
    pictures = draw_training(trained, embed(trained.own.features), tmp_path / "plots")
    assert [one.stem for one in pictures if one.stem.startswith("cells")] == ["cells-by-class"]


def test_pictures_that_show_the_same_stay_on_one_side(folders: Path, tmp_path: Path) -> None:
    counts = {"promyelocyte": 3, "lymphocyte": 4}
    folder = write_folders(tmp_path / "set", counts)
    first = folder / "lymphocyte" / "4.png"
    (folder / "lymphocyte" / "again.png").write_bytes(first.read_bytes())
    (folder / "lymphocyte" / "saved.jpg").write_bytes(jpeg_bytes(drawn_cell("AML", 4)))
    made = fitted(read_cell_folders(folder), tmp_path / "out", quick(epochs=1), folds=3)
    owner = {image.file.name: image.patient for image in made.pool.images}
    assert owner["again.png"] == owner["saved.jpg"] == owner["4.png"]
    assert len(set(owner.values())) == 7


def test_a_patient_who_has_cells_of_both_sides_counts_for_both(tmp_path: Path) -> None:
    """Every patient here has promyelocytes: by diagnosis there would be one class only."""
    folder = write_cohort(tmp_path / "cohort", 4, 2)
    for patient in range(4):
        for name, label in (("Promyelocyte", "APL"), ("Lymphocyte", "AML")):
            home = folder / "slides" / f"P{patient}" / name
            home.mkdir(exist_ok=True)
            cell = drawn_cell(label, 10 * patient + len(name))
            (home / "more.png").write_bytes(png_bytes(cell))
    read = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    made = fitted(read, tmp_path / "out", quick(epochs=1), folds=3)
    sides = [(set(r.split.train), set(r.split.tested)) for r in made.rounds[:-1]]
    assert all(not train & tested for train, tested in sides)
    assert set.union(*(tested for _, tested in sides)) == {"P0", "P1", "P2", "P3"}
    assert training_document(made)["cohort"]["split_by"] == "patient"


def test_other_cells_in_the_same_folder_are_another_training(folders: Path, tmp_path: Path) -> None:
    labelled = read_cell_folders(folders)
    fitted(labelled, tmp_path, quick(epochs=1))
    with pytest.raises(UsageError, match="another training"):
        fitted(labelled, tmp_path, quick(epochs=1, promyelocyte=("erythroblast",)))


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        ({"parts": ("blast",)}, "--part names no network: blast"),
        ({"cells": {"blast": ("x",)}}, "--cells names no network: blast"),
        ({"size": 32}, "32 px"),
        ({"hidden": (1, 2, 3)}, "too many --hidden"),
    ],
)
def test_a_choice_that_no_network_has_is_refused(choices: dict[str, object], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        parts(**choices)


def test_choices_of_another_system_are_refused() -> None:
    with pytest.raises(UsageError, match="--size"):
        find_parts("mil-small", Choices(size=128))


@pytest.mark.parametrize("text", ["promyelocyte", "=a", "promyelocyte=", "promyelocyte=,"])
def test_a_malformed_choice_of_cells_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="malformed --cells"):
        read_cells([text])


def test_choices_of_cells_add_up() -> None:
    assert read_cells(["a=b, c", "a=d"]) == {"a": ("b", "c", "d")}


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"lymphocyte": 3, "monocyte": 3}, "--cells promyelocyte=FOLDER"),
        ({"promyelocyte": 4}, "not_promyelocyte"),
        ({"promyelocyte": 1, "lymphocyte": 5}, "too few"),
    ],
)
def test_cells_that_teach_nothing_are_refused(
    counts: Mapping[str, int], line: str, tmp_path: Path
) -> None:
    labelled = read_cell_folders(write_folders(tmp_path / "set", counts))
    with pytest.raises(EdgeAplError, match=line):
        fitted(labelled, tmp_path / "out", quick())


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    folder = write_folders(tmp_path, {"promyelocyte": 2})
    with pytest.raises(InputError, match="images per class"):
        read_cell_folders(folder / "promyelocyte")


def searched(folders: Path, out: Path, stop_at: int = 0) -> TrainingRecipe:
    """Search with a narrow network in the place of Xceptions of all sizes."""
    recipe = quick(epochs=2)
    variant = recipe.variant
    assert variant is not None

    def narrow(recipe: TrainingRecipe, values: Mapping[str, float]) -> TrainingRecipe:
        return replace(variant(recipe, values), build=lambda classes: Narrow())

    recipe = replace(recipe, variant=narrow)
    request = TrainingRequest(out, crops=True)
    labelled = read_cell_folders(folders)
    pool = read_pool(recipe, labelled, request, Quiet())
    return search(recipe, pool, Device(), request, 4, Quiet(stop_at))


def test_a_search_takes_the_best_of_its_trials_and_goes_on_after_a_kill(
    folders: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="needs the train extra")
    whole = searched(folders, tmp_path / "whole")
    trials = whole.form["trials"]
    assert len({tuple(one["values"].values()) for one in trials}) == 4
    best = min(trials, key=lambda one: one["loss"])
    assert whole.settings.rate.peak == best["values"]["rate"]
    assert whole.form["dropout"] == best["values"]["dropout"]
    width, layers = best["values"]["width"], best["values"]["layers"]
    assert whole.form["hidden"] == [width] * (layers - 1)
    for one in trials:
        for name, value in one["values"].items():
            assert whole.space[name].low <= value <= whole.space[name].high
    with pytest.raises(KeyboardInterrupt):
        searched(folders, tmp_path / "cut", stop_at=13)
    assert searched(folders, tmp_path / "cut").form == whole.form


def test_a_recipe_that_leaves_nothing_open_is_not_searched(folders: Path, tmp_path: Path) -> None:
    recipe = replace(quick(), variant=None)
    request = TrainingRequest(tmp_path, crops=True)
    pool = read_pool(recipe, read_cell_folders(folders), request, Quiet())
    with pytest.raises(UsageError, match="nothing is searched for"):
        search(recipe, pool, Device(), request, 1, Quiet())


@pytest.mark.parametrize(
    ("options", "which"),
    [
        (("--part", "detector", "--search", "3"), "--search"),
        (("--part", "detector", "--hidden", "9"), "--hidden"),
        (("--part", "promyelocyte", "--boxes", "boxes.json"), "--boxes"),
        (("--part", "promyelocyte", "--part", "detector"), "--part"),
        (("--part", "detector"), "learns from boxes"),
        (("--part", "promyelocyte"), "cells have no classes"),
    ],
)
def test_an_option_that_does_not_fit_the_network_is_refused(
    options: tuple[str, ...], which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "eckardt2022", "--slides", str(tmp_path), "--out", str(tmp_path / "out"))
    assert run([*words, *options]) == 2
    assert which in capsys.readouterr().err
