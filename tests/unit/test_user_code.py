"""A user's code that fails, or gives what a recipe does not say, is one line with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from edgeapl.cli.main import run  # noqa: E402
from edgeapl.engines.registry import open_engine  # noqa: E402
from edgeapl.export.exporter import network_bytes  # noqa: E402
from edgeapl.export.recipes.registry import find_recipe  # noqa: E402
from edgeapl.export.torch_engine import TorchEngine  # noqa: E402
from edgeapl.export.weights import Weights  # noqa: E402
from tests.own_networks import HEAD, RECIPE, forward, own_recipe  # noqa: E402


def folder_of(tmp_path: Path, code: str, recipe: str = RECIPE) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    own_recipe(folder, code, recipe)
    place: dict[str, object] = {}
    exec(HEAD, place)
    torch.manual_seed(2)
    torch.save(place["Net"]().state_dict(), folder / "weights.pt")  # type: ignore[operator]
    return folder


def export(folder: Path) -> int:
    weights = f"model={folder / 'weights.pt'}"
    recipe = str(folder / "recipe.toml")
    return run(["export", recipe, "--weights", weights, "--out", str(folder / "bundle")])


WRONG: dict[str, tuple[str, list[str]]] = {
    "decides by data": (
        forward("f = self.features(x)", "if f.mean() > 0.2:", "    f = f * 2", "return self.fc(f)"),
        ["cells, model.py line 25", "decides by the values of its data", "torch.where"],
    ),
    "decides by one value": (
        forward("f = self.features(x)", "return self.fc([f, 2 * f][int(f.max() > 2)])"),
        ["model.py line 25", "decides by the values of its data"],
    ),
    "loops over data": (
        forward("f = self.features(x)", "while f.sum() > 1e9: f = f / 2", "return self.fc(f)"),
        ["model.py line 25", "decides by the values of its data"],
    ),
    "squeeze takes the cells": (
        forward("f = self.features(x)", "return self.fc(f).squeeze()"),
        [
            "model.py line 23",
            "(2,) for 2 named classes, 1 cells given",
            "model.py line 25: squeeze()",
        ],
    ),
    "mixes the cells": (
        forward("return self.fc(self.features(x)).mean(0, keepdim=True)"),
        ["model.py line 23", "(1, 2) with 2 cells given", "one row per cell"],
    ),
    "another number of outputs": (
        forward("f = self.features(x)", "return self.fc(f), f, f"),
        ["model.py line 23", "returns 3 outputs, 1 are named"],
    ),
    "another name": (
        forward("return {'out': self.fc(self.features(x))}"),
        ["model.py line 23", "no output 'logits'", "it returns: out"],
    ),
    "no tensor": (
        forward("return self.fc(self.features(x)).detach().numpy()"),
        ["model.py line 23", "returns a ndarray for 'logits', not a tensor"],
    ),
    "nothing": (forward("self.fc(self.features(x))"), ["returns a NoneType for 'logits'"]),
    "other classes": (
        forward("return self.features(x)"),
        ["model.py line 23", "'logits' has shape (2, 8) for 2 named classes"],
    ),
    "whole numbers": (
        forward("return self.fc(self.features(x)).round().long()"),
        ["model.py line 23", "torch.int64", "cannot be logits"],
    ),
    "layers made on the way": (
        forward(
            "f = self.features(x)",
            "if not hasattr(self, 'neck'): self.neck = nn.Linear(8, 8)",
            "return self.fc(self.neck(f))",
        ),
        ["makes layers when it runs", "neck.weight", "__init__"],
    ),
    "several inputs": (
        HEAD.replace("def forward(self, x):", "def forward(self, x, mask):"),
        ["takes other inputs", "'mask'", "part in the recipe"],
    ),
    "half inside": (
        forward("return self.fc(self.features(x.half()))"),
        ["model.py line 14", "mixes types of numbers", "float32"],
    ),
    "cuda inside": (
        forward("return self.fc(self.features(x.cuda()))"),
        ["model.py line 24", "device that is not here", ".cuda()"],
    ),
    "cuda factory": (
        HEAD.replace("return Net()", "return Net().cuda()"),
        ["model.py:build, model.py line 20", "device that is not here"],
    ),
    "factory raises": (
        HEAD.replace("return Net()", "return Net()[0]"),
        ["factory failed", "model.py line 20", "TypeError"],
    ),
    "factory leaves": (
        HEAD.replace("return Net()", "raise SystemExit('usage: train.py')"),
        ["factory failed", "model.py line 20", "usage: train.py"],
    ),
    "package is missing": (
        "import no_such_package_here\n" + HEAD,
        ["cannot be imported", "model.py line 1", "no_such_package_here", "install"],
    ),
    "not Python": (HEAD + "def broken(:\n", ["cannot be imported", "model.py line 21"]),
    "raises when it is imported": (
        HEAD + "CLASSES = open('labels of nowhere.txt')\n",
        ["cannot be imported", "model.py line 21", "labels of nowhere.txt"],
    ),
    "a hook raises": (
        HEAD.replace(
            "    def features",
            "    def _load_from_state_dict(self, *a):\n        raise KeyError('old')\n"
            "    def features",
        ),
        ["module refuses the checkpoint", "model.py line 14", "old"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_code_is_one_line_with_its_place(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda" in case and torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    code, words = WRONG[case]
    folder = folder_of(tmp_path, code)
    assert export(folder) == 8
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last
    assert not (folder / "bundle").exists()


NAMED = RECIPE.replace('outputs = ["logits"]', 'outputs = ["features", "logits"]')

GOOD: dict[str, tuple[str, str]] = {
    "a dictionary, in another order": (
        forward(
            "f = self.features(x)", "return {'logits': self.fc(f), 'features': f, 'loss': None}"
        ),
        NAMED,
    ),
    "a dataclass": (
        "from __future__ import annotations\n"
        + forward("f = self.features(x)", "return Both(self.fc(f), f)")
        + "\n@dataclass\nclass Both:\n    logits: torch.Tensor\n    features: torch.Tensor\n"
        + "    kind: str = 'x'\n",
        NAMED,
    ),
    "a named tuple": (
        forward("f = self.features(x)", "return Both(self.fc(f), f)")
        + "\nclass Both(NamedTuple):\n    logits: torch.Tensor\n    features: torch.Tensor\n",
        NAMED,
    ),
    "dictionaries in one another": (
        forward("f = self.features(x)", "return {'head': {'logits': self.fc(f)}, 'features': f}"),
        NAMED,
    ),
    "tuples in one another": (
        forward("f = self.features(x)", "return ((f,), (self.fc(f), 3))"),
        NAMED.replace('"logits"]', '"logits", "-"]', 1),
    ),
    "half precision": (HEAD.replace("return Net()", "return Net().half()"), RECIPE),
    "double precision": (HEAD.replace("return Net()", "return Net().double()"), RECIPE),
    "lazy layers": (HEAD.replace("nn.Linear(8, 2)", "nn.LazyLinear(2)"), RECIPE),
    "compiled": (HEAD.replace("return Net()", "return torch.compile(Net())"), RECIPE),
    "a file beside it": (
        HEAD.replace("import torch\n", "import torch\nfrom beside_model import WIDTH\n").replace(
            "nn.Linear(8, 2)", "nn.Linear(WIDTH, 2)"
        ),
        RECIPE,
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_networks_that_can_be_exported_are(case: str, tmp_path: Path) -> None:
    code, recipe = GOOD[case]
    folder = folder_of(tmp_path, code, recipe)
    (folder / "beside_model.py").write_text("WIDTH = 8\n")
    found = find_recipe(str(folder / "recipe.toml"))
    weights = Weights(found, {"model": folder / "weights.pt"})
    (network,) = found.networks
    data = network_bytes(weights, network, explain=False)
    cells = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    given = open_engine("onnxruntime", "cells", data).run({"cells": cells})
    wanted = TorchEngine(network, weights.reference(network, explain=False)).run({"cells": cells})
    plain: dict[str, Any] = {}
    exec(HEAD, plain)
    net = plain["Net"]()
    net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    with torch.no_grad():
        logits = net(torch.from_numpy(cells).permute(0, 3, 1, 2) / 255)
    for answers in (given, wanted):
        assert np.allclose(answers["logits"], logits.numpy(), atol=1e-5)
