"""What a recipe contains: the networks to export, and how the bundle uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from edgeapl.export.checkpoints.file_formats import Kind
from edgeapl.export.checkpoints.reader import KerasReader
from edgeapl.export.checkpoints.tensor_match import Choice

IDENTITY = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours, 0 to 1, as the weights of the usual
pre-trained networks expect them."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name and shape of every tensor of a checkpoint; empty if the weights are random."""


@dataclass(frozen=True, slots=True)
class Images:
    """Input of colour images: uint8 (N, height, width, 3) RGB, converted to floats in the graph.

    colour_order : that the network was trained on.
    scale : factor from 0..255 to the network's range, before mean and deviation.
    mean, deviation : subtracted and divided by, per channel in the network's order.
    many : False for one image of fixed size at a time.
    """

    height: int
    width: int
    colour_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = IDENTITY[0]
    deviation: tuple[float, float, float] = IDENTITY[1]
    many: bool = True


@dataclass(frozen=True, slots=True)
class Numbers:
    """Input of float32 (N, *shape)."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """A second input, float32 (1, *shape), which all rows of a run have in common."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """One output tensor of a network.

    name : in the file; the raw numbers are always among the outputs.
    activation : turns it into probabilities; ``given`` if it already holds some.
    classes : names of the probabilities, one per column.
    """

    name: str
    activation: Literal["none", "softmax", "sigmoid", "given"] = "none"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KerasPort:
    """How weights trained in Keras are converted.

    tensors : makes the module's tensors from Keras' layers. build : as in `NetworkRecipe`, for a
        module that computes as Keras does.
    """

    tensors: KerasReader
    build: Callable[[Shapes], nn.Module]


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """One network of a bundle.

    name : in the manifest. weights : role in ``--weights role=FILE``; several networks may share
        it.
    build : returns the module for a checkpoint with tensors of these shapes; without any tensors,
        the published architecture.
    part : returns the part of that module to export; called with whether explanations are wanted.
        Takes one float32 tensor (images as (N, 3, H, W)), and after it what rows share, and gives a
        tensor or a tuple.
    outputs : names of the part's outputs, in order; None for one that is left out.
    explained : a further output, given only when explanations are wanted.
    renamed : gives a checkpoint's tensors the names of today; None where names never changed.
    keras : for checkpoints of Keras; None where they are not read.
    choice : which tensors of the checkpoint are used, and under which names.
    after, when : as in `edgeapl.bundle.specs.NetworkSpec`.
    shared : a second input, if it has one.
    """

    name: str
    weights: str
    build: Callable[[Shapes], nn.Module]
    part: Callable[[nn.Module, bool], nn.Module]
    input_name: str
    input: Images | Numbers
    outputs: tuple[Output | None, ...]
    explained: Output | None = None
    renamed: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]] | None = None
    keras: KerasPort | None = None
    choice: Choice = field(default_factory=Choice)
    after: str | None = None
    when: str | None = None
    shared: Shared | None = None

    @property
    def keras_reader(self) -> KerasReader | None:
        """The converter of Keras' checkpoints."""
        return self.keras.tensors if self.keras else None

    def for_kind(self, kind: str) -> NetworkRecipe:
        """Return the recipe for a kind of checkpoint: Keras' has a module of its own."""
        if kind != Kind.KERAS.value or self.keras is None:
            return self
        return replace(self, build=self.keras.build)

    @property
    def file(self) -> str:
        """Name of the file in the bundle."""
        return f"{self.name}.onnx"

    @property
    def classes(self) -> tuple[str, ...]:
        """Exclusive classes of a cell: those of the only softmax, applied here or in the module."""
        outputs = [out for out in self.outputs if out is not None]
        one_of = [
            out
            for out in outputs
            if out.activation == "softmax" or (out.activation == "given" and len(out.classes) > 1)
        ]
        return one_of[0].classes if len(one_of) == 1 else ()

    def named(self, explain: bool) -> tuple[Output | None, ...]:
        """Return the outputs, including the explanation if it is wanted."""
        return (*self.outputs, self.explained) if explain and self.explained else self.outputs

    def settings(self) -> dict[str, Any]:
        """Return the network's part of the manifest."""
        given = {"after": self.after, "when": self.when}
        return {
            "file": self.file,
            "input": self.input_name,
            "classes": list(self.classes),
            **{name: value for name, value in given.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Recipe:
    """A system: its networks in the order in which they are exported, and its manifest.

    name : of the bundle. source : the paper or file that it follows.
    settings : the manifest without networks, files, golden answers and what the export decides.
    explanation : the manifest's explanation, used only if it is wanted.
    card : the model card's text, Markdown.
    tolerance : largest difference of any probability between torch and the exported network.
    warnings : possible misunderstandings; they appear in the report.
    """

    name: str
    source: str
    networks: tuple[NetworkRecipe, ...]
    settings: Mapping[str, Any]
    explanation: Mapping[str, Any]
    card: str
    tolerance: float = 1e-4
    own_files: Mapping[str, bytes] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def weight_roles(self) -> tuple[str, ...]:
        """Names for ``--weights``, each once."""
        return tuple(dict.fromkeys(network.weights for network in self.networks))
