"""A module loads its checkpoint by itself; what it then holds is looked up, and on a second way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402
from torch.nn.utils import weight_norm as old_weight_norm  # noqa: E402

from edgeapl.errors import BundleError, ConfigError  # noqa: E402
from edgeapl.export.recipes.recipe import (  # noqa: E402
    NetworkRecipe,
    Numbers,
    Output,
    Recipe,
)
from edgeapl.export.weights import Weights  # noqa: E402


class Net(nn.Module):  # type: ignore[misc]
    """Numbers (N, 4) to (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.body(x)))


class Copies(Net):
    """Saves in half precision, so that what it gives is not what it holds."""

    def state_dict(self, *args: Any, **options: Any) -> Any:
        given = super().state_dict(*args, **options)
        return {name: tensor.half() for name, tensor in given.items()}


class Renames(Net):
    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        for part in ("weight", "bias"):
            if f"{prefix}fc.{part}" in state:
                state[f"{prefix}head.{part}"] = state.pop(f"{prefix}fc.{part}")
        super()._load_from_state_dict(state, prefix, *rest)


class Transposes(Net):
    """Files of before its second version hold the head's weight the other way round."""

    _version = 2

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        if metadata.get("version", 1) < 2:
            state[f"{prefix}head.weight"] = state[f"{prefix}head.weight"].t() * 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


class Square(Transposes):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)


class Tempered(Net):
    def __init__(self, kept: Any = 1.0) -> None:
        super().__init__()
        self.kept = kept

    def get_extra_state(self) -> Any:
        return self.kept

    def set_extra_state(self, state: Any) -> None:
        self.kept = state

    def forward(self, x: Any) -> Any:
        kept = self.kept["t"] if isinstance(self.kept, dict) else self.kept
        return super().forward(x) / kept


