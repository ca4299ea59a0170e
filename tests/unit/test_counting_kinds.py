"""Bundles that count the kinds of cells: never CLEAR, a FLAG beyond stated limits, own words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.specs import ReducerSpec, RoleSpec, RuleSpec
from edgeapl.journal.alarms import Alarm
from edgeapl.report.cell_classes import cell_kinds, role_kinds
from edgeapl.report.gallery import MOST_OF_KIND, Gallery
from edgeapl.stages.findings import Effect, Finding
from edgeapl.stages.judge import decide, latch
from edgeapl.stages.reduce import Reduced, Reducer
from edgeapl.types import CellScores, Decision, Reason, Tally
from edgeapl.wording.questions import APL, COUNTS_KINDS, IMMATURE, QUESTIONS, question_of
from edgeapl.wording.verdicts import advice, headline
from tests.drawn_slides import context, examined
from tests.small_bundle import ROLES, settings, small_bundle

SPECS = tuple(
    RoleSpec(name=name, network="n", output=name, threshold=0.5, suspicious=name != "other")
    for name in ("immature", "promyelocyte", "other")
)
RULE = RuleSpec(
    flag_at=0.2,
    clear_below=0.2,
    suspicious_share=0.2,
    min_scored=20,
    max_lost_share=0.1,
    role_limits={"promyelocyte": 0.05},
)


def reduced(immature: int, promyelocytes: int, cells: int, answers: str) -> tuple[Reduced, Tally]:
    """Reduce a slide on which promyelocytes are some of the immature cells."""
    rows = np.arange(cells)
    roles = {
        "immature": rows < immature,
        "promyelocyte": rows < promyelocytes,
        "other": rows >= immature,
    }
    scores = CellScores(
        rows.astype(np.int64),
        {name: values.astype(np.float32) for name, values in roles.items()},
        np.zeros((cells, 0), np.float32),
    )
    reducer = Reducer(SPECS, ReducerSpec(kind="vote"), answers)
    state = reducer.add(reducer.empty(), scores)
    tally = Tally(cells, scored=cells)
    return reducer.reduce(state, None, tally, RULE.confidence)[0], tally


@pytest.mark.parametrize(
    ("immature", "promyelocytes", "cells", "decision"),
    [
        (0, 0, 200, Decision.REVIEW),  # what another bundle would clear
        (39, 0, 200, Decision.REVIEW),
        (40, 0, 200, Decision.FLAG),  # a fifth is immature
        (20, 20, 200, Decision.FLAG),  # 10 % (6.6 to 14.9 %) promyelocytes: surely above 5 %
        (15, 15, 200, Decision.REVIEW),  # 7.5 % (4.6 to 12.0 %): not surely
        (19, 19, 19, Decision.FLAG),  # too few cells, but surely beyond by the vote
        (3, 3, 19, Decision.REVIEW),
    ],
)
def test_a_slide_is_flagged_beyond_its_limits_and_never_cleared(
    immature: int, promyelocytes: int, cells: int, decision: Decision
) -> None:
    answer, reasons = decide(RULE, *reduced(immature, promyelocytes, cells, "differential"), [])
    assert answer is decision
    assert COUNTS_KINDS in {reason.code for reason in reasons}
    said = " ".join(reason.text for reason in reasons)
    assert "probability of APL" not in said
    assert "cannot tell APL from other acute leukaemia" in said


def test_the_limit_and_what_was_seen_are_said_first() -> None:
    _, reasons = decide(RULE, *reduced(20, 20, 200, "differential"), [])
    assert reasons[0].code == "flag"
    assert reasons[0].text == (
        "20 of 200 cells are promyelocytes: 10.0 % (6.6 % to 14.9 %), the limit is 5 %"
    )
    assert "share of immature granulocytes" in reasons[1].text


def test_a_model_that_is_not_trusted_says_that_the_limit_is_passed() -> None:
    doubt = Finding("domain", "unlike", Effect.UNTRUSTED)
    answer, reasons = decide(RULE, *reduced(20, 20, 200, "differential"), [doubt])
    assert answer is Decision.REVIEW
    assert reasons[0].code == "would_flag"
    assert "promyelocytes" in reasons[0].text


def test_cells_left_out_on_purpose_pass_no_limit_of_one_role() -> None:
    answer, _ = reduced(20, 20, 200, "differential")
    tally = Tally(300, scored=200, not_needed=100)
    assert decide(RULE, answer, tally, [])[0] is Decision.REVIEW


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 300))
def test_no_counts_whatever_give_clear(immature: int, promyelocytes: int, cells: int) -> None:
    low = min(immature, cells)
    counts = reduced(low, min(promyelocytes, low), cells, "differential")
    assert decide(RULE, *counts, [])[0] is not Decision.CLEAR


def test_the_same_counts_are_cleared_where_apl_was_asked_for() -> None:
    """Else the tests above would pass without the guard."""
    rule = RULE.model_copy(update={"role_limits": {}})
    assert decide(rule, *reduced(0, 0, 200, "apl"), [])[0] is Decision.CLEAR


def test_words_follow_what_was_asked() -> None:
    asked = ["flag", COUNTS_KINDS]
    assert question_of(asked) is IMMATURE
    assert headline("FLAG", asked) == "immature granulocytes beyond the limit"
    assert headline("FLAG", ["flag"]) == "APL suspected"
    assert "haematologist" in advice("FLAG", asked)
    assert advice("REVIEW", asked) == advice("REVIEW", [])
    alarm = Alarm("r", "s", "slide", "2026", 0.4, demonstration=False, codes=tuple(asked))
    assert (alarm.says, alarm.of_apl) == (IMMATURE.flag, False)
    kept = latch(Decision.FLAG, Decision.REVIEW, (Reason(COUNTS_KINDS, "x"),))
    assert kept[0] is Decision.FLAG
    assert [name for name, question in QUESTIONS.items() if question.clears] == ["apl", "subtype"]
    assert APL.clears


def counting(**changes: Any) -> dict[str, Any]:
    """Settings of a small bundle that counts kinds."""
    vote = {"flag_at": 0.2, "clear_below": 0.2, "suspicious_share": 0.2}
    base = {
        "answers": "differential",
        "reducer": {"kind": "vote"},
        "features": None,
        "networks": {"cells": {"file": "cells.onnx", "input": "cells"}},
        "rule": {**settings()["rule"], **vote, "role_limits": {"promyelocyte": 0.05}},
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def test_the_manifest_keeps_limits_and_members(tmp_path: Path) -> None:
    roles = [dict(role) for role in settings()["roles"]]
    roles[0]["members"] = ["auer_rod"]
    made = small_bundle(tmp_path / "b", **counting(roles=roles))
    manifest = open_bundle(made.folder).manifest
    assert manifest.rule.role_limits == {"promyelocyte": 0.05}
    assert manifest.roles[0].members == ("auer_rod",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"reducer": settings()["reducer"], "networks": settings()["networks"]},
            "needs the reducer 'vote'",
        ),
        ({"answers": "apl"}, "role_limits need answers 'differential'"),
        ({"rule": {**counting()["rule"], "role_limits": {"myeloblast": 0.1}}}, "no suspicious"),
        ({"rule": {**counting()["rule"], "role_limits": {"neuron": 0.1}}}, "no suspicious"),
        (
            {"roles": [{**settings()["roles"][0], "members": ["neuron"]}]},
            "must be other roles",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        small_bundle(tmp_path / "b", **counting(**changes))


def test_a_cell_is_called_after_the_closest_role() -> None:
    """A sum is never below its parts, and would give its name to every cell."""
    drawn = examined(0, ["other"] * 4)
    group, part = ROLES[0], ROLES[2]
    values = {name: np.zeros(4, np.float32) for name in ROLES}
    values[group][:], values[part][:] = 0.95, 0.9
    frame = replace(drawn, roles=values)
    plain = context(suspicious_roles=ROLES)
    assert {k.role for k in cell_kinds(frame, plain, role_kinds(plain)) if k.scored} == {group}
    grouped = context(suspicious_roles=ROLES, group_roles=frozenset({group}))
    assert {k.role for k in cell_kinds(frame, grouped, role_kinds(grouped)) if k.scored} == {part}


def test_the_first_cells_of_every_kind_are_kept_where_kinds_are_counted() -> None:
    for by_kind in (False, True):
        setting = context(by_kind=by_kind)
        gallery = Gallery(setting)
        for _ in range(MOST_OF_KIND + 3):
            frame = examined(0, ["promyelocyte", "myeloblast", "other"])
            gallery.add_cells(frame, cell_kinds(frame, setting, role_kinds(setting)))
        assert bool(gallery.of_kind) == by_kind
        assert all(len(kept) <= MOST_OF_KIND for kept in gallery.of_kind.values())
