"""Files as training programs write them fill the network, or say which setting decides."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")
pytest.importorskip("safetensors", reason="needs the export extra")

# torch and Lightning warn about their own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from safetensors.torch import save_model  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402
from torch.nn.utils import weight_norm as old_weight_norm  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402

from edgeapl.engines.registry import open_engine  # noqa: E402
from edgeapl.errors import BundleError  # noqa: E402
from edgeapl.export.checkpoints import Choice  # noqa: E402
from edgeapl.export.exporter import network_bytes  # noqa: E402
from edgeapl.export.recipes.recipe import (  # noqa: E402
    NetworkRecipe,
    Numbers,
    Output,
    Recipe,
)
from edgeapl.export.weights import Weights  # noqa: E402

Build = Callable[[], Any]
GIVEN = np.linspace(-2, 2, 24, dtype=np.float32).reshape(3, 8)


class Net(nn.Module):  # type: ignore[misc]
    """Numbers (N, 8) to logits (N, 2)."""

    def __init__(self, norm: Callable[[Any], Any] = lambda layer: layer) -> None:
        super().__init__()
        self.body = nn.Sequential(norm(nn.Linear(8, 6)), nn.BatchNorm1d(6), nn.ReLU())
        self.head = nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x))


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.again = self.head


class Positions(Net):
    """As text encoders were: the positions are in files of the old version."""

    def __init__(self, persistent: bool = False) -> None:
        super().__init__()
        self.register_buffer("position_ids", torch.arange(8), persistent=persistent)


def trained(build: Build = Net, seed: int = 5) -> Any:
    """A network whose every number is another one than at first."""
    torch.manual_seed(seed)
    net = build()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        net(torch.randn(16, 8)).square().sum().backward()
        optimiser.step()
    return net.eval()


def inside(name: str, net: Any, **others: Any) -> nn.Module:
    """A module that holds another one under a dotted name, with other parts beside it."""
    outer = nn.Module()
    for part, value in others.items():
        setattr(outer, part, value)
    for part in reversed(name.split(".")[1:]):
        between = nn.Module()
        setattr(between, part, net)
        net = between
    setattr(outer, name.split(".", maxsplit=1)[0], net)
    return outer


def averaged(net: Any) -> AveragedModel:
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    average.update_parameters(net)
    return average


def lightning_file(file: Path, net: Any, *callbacks: Any) -> None:
    """Let Lightning train a step and write its own file."""
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    torchmetrics = pytest.importorskip("torchmetrics")

    class Lit(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"width": 8})
            self.model = net
            self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 0.8]))
            self.accuracy = torchmetrics.MeanMetric()
            self.accuracy.persistent(True)
            self.register_buffer("class_share", torch.tensor([0.9, 0.1]))

        def training_step(self, batch: Any, number: int) -> Any:
            loss = self.criterion(self.model(batch[0]), batch[1])
            self.accuracy.update(loss.detach())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    data = torch.utils.data.TensorDataset(torch.randn(8, 8), torch.arange(8) % 2)
    trainer = lightning.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=file.parent,
        callbacks=list(callbacks),
    )
    trainer.fit(Lit(), torch.utils.data.DataLoader(data, batch_size=4))
    trainer.save_checkpoint(file)
    net.eval()


def saved(make: Callable[[Any], Any]) -> Callable[[Path, Any], Any]:
    """Save what is made of the network; what it then holds is what was trained."""
    return lambda file, net: torch.save(make(net), file)


def part_compiled(net: Any) -> Any:
    twin = copy.deepcopy(net)
    twin.body = torch.compile(twin.body)
    return twin.state_dict()


def with_ema(net: Any) -> dict[str, Any]:
    return {
        "state_dict": trained(seed=6).state_dict(),
        "state_dict_ema": net.state_dict(),
        "epoch": 3,
    }


FILES: dict[str, tuple[Build, Build, Choice, Callable[[Path, Any], Any], str]] = {
    "Lightning, with a loss, a metric and a buffer": (
        Net,
        Net,
        Choice(),
        lightning_file,
        "left out: .*class_share.*criterion.weight",
    ),
    "torch's average": (
        Net,
        Net,
        Choice(),
        saved(lambda net: averaged(net).state_dict()),
        "left out: n_averaged",
    ),
    "compiled": (Net, Net, Choice(), saved(lambda n: torch.compile(n).state_dict()), "_orig_mod"),
    "a part compiled": (Net, Net, Choice(), saved(part_compiled), ""),
    "parallel and compiled": (
        Net,
        Net,
        Choice(),
        saved(lambda net: nn.DataParallel(torch.compile(net)).state_dict()),
        r"prefix 'module\._orig_mod\.' removed",
    ),
    "another attribute, with a loss beside it": (
        Net,
        Net,
        Choice(),
        saved(lambda net: inside("backbone.model", net, loss=nn.Bilinear(2, 2, 1)).state_dict()),
        r"prefix 'backbone\.model\.' removed",
    ),
    "a head that is not used": (
        Net,
        Net,
        Choice(),
        saved(lambda net: {**net.state_dict(), **inside("aux_head", nn.Linear(6, 3)).state_dict()}),
        r"left out: aux_head\.bias, aux_head\.weight",
    ),
    "weight norm of before torch 2": (
        lambda: Net(old_weight_norm),
        lambda: Net(parametrizations.weight_norm),
        Choice(),
        saved(lambda net: inside("net", net).state_dict()),
        "",
    ),
    "weight norm of today": (
        lambda: Net(parametrizations.weight_norm),
        lambda: Net(old_weight_norm),
        Choice(),
        saved(lambda net: net.state_dict()),
        "",
    ),
    "safetensors, shared tensors once": (
        Tied,
        Tied,
        Choice(),
        lambda file, net: save_model(net, file),
        "",
    ),
    "TorchScript": (
        Net,
        Net,
        Choice(),
        lambda file, net: torch.jit.trace(Called(net), torch.zeros(2, 8)).save(str(file)),
        r"prefix 'net\.' removed",
    ),
    "positions of an old version": (
        lambda: Positions(True),
        Positions,
        Choice(),
        saved(lambda net: net.state_dict()),
        "left out: position_ids",
    ),
    "no positions of a new version": (
        Positions,
        lambda: Positions(True),
        Choice(),
        saved(lambda net: net.state_dict()),
        "",
    ),
    "two dictionaries deep": (
        Net,
        Net,
        Choice(),
        saved(lambda net: {"checkpoint": {"model": net.state_dict()}, "epoch": 1}),
        "taken from 'checkpoint.model'",
    ),
    "a loss saved beside it": (
        Net,
        Net,
        Choice(),
        saved(lambda net: {"model": wide(net), "loss": {"weight": torch.ones(1)}}),
        "left out beside it: loss",
    ),
    "an average beside it, chosen": (Net, Net, Choice("state_dict_ema"), saved(with_ema), "taken"),
    "one of two parts, chosen": (
        Net,
        Net,
        Choice(prefix="teacher"),
        saved(lambda net: inside("student", trained(seed=6), teacher=net).state_dict()),
        r"prefix 'teacher\.' removed",
    ),
    "a part that the recipe leaves out": (
        Net,
        Net,
        Choice(ignore=("temperature", "body.9.*")),
        saved(
            lambda n: {
                **n.state_dict(),
                "temperature": torch.ones(1),
                "body.9.weight": torch.ones(2),
            }
        ),
        r"left out: temperature, body\.9\.weight",
    ),
}


class Called(nn.Module):  # type: ignore[misc]
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return self.net(x)


def wide(net: Any) -> dict[str, Any]:
    """The network's state with enough numbers around it to be no rival to a loss."""
    return {**net.state_dict(), "aux_head.weight": torch.randn(100, 100)}


