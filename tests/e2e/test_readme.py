"""What the pages tell people to type does what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """The lines of the block that docs/models.md says this test executes."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    found = re.search(
        r"<!-- executed by tests/e2e/test_readme\.py -->\n```sh\n(.*?)```", text, re.S
    )
    assert found is not None
    return found.group(1).strip().splitlines()


def test_every_command_of_bring_your_model_works(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the export extra")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, call in (("python", ""), ("edgeapl", "-m edgeapl ")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}"$@"\n')
        script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    lines = commands()
    assert sum("edgeapl" in line for line in lines) >= 5
    said = ""
    for line in lines:
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        said = done.stdout
    assert (tmp_path / "bundles" / "own" / "export-report.json").is_file()
    assert "area under ROC curve" in said
    assert "1 APL" in said
