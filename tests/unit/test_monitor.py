"""A station over weeks: charts that notice drift and little else, and what people said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.cli.main import run
from edgeapl.errors import InputError
from edgeapl.journal import AMENDMENT, Journal, Opinion, SignOff, append_sign_off, find_record
from edgeapl.monitoring.control import distance_chart, ewma, normal_scores, value_chart
from edgeapl.monitoring.monitor import monitor, monitor_document
from edgeapl.monitoring.page import monitor_page
from edgeapl.types import Decision, Look, Origin, Reason, Verdict
from edgeapl.wording.questions import COUNTS_KINDS
from tests.faults.journal_worker import make_verdict

START = datetime(2026, 1, 5, tzinfo=timezone.utc)
LIMIT = 2.5


def verdict(number: int, rng: np.random.Generator, shift: float = 0.0, **changes: Any) -> Verdict:
    """Give a slide of which size (log µm²) and distance are moved by so many deviations."""
    size = float(4.5 + 0.05 * (rng.normal() + shift))
    look = Look({"size": (size,)}, {"size": (abs(rng.normal() + shift) * LIMIT / 2.81, LIMIT)})
    given: dict[str, Any] = {
        "slide": f"s{number}",
        "decision": Decision.REVIEW,
        "probability": float(rng.beta(1, 9)),
        "interval": None,
        "look": look,
        "origin": Origin("ours", "1.0"),
        **changes,
    }
    return replace(make_verdict(1), **given)


def fill(
    path: Path, slides: int, make: Callable[[int, np.random.Generator], Verdict], seed: int = 0
) -> list[str]:
    """Commit a slide every eight hours."""
    rng = np.random.default_rng(seed)
    clock = [START]
    rows = []
    with Journal.open(path, now=lambda: clock[0]) as journal:
        for number in range(slides):
            rows.append(journal.commit(make(number, rng)))
            clock[0] += timedelta(hours=8)
    return rows


def test_a_station_that_does_not_drift_raises_no_alarm(tmp_path: Path) -> None:
    fill(tmp_path / "j.db", 120, verdict)
    found = monitor(tmp_path / "j.db")
    assert not found.alarms
    assert [drift.chart.name for drift in found.drifts] == [
        "the size of the cells: distance",
        "size of cells",
        "probability of APL",
    ]


def test_shares_of_a_bundle_that_counts_kinds_are_no_probability_of_apl(tmp_path: Path) -> None:
    why = (Reason(COUNTS_KINDS, "counts"),)
    fill(tmp_path / "j.db", 40, lambda n, rng: verdict(n, rng, reasons=why))
    names = [drift.chart.name for drift in monitor(tmp_path / "j.db").drifts]
    assert names[-1] == "share of immature granulocytes"


def test_cells_that_grow_are_noticed_with_day_and_record(tmp_path: Path) -> None:
    fill(tmp_path / "j.db", 120, lambda n, rng: verdict(n, rng, 2.0 if n >= 80 else 0.0))
    found = monitor(tmp_path / "j.db")
    (distance, size) = found.alarms
    assert "the size of the cells: distance has drifted above what the bundle was made for" in (
        distance
    )
    assert "size of cells has drifted above the first 30 slides here" in size
    chart = found.drifts[1].chart
    assert 80 <= chart.alarms[0] <= 95
    day = START + timedelta(hours=8 * chart.alarms[0])
    assert f"{day:%Y-%m-%d}" in size
    assert f"record {chart.alarms[0] + 1}" in size


def test_scores_that_fall_are_noticed(tmp_path: Path) -> None:
    def make(number: int, rng: np.random.Generator) -> Verdict:
        made = verdict(number, rng)
        assert made.probability is not None
        return replace(made, probability=made.probability / (5 if number > 70 else 1))

    fill(tmp_path / "j.db", 120, make)
    assert any("probability of APL has drifted below" in one for one in monitor_alarms(tmp_path))


def monitor_alarms(folder: Path) -> list[str]:
    return list(monitor(folder / "j.db").alarms)


def test_charts_without_drift_seldom_alarm_and_with_drift_soon() -> None:
    rng = np.random.default_rng(0)
    runs = 200
    quiet = late = 0
    for _ in range(runs):
        still = np.abs(rng.normal(size=100)) * LIMIT / 2.81
        quiet += not distance_chart("d", [(d, LIMIT) for d in still], 1).alarms
        values = np.concatenate([rng.normal(size=60), rng.normal(size=30) + 2])
        chart = value_chart("v", "", values.tolist())
        assert chart is not None
        late += not any(60 <= place < 80 for place in chart.alarms)
    assert quiet >= 0.9 * runs
    assert late <= 0.1 * runs


def test_ties_and_few_slides_are_no_drift() -> None:
    chart = value_chart("v", "", [0.0] * 100)
    assert chart is not None
    assert not chart.alarms
    assert value_chart("v", "", [1.0] * 39) is None
    assert normal_scores(np.array([1.0]), np.array([1.0, 1.0])).tolist() == [0.0]
    assert ewma(np.array([1.0, 1.0])).tolist() == pytest.approx([0.2, 0.36])


def test_verdicts_are_counted_by_week_with_intervals(tmp_path: Path) -> None:
    def make(number: int, rng: np.random.Generator) -> Verdict:
        decision = Decision.FLAG if number % 3 == 0 else Decision.REVIEW
        return verdict(number, rng, decision=decision)

    fill(tmp_path / "j.db", 42, make)
    document = monitor_document(monitor(tmp_path / "j.db"))
    assert (document["period"], len(document["periods"])) == ("week", 2)
    (first, second) = document["periods"]
    assert (first["first_day"], second["first_day"]) == ("2026-01-05", "2026-01-12")
    assert first["verdicts"]["FLAG"]["count"] == 7
    low, high = first["verdicts"]["FLAG"]["interval"]
    assert low < 7 / 21 < high
    assert json.dumps(document, allow_nan=False)


def test_what_people_said_is_counted_by_the_last_word(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    rows = fill(path, 6, verdict)
    with Journal.open(path) as journal:
        for row, said in (
            (rows[0], SignOff(Opinion.OVERRULE, "AB", "blasts", "APL")),
            (rows[0], SignOff(Opinion.CONFIRM, "AB")),
            (rows[1], SignOff(Opinion.OVERRULE, "AB", "blasts", "APL")),
            (rows[2], SignOff(Opinion.REPEAT, "CD", "blurred")),
        ):
            append_sign_off(journal, find_record(path, row), said)
        cell = {"slide": "s3", "record": rows[3], "cell": 4, "label": "lymphocyte"}
        scores = {"promyelocyte": 0.9, "myeloblast": 0.2}
        journal.append_event(AMENDMENT, {**cell, "scores": scores, "person": "AB"})
    people = monitor(path).people
    review = people["verdicts"]["REVIEW"]
    counted = [review[key] for key in ("signed", "confirmed", "overruled", "repeat")]
    assert counted == [3, 1, 1, 1]
    assert review["instead"] == {"APL": 1}
    assert people["agreement"]["value"] == pytest.approx(1 / 3)
    assert people["cells"] == [{"machine": "promyelocyte", "person": "lymphocyte", "cells": 1}]


def test_records_of_older_versions_are_counted_and_not_charted(tmp_path: Path) -> None:
    fill(tmp_path / "j.db", 10, lambda n, rng: verdict(n, rng, look=None, origin=Origin()))
    found = monitor(tmp_path / "j.db")
    assert (len(found.slides), found.drifts) == (10, [])
    assert "nothing could be charted" in monitor_page(found)


def test_demonstrations_are_no_patients(tmp_path: Path) -> None:
    drawn = Origin("apl-demo", "1.0", demonstration=True)
    fill(tmp_path / "j.db", 3, lambda n, rng: verdict(n, rng, origin=drawn))
    with pytest.raises(InputError, match="no closed patient's slide"):
        monitor(tmp_path / "j.db")
    assert len(monitor(tmp_path / "j.db", demonstrations=True).slides) == 3


def test_the_page_stands_alone_and_escapes_what_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    odd = Origin("<script>alert(1)</script>", "1")
    rows = fill(path, 60, lambda n, rng: verdict(n, rng, 2.0 if n > 40 else 0.0, origin=odd))
    with Journal.open(path) as journal:
        said = SignOff(Opinion.OVERRULE, "AB", "x", "<b>APL</b>")
        append_sign_off(journal, find_record(path, rows[0]), said)
    page = monitor_page(monitor(path))
    assert "Research use only. Not for diagnosis." in page
    assert "<script" not in page
    assert "<b>APL" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 4


def test_the_command_writes_page_and_json_and_can_fail_on_alarms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "j.db", 90, lambda n, rng: verdict(n, rng, 2.5 if n > 60 else 0.0))
    page = tmp_path / "page.html"
    arguments = ["monitor", str(tmp_path / "j.db"), "--out", str(page)]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["slides"] == 90
    assert document["alarms"]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run([*arguments, "--fail-on-alarm"]) == 10
    assert "alarm: " in capsys.readouterr().out
