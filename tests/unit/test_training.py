"""Training: seeds and kills change nothing, no patient is on both sides, bad input is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from edgeapl.errors import EdgeAplError, EngineError, InputError, UsageError  # noqa: E402
from edgeapl.export.architectures.mil_small import MilSmall  # noqa: E402
from edgeapl.export.training import trainer  # noqa: E402
from edgeapl.export.training.device import Device, choose_device  # noqa: E402
from edgeapl.export.training.duplicates import near_duplicates  # noqa: E402
from edgeapl.export.training.initial_weights import start_from  # noqa: E402
from edgeapl.export.training.labelled_set import read_labelled_set  # noqa: E402
from edgeapl.export.training.loop import Epoch  # noqa: E402
from edgeapl.export.training.overrides import changed  # noqa: E402
from edgeapl.export.training.plan import TrainingRequest  # noqa: E402
from edgeapl.export.training.recipe import TrainingRecipe  # noqa: E402
from edgeapl.export.training.registry import find_training  # noqa: E402
from edgeapl.export.training.settings import Rate  # noqa: E402
from edgeapl.export.training.split import Split  # noqa: E402
from edgeapl.export.training.trainer import Trained, train  # noqa: E402
from edgeapl.export.training.writer import write_trained  # noqa: E402
from tests.training_cohort import write_cohort, write_labels  # noqa: E402

ONE_THREAD = Device(threads=1)


class Quiet:
    """Hears all, and stops the training at one of its steps."""

    def __init__(self, stop_at: int = 0) -> None:
        self.steps = 0
        self.epochs: list[Epoch] = []
        self._stop_at = stop_at

    def said(self, text: str) -> None: ...

    def read(self, done: int, images: int) -> None: ...

    def begins(self, split: Split, seed: int, number: int, rounds: int) -> None: ...

    def stepped(self, epoch: int, step: int, steps: int) -> None:
        self.steps += 1
        if self.steps == self._stop_at:
            raise KeyboardInterrupt

    def ended(self, number: int, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def whole(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training that nothing stopped."""
    return trained(cohort, tmp_path_factory.mktemp("whole"))


def small(**changes: int) -> TrainingRecipe:
    recipe = changed(find_training("mil-small"), seed=1, **{"epochs": 2, "bag": 4, **changes})
    # The network takes cells of any size; small ones are quick.
    crop = recipe.crop.model_copy(update={"size_px": 32, "resized_px": 36})
    return replace(recipe, crop=crop, settings=replace(recipe.settings, save_every=1))


def trained(
    folder: Path, out: Path, watcher: Quiet | None = None, recipe: TrainingRecipe | None = None,
    request: TrainingRequest | None = None,
) -> Trained:  # fmt: skip
    recipe = recipe or small()
    read = read_labelled_set(folder / "slides", folder / "labels.csv", crops=True)
    asked = replace(request or TrainingRequest(out), out=out, crops=True)
    return train(recipe, read, ONE_THREAD, asked, watcher or Quiet())


def weights(made: Trained) -> dict[str, Tensor]:
    state: dict[str, Tensor] = made.module.state_dict()
    return state


def same(one: Trained, other: Trained) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(
    whole: Trained, cohort: Path, tmp_path: Path
) -> None:
    assert same(whole, trained(cohort, tmp_path / "same"))
    other = replace(small(), settings=replace(small().settings, seed=2))
    assert not same(whole, trained(cohort, tmp_path / "other", recipe=other))


@pytest.mark.parametrize(("step", "left"), [(1, 3), (2, 3), (3, 1), (4, 1)])
def test_a_kill_at_any_step_changes_nothing(
    whole: Trained, cohort: Path, tmp_path: Path, step: int, left: int
) -> None:
    """Two epochs of two steps; an epoch's last step is stored with what the epoch gave."""
    with pytest.raises(KeyboardInterrupt):
        trained(cohort, tmp_path, Quiet(stop_at=step))
    rest = Quiet()
    assert same(whole, trained(cohort, tmp_path, rest))
    assert rest.steps == left


def test_a_finished_training_is_read_and_not_done_again(cohort: Path, tmp_path: Path) -> None:
    request = TrainingRequest(tmp_path, folds=2)
    first = trained(cohort, tmp_path, request=request)
    again = Quiet()
    second = trained(cohort, tmp_path, again, request=request)
    assert again.steps == 0
    assert same(first, second)
    for one, other in zip(first.folds, second.folds, strict=True):
        assert one.said.names == other.said.names
        assert np.array_equal(one.said.probabilities, other.said.probabilities)


