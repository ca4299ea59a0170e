"""Where a network learns: processor or GPU, and in which numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from edgeapl.errors import EngineError, UsageError

CPUINFO = Path("/proc/cpuinfo")
BF16 = frozenset({"amx_bf16", "avx512_bf16"})
"""Instructions that multiply it, as Linux names them; one of them is enough."""

Precision = Literal["auto", "float32", "bf16"]


@dataclass(frozen=True, slots=True)
class Device:
    """Where it runs.

    kind : ``cpu`` or ``cuda``. half : multiplications in bfloat16, sums and weights in float32.
    threads : of the processor. With one, the same seed gives the same weights.
    """

    kind: str = "cpu"
    half: bool = False
    threads: int = 1

    @property
    def text(self) -> str:
        """What it is, in words."""
        where = "one thread" if self.threads == 1 else f"{self.threads} threads"
        where = where if self.kind == "cpu" else "GPU"
        return f"{where}, {'bf16' if self.half else 'float32'}"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use its threads and its numbers inside, and leave all as it was.

        Running out of memory raises EngineError.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.random.fork_rng(devices=[]):
                yield
        except (MemoryError, RuntimeError) as error:
            if not _is_memory(error):
                raise
            mend = "give a smaller --bag or --batch, or close other programs"
            raise EngineError("out of memory", self.kind, mend) from error
        finally:
            torch.set_num_threads(before)

    def autocast(self) -> torch.autocast:
        """Return the context in which a network is run."""
        return torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.half)


def choose_device(kind: str, precision: Precision, threads: int, cpuinfo: Path = CPUINFO) -> Device:
    """Return where to run.

    Parameters
    ----------
    precision : ``auto`` takes bf16 where the device multiplies it: a GPU that does, a processor
        with AMX or AVX-512. cpuinfo : where Linux says what the processor can do.

    Raises UsageError when there is no such device.
    """
    if kind not in ("cpu", "cuda"):
        raise UsageError("no such device", kind, "give --device cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        mend = "give --device cpu, or install torch for CUDA and a driver"
        raise UsageError("no GPU that torch can use", kind, mend)
    able = torch.cuda.is_bf16_supported() if kind == "cuda" else _multiplies_bf16(cpuinfo)
    half = precision == "bf16" or (precision == "auto" and able)
    return Device(kind, half, threads)


def _multiplies_bf16(cpuinfo: Path) -> bool:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return False
    flags = (line for line in text.splitlines() if line.startswith("flags"))
    return not BF16.isdisjoint(next(flags, "").split())


def _is_memory(error: BaseException) -> bool:
    words = str(error)
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(sign in words for sign in signs)
