"""Turns errors of a user's own code into one line: where, what, and how to fix it."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import edgeapl
from edgeapl.errors import CodeError

MOST = 200
"""Longest quotation of a message that is not ours."""

BY_DATA = (
    "the network decides by the values of its data",
    "write it with torch.where or torch.clamp, without if, while, int(), float() or .item()",
)
SIGNS = (
    (("data-dependent", "DataDependent", "control flow", "vmap"), *BY_DATA),
    (
        ("Unsupported FX nodes", "No decompositions", "DispatchError", "No ONNX function"),
        "ONNX has no such operation",
        "write it with other operations of torch",
    ),
    (
        ("CUDA", "cuda", "NVIDIA", "mps", "xpu"),
        "it asks for a device that is not here",
        'leave .cuda() and .to("cuda") out, load with map_location="cpu": it runs on the processor',
    ),
    (
        ("Half", "BFloat16", "Double", "c10::Half", "same dtype", "scalar type"),
        "it mixes types of numbers",
        "leave .half(), .double() and autocast out: everything is float32",
    ),
    (
        ("missing 1 required positional", "required positional arguments"),
        "it takes other inputs than the one it is given",
        "name a method or a module of one input as part in the recipe, or give the others defaults",
    ),
    (
        ("Expected more than 1 value per channel",),
        "a BatchNorm has no running statistics, or is in training mode, and one cell has none",
        "train it with track_running_stats=True, and leave .train() out of forward",
    ),
    (("No module named",), "a package is missing", "install it beside edgeapl"),
    (("invalid syntax", "was never closed"), "this is not Python", "correct the file"),
)
"""Parts of messages of torch and Python: their meaning, and how to fix it."""


def code_error(what: str, which: str, error: BaseException, mend: str = "") -> CodeError:
    """Make one line of what a user's code raised.

    Parameters
    ----------
    what : was being done. which : factory or network. error : as it was caught.
    mend : used if the message suggests nothing better.
    """
    words = _words(error)
    text = f"{type(_root(error)).__name__}: {words}"
    found = next((s for s in SIGNS if any(sign in _all_words(error) for sign in s[0])), None)
    if found is not None:
        mend = found[2]
        text = found[1] if found[1] == BY_DATA[0] else f"{found[1]} ({words})"
    where = place(error)
    return CodeError(what, f"{which}, {where}" if where else which, f"{text}: {mend}".rstrip(": "))


def place(error: BaseException) -> str:
    """Return the deepest line of the user's code in an error's traceback, e.g. ``model.py line 7``.

    Code in installed packages counts only if there is no other; empty if all of it is ours.
    """
    best = ""
    for each in _chain(error):
        if isinstance(each, SyntaxError) and each.filename:
            return f"{Path(each.filename).name} line {each.lineno}"
        frames = [
            frame
            for frame in traceback.extract_tb(each.__traceback__)
            if not _known(frame.filename)
        ]
        own = [frame for frame in frames if "site-packages" not in frame.filename]
        if own:
            best = _line(own[-1])
        elif frames and not best:
            best = _line(frames[-1])
    return best


def forward_place(module: nn.Module) -> str:
    """Return the line of a module's ``forward``; empty if that is not the user's code."""
    code = getattr(getattr(module, "called", type(module).forward), "__code__", None)
    if code is None or _known(code.co_filename):
        return ""
    return f"{Path(code.co_filename).name} line {code.co_firstlineno}"


class SqueezeObserver(TorchFunctionMode):
    """Watches for ``squeeze()`` without a dimension, which drops the row of a single cell.

    place : the user's line that called it last; empty if none did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place = ""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and record where squeeze was called."""
        if getattr(func, "__name__", "") == "squeeze" and len(args) == 1 and not kwargs:
            self.place = user_line()
        return func(*args, **(kwargs or {}))


def user_line() -> str:
    """Return the user's line that is running in a network, e.g. ``model.py line 7``.

    Empty if the network consists only of torch's layers.
    """
    graph = Path(__file__).resolve().with_name("graph.py")
    for frame in reversed(traceback.extract_stack()):
        if not _known(frame.filename):
            return _line(frame)
        if Path(frame.filename).resolve() == graph:
            break
    return ""


def _line(frame: traceback.FrameSummary) -> str:
    return f"{Path(frame.filename).name} line {frame.lineno}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the first cause last."""
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or (None if here.__suppress_context__ else here.__context__)


def _root(error: BaseException) -> BaseException:
    return list(_chain(error))[-1]


def _all_words(error: BaseException) -> str:
    return " ".join(f"{type(each).__name__} {each}" for each in _chain(error))


def _words(error: BaseException) -> str:
    """Return the first meaningful line of the first cause."""
    root = _root(error)
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    return (lines[0] if lines else type(root).__name__)[:MOST]


def _known(file: str) -> bool:
    """Return whether a file is Python's, torch's or ours, not the user's."""
    if file.startswith("<") and file.endswith(">"):
        return True
    path = Path(file).resolve()
    ours = [Path(folder).resolve() for folder in edgeapl.__path__]
    ours += [Path(__file__).resolve().parent, Path(torch.__file__).resolve().parent]
    if any(path.is_relative_to(folder) for folder in ours):
        return True
    python = Path(sysconfig.get_path("stdlib")).resolve()
    return path.is_relative_to(python) and "site-packages" not in path.parts