def of_file(file: Path, build: Build, choice: Choice) -> tuple[Weights, NetworkRecipe]:
    network = NetworkRecipe(
        name="cells",
        weights="model",
        build=lambda shapes: build(),
        part=lambda module, explain: module,
        input_name="numbers",
        input=Numbers((8,)),
        outputs=(Output("logits"),),
        choice=choice,
    )
    return Weights(Recipe("own", "", (network,), {}, {}, ""), {"model": file}), network


EXPORTED = {case[1]: name for name, case in FILES.items()}
"""One file of each kind of network is written as ONNX: it is the same graph whatever the file."""


@pytest.mark.parametrize("case", FILES)
def test_a_file_as_training_programs_write_it_is_exported(case: str, tmp_path: Path) -> None:
    trainee, build, choice, save, note = FILES[case]
    net = trained(trainee)
    file = tmp_path / "w.ckpt"
    save(file, net)
    weights, network = of_file(file, build, choice)
    with torch.no_grad():
        filled = weights.graph(network, explain=False)(torch.from_numpy(GIVEN))[0].numpy()
        reference = weights.reference(network, explain=False)(torch.from_numpy(GIVEN))[0].numpy()
        wanted = net(torch.from_numpy(GIVEN)).numpy()
    assert np.abs(filled - wanted).max() < 1e-6
    assert np.abs(reference - wanted).max() < 1e-6
    if case in EXPORTED.values():
        engine = open_engine("onnxruntime", "cells", network_bytes(weights, network, explain=False))
        assert np.abs(engine.run({"numbers": GIVEN})["logits"] - wanted).max() < 1e-5
    notes = "; ".join(weights.used["model"]["notes"])
    assert re.search(note, notes), notes


