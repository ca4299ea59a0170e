"""Ensembles of slides by the shares of their cells: who called the cells, what is learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("tomli_w", reason="needs the train extra")

from edgeapl.errors import InputError  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.training.cell_folders import read_cell_folders  # noqa: E402
from edgeapl.export.training.device import Device  # noqa: E402
from edgeapl.export.training.labelled_set import read_labelled_set  # noqa: E402
from edgeapl.export.training.overrides import changed  # noqa: E402
from edgeapl.export.training.plan import TrainingRequest  # noqa: E402
from edgeapl.export.training.recipes.eckardt2022_heads import calls_of, heads, write  # noqa: E402
from edgeapl.export.training.system import Head  # noqa: E402
from edgeapl.export.training.trainer import Trained, train  # noqa: E402
from edgeapl.report.pictures import png_bytes  # noqa: E402
from edgeapl.types import UInt8  # noqa: E402
from tests.training_cohort import write_labels  # noqa: E402
from tests.unit.test_training import Quiet, same  # noqa: E402
from tests.unit.test_training_cells import Narrow, parts  # noqa: E402

CELLS = {
    "APL": {"promyelocyte": 4, "faggot_cell": 1, "lymphocyte": 1},
    "AML-M2": {"myeloblast": 4, "lymphocyte": 2},
    "healthy": {"lymphocyte": 5, "promyelocyte": 1},
}


def write_patients(folder: Path, kinds: Mapping[str, Mapping[str, int]]) -> Path:
    """Write three patients of each kind, their cells in folders that name their classes."""
    rows, seed = ["patient,label"], 0
    for kind, cells in kinds.items():
        for number in range(3):
            rows.append(f"{kind}-{number},{kind}")
            for name, count in cells.items():
                home = folder / "slides" / f"{kind}-{number}" / name
                home.mkdir(parents=True)
                for _ in range(count):
                    seed += 1
                    (home / f"{seed}.png").write_bytes(png_bytes(spots(seed)))
    write_labels(folder, rows)
    return folder


def spots(seed: int) -> UInt8:
    """Draw something that is not like another seed's."""
    random = np.random.default_rng(seed)
    return cv2.resize(random.integers(0, 256, (6, 6, 3), dtype=np.uint8), (64, 64)).astype(np.uint8)


def of_cells(folder: Path, out: Path, *, folds: int = 3, seeds: int = 1) -> list[Trained]:
    """Train networks of cells that answer as Xceptions do, in a thousandth of the time."""
    read = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    made: list[Trained] = []
    for name, recipe in parts(size=64).items():
        quick = changed(recipe, seed=1, epochs=2, batch=16)
        object.__setattr__(quick, "build", lambda classes: Narrow())
        request = TrainingRequest(out / name, folds=folds, seeds=seeds, crops=True)
        pool = made[0].pool if made else None
        made.append(train(quick, read, Device(), request, Quiet(), pool))
    return made


def of_slides(head: Head, cells: list[Trained], out: Path, stop_at: int = 0) -> Trained:
    request = TrainingRequest(out / head.recipe.name, folds=3, crops=True)
    labelled = cells[0].labelled
    return train(head.recipe, labelled, Device(), request, Quiet(stop_at), head.pool)


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patients(tmp_path_factory.mktemp("cohort"), CELLS)


