"""Whether the rule of a bundle can flag at all; checked with its head when it is opened."""

from __future__ import annotations

import itertools

from edgeapl.errors import BundleError
from edgeapl.model.assembled import Model
from edgeapl.types import Interval


def check_reach(model: Model) -> None:
    """Raise BundleError unless some slide would be flagged.

    A head moves one way with each ratio (`edgeapl.stages.head.check_monotone`), so its highest
    answer lies where every role is seen in all cells or in none; one role at least must speak for
    APL. Where features are pooled the head's reach is not known; there the golden slides tell.
    """
    manifest = model.bundle.manifest
    if not (manifest.trained and manifest.answers == "apl" and manifest.reducer.kind == "ratio"):
        return
    speaking = [role.suspicious for role in manifest.roles]
    for corner in itertools.product((0.0, 1.0), repeat=len(speaking)):
        if not any(share and speaks for share, speaks in zip(corner, speaking, strict=True)):
            continue
        shares = [Interval(share, share) for share in (*corner, 1.0)]
        if model.reducer.reaches(model.head, shares, manifest.rule.flag_at):
            return
    raise BundleError(
        "rule can never flag",
        f"{manifest.name} {manifest.version}",
        f"the head stays below flag_at {manifest.rule.flag_at:g} whatever the cells are: "
        "mend the rule or the head and export the bundle again",
    )
