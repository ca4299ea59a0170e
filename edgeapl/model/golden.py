"""The self-test: a frame in the bundle and the answers it must give on every machine."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.specs import GoldenSpec
from edgeapl.errors import BundleError, EngineError
from edgeapl.inference import classify
from edgeapl.model.assembled import Model
from edgeapl.model.golden_slides import check_slides, slide_arrays
from edgeapl.protocols import CellChain
from edgeapl.stages.colour_transfer import with_colours
from edgeapl.stages.crop import cut_cells, uncut_cells
from edgeapl.types import CellScores, Float32, Frame

MOST_CELLS = 12
"""Cells of the self-test, which runs whenever a bundle is opened."""

CENTRE_TOLERANCE_UM = 1.0
"""How far a cell's centre may move in the self-test: a seventh of a small lymphocyte."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldenAnswers:
    """A model's answers on its golden frame.

    centres : float32 (N, 2), cell centres, x y in px.
    head : float32 (outputs,), the head's probabilities; one entry for a vote.
    scores : all answers about the cells.
    """

    centres: Float32
    head: Float32
    scores: CellScores

    @property
    def roles(self) -> Mapping[str, Float32]:
        """Role name to float32 (N,)."""
        return self.scores.roles


def golden_answers(model: Model, frame: Frame, chain: CellChain | None = None) -> GoldenAnswers:
    """Run everything on one frame: segment, crop, classify, reduce.

    chain : cut and classify the cells with it, not with the engines one by one.
    """
    manifest = model.bundle.manifest
    detections = with_colours(model.segmenter.segment(frame), manifest.crop)
    if not len(detections):
        raise EngineError(
            "self-test failed", manifest.name, "no cell was found on the golden frame"
        )
    # The first cells in reading order: a detector may find hundreds.
    x, y = detections.centres.T
    detections = detections.only(np.sort(np.lexsort((x, y))[:MOST_CELLS]))
    cells = cut_cells(detections, manifest.crop)
    on_frame = uncut_cells(detections, manifest.crop)
    result = classify(
        manifest, model.engines, cells if chain is None else on_frame, chain=chain
    ).checked()
    if len(result.failed):
        raise EngineError(
            "self-test failed",
            manifest.name,
            f"{len(result.failed)} cells of the golden frame got no usable score: an answer is no "
            "number, or what a role names is no probability from 0 to 1 (a logit needs softmax or "
            "sigmoid in the recipe)",
        )
    state = model.reducer.add(model.reducer.empty(), result.scores)
    head = model.reducer.probabilities(state, model.head)
    return GoldenAnswers(detections.centres, np.asarray(head, np.float32), result.scores)


def golden_frame(png: bytes, spec: GoldenSpec) -> Frame:
    """Decode the golden frame."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BundleError("golden frame cannot be decoded", spec.frame, "export the bundle again")
    pixels = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return Frame(pixels, 0, 0, spec.um_per_px, spec.frame, sha256(png))


def self_test(model: Model, tolerance: float = 0.0) -> None:
    """Compare the golden frame's answers, and verdicts on golden slides, with those in the bundle.

    Parameters
    ----------
    tolerance : largest difference, if that is more than the bundle's own.

    Raises EngineError that names the first answer which differs by more than the tolerance.
    """
    golden = model.bundle.manifest.golden
    allowed = max(golden.tolerance, tolerance)
    expected = _expected(model.bundle.read(golden.expected), golden.expected)
    frame = golden_frame(model.bundle.read(golden.frame), golden)
    _compare(model, golden_answers(model, frame), expected, allowed)
    if model.chain is not None:
        _compare(model, golden_answers(model, frame, model.chain), expected, allowed)
    check_slides(model, expected, allowed)


def _compare(
    model: Model, answers: GoldenAnswers, expected: Mapping[str, Float32], allowed: float
) -> None:
    golden = model.bundle.manifest.golden
    missing = {"centres", "head", *answers.roles} - set(expected)
    if missing:
        raise BundleError("golden answers are incomplete", golden.expected, ", ".join(missing))
    order = _match(expected["centres"], answers.centres, CENTRE_TOLERANCE_UM / golden.um_per_px)
    if order is None:
        raise EngineError(
            "self-test failed",
            model.bundle.manifest.name,
            f"the segmenter found {len(answers.centres)} cells on the golden frame, "
            f"not the {len(expected['centres'])} expected",
        )
    for name, values in [*answers.roles.items(), ("head", answers.head)]:
        wanted = expected[name]
        have = values if name == "head" else values[order]
        worst = float(np.abs(have - wanted).max()) if have.shape == wanted.shape else np.inf
        if not worst <= allowed:
            raise EngineError(
                "self-test failed",
                f"{model.bundle.manifest.name} {name}",
                f"differs from its golden answer by {worst:.3g}, allowed {allowed:g}",
            )


def _expected(npz: bytes, name: str) -> dict[str, Float32]:
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
            return {key: np.asarray(arrays[key], dtype=np.float32) for key in arrays.files}
    except (ValueError, OSError, EOFError) as error:
        raise BundleError("golden answers cannot be read", name, "export it again") from error


def _match(wanted: Float32, have: Float32, limit_px: float) -> NDArray[np.int64] | None:
    """Match every expected centre to a cell of its own within the limit; None if one has none."""
    if wanted.shape != have.shape:
        return None
    distance = np.linalg.norm(wanted[:, None] - have[None], axis=2)
    order = distance.argmin(axis=1)
    unique = len(set(order.tolist())) == len(order)
    return order if unique and bool((distance.min(axis=1) <= limit_px).all()) else None


def golden_npz(model: Model, answers: GoldenAnswers) -> bytes:
    """Return the answers, and slides made of them, as the file that `self_test` reads."""
    file = io.BytesIO()
    arrays = {**answers.roles, **slide_arrays(model, answers.scores)}
    np.savez_compressed(file, centres=answers.centres, head=answers.head, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
