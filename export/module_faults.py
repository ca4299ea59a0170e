"""Finds what makes a module random, or mixes the cells of one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from edgeapl.export.checkpoints.file_formats import some
from edgeapl.export.user_code import user_line

DROPOUT = frozenset(
    {
        *("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"),
        *("feature_dropout", "feature_alpha_dropout", "rrelu"),
    }
)
RANDOM = frozenset(
    {
        *("rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm"),
        *("normal", "normal_", "uniform_", "bernoulli", "bernoulli_", "exponential_", "poisson"),
        *("multinomial", "gumbel_softmax", "log_normal_", "cauchy_", "geometric_", "random_"),
    }
)
OVER = frozenset(
    {
        *("softmax", "log_softmax", "softmin", "normalize", "cumsum", "cumprod", "sort", "argsort"),
        *("mean", "std", "var", "std_mean", "var_mean", "sum", "amax", "amin", "max", "min"),
        *("norm", "vector_norm", "median", "quantile", "logsumexp", "prod", "roll", "flip"),
    }
)
"""Operations along a dimension; without one most cover all numbers of a batch."""

TRAINING_ON = "training mode is turned on inside forward"
NO_STATISTICS = "train it with track_running_stats=True, or with GroupNorm or InstanceNorm"


@dataclass(frozen=True, slots=True)
class Suspect:
    """One suspicious thing a module does.

    what : description. mend : how to avoid it. place : the user's line, empty if it is not the
        user's.
    random : whether it makes answers differ between runs.
    """

    what: str
    mend: str
    place: str
    random: bool


class FaultObserver(TorchFunctionMode):
    """Observes a running module; `found` lists what is suspicious, in the order of calls.

    Parameters
    ----------
    rows : cells in the batch.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows
        self.found: list[Suspect] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and record what is suspicious."""
        given = kwargs or {}
        name = getattr(func, "__name__", "")
        told = None
        if name in DROPOUT and _training(args, given, 3 if name == "rrelu" else 2):
            told = "dropout is left on", "give F.dropout training=self.training", True
        elif name in RANDOM:
            told = f"{name}() draws at random", "leave it out where the module only answers", True
        elif name == "batch_norm" and _training(args, given, 5):
            told = "batch_norm takes its mean and deviation from the batch", NO_STATISTICS, False
        elif name in OVER and self._over_cells(name, args, given):
            told = f"{name}() goes over the cells", "name another dimension than 0", False
        if told is not None:
            self.found.append(Suspect(told[0], told[1], user_line(), told[2]))
        return func(*args, **given)

    def _over_cells(self, name: str, args: tuple[Any, ...], given: dict[str, Any]) -> bool:
        tensor = args[0] if args else given.get("input")
        if not isinstance(tensor, torch.Tensor) or tensor.ndim == 0:
            return False
        if tensor.shape[0] != self._rows:
            return False
        place = 2 if name in ("norm", "vector_norm", "quantile", "normalize", "roll") else 1
        along = given.get("dim", given.get("axis", given.get("dims")))
        if along is None and len(args) > place:
            along = args[place]
        if along is None:
            return name not in ("normalize", "sort", "argsort")
        if isinstance(along, torch.Tensor):  # the larger of two tensors
            return False
        dims = along if isinstance(along, (tuple, list)) else (along,)
        return any(isinstance(d, int) and d % tensor.ndim == 0 for d in dims)


def _training(args: tuple[Any, ...], given: dict[str, Any], place: int) -> bool:
    if given.get("p") == 0:
        return False
    told = given.get("training", given.get("train"))
    return bool(args[place] if told is None and len(args) > place else told)


def causes(module: nn.Module, run: Callable[[], object], rows: int) -> Iterator[Suspect]:
    """Run a module again and yield what may make it unfit, most certain first.

    Parameters
    ----------
    module : in evaluation mode. run : runs it. rows : number of cells it is run on.
    """
    module.eval()
    with FaultObserver(rows) as watched, torch.no_grad():
        run()
    named = {name: part for name, part in module.named_modules() if name}
    on = [name for name, part in named.items() if part.training]
    if on:
        mend = "leave .train() out of forward"
        for random in (True, False):
            yield Suspect(f"{TRAINING_ON} ({some(sorted(on), 3)})", mend, "", random)
    for name, part in named.items():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            what = f"{type(part).__name__} {name} has no running statistics"
            yield Suspect(f"{what} and takes those of the batch", NO_STATISTICS, "", False)
    yield from watched.found
    for name, part in named.items():
        if getattr(part, "batch_first", True) is False:
            what = f"{type(part).__name__} {name} takes the cells for a sequence"
            yield Suspect(what, "make it with batch_first=True", "", False)
