"""The identity of this machine, and its processor."""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.digest import sha256

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""CPU features that decide how fast, and how exactly, eight-bit networks run."""

IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""Where systemd and D-Bus keep the id that an installation was given."""


@dataclass(frozen=True, slots=True)
class Device:
    """What runs engines. capability : of a GPU, or the CPU's features that matter."""

    name: str
    capability: str


def cache_base() -> Path:
    """Return the folder of this user's caches: ``$XDG_CACHE_HOME``, else ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path.home() / ".cache"


def machine_id() -> str:
    """Return a stable id of this machine, SHA-256 (hex), that reveals nothing else."""
    for file in IDS:
        try:
            text = file.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text:
            return sha256(f"edgeapl {text}".encode())
    return sha256(f"edgeapl {_own_id()}".encode())


def _own_id() -> str:
    """Return an id of our own where the system has none, as in most containers.

    There the name, and the number of a network card, change with every start. The id is kept where
    engines are kept, so it lasts as long as they do; each processor has another one.
    """
    file = cache_base() / "edgeapl" / "machine-id"
    processor = f"{platform.machine()} {cpu().name}"
    try:
        return f"{file.read_text(encoding='ascii').strip()} {processor}"
    except (OSError, UnicodeDecodeError):
        pass
    made = uuid.uuid4().hex
    new = file.with_name(f".machine-id-{made}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(f"{made}\n", encoding="ascii")
        try:
            os.link(new, file)  # whole, or not at all; of two processes one is the first
        except FileExistsError:
            made = file.read_text(encoding="ascii", errors="replace").strip()
        finally:
            new.unlink()
    except OSError:  # then no engines are kept either
        return f"{uuid.getnode()} {platform.node()} {processor}"
    return f"{made} {processor}"


def cpu() -> Device:
    """Describe this machine's CPU."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass  # not Linux: the name alone must do
    has = set((facts.get("flags") or facts.get("Features") or "").split())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return Device(name, " ".join(flag for flag in FLAGS if flag in has))
