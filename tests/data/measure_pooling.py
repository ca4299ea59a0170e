"""What it costs that the parts of a slide must hold: slides cleared before and after, and mixtures.

    python -m tests.data.measure_pooling BUNDLE COHORT [--draws 10] [--pairs 16]

BUNDLE pools features and is calibrated. COHORT has a folder of single-cell images for each patient
and `patients.csv` with the columns patient,diagnosis. Mixtures are 12 cells of a patient with APL
among 40 of one with another AML. Prints a table; the figures of docs/pooling.md were made with it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeapl.journal import Journal
from edgeapl.model import Model, open_model
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.stages.findings import Code
from tests.certified import proven

FEW, MANY = 12, 40
PARTS = {Code.SUSPICIOUS_CELLS, Code.SUSPICIOUS_PART, Code.PARTS_UNKNOWN, Code.TWO_POPULATIONS}
NOTES = {"left_out", Code.CERTIFICATE}

Record = Mapping[str, Any]


def codes(record: Record) -> set[str]:
    """Give the codes of a record's reasons."""
    return {reason["code"] for reason in record["reasons"]}


def cleared_before(record: Record) -> bool:
    """Whether nothing but its parts keeps a slide from being cleared."""
    return record["verdict"] == "CLEAR" or codes(record) <= PARTS | NOTES


def score(model: Model, folder: Path, work: Path) -> list[dict[str, Any]]:
    """Score a folder of slides of single-cell images at 0.1 µm per px.

    As if the bundle had a certificate: this is about what comes before it.
    """
    request = ScoreRequest(folder, work / "out", crops=True, um_per_px=0.1)
    with Journal.open(work / "journal.db") as journal:
        return list(score_folder(request, proven(model), journal, ScoreListener()).records)


def mix(
    cohort: Path, few: str, many: str, draw: int, folder: Path, leave_out: Sequence[str]
) -> Path:
    """Copy cells of two patients into one slide; the draw is the seed."""
    chosen = random.Random(f"{few} {many} {draw}")
    slide = folder / f"{few}-{many}-{draw}"
    slide.mkdir(parents=True)
    for patient, count in ((few, FEW), (many, MANY)):
        files = [
            path
            for path in sorted((cohort / patient).rglob("*"))
            if path.is_file() and path.parent.name not in leave_out
        ]
        for path in chosen.sample(files, min(count, len(files))):
            shutil.copyfile(path, slide / f"{chosen.getrandbits(32):08x}-{path.name}")
    return slide


def diagnoses(cohort: Path) -> dict[str, str]:
    """Read `patients.csv`: patient to diagnosis."""
    with (cohort / "patients.csv").open(newline="") as file:
        return {row["patient"]: row["diagnosis"] for row in csv.DictReader(file)}


def table(name: str, records: Sequence[Record]) -> None:
    """Print how many are cleared with and without their parts, and why not."""
    before = [record for record in records if cleared_before(record)]
    after = [record for record in records if record["verdict"] == "CLEAR"]
    why = Counter(code for record in before for code in codes(record) & PARTS)
    print(f"{name}: {len(records)} slides; cleared before {len(before)}, now {len(after)}")
    print(f"  kept from it by: {dict(why)}")
    populations = sum(Code.TWO_POPULATIONS in codes(record) for record in records)
    print(f"  two populations said of {populations}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=16)
    options = parser.parse_args()
    known = diagnoses(options.cohort)
    with open_model(options.bundle) as model, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pure = score(model, options.cohort, work / "pure")
        for diagnosis in sorted(set(known.values())):
            table(diagnosis, [record for record in pure if known[record["slide"]] == diagnosis])
        few = sorted(name for name in known if known[name] == "APL")
        many = sorted(name for name in known if known[name] != "APL")
        pairs = random.Random(1).sample(list(itertools.product(few, many)), options.pairs)
        leave_out = model.bundle.manifest.crop.leave_out
        for (one, other), draw in itertools.product(pairs, range(options.draws)):
            mix(options.cohort, one, other, draw, work / "mixed", leave_out)
        table(f"{FEW} cells of APL among {MANY}", score(model, work / "mixed", work / "scored"))


if __name__ == "__main__":
    main()
