"""Layers that the quantiser cannot take stay in a higher precision; the others do not suffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeapl.errors import EngineError


class Unquantised(Exception):  # noqa: N818 - says what became of the network
    """The quantiser failed on some layers."""


Quantised = Callable[[Sequence[str]], bytes]
"""Gives the network with these nodes in eight bits; raises Unquantised when that fails."""


def most_of(nodes: Sequence[str], quantised: Quantised) -> bytes | None:
    """Quantise all nodes but those that cannot be; None when not one can be.

    Parameters
    ----------
    nodes : names, in the order of the graph.

    Raises EngineError when nodes fail together, and each of them alone does not.
    """
    try:
        return quantised(nodes)
    except Unquantised:
        refused = _refused(nodes, quantised)
    left = [name for name in nodes if name not in refused]
    if not left:
        return None
    try:
        return quantised(left)
    except Unquantised as error:
        raise EngineError(
            "network cannot be quantised", left[0], f"{error}: build it with --precision fp32"
        ) from error


def _refused(nodes: Sequence[str], quantised: Quantised) -> set[str]:
    """Return the nodes that fail; of half of them, and half of that, as nearly all are fine."""
    if len(nodes) == 1:
        return set(nodes)
    found: set[str] = set()
    middle = len(nodes) // 2
    for part in (nodes[:middle], nodes[middle:]):
        try:
            quantised(part)
        except Unquantised:
            found |= _refused(part, quantised)
    return found
