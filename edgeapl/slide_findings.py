"""What was noticed about a slide besides its score, worded for the verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from edgeapl.bundle.manifest import Manifest
from edgeapl.config import CameraConfig
from edgeapl.errors import DeadlineError, EdgeAplError, EngineError
from edgeapl.stages.cascade import Cascade
from edgeapl.stages.find_disc import SHRUNK
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.types import Reason, Remark, ScaleOrigin, Tally, TileState
from edgeapl.wording.numbers import exact_percent, percent, plural
from edgeapl.wording.printable import printable
from edgeapl.wording.questions import QUESTIONS
from edgeapl.wording.verdicts import examined_percent

DEPTH = "depth"
"""Code of the remark on how samples were scaled."""

NAMED = 3
"""Frames named in one sentence; the others are counted."""


def of_model(manifest: Manifest) -> list[Finding]:
    """Return what the bundle itself cannot answer."""
    findings = []
    if not manifest.trained:
        text = "the networks of this bundle were never trained, so no answer can be given"
        findings.append(Finding("untrained", text, Effect.UNTRUSTED))
    if manifest.answers == "subtype":
        text = (
            "this bundle tells kinds of APL apart and cannot tell whether a slide is APL: "
            "its figures count only where APL is known"
        )
        findings.append(Finding("subtype_only", text, Effect.UNTRUSTED))
    if manifest.domain is None and QUESTIONS[manifest.answers].clears:
        text = (
            "this bundle does not know which stain and optics it was made for, so it can clear "
            "no slide: run edgeapl calibrate"
        )
        findings.append(Finding("domain_missing", text, Effect.BARS_CLEAR))
    cascade = Cascade.of(manifest)
    if cascade is not None:
        text = (
            "a small network answered first; the intervals allow for up to "
            f"{percent(cascade.bound)} of cells that it answers otherwise than those behind it"
        )
        findings.append(Finding("cascade", text, Effect.NOTE))
    return findings


def of_engines(*, proven_elsewhere: bool) -> tuple[Finding, ...]:
    """Return whether engines were never compared with the bundle on this machine."""
    if not proven_elsewhere:
        return ()
    text = (
        "the engines were proven on the CPU only and run on a GPU, so they can clear no slide: "
        "run edgeapl engines prove on this machine"
    )
    return (Finding("engines_unproven", text, Effect.BARS_CLEAR),)


def of_certificate_status(ended: str) -> tuple[Finding, ...]:
    """Return why the model's certificate has ended at this station; nothing while it holds."""
    return (Finding(Code.CERTIFICATE_ENDED, ended, Effect.BARS_CLEAR),) if ended else ()


def of_camera(name: str, camera: CameraConfig) -> tuple[Finding, ...]:
    """Return what the station file says about the camera, so that each verdict carries it."""
    known = {
        "objective": camera.objective,
        "serial": camera.serial,
        "exposure": None if camera.exposure_ms is None else f"{camera.exposure_ms:g} ms",
        "scale": None if camera.um_per_px is None else f"{camera.um_per_px:g} µm per pixel",
    }
    said = ", ".join(f"{key} {value}" for key, value in known.items() if value is not None)
    return (Finding("camera", f"{name}: {said}", Effect.NOTE),) if said else ()


def of_left_out(files: Sequence[Path]) -> tuple[Finding, ...]:
    """Return which images of single cells were skipped because the bundle says so."""
    if not files:
        return ()
    folders = Counter(file.parent.name for file in files)
    each = ", ".join(f"{count} {printable(name)}" for name, count in sorted(folders.items()))
    text = f"{len(files)} images of cells that this bundle was not made for were left out: {each}"
    return (Finding("left_out", text, Effect.NOTE),)


def of_unlisted(files: Sequence[Path], folders: Collection[Path]) -> tuple[Finding, ...]:
    """Return which images beside those of a slide are not in its list, so nobody looked at them.

    folders : that hold the slide's own images.
    """
    beside = [printable(file.name) for file in files if file.parent in folders]
    if not beside:
        return ()
    text = f"the slide list does not name {_some(beside, 'image')} in the slide's folder"
    return (Finding("unlisted", text, Effect.NOTE),)


