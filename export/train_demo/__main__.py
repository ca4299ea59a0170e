"""`python -m edgeapl.export.train_demo`: makes the embedded bundle, or measures it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgeapl.model import EMBEDDED, open_model
from edgeapl.model.sealer import reseal


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m edgeapl.export.train_demo")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="draw, train and write the bundle")
    make.add_argument("--out", type=Path, required=True)
    make.add_argument("--cache", type=Path, required=True, help="folder for the drawn cells")
    make.add_argument("--epochs", type=int, default=8)
    evaluate = commands.add_parser("evaluate", help="measure on real images")
    evaluate.add_argument("--data", type=Path, required=True)
    evaluate.add_argument("--bundle", type=Path, default=EMBEDDED)
    again = commands.add_parser("reseal", help="store the golden answers of a changed segmenter")
    again.add_argument("--bundle", type=Path, default=EMBEDDED)
    domain = commands.add_parser(
        "domain", help="fit the domain guard again, after a change of the cells' outlines"
    )
    domain.add_argument("--bundle", type=Path, default=EMBEDDED)
    draw = commands.add_parser("draw", help="labelled slides for edgeapl calibrate --labels")
    draw.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "reseal":
        reseal(options.bundle)
    elif options.command == "domain":
        from edgeapl.export.train_demo.domain_fit import fit_domain

        _say(f"digest {fit_domain(options.bundle, _say).digest}")
    elif options.command == "draw":
        from edgeapl.export.train_demo.certificate import draw_labelled

        draw_labelled(options.out, _say)
    elif options.command == "make":
        from edgeapl.export.train_demo.bundle_maker import make as run

        run(options.out, options.cache, options.epochs, _say)
    else:
        from edgeapl.export.train_demo.real_images import evaluate as measure

        with open_model(options.bundle) as model:
            sys.stdout.write(json.dumps(measure(model, options.data), indent=2) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
