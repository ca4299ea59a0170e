"""Fixtures for breaking things from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

Worker = Callable[..., list[str]]


@pytest.fixture(scope="session")
def journal_worker() -> Worker:
    """Run tests.faults.journal_worker and give the lines it printed.

    before : words of another command to run it under.
    """

    def run(*arguments: object, before: tuple[str, ...] = (), fine: bool = True) -> list[str]:
        command = [sys.executable, "-m", "tests.faults.journal_worker", *map(str, arguments)]
        done = subprocess.run(
            [*before, *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if fine else subprocess.DEVNULL,
            text=True,
            timeout=60,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
        if fine and (done.returncode or done.stderr):
            pytest.fail(f"worker ended with {done.returncode}: {done.stderr}")
        return done.stdout.splitlines()

    return run


@pytest.fixture(scope="session")
def strace() -> str:
    """The program strace, if it may trace here."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([program, "-o", os.devnull, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("strace may not trace here: it needs the right to use ptrace")
    return program


@pytest.fixture(scope="session")
def own_mounts() -> str:
    """The program unshare, if a process may have mounts of its own here."""
    program = shutil.which("unshare")
    if program is None:
        pytest.skip("unshare is not installed")
    trial = [program, "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here: it needs user namespaces")
    return program