def of_remarks(remarks: Mapping[Remark, int]) -> list[Finding]:
    """Return how images were read, where that matters; `remarks` counts frames per remark.

    Samples scaled in different ways show the same cell in different light.
    """
    scaled = {remark for remark in remarks if remark.code == DEPTH}
    findings = []
    for remark, frames in remarks.items():
        doubtful = remark.doubtful or (remark.code == DEPTH and len(scaled) > 1)
        effect = Effect.BARS_CLEAR if doubtful else Effect.NOTE
        findings.append(
            Finding(f"image_{remark.code}", f"{plural(frames, 'frame')}: {remark.text}", effect)
        )
    return findings


def of_rejected(rejected: Sequence[tuple[str, tuple[Reason, ...]]], *, live: bool) -> list[Finding]:
    """Group rejected frames, named or numbered, by reason.

    At a camera a rejected frame is normal (the stage moves, the operator pauses), so it is a note.
    In a folder every file was meant to be examined, so a rejected one bars CLEAR.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    texts: dict[str, str] = {}
    for name, reasons in rejected:
        for reason in reasons:
            groups[reason.code].append(name)
            texts.setdefault(reason.code, reason.text)
    effect = Effect.NOTE if live else Effect.BARS_CLEAR
    return [
        Finding(f"frame_{code}", f"{_frames(names)} not used: {texts[code]}", effect)
        for code, names in groups.items()
    ]


def of_area(
    share: float, lost: Mapping[TileState, float], least: float, *, single_cells: bool
) -> list[Finding]:
    """Return the share of the slide's field that was examined, and what was wrong with the rest.

    Parameters
    ----------
    share : of the field, 0 to 1. lost : the share of each kind of loss. least : needed for CLEAR.
    single_cells : the field consists of images of single cells.
    """
    if not lost:
        return []
    worst = sorted(lost, key=lambda state: -lost[state])
    why = ", ".join(f"{percent(lost[state])} is {state.text}" for state in worst)
    what = "the images of single cells" if single_cells else "the field"
    text = f"only {examined_percent(share)} of {what} could be examined: {why}"
    if share >= least:
        return [Finding(Code.AREA_PART, text.removeprefix("only "), Effect.NOTE)]
    text += f"; to clear a slide takes {exact_percent(least)}"
    return [Finding(Code.AREA, text, Effect.BARS_CLEAR)]


def of_short_frames(short: Sequence[tuple[str, float]], least: float) -> list[Finding]:
    """Return which frames, by name, were examined less than the rule asks for."""
    if not short:
        return []
    names = _frames([f"{name} {examined_percent(share)}" for name, share in short])
    text = (
        f"less of {names} could be examined than the {exact_percent(least)} that it takes to "
        "clear a slide"
    )
    return [Finding(Code.AREA_FRAMES, text, Effect.BARS_CLEAR)]


def of_discs(discs: Sequence[tuple[float, float] | None]) -> list[Finding]:
    """Return how much of the frames is the dark surround of an eyepiece.

    discs : for each frame the share of the picture outside, 0 to 1, and the radius, px; None if
    the field fills the frame. All frames of a slide come from one source, so if they differ, what
    looks like a surround may be lost light.
    """
    round_ones = [disc for disc in discs if disc is not None]
    if not round_ones:
        return []
    shares, radii = zip(*round_ones, strict=True)
    low, high = percent(min(shares)), percent(max(shares))
    much = low if low == high else f"{low} to {high}"
    text = (
        f"{plural(len(shares), 'frame shows', 'frames show')} a round field, as through an "
        f"eyepiece: {much} of the picture is its dark surround and counts neither way"
    )
    found = [Finding(Code.ROUND_FIELD, text, Effect.NOTE)]
    whole = len(discs) - len(shares)
    if whole or min(radii) < SHRUNK * max(radii):
        others = f"{whole} a whole one" if whole else "the rounds differ in size"
        text = (
            f"{plural(len(shares), 'frame shows', 'frames show')} a round field and {others}: part "
            "of the light may have been lost; score images taken in different ways as different "
            "slides"
        )
        found.append(Finding(Code.FIELDS_DIFFER, text, Effect.BARS_CLEAR))
    return found


def of_errors(errors: Sequence[EdgeAplError]) -> list[Finding]:
    """Return which inputs could not be examined, and whether a network failed."""
    findings = []
    late = [error for error in errors if isinstance(error, DeadlineError)]
    if late:
        frames = plural(len(late), "frame")
        text = f"{frames} could not be searched for cells in time; the first: {late[0]}"
        findings.append(Finding("deadline", text, Effect.BARS_CLEAR))
    inputs = [error for error in errors if not isinstance(error, EngineError | DeadlineError)]
    if inputs:
        text = f"{plural(len(inputs), 'input')} could not be examined; the first: {inputs[0]}"
        findings.append(Finding("input_failed", text, Effect.BARS_CLEAR))
    failures = [error for error in errors if isinstance(error, EngineError)]
    if failures:
        text = f"a network failed {plural(len(failures), 'time')}; the first: {failures[0]}"
        findings.append(Finding("engine_failed", text, Effect.BARS_CLEAR))
    return findings


def of_stopping(tally: Tally, error: float | None) -> list[Finding]:
    """Return how certain it is that the cells skipped on purpose would have changed nothing."""
    if not tally.not_needed or error is None:
        return []
    text = (
        "with all cells examined the flag would be the same, "
        f"save in at most 1 of {round(1 / error):,} slides"
    )
    return [Finding(Code.STOPPED_EARLY, text, Effect.NOTE)]


def of_shapes(shapes: Mapping[tuple[int, int], int]) -> list[Finding]:
    """Return whether a camera's picture changed its size, which may have changed its scale."""
    if len(shapes) < 2:
        return []
    sizes = ", ".join(f"{width} x {height} px" for width, height in shapes)
    text = f"the camera's picture changed its size during the slide ({sizes}): check the scale"
    return [Finding("size_changed", text, Effect.BARS_CLEAR)]


