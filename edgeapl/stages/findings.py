"""What was noticed about a slide besides its score, and what that does to its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Effect(str, Enum):
    """What a finding does to the verdict."""

    UNTRUSTED = "untrusted"  # the model can not be believed either way: REVIEW
    BARS_CLEAR = "bars_clear"  # something was not looked at: never CLEAR
    NOTE = "note"  # worth saying, changes nothing


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed. code : stable, snake_case. text : plain words with the figures."""

    code: str
    text: str
    effect: Effect
