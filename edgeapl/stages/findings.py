"""What was noticed about a slide besides its score, and the codes of everything a verdict says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Effect(str, Enum):
    """What a finding does to the verdict."""

    UNTRUSTED = "untrusted"  # the model cannot be believed either way: REVIEW
    BARS_CLEAR = "bars_clear"  # something was not looked at: never CLEAR
    NOTE = "note"  # worth saying, changes nothing


class Code:
    """Codes of the reasons that reducer, judge and domain give. Stable: other tools read them."""

    FLAG: Final = "flag"
    CLEAR: Final = "clear"
    FLAG_KEPT: Final = "flag_kept"  # flagged earlier on this slide
    WOULD_FLAG: Final = (
        "would_flag"  # the score is over the threshold, but the model is not trusted
    )
    UNCERTAIN: Final = "uncertain"  # the probability is not surely below the threshold
    SUSPICIOUS_SHARE: Final = "suspicious_share"  # too many suspicious cells to clear
    TOO_FEW_SUSPICIOUS: Final = (
        "too_few_suspicious"  # score over the threshold, cells do not bear it out
    )
    NO_CELLS: Final = "no_cells"
    TOO_FEW_CELLS: Final = "too_few_cells"
    CELLS_FAILED: Final = "cells_failed"
    CELLS_LOST: Final = "cells_lost"  # more cells without a score than the rule allows
    NOT_EXAMINED: Final = "not_examined"  # some cells without a score, within what the rule allows
    NOT_NEEDED: Final = "not_needed"  # some cells were left out on purpose
    STOPPED_EARLY: Final = "stopped_early"  # how sure it is that they would have changed nothing
    AREA: Final = "area_not_examined"  # too little of the field could be examined
    AREA_FRAMES: Final = "frame_area_not_examined"  # too little of single frames
    AREA_PART: Final = "area_partly_examined"  # a little was lost, within what the rule allows
    ROUND_FIELD: Final = "round_field"  # through an eyepiece: the dark surround does not count
    FIELDS_DIFFER: Final = "fields_differ"  # round in some frames, whole in others
    HIDDEN_FLAG: Final = "flag_in_hidden_part"  # cells that could not be judged speak for the flag
    NO_SCORE: Final = "no_score"
    HEAD_FAILED: Final = "head_failed"
    NON_FINITE: Final = "non_finite"
    SUSPICIOUS_CELLS: Final = "suspicious_cells"  # the most suspicious ones alone would be flagged
    SUSPICIOUS_PART: Final = "suspicious_part"  # so would a frame, or some together
    PARTS_UNKNOWN: Final = "parts_unknown"  # these could not be judged
    TWO_POPULATIONS: Final = "two_populations"  # of stain, size or sharpness
    NO_CERTIFICATE: Final = "no_certificate"  # nothing proves that this model may clear
    CERTIFICATE: Final = "certificate"  # what does
    CERTIFICATE_LOOK: Final = "certificate_look"  # unlike the slides that do
    CERTIFICATE_ENGINES: Final = "certificate_engines"  # not these engines on these slides
    CERTIFICATE_ENDED: Final = "certificate_ended"  # at this station
    ABOVE_CERTIFICATE: Final = "above_certificate"  # the rule would clear, the proof does not reach
    DOMAIN_UNKNOWN: Final = "domain_unknown"
    DETAIL_UNKNOWN: Final = "domain_detail_unknown"
    DOMAIN_STAIN: Final = "domain_stain"
    DOMAIN_SIZE: Final = "domain_size"
    DOMAIN_FEATURES: Final = "domain_features"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed. code : stable, snake_case. text : plain words with the figures."""

    code: str
    text: str
    effect: Effect
