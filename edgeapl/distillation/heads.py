"""Which heads a student needs to answer like a bundle."""

from __future__ import annotations

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import BundleError
from edgeapl.export.architectures.student import Head
from edgeapl.inference.routing import steps


def heads_of(manifest: Manifest) -> tuple[Head, ...]:
    """Return a head for each network of cells, each after those it waits for."""
    heads = []
    for step in steps(manifest):
        classes = manifest.networks[step.network].classes
        asked = dict.fromkeys(r.output for r in manifest.roles if r.network == step.network)
        others = tuple(output for output in asked if output not in classes)
        if classes or others:
            after = None if step.after is None else step.after[0]
            heads.append(Head(step.network, classes, others, step.when, after))
    known = {head.network for head in heads}
    # What only passes features on has no answer to learn, and is shown every cell.
    return tuple(
        Head(one.network, one.classes, one.others, one.when)
        if one.after is not None and one.after not in known
        else one
        for one in heads
    )


def check_parent(bundle: Bundle) -> None:
    """Raise BundleError for a bundle that no student can be taught to stand in for."""
    manifest = bundle.manifest
    why = ""
    if not manifest.trained:
        why = "its networks were never trained, so there is nothing to learn"
    elif manifest.cascade is not None:
        why = "a student is in it already: distil its parent"
    elif manifest.reducer.pools:
        why = "it judges slides by pooled features, not by what its cells are"
    if why:
        raise BundleError("bundle cannot be distilled", bundle.folder, why)
