"""Tests that need an extra run in a lane of `.ci/run` that installs it, not in none."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LANES = ROOT / ".ci" / "run"

NOT_INSTALLED = ("torch", "onnxscript", "openslide", "distributed", "openvino", "tensorrt_rtx")
"""What the README's test command does not install: a file that needs it is skipped there."""

NEEDS = re.compile(
    rf'^(\w+ = )?pytest\.importorskip\(\s*"({"|".join(NOT_INSTALLED)})"', re.MULTILINE
)


@pytest.mark.skipif(not LANES.is_file(), reason="not in a source distribution")
def test_every_file_that_needs_an_extra_has_a_lane() -> None:
    lanes = re.findall(r"tests/\S+\.py", LANES.read_text(encoding="utf-8"))
    files = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if NEEDS.search(path.read_text(encoding="utf-8"))
    ]
    assert len(files) > 20
    assert not [file for file in files if not any(fnmatch(file, lane) for lane in lanes)]
