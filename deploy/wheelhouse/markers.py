"""Print those entries of a lock that a platform needs, without their markers.

pip reads markers as those of the machine that downloads, not of the one that is downloaded for.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from packaging.markers import Marker


def main(lock: str, platform: str, python: str) -> None:
    """Print the entries of `lock` for `platform` (x86_64, aarch64) and `python` (3.10 to 3.13)."""
    station = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": platform,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    for entry in re.split(r"\n(?=\S)", Path(lock).read_text(encoding="utf-8").strip()):
        name, _, rest = entry.partition(" \\\n")
        package, _, marker = name.partition(" ; ")
        if not marker or Marker(marker).evaluate(station):
            sys.stdout.write(f"{package} \\\n{rest}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
