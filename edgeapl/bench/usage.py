"""Memory and CPU time of this process and its children, as Linux counts them."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeapl.cores import cpu_cores
from edgeapl.engines.store.clocks import clocks

PROC = Path("/proc")

_PPID, _USER, _SYSTEM = 1, 11, 12
"""Fields of /proc/PID/stat after the name, from 0 (proc(5): fields 4, 14 and 15)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The sum of each process's largest resident memory, and how it was measured."""

    peak_bytes: int
    processes: int
    note: str


class MemoryMeter:
    """Measures from its creation until it is asked. proc : where processes are listed."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._reset = _forget_peaks(proc, family(proc))

    def peak(self) -> Memory:
        """Return the peak since its creation."""
        now = family(self._proc)
        if not now:
            unit = 1 if sys.platform == "darwin" else 1024
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
            return Memory(used, 1, "largest since the program was started, without children")
        text = "" if self._reset else "largest since the program was started"
        return Memory(sum(_peak_bytes(self._proc, pid) for pid in now), len(now), text)


def cpu_seconds(proc: Path = PROC) -> float:
    """Return the CPU seconds of this process and its children so far."""
    pids = family(proc)
    if not pids:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime
    return sum(_cpu_s(proc, pid) for pid in pids)


def family(proc: Path = PROC) -> tuple[int, ...]:
    """Return this process and all its descendants; empty without /proc."""
    parents = {}
    for entry in proc.iterdir() if proc.is_dir() else ():
        if entry.name.isdigit():
            fields = _stat(proc, int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[_PPID])
    own = os.getpid()
    if own not in parents:
        return ()
    found = [own]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return tuple(found)


def busy_seconds(proc: Path = PROC) -> float | None:
    """Return the CPU seconds of all programs of this machine so far; None if unknown.

    From /proc/stat: user, nice, system, irq, softirq and steal, without idle and iowait (proc(5)).
    """
    try:
        first = (proc / "stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return None
    ticks = [int(field) for field in first]
    return (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK")


class OtherLoad:
    """Counts cores that other programs keep busy from now on. now : monotonic clock, ns."""

    def __init__(self, now: Callable[[], int] = time.monotonic_ns, proc: Path = PROC) -> None:
        self._now = now
        self._proc = proc
        self._start_ns = now()
        self._before = busy_seconds(proc)

    def cores(self, own_s: float) -> float | None:
        """Return them, given our own CPU seconds; None if unknown."""
        busy = busy_seconds(self._proc)
        taken_s = (self._now() - self._start_ns) / 1e9
        if busy is None or self._before is None or taken_s <= 0:
            return None
        return max(0.0, (busy - self._before - own_s) / taken_s)


def machine() -> dict[str, object]:
    """Describe this machine, its current load, and the clock limits of a Jetson."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": processor_name(),
        "cores": cpu_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": None if busy is None else round(busy, 2),
        "clocks": clocks(),
    }


def processor_name(cpuinfo: Path = PROC / "cpuinfo") -> str:
    """Return the CPU's name; on a Jetson, which has none, the board's."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        board = Path("/proc/device-tree/model")
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if not names and board.is_file():
            names = [board.read_text(encoding="utf-8", errors="replace").strip("\0 \n")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _stat(proc: Path, pid: int) -> list[str]:
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []  # it has ended meanwhile
    # The name, in brackets, may itself contain brackets and blanks.
    return text.rpartition(")")[2].split()


def _cpu_s(proc: Path, pid: int) -> float:
    fields = _stat(proc, pid)
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / ticks if fields else 0.0


def _peak_bytes(proc: Path, pid: int) -> int:
    try:
        lines = (proc / str(pid) / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0  # it has ended meanwhile
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _forget_peaks(proc: Path, pids: tuple[int, ...]) -> bool:
    """Reset the peaks (proc(5): 5 into clear_refs); False if that is not allowed."""
    try:
        for pid in pids:
            (proc / str(pid) / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True
