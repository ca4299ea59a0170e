"""How listing, resuming, tables, index and merging grow with the number of slides.

    python -m tests.simulations.many_slides --slides 1000 10000 100000 [--merge] [--home FOLDER]

Scores one tiny slide, copies its results under other names with rows of their own, and runs
`edgeapl score` again, which finds every slide finished: what is measured is all but the networks.
With --merge, `edgeapl merge` then brings the same results into another folder and journal. Pictures
and pages of the copies are links to those of the first slide: only their names and sizes matter.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
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
            shutil.copytree(first, there, copy_function=os.link)
            (there / VERDICT).unlink()
            said = {"slide": slide.name, "slide_key": key, "journal_record": row}
            (there / VERDICT).write_bytes(record_line({**record, **said}))
    return slides, bundle, out, journal


LAUNCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
"""
"""Runs a command: the peak of a program counts for the one that takes its place, so that small
Python must stand between this large one and what is measured."""


@dataclass(frozen=True)
class Measured:
    """One command. seconds, processor_s : by the clock, of work. peak : of its memory, MiB."""

    seconds: float
    processor_s: float
    peak: float
    code: int
    told: str

    def line(self, what: str, slides: int) -> str:
        each = 1000 * self.processor_s / slides
        text = f"{self.seconds:.1f} s, {self.processor_s:.1f} s of processor, {each:.2f} ms a slide"
        return f"  {what}: {text}, {self.peak:.0f} MiB; exit {self.code}\n"


def measured(*command: str) -> Measured:
    """Run a command in a process of its own."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, sys.executable, "-m", "edgeapl", *command],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - start
    code, peak, processor_s = done.stdout.split()
    return Measured(seconds, float(processor_s), float(peak), int(code), done.stderr)


def main() -> None:
    """Print seconds and peak memory for every number of slides."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slides", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--merge", action="store_true", help="and merge them, which takes longer")
    parser.add_argument("--home", type=Path, help="where folders are made, and removed at the end")
    options = parser.parse_args()
    for count in options.slides:
        with TemporaryDirectory(dir=options.home) as name:
            home = Path(name)
            slides, bundle, out, journal = make(home, count)
            where = ["--out", str(out), "--bundle", str(bundle), "--journal", str(journal)]
            again = measured("score", str(slides), *where, "--um-per-px", "0.2", "--json")
            kept = again.told.count("finished before")
            pages = 1 + len([*(out / "index").glob("*.html")])
            lines = again.line("score again", count)
            if options.merge:
                into = ["--out", str(home / "all"), "--journal", str(home / "all.sqlite3")]
                merged = measured("merge", str(out), *into, "--from", str(journal), "--json")
                lines += merged.line("merge", count)
            record = (slide_folder(out, "S0") / VERDICT).stat().st_size
        sys.stdout.write(
            f"{count} slides, {kept} found finished, {pages} pages, {record} bytes a record\n"
        )
        sys.stdout.write(lines)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
