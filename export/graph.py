"""A network as it stands in the file: from camera pixels to named probabilities."""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.errors import ConfigError
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Numbers, Output


class Graph(nn.Module):
    """Wraps the part of a module that a recipe names, so that pre- and post-processing travel.

    Takes uint8 (N, H, W, 3) RGB or float32 (N, ...), as the recipe's input says. Gives every
    output as it is, and after it one probability (N,) per class.

    Parameters
    ----------
    module : with its weights loaded.
    recipe : the network. explain : whether the explanation output is wanted.
    """

    def __init__(self, module: nn.Module, recipe: NetworkRecipe, *, explain: bool) -> None:
        super().__init__()
        self._part = recipe.part(module, explain)
        self._input = recipe.input
        self._outputs = recipe.named(explain)
        if isinstance(self._input, Images):
            shape = (1, 3, 1, 1)
            mean = torch.tensor(self._input.mean).view(shape)
            deviation = torch.tensor(self._input.deviation).view(shape)
            self.register_buffer("mean", mean)
            self.register_buffer("deviation", deviation)
        self.eval()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of what `forward` gives, in order."""
        names: list[str] = []
        for output in self._outputs:
            if output is not None:
                names += [output.name, *output.classes]
        return tuple(names)

    def forward(self, given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Give every named output."""
        tensors = self._part(self._prepared(given))
        if isinstance(tensors, torch.Tensor):
            tensors = (tensors,)
        if len(tensors) != len(self._outputs):
            raise ValueError(f"it gives {len(tensors)} outputs, {len(self._outputs)} are named")
        answers: list[torch.Tensor] = []
        for tensor, output in zip(tensors, self._outputs, strict=True):
            if output is not None:
                answers += [tensor, *_probabilities(tensor, output)]
        return tuple(answers)

    def _prepared(self, given: torch.Tensor) -> torch.Tensor:
        if isinstance(self._input, Numbers):
            return given
        x = given.permute(0, 3, 1, 2).to(torch.float32) * self._input.scale
        if self._input.colour_order == "bgr":
            x = x.flip(1)
        if any(self._input.mean) or any(part != 1 for part in self._input.deviation):
            x = (x - self.mean) / self.deviation
        return x

    def try_out(self, name: str) -> None:
        """Run once on an empty example; raises ConfigError when the module can not do it.

        It is also what makes torch's later answers exact: a process's first logarithm (and other
        functions of MKL) may be coarse, https://github.com/pytorch/pytorch/issues/188792.

        Parameters
        ----------
        name : of the network.
        """
        try:
            with torch.inference_mode():
                self(self.example())
        except Exception as error:  # a user's module may raise anything
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError("network does not run as the recipe says", name, why[0]) from error

    def example(self) -> torch.Tensor:
        """Give an input that the graph can be traced with."""
        if isinstance(self._input, Numbers):
            return torch.zeros((2, *self._input.shape))
        rows = 2 if self._input.many else 1
        return torch.zeros((rows, self._input.height, self._input.width, 3), dtype=torch.uint8)


def _probabilities(tensor: torch.Tensor, output: Output) -> list[torch.Tensor]:
    if output.activation == "none":
        return []
    rows = tensor.reshape(tensor.shape[0], len(output.classes))
    made = torch.softmax(rows, dim=1) if output.activation == "softmax" else torch.sigmoid(rows)
    return [made[:, column] for column in range(len(output.classes))]
