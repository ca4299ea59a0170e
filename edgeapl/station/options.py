"""Settings of a station."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeapl.stages.findings import Finding
from edgeapl.station.flag_command import FlagCommand


@dataclass(frozen=True, slots=True)
class StationOptions:
    """How a station works.

    camera : name of the source, as people know it. out : result folder.
    um_per_px : stated scale; None measures it.
    budget_s : seconds from a frame's capture to the committed verdict.
    batch_size : cells in one run of a network; None picks the fastest.
    max_frames, idle_s, enough_cells : close a slide after so many frames, so many seconds without
        a frame, or so many cells that are scored or not needed; None never does.
    stop_error : skip cells once a slide's flag is decided without them, as in `SlideOptions`;
        None examines every cell.
    findings : what is known about every slide. drawn : the slides are drawn, not a patient's.
    attended : somebody is there to decide whether an interrupted slide continues, so the station
        waits for that; otherwise it closes the slide at once.
    resume : interrupted slide that continues with new frames. first_slide : slide that will be
        opened first; it must not be an interrupted one.
    on_flag : command run for every flagged slide. recall : show unacknowledged flags of earlier
        runs.
    """

    camera: str
    out: Path
    um_per_px: float | None = None
    budget_s: float = 45.0
    batch_size: int | None = None
    max_frames: int | None = None
    idle_s: float | None = None
    enough_cells: int | None = None
    stop_error: float | None = None
    findings: tuple[Finding, ...] = ()
    drawn: bool = False
    attended: bool = True
    resume: str | None = None
    first_slide: str | None = None
    on_flag: FlagCommand | None = None
    recall: bool = True
