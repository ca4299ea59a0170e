"""How many cells leaving out saves on given slides, and whether the verdict stays.

    python -m tests.simulations.saved_cells "demo://apl?seed=1" FOLDER ... [--bundle BUNDLE]
    python -m tests.simulations.saved_cells --cells RESULTS/cells.csv [--orders 100]

The first plays each source twice as `watch` does, in full and with cells left out, without the
pauses of a camera. The second takes the scores that `edgeapl score` gave to single cells, lays all
cells of a slide into one frame and looks at them in many random orders, the largest first. What
the model cannot vouch for (another stain, optics it was not made for) is passed over there, so
that the rule alone is tried; a station would examine such a slide in full and leave it to a person.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import RoleSpec
from edgeapl.capture.opener import open_watched
from edgeapl.examination.early_stop import EarlyStop
from edgeapl.model import EMBEDDED, Model, open_model
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.pipeline.options import Budget
from edgeapl.pixel_size import SlideScale
from edgeapl.stages.cell_order import FIRST, FIRST_SHARE, Stratum, estimated_shares
from edgeapl.stages.intervals import wilson
from edgeapl.stages.sequential import InterimCounts
from edgeapl.types import Interval, Verdict

ERROR = 0.001
"""The station's default."""

BATCH = 8


def watched(model: Model, address: str, um_per_px: float | None, *, early: bool) -> Verdict:
    """Examine a source as `watch` does."""
    stop = ERROR if early else None
    # A watched folder has no end.
    options = SlideOptions(budget=Budget(36_000), stop_error=stop, stop_when_idle=1.0)
    scale = SlideScale(um_per_px, model.bundle.manifest.um_per_px)
    with open_watched(address, scale) as source:  # type: ignore[attr-defined]
        return examine_slide(model, address, source, options, Observer()).verdict


def compare(model: Model, address: str, um_per_px: float | None) -> str:
    """Give one row of the table."""
    full = watched(model, address, um_per_px, early=False)
    early = watched(model, address, um_per_px, early=True)
    tally = early.tally
    return (
        f"| {address} | {len(full.frames)} | {full.tally.seen} | {full.decision.value} "
        f"| {early.decision.value} | {tally.not_needed} ({tally.not_needed / tally.seen:.0%}) |"
    )


@dataclass(frozen=True, slots=True)
class Replayed:
    """Scored cells of one slide as one frame, of which so many were looked at.

    answers : bool (R + 1, N), in the order they are looked at; the first `first` are the largest.
    """

    answers: NDArray[np.bool_]
    first: int
    scored: int

    @property
    def count(self) -> int:
        """Cells of the frame."""
        return len(self.answers.T)

    @property
    def pending(self) -> int:
        """Cells not looked at yet."""
        return self.count - self.scored

    def interim(self, roles: Sequence[RoleSpec]) -> InterimCounts:
        """Give what is known of the frame now."""
        known = tuple(self.answers[:, : self.scored].sum(axis=1).tolist())
        drawn = max(0, self.scored - self.first)
        rest = tuple(self.answers[:, self.first : self.first + drawn].sum(axis=1).tolist())
        count = self.count - self.first
        return InterimCounts(self.count, self.scored, known, count, drawn, rest, drawn, rest)

    def flags(self, model: Model, roles: Sequence[RoleSpec]) -> bool:
        """Judge the cells looked at so far by their estimated shares."""
        look, rule = self.interim(roles), model.bundle.manifest.rule
        first = min(self.scored, self.first)
        strata = [
            _stratum(self.answers[:, :first], self.first),
            _stratum(self.answers[:, self.first : self.first + look.drawn], look.rest),
        ]
        shares = estimated_shares(strata)
        if shares is None or shares.suspicious < (rule.suspicious_share or 0.0):
            return False
        exact = [Interval(share, share) for share in (*shares.positive, shares.suspicious)]
        if not model.reducer.reaches(model.head, exact, rule.flag_at):
            return False
        given = (*shares.positive, shares.suspicious)
        sure = [wilson(p * shares.effective, shares.effective, rule.confidence) for p in given]
        enough = self.scored >= rule.min_scored
        return enough or model.reducer.reaches(model.head, sure, rule.flag_at)


def _stratum(answers: NDArray[np.bool_], cells: int) -> Stratum:
    *positive, suspicious = answers.sum(axis=1).tolist()
    scored = answers.shape[1]
    return Stratum(cells - scored, scored, tuple(positive), suspicious)


def replay(model: Model, table: Path, orders: int) -> list[str]:
    """Give one row for each slide of a `cells.csv`."""
    roles = model.bundle.manifest.roles
    slides: dict[str, list[tuple[float, list[bool]]]] = defaultdict(list)
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["status"] != "scored":
                continue
            reached = [float(row[role.name]) >= role.threshold for role in roles]
            speaks = any(hit for hit, role in zip(reached, roles, strict=True) if role.suspicious)
            slides[row["slide"]].append((float(row["area_um2"]), [*reached, speaks]))
    return [_replayed(model, slide, cells, orders) for slide, cells in sorted(slides.items())]


def _replayed(model: Model, slide: str, cells: list[tuple[float, list[bool]]], orders: int) -> str:
    roles = model.bundle.manifest.roles
    cells.sort(key=lambda cell: -cell[0])
    answers = np.array([cell[1] for cell in cells]).T
    count = len(cells)
    first = min(FIRST, int(count * FIRST_SHARE))
    in_full = Replayed(answers, first, count).flags(model, roles)
    examined, agree = [], 0
    for seed in range(orders):
        order = first + np.random.default_rng(seed).permutation(count - first)
        drawn = np.concatenate([answers[:, :first], answers[:, order]], axis=1)
        stop, seen, flagged = EarlyStop(model, ERROR), count, in_full
        for scored in range(BATCH, count, BATCH):
            frame = Replayed(drawn, first, scored)
            if stop.is_decided(frame) and frame.flags(model, roles):
                seen, flagged = scored, True
                break
        examined.append(seen)
        agree += flagged == in_full
    saved = 1 - np.mean(examined) / count
    word = "FLAG" if in_full else "no flag"
    return f"| {slide} | {count} | {word} | {agree} of {orders} | {saved:.0%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--bundle", type=Path, default=EMBEDDED)
    parser.add_argument("--um-per-px", type=float)
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--orders", type=int, default=100)
    chosen = parser.parse_args()
    with open_model(chosen.bundle) as model:
        if chosen.cells:
            print("| slide | cells | in full | same verdict | cells saved |\n|---|---|---|---|---|")
            for row in replay(model, chosen.cells, chosen.orders):
                print(row, flush=True)
            return
        print(
            "| source | frames | cells | in full | early | not needed |\n|---|---|---|---|---|---|"
        )
        for address in chosen.sources:
            print(compare(model, address, chosen.um_per_px), flush=True)


if __name__ == "__main__":
    main()
