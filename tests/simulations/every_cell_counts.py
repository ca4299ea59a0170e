"""Copy a bundle, and its engines, so that every cell counts as positive: to time the way to a flag.

    python -m tests.simulations.every_cell_counts BUNDLE ENGINES OUT

Random weights never raise a flag. The copy, OUT/bundle with OUT/engines, computes the same, but
says that it was trained, every role's threshold is 0 and a slide is flagged from a probability of
0.01. For timing alone; nothing that it says of a slide means anything.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from edgeapl.bundle.load import Bundle
from edgeapl.engines.store.folder import EngineFolder, open_engines, write_engines
from edgeapl.model.sealer import add_files

FLAG_AT = 0.01


def copied_bundle(bundle: Path, out: Path) -> Bundle:
    """Write the copy and give it."""
    shutil.copytree(bundle, out)
    settings = add_files(out, {}, {}).manifest.model_dump(mode="json", exclude_none=True)
    return add_files(
        out,
        {
            "name": "timing-only",
            "intended_use": "Timing alone: every cell counts as positive.",
            "trained": True,
            "roles": [{**role, "threshold": 0.0} for role in settings["roles"]],
            "rule": {**settings["rule"], "flag_at": FLAG_AT, "clear_below": FLAG_AT},
        },
        {},
    )


def copied_engines(engines: Path, bundle: Bundle, out: Path) -> EngineFolder:
    """Write the engines as those of another bundle with the same networks."""
    record = open_engines(engines).record.model_copy(
        update={"bundle": bundle.digest, "bundle_name": bundle.manifest.name}
    )
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        copies = {
            name: Path(shutil.copy(engines / name, Path(work) / name))
            for name in (built.file for built in record.files.values())
        }
        return write_engines(out, record, copies)


def main() -> None:
    """Copy both and say how to go on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("bundle", "engines", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    bundle = copied_bundle(given.bundle, given.out / "bundle")
    copied_engines(given.engines, bundle, given.out / "engines")
    print(f"edgeapl bench {given.out / 'bundle'} --engines {given.out / 'engines'}")


if __name__ == "__main__":
    main()