def test_folds_judge_every_patient_once_by_a_network_that_never_saw_it(
    cohort: Path, tmp_path: Path
) -> None:
    request = TrainingRequest(tmp_path, folds=4, seeds=2)
    made = trained(cohort, tmp_path, recipe=small(epochs=1), request=request)
    for seed in (1, 2):
        rounds = [one for one in made.rounds[:-1] if one.seed == seed]
        tested = [patient for one in rounds for patient in one.split.tested]
        assert sorted(tested) == [f"P{number}" for number in range(8)]
        for one in rounds:
            assert one.tested is not None
            assert set(one.tested.patients) == set(one.split.tested)
            assert not set(one.split.tested) & set(one.split.train)
            assert set(one.tested.truth.tolist()) == {0, 1}
    document = write_trained(made, tmp_path)
    figures = document["cross_validation"]["sought"]["APL"]
    areas = [figures["by_seed"][seed]["together"]["slides"]["roc_auc"]["value"] for seed in "12"]
    assert figures["seeds"]["mean"] == pytest.approx(np.mean(areas))
    assert figures["mean_of_seeds"]["slides"]["n"] == 8
    assert document["cross_validation"]["confusion"]["n"] == 8
    assert json.loads((tmp_path / "training.json").read_text()) == document


def test_patients_held_out_are_tested_and_not_among_the_digests(
    cohort: Path, tmp_path: Path
) -> None:
    request = TrainingRequest(tmp_path, tested=("P0", "P1"))
    made = trained(cohort, tmp_path, request=request)
    write_trained(made, tmp_path)
    listed = set(json.loads((tmp_path / "training-set.json").read_text())["images"])
    of_patient = {
        patient: {made.pool.digests[row] for row in made.pool.rows_of([patient])}
        for patient in ("P0", "P2")
    }
    assert not listed & of_patient["P0"]
    assert of_patient["P2"] <= listed
    assert set(made.test[0].said.patients) == {"P0", "P1"}


