"""A finished frame with all its answers, as reports and pages show it."""

from __future__ import annotations

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.examination.open_frame import OpenFrame
from edgeapl.stages.reduce import suspicion
from edgeapl.types import CellStatus, ExaminedFrame, Float32


def examined_frame(manifest: Manifest, frame: OpenFrame) -> ExaminedFrame:
    """Return a frame whose cells are all accounted for; NaN stands for what was not scored."""
    roles = {role.name: _unknown(frame.count) for role in manifest.roles}
    doubt = _unknown(frame.count)
    hidden = {cell for scores in frame.hidden_scores for cell in scores.ids.tolist()}
    status = [
        CellStatus.NOT_EXAMINED
        if cell in frame.given_up or cell in hidden
        else CellStatus.NOT_NEEDED
        if cell in frame.left_out
        else CellStatus.FAILED
        for cell in frame.ids.tolist()
    ]
    for scores in frame.scores:
        rows = scores.ids - frame.first_id
        for name, values in scores.roles.items():
            roles[name][rows] = values
        doubt[rows] = suspicion(manifest.roles, scores)
        for row in rows.tolist():
            status[row] = CellStatus.SCORED
    return ExaminedFrame(
        frame=frame.prepared.frame,
        detections=frame.prepared.detections,
        ids=frame.ids,
        status=tuple(status),
        roles=roles,
        suspicion=doubt,
        rejected=frame.prepared.rejected,
        features=_features(manifest, frame),
        tiles=frame.prepared.tiles,
    )


def _features(manifest: Manifest, frame: OpenFrame) -> Float32:
    """Return the features of the frame's cells, if they are needed to explain the answer."""
    explanation = manifest.explanation
    if explanation is None or explanation.kind != "contributions" or not frame.scores:
        return np.empty((0, 0), dtype=np.float32)
    width = frame.scores[0].features.shape[1]
    features = np.full((frame.count, width), np.nan, dtype=np.float32)
    for scores in frame.scores:
        features[scores.ids - frame.first_id] = scores.features
    return features


def _unknown(count: int) -> Float32:
    return np.full(count, np.nan, dtype=np.float32)
