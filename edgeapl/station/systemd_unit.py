"""The systemd unit that keeps a station running, and the lines it must have."""

from __future__ import annotations

import grp
import sys
from collections.abc import Iterable
from pathlib import Path

INSTALLED = Path("/etc/systemd/system/edgeapl.service")

WATCHDOG_S = 20
"""systemd restarts a station that is silent for this long; keep-alives come every 7 s."""

START_S = 1800
"""Longest start. Three groups of networks are opened, each within
`edgeapl.engines.hosted.service.OPENING_S`, as a GPU's kernels are compiled the first time; then
comes the self-test, and when engines fail, all of it again with the bundle's own networks."""

DEVICES = ("nvmap", "nvgpu/*", "nvgpu/*/*", "nvhost-*", "host1x-fence", "nvsciipc")
"""A Jetson's GPU in /dev. Some devices belong to no group that could be named, so every one that
exists when the unit is written gets its own line."""

_UNIT = """\
# EdgeAPL station. Research use only. Written by: edgeapl doctor --unit {camera}
[Unit]
Description=EdgeAPL station at {camera} (research use only)
After=network.target modprobe@nvidia_uvm.service
# CUDA needs this module, and a service without new privileges cannot load it.
Wants=modprobe@nvidia_uvm.service

[Service]
Type=notify
NotifyAccess=main
# Creates the GPU's devices; does nothing on machines without one.
ExecStartPre=+/bin/sh -c 'nvidia-modprobe -u -c=0 2>/dev/null || true'
TimeoutStartSec={start_s}
ExecStart={command} watch {camera} --page --station /etc/edgeapl/edgeapl.toml \
--journal %S/edgeapl/journal.sqlite3 --out %S/edgeapl/results
DynamicUser=yes
StateDirectory=edgeapl
CacheDirectory=edgeapl
Environment=HOME=%S/edgeapl XDG_CACHE_HOME=%C
WorkingDirectory=%S/edgeapl
SupplementaryGroups={groups}
Restart=always
RestartSec=2
WatchdogSec={watchdog_s}
# SIGTERM closes the open slide and commits its verdict within 3 s.
KillMode=mixed
TimeoutStopSec=10

# Hardening. No MemoryDenyWriteExecute: runtimes make machine code while they run.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-usb_device rw
# m lets nvidia-modprobe make the devices; the station itself may make none.
DeviceAllow=char-nvidia* rwm
DeviceAllow=char-nvhost* rw
DeviceAllow=char-*.gpu rw
DeviceAllow=char-drm rw
{devices}UMask=0077

[Install]
WantedBy=multi-user.target
"""

_ESSENTIAL = (
    "Type=",
    "TimeoutStartSec=",
    "WatchdogSec=",
    "Restart=",
    "NoNewPrivileges=",
    "ProtectSystem=",
    "UMask=",
)


GROUPS = ("video", "plugdev", "render")
"""Groups that may open cameras and GPUs; systemd refuses units that name a missing group."""


def unit_text(
    camera: str, command: Path | None = None, *, dev: Path = Path("/dev"), groups: str | None = None
) -> str:
    """Return the unit for a camera of the station file.

    Parameters
    ----------
    command : the program; by default the running one.
    dev : folder of this machine's devices. groups : that may open them; by default those of
        `GROUPS` that exist here.
    """
    command = command or Path(sys.argv[0]).resolve()
    return _UNIT.format(
        camera=camera,
        command=command,
        watchdog_s=WATCHDOG_S,
        start_s=START_S,
        groups=" ".join(_known(GROUPS)) if groups is None else groups,
        devices="".join(f"DeviceAllow={path} rw\n" for path in _devices(dev)),
    )


def _devices(dev: Path) -> list[str]:
    """Return the devices of a Jetson's GPU by the names for systemd."""
    found = {path for pattern in DEVICES for path in dev.glob(pattern) if not path.is_dir()}
    return sorted(f"/dev/{path.relative_to(dev)}" for path in found)


def _known(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            grp.getgrnam(name)
        except KeyError:
            continue
        found.append(name)
    return found


def missing_from(text: str) -> tuple[str, ...]:
    """Return the lines for start, watchdog and hardening that a unit lacks."""
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line for line in _UNIT.splitlines() if line.startswith(_ESSENTIAL)]
    return tuple(
        line.format(watchdog_s=WATCHDOG_S, start_s=START_S)
        for line in wanted
        if not any(have.startswith(line.partition("=")[0] + "=") for have in lines)
    )


def hidden_by(text: str, dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the devices of this machine's GPU that a unit hides from the station."""
    return tuple(path for path in _devices(dev) if f"DeviceAllow={path} " not in text)
