"""Numbers shared by several recipes."""

from __future__ import annotations

from typing import Any

MIN_FOCUS = 1.5
"""Real frames in focus measure 1.7 or more, blurred by 1 µm 1.4 or less; see stages/focus.py."""

GATE = {"min_focus": MIN_FOCUS}

RESEARCH = "Research use only. Not for diagnosis."

SUSPICIOUS_SHARE = 0.2
"""Share of blasts from which WHO 2016 speaks of acute leukaemia; APL's promyelocytes count as
blasts."""


def rule(**changes: Any) -> dict[str, Any]:
    """Return the rule of systems that count cells; none of the papers prints one."""
    return {
        "flag_at": 0.5,
        "clear_below": 0.5,
        "suspicious_share": SUSPICIOUS_SHARE,
        "confidence": 0.95,
        "min_scored": 50,
        "max_lost_share": 0.1,
        **changes,
    }
