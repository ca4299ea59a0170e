"""Take packages to a machine that reaches no index, in parts that each fit a small transfer.

    python -m tests.gpu.wheels pack WHEELS PARTS [--mib 60]   # here: a folder of wheels, cut up
    python -m tests.gpu.wheels unpack PARTS WHEELS            # there, when all parts have come
    python3 -m venv VENV && VENV/bin/pip install --no-index --find-links WHEELS edgeapl[rtx] ...

A list with the digest of every wheel travels with each part: one that is missing, cut off or
changed is named.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgeapl.bundle.digest import sha256_file

LIST = "wheels.json"
MIB = 1 << 20
PIECE = "piece-"


class PartsError(Exception):
    """Parts that do not make the wheels that were packed."""


def pack(wheels: Path, parts: Path, mib: int) -> list[Path]:
    """Cut a folder of wheels into folders of at most so many MiB each, pieces of large ones too."""
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise PartsError(f"no wheels in {wheels}")
    others = sorted(path.name for path in wheels.iterdir() if path.suffix != ".whl")
    if others:
        raise PartsError(
            f"no wheel: {others[0]}: pip download --only-binary :all: gives wheels alone"
        )
    listed = {
        path.name: {"sha256": sha256_file(path), "size": path.stat().st_size} for path in found
    }
    text = json.dumps(listed, indent=1)
    room, made = mib * MIB - len(text), [parts / "part-00"]
    left = room
    made[0].mkdir(parents=True)
    for path in found:
        with path.open("rb") as source:
            number = 0
            while left_of := path.stat().st_size - source.tell():
                if left == 0:
                    made.append(parts / f"part-{len(made):02}")
                    made[-1].mkdir()
                    left = room
                size = min(left, left_of)
                piece = made[-1] / f"{path.name}.{PIECE}{number:04}"
                piece.write_bytes(source.read(size))
                left -= size
                number += 1
    for part in made:
        (part / LIST).write_text(text, encoding="utf-8")
    return made


def unpack(parts: Path, wheels: Path) -> list[Path]:
    """Put wheels together again; raises PartsError when one is not what was packed."""
    lists = sorted(parts.glob(f"*/{LIST}"))
    if not lists:
        raise PartsError(f"no parts in {parts}")
    listed = json.loads(lists[0].read_text(encoding="utf-8"))
    wheels.mkdir(parents=True, exist_ok=True)
    made = []
    for name, about in listed.items():
        target = wheels / name
        with target.open("wb") as new:
            for piece in sorted(parts.glob(f"*/{name}.{PIECE}*"), key=lambda path: path.name):
                new.write(piece.read_bytes())
        if target.stat().st_size != about["size"]:
            raise PartsError(f"{name}: {target.stat().st_size} of {about['size']} bytes are here")
        if sha256_file(target) != about["sha256"]:
            raise PartsError(f"{name}: is not what was packed")
        made.append(target)
    return made


def main(arguments: list[str]) -> int:
    """Pack or unpack; gives 1 with a line when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--mib", type=int, default=60)
    asked = parser.parse_args(arguments)
    try:
        if asked.work == "pack":
            made = pack(asked.source, asked.target, asked.mib)
        else:
            made = unpack(asked.source, asked.target)
    except PartsError as error:
        print(error, file=sys.stderr)
        return 1
    for path in made:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