def test_a_curve_takes_some_cells_of_a_slide_and_the_test_all(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tested(most: int) -> tuple[list[float | None], Any]:
        monkeypatch.setattr(trainer, "MOST_WATCHED", most)
        watcher, out = Quiet(), tmp_path / str(most)
        made = trained(cohort, out, watcher, request=TrainingRequest(out, folds=2))
        return [epoch.watched_loss for epoch in watcher.epochs], made.folds[0].said

    (thin, of_thin), (whole, of_whole) = tested(1), tested(1000)
    assert thin != whole
    np.testing.assert_array_equal(of_thin.cells, of_whole.cells)
    np.testing.assert_array_equal(of_thin.probabilities, of_whole.probabilities)


def test_early_stopping_keeps_the_best_weights(cohort: Path, tmp_path: Path) -> None:
    recipe = small(epochs=12, patience=2)
    # So fast that it soon gets worse.
    recipe = replace(recipe, settings=replace(recipe.settings, rate=Rate(0.05)))
    watcher = Quiet()
    made = trained(cohort, tmp_path, watcher, recipe)
    losses = [epoch.watched_loss or 0.0 for epoch in watcher.epochs]
    last = made.rounds[-1]
    assert last.best == int(np.argmin(losses))
    assert len(losses) == min(12, last.best + 3) < 12
    split = last.split
    assert split.stopping
    assert not set(split.stopping) & set(split.train)
    assert loss_of(made, split.stopping) == pytest.approx(min(losses), rel=1e-3)


def loss_of(made: Trained, patients: tuple[str, ...]) -> float:
    """Give what the trained module loses on some patients: the mean of both classes' means."""
    of_class: dict[str, list[float]] = {}
    for patient in patients:
        rows = made.pool.rows_of([patient])
        cells = torch.from_numpy(made.pool.crops[rows]).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            said = made.module(cells)[2].softmax(-1)
        label = made.pool.images[rows[0]].label
        right = float(said[made.classes.slides.index(label)])
        of_class.setdefault(label, []).append(-float(np.log(max(right, 1e-12))))
    return float(np.mean([np.mean(each) for each in of_class.values()]))


def duplicate(folder: Path, change: Callable[[np.ndarray], np.ndarray] | None) -> None:
    """Put a cell of P0 among those of P1, changed; without a change it is the same file."""
    source = next((folder / "slides" / "P0").rglob("*.png"))
    target = next((folder / "slides" / "P1").rglob("*.png"))
    picture = cv2.imread(str(source))
    assert picture is not None
    if change is None:
        target.write_bytes(source.read_bytes())
    else:
        cv2.imwrite(str(target), change(picture))


def jpeg(picture: np.ndarray) -> np.ndarray:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def warped(picture: np.ndarray, degrees: float, px: int) -> np.ndarray:
    middle = (picture.shape[1] / 2, picture.shape[0] / 2)
    move = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    move[:, 2] += px
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, move, size, borderMode=cv2.BORDER_REPLICATE))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "as it is": None,
    "saved again": lambda picture: picture,
    "as JPEG": jpeg,
    "resized": lambda picture: np.asarray(cv2.resize(picture, (90, 90))),
    "brightened": lambda picture: np.clip(picture * 1.08 + 4, 0, 255).astype(np.uint8),
    "turned": lambda picture: np.rot90(picture).copy(),
    "mirrored and saved": lambda picture: jpeg(picture[:, ::-1].copy()),
    "turned by 33 degrees": lambda picture: warped(picture, 33, 0),
    "moved by 3 %": lambda picture: warped(picture, 0, round(0.03 * len(picture))),
    "turned, moved and mirrored": lambda picture: np.rot90(warped(picture, 0, 2))[:, ::-1].copy(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_of_two_patients_is_refused_also_changed(tmp_path: Path, change: str) -> None:
    folder = write_cohort(tmp_path / "cohort", 4, 3)
    duplicate(folder, CHANGES[change])
    words = "the same image" if change == "as it is" else "nearly the same image"
    with pytest.raises(InputError, match=rf"^{words} is under two patients.*P0.*P1"):
        trained(folder, tmp_path / "out")


def test_cells_that_only_look_alike_are_not_refused(cohort: Path, tmp_path: Path) -> None:
    """Drawn by one hand, in one stain, of one size: more alike than people's cells."""
    assert len(trained(cohort, tmp_path, recipe=small(epochs=1)).pool) == 48


def disc(number: int) -> np.ndarray:
    """A dark round cell with few details, as weak lenses show lymphocytes."""
    random = np.random.default_rng(number)
    down, across = np.mgrid[:128, :128] - 64
    inside = np.hypot(down, across) < 30 + number % 2
    made = np.where(inside[..., None], (90, 40, 100), (225, 200, 220))
    chromatin = cv2.GaussianBlur(random.normal(0, 90, (128, 128)), (0, 0), 5)
    soft = cv2.GaussianBlur(made + chromatin[..., None], (0, 0), 2)
    grainy = np.clip(soft + random.normal(0, 2, soft.shape), 0, 255)
    return np.asarray(grainy, dtype=np.uint8)


def test_round_dark_cells_are_not_taken_for_one_another() -> None:
    crops = np.stack([disc(number) for number in range(12)])
    names = [str(number) for number in range(len(crops))]
    assert not list(near_duplicates(crops, names))
    copies = np.concatenate([crops, np.stack([jpeg(warped(crop, 0, 3)) for crop in crops])])
    groups = [*names, *(f"copy {name}" for name in names)]
    found = set(near_duplicates(copies, groups))
    assert found == {(row, row + len(crops)) for row in range(len(crops))}


def relabelled(*rows: str) -> Callable[[Path], object]:
    return lambda folder: write_labels(folder, ["slide,patient,label", *rows])


ROWS = tuple(f"P{number},P{number},{('AML', 'APL')[number % 2]}" for number in range(4))
BAD: dict[str, tuple[Callable[[Path], object], TrainingRequest, type[EdgeAplError], str]] = {
    "one class": (
        relabelled(*(f"P{n},P{n},APL" for n in range(4))), TrainingRequest(Path()),
        InputError, "one class only: APL: training needs patients of two kinds",
    ),
    "too few": (
        relabelled(*ROWS[:3]), TrainingRequest(Path(), folds=2),
        InputError, "too few patients.*1 of 2.*APL",
    ),
    "too many folds": (
        relabelled(*ROWS), TrainingRequest(Path(), folds=3),
        InputError, "too few patients.*2 of 3.*fewer --folds",
    ),
    "nobody labelled": (
        relabelled("X,X,APL"), TrainingRequest(Path()), InputError, "no slide has a label",
    ),
    "two labels": (
        relabelled("P0,A,AML", "P1,A,APL", *ROWS[2:]), TrainingRequest(Path()),
        InputError, "patient has two labels: A: AML and APL",
    ),
    "other positive": (
        relabelled(*ROWS), TrainingRequest(Path(), positive="M3"),
        InputError, "no patient has the label: M3: give --positive",
    ),
    "nobody held out": (
        relabelled(*ROWS), TrainingRequest(Path(), tested=("P9",)),
        UsageError, "no such patient to hold out: P9",
    ),
    "unreadable": (
        lambda folder: next(folder.rglob("*.png")).write_bytes(b"\x89PNG no"),
        TrainingRequest(Path()), InputError, r"\.png",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_cohort_that_cannot_be_trained_on_is_one_line(tmp_path: Path, case: str) -> None:
    spoil, request, kind, words = BAD[case]
    folder = write_cohort(tmp_path / "cohort", 4, 2)
    spoil(folder)
    with pytest.raises(kind, match=words) as caught:
        trained(folder, tmp_path / "out", request=request)
    assert "\n" not in str(caught.value)


def test_a_patient_on_both_sides_is_refused() -> None:
    with pytest.raises(UsageError, match="patient is on both sides: B"):
        Split("fold 1", ("A", "B"), (), ("B", "C"))


def test_another_training_in_the_folder_is_refused(cohort: Path, tmp_path: Path) -> None:
    trained(cohort, tmp_path)
    with pytest.raises(UsageError, match="folder holds another training"):
        trained(cohort, tmp_path, recipe=small(epochs=3))


def test_a_loss_that_is_no_number_says_where(cohort: Path, tmp_path: Path) -> None:
    recipe = small()
    settings = replace(recipe.settings, rate=Rate(1e30), clip=None)
    with pytest.raises(
        EngineError, match=r"loss is not a number: model, epoch 1, step 2: .*--rate"
    ):
        trained(cohort, tmp_path, recipe=replace(recipe, settings=settings))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried ...")])
def test_no_memory_is_one_line(cohort: Path, tmp_path: Path, error: Exception) -> None:
    def build(classes: object) -> MilSmall:
        raise error

    with pytest.raises(EngineError, match="out of memory: cpu: give a smaller --bag"):
        trained(cohort, tmp_path, recipe=replace(small(), build=build))


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_bf16_is_used_where_the_processor_multiplies_it(tmp_path: Path, flag: str) -> None:
    able, plain = tmp_path / "able", tmp_path / "plain"
    able.write_text(f"processor: 0\nflags\t\t: fpu avx512f {flag} clzero\n")
    plain.write_text("processor: 0\nflags\t\t: fpu avx512f\n")
    assert choose_device("cpu", "auto", 1, able).half
    assert not choose_device("cpu", "auto", 1, plain).half
    assert not choose_device("cpu", "auto", 1, tmp_path / "none").half
    assert not choose_device("cpu", "float32", 1, able).half
    assert choose_device("cpu", "bf16", 1, plain).half


def test_bf16_trains_too(cohort: Path, tmp_path: Path) -> None:
    read = read_labelled_set(cohort / "slides", cohort / "labels.csv", crops=True)
    request = TrainingRequest(tmp_path, crops=True)
    watcher = Quiet()
    made = train(small(epochs=3), read, Device(half=True), request, watcher)
    assert watcher.epochs[-1].loss < watcher.epochs[0].loss
    assert all(tensor.dtype is not torch.bfloat16 for tensor in weights(made).values())


def test_weights_to_start_from_are_taken_where_they_fit(cohort: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = MilSmall(classes=3)
    torch.save(
        {f"net.{name}": each for name, each in given.state_dict().items()}, tmp_path / "w.pt"
    )
    module = MilSmall()
    drawn = module.slide_head[3].weight.clone()
    filled = start_from(module, tmp_path / "w.pt")
    assert torch.equal(module.stem[0].weight, given.stem[0].weight)
    assert torch.equal(module.slide_head[3].weight, drawn)
    whole = sum(each.numel() for each in module.parameters())
    assert filled == whole - module.slide_head[3].weight.numel() - 2
    torch.save({"other": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(EdgeAplError, match="no weight of the file fits"):
        start_from(module, tmp_path / "other.pt")


def test_rates() -> None:
    assert [Rate(0.1, "halved", 2).at(epoch, 0) for epoch in range(5)] == pytest.approx(
        [0.1, 0.1, 0.05, 0.05, 0.025]
    )
    cosine = Rate(1.0, "cosine")
    values = [cosine.at(0, done) for done in (0, 0.1, 0.55, 1)]
    assert values == pytest.approx([0.1, 1.0, 0.505, 0.01])
