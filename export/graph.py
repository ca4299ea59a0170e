"""A network as exported: from camera pixels to named probabilities."""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.errors import CodeError, EdgeAplError
from edgeapl.export.checkpoints.file_formats import some
from edgeapl.export.checkpoints.state import slots
from edgeapl.export.outputs import WrongOutputs, select_outputs
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Numbers, Output
from edgeapl.export.user_code import SqueezeObserver, code_error, forward_place

NOT_RUN = "network does not run as the recipe says"


class Graph(nn.Module):
    """Wraps the part of a module named in a recipe, including pre- and post-processing.

    Takes uint8 (N, H, W, 3) RGB or float32 (N, ...), as the recipe's input says, and float32
    (1, ...) where rows share an input. Gives every output as it is, and after it one probability
    (N,) per class.

    Parameters
    ----------
    module : with its weights loaded; `inner` is the exported part.
    recipe : the network. explain : whether to include the explanation output.
    """

    def __init__(self, module: nn.Module, recipe: NetworkRecipe, *, explain: bool) -> None:
        super().__init__()
        self.inner = recipe.part(module, explain)
        self._input = recipe.input
        self._outputs = recipe.named(explain)
        self._shared = recipe.shared
        if isinstance(self._input, Images):
            shape = (1, 3, 1, 1)
            mean = torch.tensor(self._input.mean).view(shape)
            deviation = torch.tensor(self._input.deviation).view(shape)
            self.register_buffer("mean", mean)
            self.register_buffer("deviation", deviation)
        self.eval()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs of `forward`, in order."""
        names: list[str] = []
        for output in self._outputs:
            if output is not None:
                names += [output.name, *output.classes]
        return tuple(names)

    def forward(
        self, given: torch.Tensor, shared: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Return every named output."""
        more = () if shared is None else (shared,)
        tensors = select_outputs(self.inner(self._prepared(given), *more), self._outputs)
        answers: list[torch.Tensor] = []
        for tensor, output in zip(tensors, self._outputs, strict=True):
            if output is not None and tensor is not None:
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
        """Run on empty examples. Raises CodeError when the module does not do what the recipe says.

        This also makes torch's later answers exact: a process's first logarithm (and other
        functions of MKL) may be coarse, https://github.com/pytorch/pytorch/issues/188792.

        Parameters
        ----------
        name : of the network.

        Every output must have as many rows as there are cells, even for one, and no layer may be
        created while it runs: a new one has no weights from the file.
        """
        before = set(slots(self))
        many = not isinstance(self._input, Images) or self._input.many
        for rows in (2, 1) if many else (1,):
            try:
                with torch.no_grad():
                    answers = self(self.example(rows), *self.shared_example())
            except EdgeAplError:
                raise
            except WrongOutputs as error:
                mend = "name its outputs in the recipe"
                if many and rows == 1:  # with two cells it worked
                    mend = self._squeezed(rows)
                raise self._wrong(name, f"{error}, {rows} cells given", mend) from error
            except Exception as error:  # a user's module may raise anything
                raise code_error(NOT_RUN, name, error) from error
            for output, answer in zip(self.output_names, answers, strict=True):
                if many and (answer.ndim == 0 or answer.shape[0] != rows):
                    shape = f"{output!r} has shape {tuple(answer.shape)} with {rows} cells given"
                    raise self._wrong(name, shape, self._squeezed(rows))
        made = sorted(set(slots(self)) - before)
        if made:
            mend = "make them in __init__: these never had weights of the file"
            raise self._wrong(name, f"it makes layers when it runs: {some(made)}", mend)

    def _squeezed(self, rows: int) -> str:
        """Return how to keep a row for each cell."""
        with SqueezeObserver() as found, torch.no_grad():
            self.inner(self._prepared(self.example(rows)), *self.shared_example())
        if found.place:
            return f"{found.place}: squeeze() drops the cells too, write squeeze(1) or flatten(1)"
        return "return one row per cell, also for a single cell"

    def _wrong(self, name: str, what: str, mend: str) -> CodeError:
        where = forward_place(self.inner)
        return CodeError(NOT_RUN, f"{name}, {where}" if where else name, f"{what}: {mend}")

    def example(self, rows: int = 2) -> torch.Tensor:
        """Return an input of `rows` cells; a network of one image at a time gets one."""
        if isinstance(self._input, Numbers):
            return torch.zeros((rows, *self._input.shape))
        rows = rows if self._input.many else 1
        return torch.zeros((rows, self._input.height, self._input.width, 3), dtype=torch.uint8)

    def shared_example(self) -> tuple[torch.Tensor, ...]:
        """Return one instance of the input that the rows share; nothing if they share none."""
        return () if self._shared is None else (torch.zeros((1, *self._shared.shape)),)


def _probabilities(tensor: torch.Tensor, output: Output) -> list[torch.Tensor]:
    if output.activation == "none":
        return []
    classes = len(output.classes)
    if not tensor.is_floating_point():
        raise WrongOutputs(f"{output.name!r} is {tensor.dtype}, which cannot be logits")
    if tensor.ndim == 0 or tensor.numel() != tensor.shape[0] * classes:
        shape = tuple(tensor.shape)
        raise WrongOutputs(f"{output.name!r} has shape {shape} for {classes} named classes")
    rows = tensor.reshape(tensor.shape[0], classes)
    if output.activation == "softmax":
        rows = torch.softmax(rows, dim=1)
    elif output.activation == "sigmoid":
        rows = torch.sigmoid(rows)
    return [rows[:, column] for column in range(len(output.classes))]
