"""Keeps only the layers that the quantiser rejects in a higher precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeapl.errors import EngineError


class Unquantised(Exception):  # noqa: N818 - describes the state of the network
    """The quantiser failed on some layers."""


Quantised = Callable[[Sequence[str]], bytes]
"""Returns the network with these nodes in eight bits. Raises Unquantised when that fails."""


def quantise_most(nodes: Sequence[str], quantised: Quantised) -> bytes | None:
    """Quantise all nodes except those that fail; None if all fail.

    Parameters
    ----------
    nodes : names, in graph order.

    Raises EngineError when nodes fail together although each alone does not.
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
    """Return the nodes that fail, by bisection, as nearly all are fine."""
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
