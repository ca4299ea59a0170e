"""The job for Slurm is what a shell takes, and starts what `score --cluster` needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from edgeapl.cli.main import run

FAKE = """#!/bin/bash
# srun and dask and edgeapl: note how they are called; the scheduler says where it is.
echo "$(basename "$0") $*" >>"$CALLS"
case $(basename "$0") in
  srun) shift 2; exec "$@" ;;
  dask) [ "$1" != scheduler ] || echo '{}' >"${@: -1}"; sleep 30 ;;
esac
"""


def test_the_job_runs_scheduler_workers_and_score_and_ends_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["my slides", "--out", "results"]
    assert run(["cluster", "slurm", "--workers", "3", "--cpus", "2", *arguments]) == 0
    job = tmp_path / "job.sh"
    job.write_text(capsys.readouterr().out, encoding="utf-8")
    assert "#SBATCH --ntasks=4\n#SBATCH --cpus-per-task=2\n" in job.read_text(encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("srun", "dask", "edgeapl"):
        (programs / name).write_text(FAKE, encoding="utf-8")
        (programs / name).chmod(0o755)
    text = job.read_text(encoding="utf-8").replace("export PATH=", f"export PATH={programs}:")
    job.write_text(text, encoding="utf-8")
    calls = tmp_path / "calls"
    environment = {**os.environ, "CALLS": str(calls), "SLURM_SUBMIT_DIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", job], env={**environment, "SLURM_JOB_ID": "7"}, check=False, timeout=60
    )
    assert done.returncode == 0
    noted = calls.read_text(encoding="utf-8")
    where = tmp_path / "edgeapl-7.json"
    assert f"dask scheduler --port 0 --scheduler-file {where}" in noted
    assert "srun --ntasks=3 --exact dask worker" in noted
    assert f"edgeapl score my slides --out results --cluster file:{where}" in noted
    assert not where.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to score"),
        (["slides", "--cluster", "local:2"], "names its own cluster"),
        (["--time", "soon", "slides"], "time limit is not understood"),
    ],
)
def test_a_job_that_could_not_run_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cluster", "slurm", *arguments]) == 2
    assert said in capsys.readouterr().err
