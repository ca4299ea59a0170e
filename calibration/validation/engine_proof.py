"""Proves that built engines answer like the FP32 networks before they may be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.validation.cells import CellComparison, compare_cells, with_classes
from edgeapl.calibration.validation.chain_replay import ChainReplay
from edgeapl.calibration.validation.comparison import (
    DifferenceAccumulator,
    OutputDifference,
    PairedEngine,
)
from edgeapl.calibration.validation.detected import Detected, compare_detected
from edgeapl.calibration.validation.limits import (
    SlideComparison,
    cell_problems,
    difference_problems,
    share_text,
    slide_problems,
)
from edgeapl.calibration.validation.network_passes import SlidePass, networks_in_order
from edgeapl.errors import InputError
from edgeapl.inference import InferenceResult
from edgeapl.inference.slide_answer import answer_slide
from edgeapl.model.assembled import segmenter_of
from edgeapl.protocols import CellChain, Engine
from edgeapl.types import Frame, UInt8

Slide = tuple[str, UInt8]
"""Name of a slide, and crops of its cells, uint8 (N, size, size, 3) RGB."""


@dataclass(frozen=True, slots=True)
class EngineProof:
    """The whole comparison; `problems` is empty if the engines may be used.

    outputs : every output of every network, both given the same inputs.
    cells : roles and classes, each set of engines routing cells in its own way.
    detected : cells found on frames; None without a detector.
    unproven : networks that no cell and no frame reached.
    """

    limits: LimitsSpec
    outputs: tuple[OutputDifference, ...]
    cells: CellComparison
    slides: tuple[SlideComparison, ...]
    detected: Detected | None
    unproven: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def flip_rate(self) -> float:
        """Share of cells that crossed a threshold, changed class or got no usable answer."""
        return self.cells.flip_rate


def prove_engine(
    manifest: Manifest,
    reference: Mapping[str, Engine],
    candidate: Mapping[str, Engine],
    slides: Sequence[Slide],
    limits: LimitsSpec,
    *,
    frames: Sequence[Frame] = (),
    batch_size: int = 16,
    chain: CellChain | None = None,
) -> EngineProof:
    """Run slides through the FP32 networks and through built engines.

    Parameters
    ----------
    manifest : of the bundle. reference, candidate : network name to engine, all networks. They are
        asked network after network, so that engines of which one is in memory at a time, such as
        `ExclusiveEngines`, are opened about once each.
    slides : held back: not what ranges were measured on.
    limits : beyond which there is a problem.
    frames : for the networks of a detector, which crops do not reach.
    batch_size : cells per run.
    chain : of the candidate's networks, linked for `with_classes(manifest)`. Cells then go through
        it as in use; the outputs of single networks are taken from the engines.

    Raises InputError when there are no cells to compare, EngineError when an engine fails to run.
    """
    seen: dict[str, dict[str, DifferenceAccumulator]] = {name: {} for name in manifest.networks}
    paired = {
        name: PairedEngine(name, reference[name], candidate[name], seen[name])
        for name in manifest.networks
    }
    asked = with_classes(manifest)
    wants = [SlidePass(asked, paired, crops, batch_size) for _, crops in slides]
    # The candidate runs twice: on the reference's inputs, and with its own routing.
    haves: list[SlidePass | ChainReplay] = [
        SlidePass(asked, candidate, crops, batch_size)
        if chain is None
        else ChainReplay(asked, candidate, chain, crops, batch_size)
        for _, crops in slides
    ]
    names = networks_in_order(asked)
    head_is_last = names[-1:] == (manifest.reducer.head,)
    for name in names[:-1] if head_is_last else names:
        for slide in (*wants, *haves):
            slide.run_network(name)
        _show_unreached(manifest, name, paired[name], seen[name], slides, batch_size)
    answers: list[tuple[InferenceResult, InferenceResult]] = []
    compared = []
    # What remains is the head, on cells if it judges them too, and on each slide.
    for (name, _), on_paired, on_candidate in zip(slides, wants, haves, strict=True):
        want, have = on_paired.answers(), on_candidate.answers()
        answers.append((want, have))
        one = answer_slide(manifest, reference, want)
        other = answer_slide(manifest, candidate, have)
        compared.append(SlideComparison(name, one, other))
        answer_slide(manifest, paired, want)  # so that the head is compared on the same inputs
    if not sum(len(want.scores) for want, _ in answers):
        raise InputError("no cell to prove engines on", "", "give other slides with --frames")
    detected = _detected(manifest, paired, candidate, frames)
    outputs = tuple(
        apart.difference(network, output)
        for network, found in seen.items()
        for output, apart in found.items()
    )
    unproven = tuple(name for name, found in seen.items() if not found)
    cells = compare_cells(manifest, answers)
    problems = (
        *cell_problems(cells, limits),
        *difference_problems(cells, limits),
        *slide_problems(compared, limits),
        *_of_outputs(outputs),
        *_of_detected(detected, limits),
        *(f"network {name} was shown nothing, so nothing is proven" for name in unproven),
    )
    return EngineProof(limits, outputs, cells, tuple(compared), detected, unproven, problems)


def _detected(
    manifest: Manifest,
    paired: Mapping[str, Engine],
    candidate: Mapping[str, Engine],
    frames: Sequence[Frame],
) -> Detected | None:
    if not manifest.detector_networks or not frames:
        return None
    before, after = segmenter_of(manifest, paired), segmenter_of(manifest, candidate)
    found = [before.segment(one) for one in frames]
    again = [after.segment(one) for one in frames]
    return compare_detected(list(zip(found, again, strict=True)))


def _show_unreached(
    manifest: Manifest,
    name: str,
    engine: Engine,
    seen: Mapping[str, DifferenceAccumulator],
    slides: Sequence[Slide],
    batch_size: int,
) -> None:
    """Show some cells to a network that no cell was routed to: it must run all the same."""
    spec = manifest.networks[name]
    if spec.after is None and not seen and slides and len(slides[0][1]):
        engine.run({spec.input: np.ascontiguousarray(slides[0][1][:batch_size])})


def _of_outputs(outputs: Sequence[OutputDifference]) -> list[str]:
    return [
        f"{one.network}.{one.output} is no number for some inputs"
        for one in outputs
        if not np.isfinite(one.largest)
    ]


def _of_detected(detected: Detected | None, limits: LimitsSpec) -> list[str]:
    if detected is None or detected.share_apart <= limits.max_recall_drop:
        return []
    text = (
        f"{detected.lost} of {detected.reference} cells are not found and {detected.extra} others "
        f"are, allowed {share_text(limits.max_recall_drop)}"
    )
    return [text]
