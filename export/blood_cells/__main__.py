"""`python -m edgeapl.export.blood_cells`: train and write the bundle `blood-cells`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgeapl.export.blood_cells.bundle_maker import make
from edgeapl.model import BLOOD_CELLS
from edgeapl.model.sealer import reseal


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m edgeapl.export.blood_cells")
    commands = parser.add_subparsers(dest="command", required=True)
    make_command = commands.add_parser("make", help="train, measure and write the bundle")
    make_command.add_argument("--data", type=Path, required=True, help="the PBC set")
    make_command.add_argument("--out", type=Path, required=True)
    make_command.add_argument("--cache", type=Path, required=True, help="for cut cells and weights")
    make_command.add_argument("--epochs", type=int, default=42)
    make_command.add_argument("--others", type=Path, help="folder of the sets to measure on")
    again = commands.add_parser("reseal", help="store the golden answers of a changed segmenter")
    again.add_argument("--bundle", type=Path, default=BLOOD_CELLS)
    options = parser.parse_args()
    if options.command == "reseal":
        reseal(options.bundle)
        return
    make(options.data, options.out, options.cache, options.epochs, options.others, _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
