"""Energy meters, where the machine has them: RAPL, NVML, tegrastats; else why there are none."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeapl.process.exit import STUCK_S, wait_for_killed

POWERCAP = Path("/sys/class/powercap")

TERMINATED_S = 2.0
"""How long a program that was told to end may take."""

_NVML = "libnvidia-ml.so.1"

_VDD_IN = re.compile(r"\b(?:VDD_IN|POM_5V_IN)\s+(\d+)(?:mW)?/")
"""Power of the whole module, mW, in a line of tegrastats (Jetson Linux Developer Guide)."""


class Meter(Protocol):
    """Measures energy."""

    @property
    def name(self) -> str:
        """What it measures."""

    def joules(self) -> float:
        """Return the energy since it was created."""

    def close(self) -> None:
        """Stop measuring."""


@dataclass(frozen=True, slots=True)
class Meters:
    """The meters of this machine, and why others are missing."""

    found: tuple[Meter, ...]
    absent: Mapping[str, str]

    def close(self) -> None:
        """Close all meters."""
        for meter in self.found:
            meter.close()


class RaplMeter:
    """A CPU package: a counter of µJ that wraps around at its largest value.

    It must be read more often than it wraps, about once an hour at 60 W.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"RAPL {(folder / 'name').read_text(encoding='ascii').strip()}"
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
        self._last = self._read()
        self._used = 0

    def joules(self) -> float:
        """Return the energy since it was created."""
        now = self._read()
        self._used += (now - self._last) % (self._range + 1)
        self._last = now
        return self._used / 1e6

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read(self) -> int:
        return int(self._counter.read_text(encoding="ascii"))


class NvmlMeter:
    """One NVIDIA GPU: total energy in mJ since its driver was loaded."""

    def __init__(self, library: ctypes.CDLL, index: int) -> None:
        self.name = f"NVML GPU {index}"
        self._library = library
        self._device = ctypes.c_void_p()
        _checked(library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(self._device)))
        self._first = self._read()

    def joules(self) -> float:
        """Return the energy since it was created."""
        return (self._read() - self._first) / 1e3

    def close(self) -> None:
        """Release the library, which counts its users."""
        self._library.nvmlShutdown()

    def _read(self) -> int:
        used = ctypes.c_ulonglong()
        _checked(
            self._library.nvmlDeviceGetTotalEnergyConsumption(self._device, ctypes.byref(used))
        )
        return int(used.value)


class TegraMeter:
    """A Jetson module: the sum of its power, reported five times a second. It is not exact."""

    name = "tegrastats VDD_IN"

    def __init__(self, command: str, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._joules = 0.0
        self._last = now()
        self._process = subprocess.Popen(  # noqa: S603 - found on the PATH by its own name
            [command, "--interval", "200"], stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._listen, name="edgeapl-power", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """Return the energy since it was created."""
        return self._joules

    def close(self) -> None:
        """Stop tegrastats; one that does not listen is killed, one that a driver holds is left."""
        self._process.terminate()
        try:
            self._process.wait(TERMINATED_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            wait_for_killed(self._process)
        self._thread.join(STUCK_S)
        # Still read from only if it is held, or if a child of its own holds the pipe.
        if self._process.stdout is not None and not self._thread.is_alive():
            self._process.stdout.close()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            watts = watts_of(line)
            now = self._now()
            if watts is not None:
                self._joules += watts * (now - self._last)
            self._last = now


def watts_of(line: str) -> float | None:
    """Return the power of the module in a line of tegrastats; None if it has none."""
    found = _VDD_IN.search(line)
    return None if found is None else int(found[1]) / 1000


def find_meters(powercap: Path = POWERCAP) -> Meters:
    """Find this machine's energy meters. Unreadable ones are listed with the reason."""
    absent: dict[str, str] = {}
    found: list[Meter] = [*_rapl(powercap, absent), *_nvml(absent)]
    command = shutil.which("tegrastats")
    if command is None:
        absent["tegrastats"] = "not a Jetson"
    else:
        found.append(TegraMeter(command))
    return Meters(tuple(found), absent)


def _rapl(powercap: Path, absent: dict[str, str]) -> list[Meter]:
    meters: list[Meter] = []
    # intel-rapl:0 is a package (AMD's too); intel-rapl:0:1 a part of it, already in its sum.
    folders = sorted(powercap.glob("intel-rapl:*"))
    for folder in (folder for folder in folders if folder.name.count(":") == 1):
        try:
            meters.append(RaplMeter(folder))
        except OSError as error:
            absent["RAPL"] = f"{error.strerror}: since 2020 only root may read it"
    if not meters and "RAPL" not in absent:
        absent["RAPL"] = "this processor or virtual machine does not tell"
    return meters


def _nvml(absent: dict[str, str]) -> list[Meter]:
    try:
        library = ctypes.CDLL(_NVML)
        _checked(library.nvmlInit_v2())
    except OSError:
        absent["NVML"] = "no NVIDIA driver"
        return []
    try:
        return [NvmlMeter(library, 0)]
    except OSError as error:
        library.nvmlShutdown()
        absent["NVML"] = f"the GPU does not tell ({error})"
        return []


def _checked(code: int) -> None:
    if code:
        raise OSError(f"NVML error {code}")
