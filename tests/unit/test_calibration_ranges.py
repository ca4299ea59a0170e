"""`ranges.json` says what was measured, and nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeapl.calibration.document import read_set
from edgeapl.calibration.ranges import MeasuredRanges, ranges_json, read_ranges
from edgeapl.errors import BundleError

MEASURED = MeasuredRanges(
    method="percentile",
    percentile=99.99,
    images=32,
    networks={"cells": {"b": (-0.1, 1 / 3), "a": (0.0, 6.0)}},
    digests={"cells": "ab" * 32},
    kept={"head": "no convolution"},
)


def test_what_is_written_is_read_to_the_last_bit() -> None:
    assert read_ranges(ranges_json(MEASURED)) == MEASURED


def test_the_same_ranges_give_the_same_bytes_in_any_order() -> None:
    tensors = dict(reversed(list(MEASURED.networks["cells"].items())))
    other = MeasuredRanges(
        "percentile", 99.99, 32, {"cells": tensors}, MEASURED.digests, MEASURED.kept
    )
    assert ranges_json(other) == ranges_json(MEASURED)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("schema",), 2),
        (("method",), "entropy"),
        (("percentile",), 0.5),
        (("surplus",), 1),
        (("networks", "cells", "digest"), "short"),
        (("networks", "cells", "tensors", "a"), [2.0, 1.0]),
        (("networks", "cells", "tensors", "a"), [0.0]),
        (("networks", "cells", "tensors", "a"), [0.0, float("nan")]),
        (("networks", "cells", "tensors", "a"), [0.0, float("inf")]),
    ],
)
def test_anything_else_is_refused_in_one_line(where: tuple[str, ...], value: Any) -> None:
    document = json.loads(ranges_json(MEASURED))
    place = document
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(BundleError, match="run edgeapl calibrate again") as caught:
        read_ranges(json.dumps(document).encode())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff"])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        read_ranges(data)


def test_ranges_of_another_file_are_not_used() -> None:
    assert MEASURED.of("cells", "ab" * 32) == MEASURED.networks["cells"]
    assert MEASURED.of("head", "ab" * 32) is None
    with pytest.raises(BundleError, match="another network"):
        MEASURED.of("cells", "cd" * 32)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema": 2}', b"\xff", b'{"schema": 1}'])
def test_what_is_no_calibration_set_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="run edgeapl calibrate again"):
        read_set(data)
