"""The station's counters and gauges in the text that Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgeapl.errors import ConfigError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "edgeapl_"

_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)


def metrics_text(values: Mapping[str, Any]) -> bytes:
    """Write values by name; a name that ends in ``_total`` is a counter, any other a gauge.

    A value is a number, or a mapping from words to numbers (``{"scored": 5}``) whose words become
    the label ``kind``. None is left out; NaN stays NaN.

    Raises ConfigError for a name or a value that cannot be written.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Values(values))
    return bytes(generate_latest(registry))


class _Values(Collector):
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for name, value in self._values.items():
            labelled = isinstance(value, Mapping)
            parts = value if isinstance(value, Mapping) else {"": value}
            metric = _family(name, ["kind"] if labelled else [])
            for kind, part in parts.items():
                if part is not None:
                    metric.add_metric([str(kind)] if labelled else [], _number(name, part))
            if metric.samples:
                yield metric


def _family(name: str, labels: list[str]) -> CounterMetricFamily | GaugeMetricFamily:
    if _NAME.fullmatch(name) is None:
        raise ConfigError("name of a metric is wrong", name, "use a-z, 0-9 and _")
    bare = name.removeprefix(PREFIX)
    text = bare.removesuffix("_total").replace("_", " ")
    kind = CounterMetricFamily if bare.endswith("_total") else GaugeMetricFamily
    return kind(PREFIX + bare, text, labels=labels)


def _number(name: str, value: object) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise ConfigError("value of a metric is not a number", name, "give a number or leave it out")
