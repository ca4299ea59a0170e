"""Refuses rules that can never flag, or that clear what nobody would, wherever a manifest is read.

Nobody writes such a rule on purpose, but a slip of a digit does. The limits are far from any rule
in use. What a head can reach at all is tested with the networks: `edgeapl.model.reachability`.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeapl.bundle.specs import ReducerSpec, RoleSpec, RuleSpec

HIGHEST_FLAG_AT = 0.99
"""Only saturated networks give probabilities above this."""

HIGHEST_ROLE_THRESHOLD = 0.99
"""The same for single cells that suggest APL."""

AS_LIKELY_AS_NOT = 0.5
"""No slide may be cleared that is as likely APL as not, or if half its cells look suspicious, or
half its cells or half its field are lost."""

FEWEST_CELLS = 2
"""One cell never clears a slide."""


def check_rule(rule: RuleSpec, reducer: ReducerSpec, roles: Sequence[RoleSpec]) -> None:
    """Raise ValueError for a rule that can never flag or that clears what it must not."""
    half = AS_LIKELY_AS_NOT
    if rule.flag_at > HIGHEST_FLAG_AT:
        raise ValueError(
            f"rule: flag_at {rule.flag_at:g} can never be reached: at most {HIGHEST_FLAG_AT}"
        )
    if rule.clear_below > half:
        raise ValueError(
            f"rule: clear_below {rule.clear_below:g} clears slides that are as likely APL as not: "
            f"at most {half}"
        )
    if rule.suspicious_share is not None and rule.suspicious_share > half:
        raise ValueError(
            f"rule: suspicious_share {rule.suspicious_share:g} clears slides of which half the "
            f"cells look suspicious: at most {half}"
        )
    if rule.max_lost_share >= half:
        raise ValueError(
            f"rule: max_lost_share {rule.max_lost_share:g} clears slides that were hardly looked "
            f"at: below {half}"
        )
    if rule.min_examined_share < half:
        raise ValueError(
            f"rule: min_examined_share {rule.min_examined_share:g} clears slides of which half the "
            f"field was not looked at: at least {half}"
        )
    if rule.min_scored < FEWEST_CELLS:
        raise ValueError(
            f"rule: min_scored {rule.min_scored} lets one cell clear a slide: at least "
            f"{FEWEST_CELLS}"
        )
    needed = [role for role in roles if role.suspicious]
    unreached = [role for role in needed if role.threshold > HIGHEST_ROLE_THRESHOLD]
    if unreached and not reducer.pools:
        raise ValueError(
            f"roles: threshold {unreached[0].threshold:g} of {unreached[0].name!r} can never be "
            f"reached: at most {HIGHEST_ROLE_THRESHOLD}"
        )
