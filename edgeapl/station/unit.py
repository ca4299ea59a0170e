"""The systemd unit that keeps a station running, and what must be in it."""

from __future__ import annotations

import sys
from pathlib import Path

INSTALLED = Path("/etc/systemd/system/edgeapl.service")

WATCHDOG_S = 20
"""Without a sign of life for so long systemd starts the station anew; it gives one every 7 s."""

_UNIT = """\
# EdgeAPL station. Research use only. Written by: edgeapl doctor --unit {camera}
[Unit]
Description=EdgeAPL station at {camera} (research use only)
After=network.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} watch {camera} --page --station /etc/edgeapl/edgeapl.toml \
--journal %S/edgeapl/journal.sqlite3 --out %S/edgeapl/results
DynamicUser=yes
StateDirectory=edgeapl
CacheDirectory=edgeapl
Environment=HOME=%S/edgeapl XDG_CACHE_HOME=%C
WorkingDirectory=%S/edgeapl
SupplementaryGroups=video plugdev
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
DeviceAllow=char-nvidia* rw
UMask=0077

[Install]
WantedBy=multi-user.target
"""

_ESSENTIAL = ("Type=", "WatchdogSec=", "Restart=", "NoNewPrivileges=", "ProtectSystem=", "UMask=")


def unit_text(camera: str, command: Path | None = None) -> str:
    """Give the unit for a camera of the station file.

    command : the program; by default the one that runs now.
    """
    command = command or Path(sys.argv[0]).resolve()
    return _UNIT.format(camera=camera, command=command, watchdog_s=WATCHDOG_S)


def missing_from(text: str) -> tuple[str, ...]:
    """Give the settings that a unit needs for its watchdog and its hardening and does not have."""
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line for line in _UNIT.splitlines() if line.startswith(_ESSENTIAL)]
    return tuple(
        line.format(watchdog_s=WATCHDOG_S)
        for line in wanted
        if not any(have.startswith(line.partition("=")[0] + "=") for have in lines)
    )
