"""Tell this machine from others, and what it computes on."""

from __future__ import annotations

import platform
import uuid
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.digest import sha256

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""CPU features that decide how fast, and how exactly, eight-bit networks run."""


@dataclass(frozen=True, slots=True)
class Device:
    """What runs engines. capability : of a GPU, or the CPU's features that matter."""

    name: str
    capability: str


def machine_id() -> str:
    """Give a stable id of this machine, SHA-256 (hex), from which nothing else can be told."""
    for file in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        try:
            text = file.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text:
            return sha256(f"edgeapl {text}".encode())
    return sha256(f"edgeapl {uuid.getnode()} {platform.node()}".encode())


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