class NormedOld(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body = old_weight_norm(self.body)


class NormedNew(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body = parametrizations.weight_norm(self.body)


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.twin = self.body


def older() -> dict[str, Any]:
    state = Square().state_dict()
    del state._metadata
    return dict(state)


def lacking(module: nn.Module, *names: str) -> dict[str, Any]:
    return {name: v for name, v in module.state_dict().items() if not name.startswith(names)}


def renamed(old: str, new: str, module: nn.Module) -> dict[str, Any]:
    return {name.replace(old, new): tensor for name, tensor in module.state_dict().items()}


def seeded(kind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return kind()

    return build


def ways(build: Callable[[], nn.Module], file: Path, state: Any) -> tuple[Any, Any, Weights]:
    """Both modules of an export, answering for the same numbers."""
    torch.save(state, file)
    network = NetworkRecipe(
        name="cells",
        weights="model",
        build=lambda shapes: build(),
        part=lambda module, explain: module,
        input_name="numbers",
        input=Numbers((4,)),
        outputs=(Output("logits"),),
    )
    recipe = Recipe("own", "", (network,), {}, {}, "")
    weights = Weights(recipe, {"model": file})
    given = torch.linspace(-1, 1, 12).reshape(3, 4)
    with torch.no_grad():
        one = weights.graph(network, explain=False)(given)[0]
        other = weights.reference(network, explain=False)(given)[0]
    return one, other, weights


GOOD: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "plain": (Net, lambda: Net().state_dict()),
    "state_dict gives copies": (seeded(Copies), lambda: Copies().state_dict()),
    "a hook renames": (Renames, lambda: renamed("head", "fc", Net())),
    "a hook renames, under a prefix": (
        Renames,
        lambda: {f"net.{n}": v for n, v in renamed("head", "fc", Net()).items()},
    ),
    "a hook knows the version": (Square, lambda: Square().state_dict()),
    "a hook computes for old versions": (Square, older),
    "extra state, a tensor": (Tempered, lambda: Tempered(torch.tensor(3.0)).state_dict()),
    "extra state, a dictionary": (Tempered, lambda: Tempered({"t": 3.0}).state_dict()),
    "weight norm, old file": (NormedNew, lambda: NormedOld().state_dict()),
    "weight norm, new file": (NormedOld, lambda: NormedNew().state_dict()),
    "tensors that are shared, once in the file": (Tied, lambda: lacking(Tied(), "twin")),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_module_loads_as_torch_loads_it(case: str, tmp_path: Path) -> None:
    build, saved = GOOD[case]
    state = saved()
    one, other, _ = ways(build, tmp_path / "w.pt", state)
    assert torch.equal(one, other)
    wanted = build()
    plain = {name.removeprefix("net."): value for name, value in state.items()}
    if case == "weight norm, new file":
        halves = {"0": "weight_g", "1": "weight_v"}
        start = "body.parametrizations.weight.original"
        plain = {f"body.{halves[n[-1]]}" if n.startswith(start) else n: v for n, v in plain.items()}
    elif case.startswith("tensors"):
        plain.update({f"twin.{n}": plain[f"body.{n}"] for n in ("weight", "bias")})
    elif hasattr(state, "_metadata"):
        plain = state
    wanted.load_state_dict(plain, strict=True)
    with torch.no_grad():
        answer = wanted.eval()(torch.linspace(-1, 1, 12).reshape(3, 4))
    assert torch.allclose(one, answer, atol=1e-6)


class LoadsNothing(Net):
    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        return nn.modules.module._IncompatibleKeys([], [])


class LoadsHalf(Net):
    def load_state_dict(self, state: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        body = {name: tensor for name, tensor in state.items() if name.startswith("body")}
        return super().load_state_dict(body, strict=False)


class Hides(Net):
    """Keeps its head out of its files, and out of what it loads."""

    def state_dict(self, *args: Any, **options: Any) -> Any:
        given = super().state_dict(*args, **options)
        return {name: tensor for name, tensor in given.items() if not name.startswith("head")}

    def load_state_dict(self, state: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        return super().load_state_dict(state, strict=False)


class Noise(Net):
    """Has numbers at random that no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("noise", torch.randn(4), persistent=False)


class DropsExtra(Tempered):
    def set_extra_state(self, state: Any) -> None:
        pass


ONE = Net()

BAD: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], type[Exception], str]] = {
    "loads nothing": (
        seeded(LoadsNothing),
        lambda: Net().state_dict(),
        BundleError,
        r"keeps numbers that are not the file's: body\.weight",
    ),
    "loads nothing under other names": (
        seeded(LoadsNothing),
        lambda: {f"x{name}": tensor for name, tensor in Net().state_dict().items()},
        BundleError,
        "keeps numbers that are not the file's",
    ),
    "loads a part": (
        seeded(LoadsHalf),
        lambda: Net().state_dict(),
        BundleError,
        r"keeps numbers that are not the file's: head\.weight",
    ),
    "hides a part": (
        seeded(Hides),
        lambda: Hides().state_dict(),
        BundleError,
        r"keeps numbers that are not the file's: head\.weight",
    ),
    "numbers at random in no file": (
        Noise,
        lambda: Noise().state_dict(),
        BundleError,
        "another one when it is built",
    ),
    "extra state is not kept": (
        DropsExtra,
        lambda: Tempered(torch.tensor(3.0)).state_dict(),
        BundleError,
        "extra state",
    ),
    "the same module twice": (
        lambda: ONE,
        lambda: Net().state_dict(),
        ConfigError,
        "same module twice",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_module_that_does_not_hold_the_files_numbers_is_refused(
    case: str, tmp_path: Path
) -> None:
    build, saved, error, words = BAD[case]
    with pytest.raises(error, match=words) as caught:
        ways(build, tmp_path / "w.pt", saved())
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    _, _, weights = ways(Net, file, Net().state_dict())
    (network,) = weights.recipe.networks
    torch.save(Net().state_dict(), file)
    with pytest.raises(BundleError, match="changed while it was exported"):
        weights.reference(network, explain=False)
