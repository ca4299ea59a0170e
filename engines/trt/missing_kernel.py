"""A layer that TensorRT has no kernel for, found in what its builder logged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeapl.errors import EngineError

MEND = "build it with --precision fp16, or with a newer TensorRT"

_NODE = re.compile(r"could not find any implementation for node (?P<fused>.+)", re.IGNORECASE)
_SPAN = re.compile(r"ForeignNode\[(?P<first>.+?)\.\.\.(?P<last>.+?)\]")


class MissingKernelError(EngineError):
    """The library has no kernel for a layer in the types that the network gives it.

    fused : the layer as the library names it: all nodes that it fused, e.g.
        ``w + w_QuantizeLinear + /block/Conv + PWN(/act/Relu)``.
    """

    def __init__(self, name: str, fused: str) -> None:
        self.fused = fused
        text = f"TensorRT has no kernel for {fused}: {MEND}"
        super().__init__("network could not be built", name, text)


def missing_kernel(lines: Sequence[str]) -> str:
    """Return the fused layer that an error line names as one without a kernel, or ''."""
    for line in lines:
        found = _NODE.search(line)
        if found is not None:
            # As a sentence, or as one in brackets behind the kind of error.
            return re.sub(r"\.\)?$", "", found["fused"].strip())
    return ""


def named_layers(fused: str, layers: Sequence[str]) -> tuple[str, ...]:
    """Return those of a network's layers that a fused layer is made of, in order.

    Parameters
    ----------
    layers : names of nodes, in the order of the graph. What the library compiles as a whole it
        names by its first and last node; all layers from the one to the other are then meant.
    """
    named = [place for place, name in enumerate(layers) if _names(fused, name)]
    span = _SPAN.search(fused)
    if span is not None and named:
        ends = [
            place for place in named if _names(f"{span['first']} {span['last']}", layers[place])
        ]
        if len(ends) > 1:
            named = list(range(ends[0], ends[-1] + 1))
    return tuple(layers[place] for place in named)


def _names(text: str, name: str) -> bool:
    """Return whether a text holds a name, and not merely a longer one."""
    spaced = text.replace("...", " ")
    return re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w/.])", spaced) is not None