@pytest.fixture(scope="module")
def cells(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    return of_cells(patients, tmp_path_factory.mktemp("cells"), seeds=2)


def test_a_cell_is_called_by_networks_that_did_not_learn_from_its_patient(
    cells: list[Trained],
) -> None:
    calls = calls_of(cells)
    for column, part in enumerate(cells):
        said: dict[int, list[float]] = {}
        for one in part.rounds:
            if one.tested is None:
                continue
            for row, chance in zip(one.tested.cells, one.tested.probabilities[:, 1], strict=True):
                assert part.pool.images[row].patient not in one.split.train
                said.setdefault(int(row), []).append(float(chance))
        assert all(len(each) == 2 for each in said.values())  # one per seed
        wanted = [np.mean(said[row]) >= 0.5 for row in range(len(part.pool))]
        assert calls[:, column].tolist() == wanted


def test_each_ensemble_learns_what_apl_is_told_from(cells: list[Trained]) -> None:
    found = heads(cells, "APL")
    assert [each.recipe.name for each in found] == [
        "eckardt2022-apl-vs-aml",
        "eckardt2022-apl-vs-healthy",
    ]
    labels = [{image.label for image in each.pool.images} for each in found]
    assert labels == [{"APL", "AML"}, {"APL", "healthy"}]


def true_calls(cells: list[Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every cell be called what it is."""
    truth = [
        [part.recipe.class_of(image) == part.recipe.cell_order[-1] for image in part.pool.images]
        for part in cells
    ]
    calls = np.array(truth, dtype=np.float32).T
    name = "edgeapl.export.training.recipes.eckardt2022_heads.calls_of"
    monkeypatch.setattr(name, lambda parts: calls)


def test_ensembles_learn_go_on_after_a_kill_and_are_exported(
    cells: list[Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_calls(cells, monkeypatch)
    both = heads(cells, "APL")
    made = [of_slides(each, cells, tmp_path) for each in both]
    for one in made:
        history = one.rounds[-1].history
        assert history[-1].loss < history[0].loss / 2
        assert all(fold.said.probabilities.argmax(1).tolist() == fold.said.truth.tolist()
                   for fold in one.folds)  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        of_slides(both[0], cells, tmp_path / "cut", stop_at=701)
    assert same(made[0], of_slides(both[0], cells, tmp_path / "cut"))

    words = write(cells, made, tmp_path)
    assert "auer_rod: faggot_cell" in (tmp_path / "recipe.toml").read_text()
    assert words[0] == str(tmp_path / "recipe.toml")
    assert f"promyelocyte={tmp_path / 'promyelocyte' / 'weights.pt'}" in words
    listed = (tmp_path / "training-set.json").read_text()
    assert all(digest in listed for digest in cells[0].pool.digests)
    state = torch.load(tmp_path / "head.pt", weights_only=True)
    for name in ("eckardt2022", str(tmp_path / "recipe.toml")):
        recipe = find_recipe(name)
        head = next(network for network in recipe.networks if network.name == "head")
        module = head.build({})
        module.load_state_dict(state)
        ratios = torch.tensor([[0.0, 0.7, 0.2], [0.7, 0.0, 0.0], [0.0, 0.1, 0.0]])
        aml, healthy = module(ratios)
        assert aml[0] > 0.5 > aml[1]
        assert healthy[0] > 0.5 > healthy[2]


def test_without_healthy_people_there_is_one_ensemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {kind: CELLS[kind] for kind in ("APL", "AML-M2")}
    cells = of_cells(write_patients(tmp_path / "cohort", kinds), tmp_path / "cells")
    true_calls(cells, monkeypatch)
    (head,) = heads(cells, "APL")
    write(cells, [of_slides(head, cells, tmp_path)], tmp_path)
    recipe = find_recipe(str(tmp_path / "recipe.toml"))
    assert recipe.settings["reducer"]["head_outputs"] == ["apl_vs_aml"]
    module = next(each for each in recipe.networks if each.name == "head").build({})
    module.load_state_dict(torch.load(tmp_path / "head.pt", weights_only=True))


@pytest.mark.parametrize(
    ("folds", "positive", "line"),
    [(0, "APL", "--folds 3"), (3, "AMKL", "no slides of AMKL")],
)
def test_shares_that_teach_nothing_are_refused(
    folds: int, positive: str, line: str, patients: Path, tmp_path: Path
) -> None:
    cells = of_cells(patients, tmp_path, folds=folds)
    with pytest.raises(InputError, match=line):
        heads(cells, positive)


def test_slides_of_unknown_patients_have_no_ensemble(patients: Path, tmp_path: Path) -> None:
    read = read_cell_folders(patients / "slides" / "AML-M2-0")
    recipe = changed(parts(size=64)["myeloblast"], seed=1, epochs=1)
    object.__setattr__(recipe, "build", lambda classes: Narrow())
    request = TrainingRequest(tmp_path, crops=True)
    made = train(recipe, read, Device(), request, Quiet())
    with pytest.raises(InputError, match="patients are unknown"):
        heads([made], "APL")
