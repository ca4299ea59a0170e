"""The station's numbers in the text that Prometheus reads."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra: page")

from edgeapl.errors import ConfigError
from edgeapl.web.metrics import metrics_text


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [
        ("frames_total", 7, ["# TYPE edgeapl_frames_total counter", "edgeapl_frames_total 7.0"]),
        ("edgeapl_focus", 1.5, ["# TYPE edgeapl_focus gauge", "edgeapl_focus 1.5"]),
        ("live", True, ["edgeapl_live 1.0"]),
        ("age_s", math.nan, ["edgeapl_age_s NaN"]),
        (
            "cells_total",
            {"scored": 5, 'a"b': 2},
            ['edgeapl_cells_total{kind="scored"} 5.0', 'edgeapl_cells_total{kind="a\\"b"} 2.0'],
        ),
    ],
)
def test_counters_and_gauges_are_written(name: str, value: Any, lines: list[str]) -> None:
    text = metrics_text({name: value}).decode("utf-8")
    assert set(lines) <= set(text.splitlines())


def test_what_is_not_known_is_left_out() -> None:
    assert metrics_text({"focus": None, "cells": {}, "age": {"a": None}}) == b""


@pytest.mark.parametrize("values", [{"a b": 1}, {"": 1}, {"a\n": 1}, {"a": "x"}, {"a": {"b": "x"}}])
def test_what_cannot_be_written_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="of a metric is"):
        metrics_text(values)
