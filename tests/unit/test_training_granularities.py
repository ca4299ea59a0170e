"""Networks in a tree: which stage a cell teaches, patches, four steps, and who guides whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
tomli_w = pytest.importorskip("tomli_w", reason="needs the train extra")

from torch import Generator, Tensor, nn  # noqa: E402

from edgeapl.errors import InputError, UsageError  # noqa: E402
from edgeapl.export.architectures.pmg import WIDTH, Classifier, Pmg  # noqa: E402
from edgeapl.export.recipes.recipe_file import RecipeFile  # noqa: E402
from edgeapl.export.recipes.yan2025 import STAGES  # noqa: E402
from edgeapl.export.recipes.yan2025 import recipe as published  # noqa: E402
from edgeapl.export.training.cell_folders import read_cell_folders  # noqa: E402
from edgeapl.export.training.choices import Choices  # noqa: E402
from edgeapl.export.training.device import Device  # noqa: E402
from edgeapl.export.training.image_objective import ImageObjective  # noqa: E402
from edgeapl.export.training.initial_weights import start_from  # noqa: E402
from edgeapl.export.training.jigsaw import JigsawObjective, answer, shuffled  # noqa: E402
from edgeapl.export.training.labelled_set import LabelledImage, LabelledSet  # noqa: E402
from edgeapl.export.training.leukaemia_tree import LeukaemiaTree  # noqa: E402
from edgeapl.export.training.overrides import changed  # noqa: E402
from edgeapl.export.training.plan import TrainingRequest, check_classes, data_of  # noqa: E402
from edgeapl.export.training.recipe import Classes, TrainingRecipe  # noqa: E402
from edgeapl.export.training.recipes import yan2025, yan2025_system  # noqa: E402
from edgeapl.export.training.registry import find_parts  # noqa: E402
from edgeapl.export.training.settings import Rate  # noqa: E402
from edgeapl.export.training.trainer import Trained, train  # noqa: E402
from edgeapl.report.pictures import png_bytes  # noqa: E402
from edgeapl.types import Int64  # noqa: E402
from tests.training_cohort import drawn_cell  # noqa: E402
from tests.unit.test_training import Quiet, same  # noqa: E402


class Narrow(Pmg):
    """Answers as the published network does, from three small maps."""

    def __init__(self, classes: int) -> None:
        nn.Module.__init__(self)
        self.convs = nn.ModuleList(nn.Conv2d(3, WIDTH, side, side) for side in (8, 16, 32))
        for number in (1, 2, 3):
            self.add_module(f"classifier{number}", Classifier(WIDTH, 4, classes))
        self.classifier_concat = Classifier(3 * WIDTH, 4, classes)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one, two, three = (torch.relu(conv(x)) for conv in self.convs)
        return one, two, three


def stages(**choices: object) -> dict[str, TrainingRecipe]:
    found = find_parts("yan2025", Choices(**choices))  # type: ignore[arg-type]
    return {recipe.name.removeprefix("yan2025-"): recipe for recipe in found}


def quick(stage: str, epochs: int = 2) -> TrainingRecipe:
    recipe = changed(stages(size=64, parts=(stage,))[stage], seed=1, epochs=epochs, batch=4)
    settings = replace(recipe.settings, save_every=2, rate=Rate(0.002))
    # What is cut with a mask needs a cell that stands alone; drawn ones do.
    return replace(recipe, build=lambda classes: Narrow(len(classes.slides)), settings=settings)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    folder = tmp_path_factory.mktemp("tree") / "set"
    kinds = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil", "malignant")
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for seed in range(5 if kind == "malignant" else 2):
            cell = drawn_cell("APL" if kind == "malignant" else "AML", 100 * len(kind) + seed)
            (folder / kind / f"{seed}.png").write_bytes(png_bytes(cell))
    return read_cell_folders(folder)


def fitted(labelled: LabelledSet, out: Path, recipe: TrainingRecipe, stop_at: int = 0) -> Trained:
    request = TrainingRequest(out, crops=True)
    return train(recipe, labelled, Device(), request, Quiet(stop_at))


def cell(folder: str, diagnosis: str = "") -> LabelledImage:
    return LabelledImage(Path("cell.png"), "slide", "patient", diagnosis, folder)


PATHS = {
    cell("Neutrophil", "AML"): ("neutrophil", "benign"),
    cell("SEG", "AML"): ("neutrophil", "benign"),
    cell("Myeloblast", "AML"): ("non_apl", "aml", "myeloid", "malignant"),
    cell("promyelocyte", "APL"): ("apl", "aml", "myeloid", "malignant"),
    cell("blast", "CML"): ("cml", "myeloid", "malignant"),
    cell("blast", "CLL"): ("cll", "lymphoid", "malignant"),
    cell("blast", "ALL"): ("all", "lymphoid", "malignant"),
    cell("blast", "Ph+ALL"): ("ph_positive", "all", "lymphoid", "malignant"),
    cell("blast"): ("malignant",),
    cell("blast", "unheard of"): ("malignant",),
    cell("APL"): ("apl", "aml", "myeloid", "malignant"),
    cell("hcl", "AML"): ("hcl", "lymphoid", "malignant"),
    cell("smudge", "APL"): (),
    cell("", "APL"): (),
}


@pytest.mark.parametrize("image", PATHS, ids=lambda image: f"{image.cell_class}-{image.label}")
def test_a_cell_teaches_the_stages_on_its_path(image: LabelledImage) -> None:
    tree = LeukaemiaTree()
    assert tree.path(image) == PATHS[image]
    for name, classes, _ in STAGES:
        assert tree.class_in(name, image) in ("", *classes)


def test_folders_can_be_named() -> None:
    tree = LeukaemiaTree({"malignant": ("IG",), "lymphocyte": ("blast",)})
    assert tree.path(cell("ig", "APL")) == ("apl", "aml", "myeloid", "malignant")
    assert tree.path(cell("blast", "APL")) == ("lymphocyte", "benign")


def test_the_numbers_are_those_of_the_paper() -> None:
    found = stages()
    assert list(found) == [name for name, _, _ in STAGES]
    network = published().networks[-1]
    for (name, classes, _), recipe in zip(STAGES, found.values(), strict=True):
        assert recipe.cell_order == classes
        settings = recipe.settings
        assert (settings.optimiser, settings.rate, settings.weight_decay) == (
            *("sgd", Rate(1e-4)),
            5e-5,
        )
        assert (settings.epochs, settings.batch) == (150, 16)
        assert recipe.crop.model_dump() | {"leave_out": ()} == {
            **published().settings["crop"],
            "cut": "window",
            "leave_out": (),
        }, name
        assert recipe.images == network.input


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"size": 100}, "100 px"),
        ({"size": 32}, "32 px"),
        ({"hidden": (4,)}, "--hidden"),
        ({"parts": ("stage9",)}, "stage9"),
        ({"cells": {"auer_rod": ("x",)}}, "auer_rod"),
    ],
)
def test_what_no_stage_can_have_is_one_line(choices: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stages(**choices)


def test_a_class_that_no_cell_is_of_is_told_before_anything_is_read(cells: LabelledSet) -> None:
    check_classes(stages()["stage1"], cells.images)
    with pytest.raises(InputError, match="class: myeloid"):
        check_classes(stages()["stage2t"], cells.images)


@pytest.mark.parametrize("patches", [2, 4, 8])
def test_patches_are_whole_and_laid_anew(patches: int) -> None:
    images = torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16).float()
    laid = shuffled(images, patches, torch.Generator().manual_seed(3))
    side = 16 // patches

    def pieces(x: Tensor) -> list[bytes]:
        cut = x[0].unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4)
        return [piece.numpy().tobytes() for piece in cut.reshape(-1, 3, side, side)]

    assert pieces(laid) != pieces(images)
    assert sorted(pieces(laid)) == sorted(pieces(images))
    again = shuffled(images, patches, torch.Generator().manual_seed(3))
    assert torch.equal(laid, again)


def jigsaw(trained: Trained, batch: int = 4) -> JigsawObjective:
    recipe = trained.recipe
    recipe = replace(recipe, settings=replace(recipe.settings, batch=batch))
    data = data_of(recipe, trained.pool, trained.classes, trained.device)
    guide = np.ones(len(trained.pool), dtype=np.float32)
    return JigsawObjective(ImageObjective(data, answer, alone=True), guide)


@pytest.fixture(scope="module")
def first(cells: LabelledSet, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return fitted(cells, tmp_path_factory.mktemp("first"), quick("stage1", epochs=6))


def test_an_iteration_has_four_steps_and_each_moves_its_own_classifier(first: Trained) -> None:
    objective = jigsaw(first)
    module = Narrow(2).train()
    moved = []
    for part in objective.parts(module, np.arange(4), torch.Generator().manual_seed(1)):
        module.zero_grad()
        part.loss.backward()
        moved.append([name for name, child in module.named_children() if _has_gradient(child)])
    assert [names[1:] for names in moved] == [
        ["classifier1"],
        ["classifier2"],
        ["classifier3"],
        ["classifier_concat"],
    ]
    assert part.probabilities.shape == (4, 2)  # of the whole image alone


def _has_gradient(module: nn.Module) -> bool:
    return any(each.grad is not None and each.grad.any() for each in module.parameters())


def test_a_cell_without_weight_moves_nothing(first: Trained) -> None:
    objective = jigsaw(first)
    guide = objective.guide.copy()
    guide[2:] = 0
    losses = [
        float(next(JigsawObjective(objective.images, each).parts(*_same_batch())).loss.detach())
        for each in (guide, objective.guide)
    ]
    assert losses[0] != losses[1]
    guide[:] = 0
    for part in JigsawObjective(objective.images, guide).parts(*_same_batch()):
        assert float(part.loss.detach()) == 0


def _same_batch() -> tuple[nn.Module, Int64, Generator]:
    torch.manual_seed(1)
    return Narrow(2).train(), np.arange(4, dtype=np.int64), torch.Generator().manual_seed(1)


def test_a_batch_of_cells_that_belong_elsewhere_teaches_little(first: Trained) -> None:
    objective = jigsaw(first)
    guide = np.ones(len(first.pool), dtype=np.float32)
    guide[:4] = 0.01
    loss, plain = (
        float(next(JigsawObjective(objective.images, each).parts(*_same_batch())).loss.detach())
        for each in (guide, objective.guide)
    )
    assert loss < 0.02 * plain


def test_weights_of_a_trunk_are_taken(tmp_path: Path) -> None:
    module = Narrow(2)
    given = {name: torch.full_like(value, 0.5) for name, value in module.convs.state_dict().items()}
    torch.save(given, tmp_path / "trunk.pt")
    start_from(module, tmp_path / "trunk.pt")
    assert all((each == 0.5).all() for each in module.convs.parameters())
    assert (module.classifier1[1].weight != 0.5).all()


def test_no_step_has_one_cell_alone(first: Trained) -> None:
    objective = jigsaw(first, batch=2)
    assert len(first.pool) % 2
    batches = objective.batches(np.random.default_rng(1))
    assert min(map(len, batches)) >= 2
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(first.pool)))


def test_it_learns_and_goes_on_after_a_kill(
    first: Trained, cells: LabelledSet, tmp_path: Path
) -> None:
    losses = [epoch.loss for epoch in first.rounds[-1].history]
    assert losses[-1] < losses[0]
    with pytest.raises(KeyboardInterrupt):
        fitted(cells, tmp_path, quick("stage1", epochs=6), stop_at=7)
    assert same(first, fitted(cells, tmp_path, quick("stage1", epochs=6)))


def test_a_stage_is_guided_by_the_one_before(
    first: Trained, cells: LabelledSet, tmp_path: Path
) -> None:
    alone = quick("stage2b")
    guided = yan2025.follow(alone, (first,))
    guide = yan2025.guide_of(first, "benign")
    assert guided.form != alone.form
    said = dict(zip(first.own.names, first.own.probabilities[:, 0], strict=True))
    for row, image in enumerate(first.pool.images):
        assert guide[row] == pytest.approx(said[str(image.file)], abs=1e-5)
    assert yan2025.follow(quick("stage2t"), ()).form == alone.form  # trained by itself
    result = fitted(cells, tmp_path / "guided", guided)
    assert not same(result, fitted(cells, tmp_path / "alone", alone))
    further = yan2025.guide_of(result, "neutrophil")
    for row, image in enumerate(result.pool.images):
        assert (further[row] == 0) == (image.cell_class == "malignant")  # it was not shown those


def test_the_export_takes_all_stages_or_the_one_for_apl(first: Trained) -> None:
    crop = first.recipe.crop
    whole = RecipeFile.model_validate(yan2025_system.settings(crop))
    assert {name: part.when for name, part in whole.networks.items()} == {
        name: when for name, _, when in STAGES
    }
    roles = [role["name"] for role in published().settings["roles"]]
    assert sorted(role.name for role in whole.roles) == sorted(roles)
    files = stages()["apl"].bundle
    assert files is not None
    alone = files(Classes(("non_apl", "apl")))
    assert [part.when for part in RecipeFile.model_validate(alone.recipe).networks.values()] == [
        None
    ]
    for code, names in ((alone.model, ["build"]), (yan2025_system.code(), [s[0] for s in STAGES])):
        room: dict[str, object] = {}
        exec(compile(code, "model.py", "exec"), room)
        assert [name for name in room if name in names] == names
