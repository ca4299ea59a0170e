"""How fast a GPU may run: power mode and clocks, where a machine reports them.

A Jetson in its 15 W mode, or with clocks that rise only under load, gives times that hold for
nothing else. Nothing is changed here, and what cannot be read is left out.
"""

from __future__ import annotations

from pathlib import Path

MODEL = "proc/device-tree/model"
POWER_MODE = "var/lib/nvpmodel/status"
"""Where nvpmodel of a Jetson writes the mode that is set, e.g. ``pmode:0002``."""

DEVFREQ = "sys/class/devfreq"
GOVERNED = ("governor", "cur_freq", "min_freq", "max_freq")
GPUS = ("gpu", "gv11b", "ga10b", "gp10b", "17000000")
"""What the GPUs of Jetsons have in their names there."""


def clocks(root: Path = Path("/")) -> dict[str, str]:
    """Return the known clocks by name; empty on a machine that reports none.

    root : of the file system, for tests. ``jetson_clocks`` is on where a GPU's lowest frequency is
    its highest.
    """
    found = {}
    for name, file in (("machine", MODEL), ("power mode", POWER_MODE)):
        text = _read(root / file)
        if text:
            found[name] = text
    folder = root / DEVFREQ
    for device in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not any(word in device.name for word in GPUS):
            continue
        values = {name: _read(device / name) for name in GOVERNED}
        found |= {f"{device.name} {name}": text for name, text in values.items() if text}
        if values["min_freq"] and values["max_freq"]:
            locked = values["min_freq"] == values["max_freq"]
            found["jetson_clocks"] = "on" if locked else "off"
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""
