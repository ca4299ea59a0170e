"""Run a probe in a process of its own, whose environment holds libraries that ours must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from edgeapl.errors import EngineError

ROOT = Path(__file__).parent.parent
PATIENCE_S = 120
"""Far more than a probe takes: one that hangs is to fail, not to hang the tests."""


def environment(*packages: Path, **more: str) -> dict[str, str]:
    """Give the environment of a process that finds these packages and this source."""
    paths = os.pathsep.join(map(str, (*packages, ROOT)))
    return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **more}


def probe(
    module: str, variables: dict[str, str], *arguments: str, silent: bool = False
) -> dict[str, Any]:
    """Run a module and give the JSON document that it prints; `silent`: it says nothing else."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert not (silent and answer.stderr), answer.stderr[-2000:]
    return cast("dict[str, Any]", json.loads(answer.stdout))


def said(work: Callable[[], object]) -> str:
    """Give the one line with which our code refuses."""
    try:
        work()
    except EngineError as error:
        return str(error)
    return "no error"
