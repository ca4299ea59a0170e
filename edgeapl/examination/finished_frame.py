"""A finished frame with all its answers, as reports and pages show it."""

from __future__ import annotations

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.examination.open_frame import FrameInWork
from edgeapl.stages.reduce import suspicion
from edgeapl.types import CellStatus, ExaminedFrame, Float32


def examined_frame(manifest: Manifest, work: FrameInWork) -> ExaminedFrame:
    """Give a frame whose cells are all accounted for; NaN stands for what was not scored."""
    roles = {role.name: _unknown(work.count) for role in manifest.roles}
    doubt = _unknown(work.count)
    unseen = {cell for scores in work.unseen for cell in scores.ids.tolist()}
    status = [
        CellStatus.NOT_EXAMINED
        if cell in work.given_up or cell in unseen
        else CellStatus.NOT_NEEDED
        if cell in work.left_out
        else CellStatus.FAILED
        for cell in work.ids.tolist()
    ]
    for scores in work.scores:
        rows = scores.ids - work.first_id
        for name, values in scores.roles.items():
            roles[name][rows] = values
        doubt[rows] = suspicion(manifest.roles, scores)
        for row in rows.tolist():
            status[row] = CellStatus.SCORED
    return ExaminedFrame(
        frame=work.prepared.frame,
        detections=work.prepared.detections,
        ids=work.ids,
        status=tuple(status),
        roles=roles,
        suspicion=doubt,
        rejected=work.prepared.rejected,
        features=_features(manifest, work),
        tiles=work.prepared.tiles,
    )


def _features(manifest: Manifest, work: FrameInWork) -> Float32:
    """Give the features of the frame's cells, if they are needed to explain the answer."""
    explanation = manifest.explanation
    if explanation is None or explanation.kind != "contributions" or not work.scores:
        return np.empty((0, 0), dtype=np.float32)
    width = work.scores[0].features.shape[1]
    features = np.full((work.count, width), np.nan, dtype=np.float32)
    for scores in work.scores:
        features[scores.ids - work.first_id] = scores.features
    return features


def _unknown(count: int) -> Float32:
    return np.full(count, np.nan, dtype=np.float32)