REFUSED: dict[str, tuple[Callable[[Any], Any], Choice, str]] = {
    "an average beside it": (with_ema, Choice(), r"several state_dicts.*w\.ckpt#state_dict_ema"),
    "an average inside": (
        lambda net: inside("model", net, ema=averaged(trained(seed=6))).state_dict(),
        Choice(),
        r'several parts.*"model\.".*"ema\.module\.".*prefix under \[weights\.model\]',
    ),
    "student and teacher": (
        lambda net: inside("student", net, teacher=Net()).state_dict(),
        Choice(),
        r'"student\.", "teacher\.".*prefix',
    ),
    "a copy beside its own names": (
        lambda net: {**net.state_dict(), **inside("ema", Net()).state_dict()},
        Choice(),
        r'"", "ema\.".*prefix',
    ),
    "a part that may matter": (
        lambda net: {**net.state_dict(), "temperature": torch.ones(1)},
        Choice(),
        r"holds more than the module.*1 surplus: temperature.*ignore = ",
    ),
    "a deeper network": (
        lambda net: {**net.state_dict(), "body.3.weight": torch.ones(6, 6)},
        Choice(),
        r"1 surplus: body\.3\.weight.*ignore = ",
    ),
    "eight-bit weights without their scale": (
        lambda net: {
            name: (value * 40).to(torch.int8) if value.ndim == 2 else value
            for name, value in net.state_dict().items()
        },
        Choice(),
        r"integers where weights must be: model: body\.0\.weight, head\.weight: give the file",
    ),
    "half a network": (
        lambda net: {n: v for n, v in net.state_dict().items() if not n.startswith("head")},
        Choice(),
        r"2 missing: head\.weight, head\.bias",
    ),
    "a wrong prefix": (
        lambda net: inside("model", net).state_dict(),
        Choice(prefix="modle"),
        r"missing: body\.0\.weight",
    ),
    "too much ignored": (
        lambda net: net.state_dict(),
        Choice(ignore=("head",)),
        r"2 missing: head\.weight",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_meant_in_two_ways_is_refused_with_the_setting(
    case: str, tmp_path: Path
) -> None:
    make, choice, words = REFUSED[case]
    torch.save(make(trained()), tmp_path / "w.ckpt")
    weights, network = of_file(tmp_path / "w.ckpt", Net, choice)
    with pytest.raises(BundleError, match=words) as caught:
        weights.graph(network, explain=False)
    assert "\n" not in str(caught.value)


def test_lightnings_average_is_chosen_by_its_key(tmp_path: Path) -> None:
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    if not hasattr(callbacks, "EMAWeightAveraging"):
        pytest.skip("this Lightning has no averages")
    net = trained()
    lightning_file(tmp_path / "w.ckpt", net, callbacks.EMAWeightAveraging())
    weights, network = of_file(tmp_path / "w.ckpt", Net, Choice())
    with pytest.raises(BundleError, match=r"#state_dict, w\.ckpt#current_model_state"):
        weights.graph(network, explain=False)
    for key in ("state_dict", "current_model_state"):
        weights, network = of_file(tmp_path / "w.ckpt", Net, Choice(key))
        weights.graph(network, explain=False)
        assert weights.used["model"]["notes"][0] == f"taken from {key!r}"
