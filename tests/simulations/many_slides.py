"""How listing, resuming, tables and index grow with the number of slides.

    python -m tests.simulations.many_slides --slides 5000 20000

Scores one tiny slide, copies its results under other names with rows of their own, and runs
`edgeapl score` again, which finds every slide finished: what is measured is all but the networks.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edgeapl.journal import Journal, verdict_from_json
from edgeapl.model import open_model
from edgeapl.report.results import VERDICT, record_line, slide_folder
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.scoring.folder import slides_of
from edgeapl.scoring.resume import content_digest, slide_key
from tests.small_bundle import drawn_field, png, small_bundle


def make(home: Path, count: int) -> tuple[Path, Path, Path, Path]:
    """Write a folder of slides with finished results; return slides, bundle, out and journal."""
    slides, out, journal = home / "slides", home / "out", home / "journal.sqlite3"
    image = png(drawn_field())
    bundle = small_bundle(home / "bundle").folder
    (slides / "S0").mkdir(parents=True)
    (slides / "S0" / "field.png").write_bytes(image)
    with open_model(bundle) as model, Journal.open(journal, reserve_bytes=0) as rows:
        score_folder(ScoreRequest(slides, out, um_per_px=0.2), model, rows, ScoreListener())
        first = slide_folder(out, "S0")
        record = json.loads((first / VERDICT).read_text(encoding="utf-8"))
        verdict = verdict_from_json(record)
        for number in range(1, count):
            folder = slides / f"S{number}"
            folder.mkdir()
            (folder / "field.png").write_bytes(image)
        request = ScoreRequest(slides, out, um_per_px=0.2)
        for slide in slides_of(request).slides:
            if slide.name == "S0":
                continue
            digests = [content_digest(file) for file in slide.files]
            key = slide_key(request, model, slide, digests)
            row = rows.commit(
                replace(verdict, slide=slide.name, origin=replace(verdict.origin, slide_key=key))
            )
            there = slide_folder(out, slide.name)
            shutil.copytree(first, there)
            said = {"slide": slide.name, "slide_key": key, "journal_record": row}
            (there / VERDICT).write_bytes(record_line({**record, **said}))
    return slides, bundle, out, journal


def main() -> None:
    """Print seconds and peak memory for every number of slides."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slides", type=int, nargs="+", default=[1000, 4000])
    for count in parser.parse_args().slides:
        with TemporaryDirectory() as name:
            slides, bundle, out, journal = make(Path(name), count)
            where = ["--out", str(out), "--bundle", str(bundle), "--journal", str(journal)]
            command = ["score", str(slides), *where]
            start = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "edgeapl", *command, "--um-per-px", "0.2", "--json"],
                check=False,
                capture_output=True,
                text=True,
            )
            seconds = time.monotonic() - start
            kept = done.stderr.count("finished before")
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        sys.stdout.write(
            f"{count} slides: {seconds:.1f} s, {1000 * seconds / count:.2f} ms a slide, "
            f"{peak:.0f} MiB; exit {done.returncode}, {kept} found finished\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
