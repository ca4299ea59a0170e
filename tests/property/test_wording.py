"""What a verdict says never contradicts its numbers, nor the limits that stand beside them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeapl.bundle.specs import RuleSpec
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.intervals import wilson, wilson_with_lost
from edgeapl.stages.judge import decide
from edgeapl.stages.reasons import kept
from edgeapl.stages.reduce import Reduced
from edgeapl.types import (
    Decision,
    Figures,
    Interval,
    Limits,
    RaisedFlag,
    Reason,
    RoleCount,
    Tally,
)
from edgeapl.wording.numbers import above, exact, exact_percent, numbers, percents
from edgeapl.wording.verdicts import (
    HEADLINES,
    LOOK_FIRST,
    WEIGHTIEST,
    by_weight,
    headline,
    no_probability,
    reasons_row,
)

NUMBER = r"(\d+(?:\.\d+)?)"
SHARE = r"((?:below |above )?\d+(?:\.\d+)?) %"
PROBABILITY = re.compile(rf"probability of APL (?:of )?{NUMBER}(?: \({NUMBER} to {NUMBER}\))?")

shares = st.one_of(
    st.floats(0, 1), st.integers(0, 1000).map(lambda n: n / 1000), st.sampled_from([0.1, 0.285])
)


@st.composite
def near(draw: st.DrawFn, limit: float) -> float:
    """Draw a share: often the limit itself, or so near that rounding would carry it over."""
    away = draw(st.sampled_from([0, 1e-17, 1e-9, 4e-4, 4e-3]))
    value = draw(st.one_of(shares, st.sampled_from([limit - away, limit + away])))
    return min(1.0, max(0.0, value))


@st.composite
def rules(draw: st.DrawFn) -> RuleSpec:
    clear_below, flag_at = sorted(draw(st.tuples(shares, shares)))
    return RuleSpec(
        flag_at=flag_at,
        clear_below=clear_below,
        suspicious_share=draw(st.one_of(st.none(), shares)),
        min_scored=draw(st.integers(1, 60)),
        max_lost_share=draw(shares),
    )


@st.composite
def slides(draw: st.DrawFn) -> tuple[RuleSpec, Reduced, Tally, bool]:
    """Draw a rule and what it is to judge, and whether the model is trusted."""
    rule = draw(rules())
    scored = draw(st.integers(0, 200))
    tally_of = st.one_of(st.just(0), st.integers(0, 40))
    lost, failed, spared = draw(st.tuples(tally_of, tally_of, tally_of))
    tally = Tally(scored + lost + failed + spared, scored, lost, failed, spared)
    suspicious = draw(st.integers(0, scored))
    if rule.suspicious_share is not None and scored:
        suspicious = draw(
            st.sampled_from([suspicious, min(scored, round(rule.suspicious_share * scored))])
        )
    share = suspicious / max(1, scored)
    if tally.unscored and draw(st.booleans()):  # estimated from strata
        share = draw(near(rule.suspicious_share or 0.5))
    pooled, voted = draw(st.sampled_from([(True, False), (False, False), (False, True)]))
    probability, interval = None, None
    if scored and voted:
        probability, interval = (
            share,
            wilson_with_lost(suspicious, tally.unscored, tally.seen, 0.95),
        )
        assume(interval.low <= share <= interval.high)
    elif scored:
        low, probability, high = sorted(
            draw(st.tuples(*[near(limit) for limit in (rule.clear_below, rule.flag_at, 0.5)]))
        )
        interval = None if pooled else Interval(low, high)
    role = RoleCount("promyelocyte", suspicious, scored, 0.0, Interval(0, 1))
    reduced = Reduced(
        probability, interval, (role,), suspicious, share, ("promyelocyte",), not pooled, (), voted
    )
    return rule, reduced, tally, draw(st.booleans())


def judged(slide: tuple[RuleSpec, Reduced, Tally, bool]) -> tuple[Decision, tuple[Reason, ...]]:
    rule, reduced, tally, trusted = slide
    findings = (
        Finding("odd", "the images are odd", Effect.UNTRUSTED),
        Finding("left", "a frame was not read", Effect.BARS_CLEAR),
        Finding("note", "by the way", Effect.NOTE),
    )
    return decide(rule, reduced, tally, findings[2:] if trusted else findings)


def of_share(words: str) -> tuple[Decimal, Decimal]:
    """Give what a printed share may be, in hundredths: least and most."""
    kind, _, value = words.rpartition(" ")
    number = Decimal(value)
    return {"": (number, number), "below": (Decimal(0), number), "above": (number, Decimal(100))}[
        kind
    ]


SENTENCES: tuple[tuple[str, Callable[[list[str]], bool]], ...] = (
    (
        rf"score {NUMBER} reaches the flag threshold {NUMBER},",
        lambda f: Decimal(f[0]) >= Decimal(f[1]),
    ),
    (
        rf"; {SHARE} of all are estimated to; a flag takes {NUMBER} %",
        lambda f: of_share(f[0])[0] < Decimal(f[1]),
    ),
    (
        rf"(\d+) of (\d+) cells look suspicious(?:: [^;]*)?; a flag takes {NUMBER} %",
        lambda f: 100 * int(f[0]) < Decimal(f[2]) * int(f[1]),
    ),
    (
        rf"as high as {SHARE}, to clear a slide it must be below {NUMBER} %",
        lambda f: of_share(f[0])[1] >= Decimal(f[1]),
    ),
    (r"only (\d+) cells were scored, and a flag takes (\d+)", lambda f: int(f[0]) < int(f[1])),
    (
        r"only (\d+) cells were scored, to clear a slide takes (\d+)",
        lambda f: int(f[0]) < int(f[1]),
    ),
    (
        rf"(\d+) of (\d+) cells have no score, {NUMBER} % may be without",
        lambda f: 100 * int(f[0]) > Decimal(f[2]) * int(f[1]),
    ),
)
"""Sentences with two numbers, and what must hold of them as they are printed."""


def contradictions(text: str, rule: RuleSpec, reduced: Reduced, tally: Tally) -> Iterator[str]:
    """Read a sentence as a person does, and name all in it that cannot be."""
    for pattern, holds in SENTENCES:
        for found in re.finditer(pattern, text):
            if not holds(list(found.groups())):
                yield found[0]
    for found in re.finditer(r"(\d+) of (\d+) cells look suspicious", text):
        if (int(found[1]), int(found[2])) != (reduced.suspicious, tally.scored):
            yield "other cells"
        if rule.suspicious_share is None and not reduced.voted:
            yield "the rule did not look at suspicious cells"
    for found in PROBABILITY.finditer(text):
        shown = [Decimal(part) for part in found.groups() if part is not None]
        true = [reduced.probability, *(reduced.interval.ends if reduced.interval else ())]
        if len(shown) != len(true) or (len(shown) == 3 and not shown[1] <= shown[0] <= shown[2]):
            yield f"another interval: {shown}"
        for limit, (said, value) in itertools.product(
            (rule.flag_at, rule.clear_below), zip(shown, true, strict=False)
        ):
            if value is None or (said >= Decimal(exact(limit))) != (value >= limit):
                yield f"{said} stands on the wrong side of {limit}"
        if "not surely below" in text and max(shown) < Decimal(text.rpartition(" ")[2]):
            yield f"{shown} is surely below"


@given(slide=slides())
@settings(deadline=None, max_examples=300)
@pytest.mark.slow
def test_no_reason_contradicts_a_number_or_a_limit(
    slide: tuple[RuleSpec, Reduced, Tally, bool],
) -> None:
    rule, reduced, tally, _ = slide
    decision, reasons = judged(slide)
    for reason in reasons:
        assert not list(contradictions(reason.text, rule, reduced, tally)), reason.text
    codes = [reason.code for reason in reasons]
    said = headline(decision.value, codes)
    assert (said == LOOK_FIRST) == (Code.WOULD_FLAG in codes)
    if decision is Decision.CLEAR:
        text = reasons[0].text
        assert "nothing" not in said.lower() or not reduced.suspicious
        shown = [Decimal(part) for part in PROBABILITY.findall(text)[0] if part]
        assert max(shown) < Decimal(exact(rule.clear_below))
        if rule.suspicious_share is not None:
            upper = re.search(rf"to {SHARE}\), probability", text)
            assert upper is not None
            beside = Decimal(exact_percent(rule.suspicious_share).removesuffix(" %"))
            assert of_share(upper[1])[0] < beside
    if decision is Decision.FLAG and rule.suspicious_share is None and not reduced.voted:
        assert "suspicious" not in reasons[0].text


@given(slide=slides())
@settings(deadline=None)
def test_what_speaks_for_apl_comes_before_all_else(
    slide: tuple[RuleSpec, Reduced, Tally, bool],
) -> None:
    rule, reduced, _, trusted = slide
    decision, reasons = judged(slide)
    speaks = (
        reduced.probability is not None
        and reduced.probability >= rule.flag_at
        and decision is Decision.REVIEW
    )
    codes = [reason.code for reason in reasons]
    if speaks:
        assert codes[0] in (Code.WOULD_FLAG, Code.TOO_FEW_SUSPICIOUS)
        assert trusted or "look at this slide first" in reasons[0].text
    backwards = [{"code": r.code, "text": r.text} for r in reversed(reasons)]
    assert reasons_row({"reasons": backwards}).startswith(
        next((r.text for r in reasons if r.code in WEIGHTIEST), backwards[0]["text"])
    )
    assert by_weight(reasons, lambda reason: reason.code) == list(reasons)


@given(data=st.data(), limits=st.lists(shares, max_size=3))
@settings(deadline=None, max_examples=200)
def test_a_printed_number_stands_where_the_number_does(
    data: st.DataObject, limits: list[float]
) -> None:
    values = data.draw(st.lists(near(limits[0] if limits else 0.5), min_size=1, max_size=3))
    for printed, value in zip(numbers(values, limits), values, strict=True):
        assert math.isclose(float(printed), value, abs_tol=0.00051)
        for limit in limits:
            assert (Decimal(printed) >= Decimal(exact(limit))) == (value >= limit)
    for words, value in zip(percents(values, limits), values, strict=True):
        least, most = of_share(words.removesuffix(" %"))
        assert (most > 0) == (value > 0)
        assert (least < 100) == (value < 1)
        for limit in limits:
            beside = Decimal(exact_percent(limit).removesuffix(" %"))
            if not limit > 0.999 or least == most:
                assert (least >= beside) == (value >= limit)
    assert float(exact(values[0])) == values[0]


@given(limit=st.floats(0, 1e6), data=st.data())
@settings(deadline=None)
def test_a_distance_beyond_its_limit_is_printed_beyond_it(
    limit: float, data: st.DataObject
) -> None:
    value = data.draw(st.one_of(st.just(math.nextafter(limit, math.inf)), st.floats(limit, 2e6)))
    printed, beside = above(value, limit)
    assert (Decimal(printed) > Decimal(beside)) == (value > limit)
    assert above(math.nan, 1.0) == ("nan", "1.0")
    assert above(math.inf, 1.0) == ("inf", "1.0")


@pytest.mark.parametrize(
    ("share", "limits", "words"),
    [
        (0.0996, (0.1,), "9.96 %"),
        (0.0996, (), "10.0 %"),
        (0.1, (0.1,), "10.0 %"),
        (0.0004, (0.1,), "below 0.1 %"),
        (0.0004, (0.0005,), "0.04 %"),
        (0.9996, (0.5,), "above 99.9 %"),
        (0.2849999, (0.285,), "28.49999 %"),
    ],
)
def test_shares_are_written_for_people(share: float, limits: tuple[float, ...], words: str) -> None:
    assert percents([share], limits) == [words]
    assert exact_percent(0.285) == "28.5 %"


def test_the_words_of_a_flag_that_was_kept_follow_from_its_own_limits() -> None:
    figures = Figures(0.4996, Interval(0.1, 0.5), (), ())
    flag = RaisedFlag("2026-01-02T03:04:05+00:00", figures, "b", Limits(0.5, 0.1))
    assert "0.4996 (0.1000 to 0.5000)" in kept(flag, Decision.REVIEW)
    assert "0.500 (0.100 to 0.500)" in kept(replace(flag, limits=None), Decision.REVIEW)


@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("scored", [0, 5])
def test_why_there_is_no_probability_is_true(decision: Decision, scored: int) -> None:
    words = no_probability(decision.value, scored, ())
    assert ("nothing could be scored" in words) == (not scored and decision is not Decision.FLAG)
    assert ("flag was raised" in words) == (decision is Decision.FLAG)
    assert "network" in no_probability("REVIEW", 5, {Code.HEAD_FAILED})


def test_as_many_lost_cells_as_are_allowed_are_not_too_many() -> None:
    rule = RuleSpec(flag_at=0.5, clear_below=0.5, min_scored=1, max_lost_share=0.29)
    assert 29 > 0.29 * 100  # as products of floats go
    reduced = Reduced(0.1, Interval(0, 0.2), (), 0, 0.0, (), True, ())
    for lost, expected in ((29, Decision.CLEAR), (30, Decision.REVIEW)):
        assert decide(rule, reduced, Tally(100, 100 - lost, lost), ())[0] is expected


def test_words_and_codes_that_other_modules_use_are_there() -> None:
    assert set(WEIGHTIEST) == {Code.FLAG, Code.FLAG_KEPT, Code.WOULD_FLAG}
    assert set(HEADLINES) == {decision.value for decision in Decision}
    assert wilson(3, 95, 0.95).high < 0.1  # 3 of 95 suspicious cells may be CLEAR
    assert not any("nothing" in words.lower() for words in HEADLINES.values())