def of_scale(scales: Mapping[tuple[ScaleOrigin, float], int]) -> list[Finding]:
    """Return how the scale was found if nobody stated it."""
    by_origin: dict[ScaleOrigin, Counter[float]] = defaultdict(Counter)
    for (origin, um_per_px), frames in scales.items():
        by_origin[origin][um_per_px] += frames
    findings = []
    if ScaleOrigin.MEASURED in by_origin:
        value = by_origin[ScaleOrigin.MEASURED].most_common(1)[0][0]
        interval = _interval(value, ScaleOrigin.MEASURED)
        text = f"scale not stated; measured from the red cells: {value:.3f} µm per pixel{interval}"
        findings.append(Finding("scale_measured", text, Effect.NOTE))
    if ScaleOrigin.ESTIMATED in by_origin:
        value = by_origin[ScaleOrigin.ESTIMATED].most_common(1)[0][0]
        text = (
            "scale not stated and too few whole red cells to measure; from these or the nuclei it "
            f"was estimated: {value:.3f} µm per pixel"
            f"{_interval(value, ScaleOrigin.ESTIMATED)}: give --um-per-px"
        )
        findings.append(Finding("scale_estimated", text, Effect.BARS_CLEAR))
    if ScaleOrigin.ASSUMED in by_origin:
        value = by_origin[ScaleOrigin.ASSUMED].most_common(1)[0][0]
        text = (
            f"scale not stated and not measurable; {value:.3f} µm per pixel was assumed: "
            "give --um-per-px"
        )
        findings.append(Finding("scale_assumed", text, Effect.BARS_CLEAR))
    return findings


def scale_doubts(scales: Mapping[tuple[ScaleOrigin, float], int]) -> tuple[str, ...]:
    """Return a sentence for each way in which the scale of some frames is only a guess."""
    return tuple(one.text for one in of_scale(scales) if one.effect is Effect.BARS_CLEAR)


def _interval(um_per_px: float, origin: ScaleOrigin) -> str:
    low, high = um_per_px / origin.within, um_per_px * origin.within
    return f" ({low:.3f} to {high:.3f})"


def _frames(names: Sequence[str]) -> str:
    return _some(names, "frame")


def _some(names: Sequence[str], kind: str) -> str:
    shown = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{plural(len(names), kind)} ({shown}{more})"
