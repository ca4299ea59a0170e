"""Drawn slides that look examined: frames with cells, scores, failures, and a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from edgeapl.report.context import ReportContext
from edgeapl.types import (
    CellStatus,
    Detections,
    ExaminedFrame,
    Float32,
    Frame,
    Reason,
    ScaleOrigin,
    UInt8,
    UInt16,
)

ROLES = {"promyelocyte": 0.5, "myeloblast": 0.5, "auer_rod": 0.5}
UM_PER_PX = 0.12


def floats(*values: Any) -> Float32:
    """Give a float32 array."""
    return np.array(values, dtype=np.float32)


def context(**changes: Any) -> ReportContext:
    """Give the settings of a small bundle, with changes."""
    values: dict[str, Any] = {
        "bundle_name": "drawn",
        "bundle_version": "1.0",
        "intended_use": "Demonstration on drawn cells. Research use only.",
        "trained": True,
        "roles": ROLES,
        "suspicious_roles": ("promyelocyte", "auer_rod"),
        "flag_at": 0.6,
        "clear_below": 0.4,
        "confidence": 0.95,
        "crops": False,
        "software": "edgeapl 0.1.0",
        "gallery_size": 40,
    }
    return ReportContext(**{**values, **changes})


def smear(
    rng: np.random.Generator, kinds: list[str], width: int = 640, height: int = 480
) -> tuple[UInt8, UInt16, list[list[float]]]:
    """Draw red cells and one nucleated cell for every kind: pixels, labels and boxes."""
    image = np.full((height, width, 3), (238, 232, 236), np.uint8)
    for _ in range(width * height // 3200):
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(image, at, 30, (222, 182, 178), -1, cv2.LINE_AA)
        cv2.circle(image, at, 11, (232, 205, 202), -1, cv2.LINE_AA)
    labels = np.zeros((height, width), np.uint16)
    boxes = []
    columns = max(1, width // 150)
    for row, kind in enumerate(kinds):
        x = 75 + 150 * (row % columns) + int(rng.integers(-12, 13))
        y = 75 + 150 * (row // columns) + int(rng.integers(-12, 13))
        size = 62 if kind == "promyelocyte" else 48
        angle = float(rng.uniform(0, 180))
        mask = np.zeros((height, width), np.uint8)
        cv2.ellipse(mask, (x, y), (size, size - 8), angle, 0, 360, 1, -1)
        image[mask > 0] = (176, 150, 205) if kind == "promyelocyte" else (188, 196, 222)
        nucleus = (size - 20, size - 27)
        cv2.ellipse(image, (x - 6, y), nucleus, angle, 0, 360, (96, 50, 138), -1, cv2.LINE_AA)
        if kind == "promyelocyte":
            for _ in range(90):
                dot = rng.normal((x, y), size / 2.4)
                if mask[int(np.clip(dot[1], 0, height - 1)), int(np.clip(dot[0], 0, width - 1))]:
                    cv2.circle(image, (int(dot[0]), int(dot[1])), 2, (122, 32, 112), -1)
        labels[mask > 0] = row + 1
        ys, xs = np.nonzero(mask)
        boxes.append([xs.min(), ys.min(), xs.max() + 1.0, ys.max() + 1.0])
    noise = rng.normal(0, 3, image.shape)
    image = np.clip(cv2.GaussianBlur(image, (0, 0), 1.1) + noise, 0, 255).astype(np.uint8)
    return image, labels, boxes


def examined(
    index: int,
    kinds: list[str],
    *,
    first: int = 0,
    source: str | None = None,
    rejected: tuple[Reason, ...] = (),
) -> ExaminedFrame:
    """Give a drawn frame with scores that fit its kinds; what becomes of cells is a kind, too."""
    rng = np.random.default_rng(index)
    pixels, labels, boxes = smear(rng, kinds)
    frame = Frame(
        pixels=pixels,
        index=index,
        captured_ns=index,
        um_per_px=UM_PER_PX,
        source=source if source is not None else f"smear/field_{index:03d}.png",
        digest=f"{index:064x}",
        scale=ScaleOrigin.STATED,
    )
    count = len(kinds)
    roles = {role: rng.uniform(0.01, 0.3, count).astype(np.float32) for role in ROLES}
    status = [CellStatus.SCORED] * count
    for row, kind in enumerate(kinds):
        if kind in roles:
            roles[kind][row] = rng.uniform(0.7, 0.99)
        elif kind in ("failed", "not_examined", "not_needed"):
            status[row] = CellStatus(kind)
            for values in roles.values():
                values[row] = np.nan
    return ExaminedFrame(
        frame=frame,
        detections=Detections(
            frame=frame,
            boxes=np.asarray(boxes, np.float32).reshape(count, 4),
            labels=labels,
            scores=rng.uniform(0.8, 1, count).astype(np.float32),
        ),
        ids=np.arange(first, first + count, dtype=np.int64),
        status=tuple(status),
        roles=roles,
        suspicion=np.maximum(roles["promyelocyte"], roles["auer_rod"]),
        rejected=rejected,
    )


def slide(frames: int, seed: int = 0) -> Iterator[ExaminedFrame]:
    """Draw a slide of some frames with promyelocytes and others; every eighth is rejected."""
    rng = np.random.default_rng(seed)
    first = 0
    for index in range(frames):
        if index % 8 == 5:
            reason = Reason("unfocused", "out of focus (0.02, at least 0.10 is needed)")
            yield examined(index, [], rejected=(reason,))
            continue
        words = ["promyelocyte", "promyelocyte", "myeloblast", "auer_rod", "other", "other"]
        kinds = [str(rng.choice(words)) for _ in range(int(rng.integers(3, 13)))]
        if index == 2:
            kinds[-2:] = ["failed", "not_examined"]
        yield examined(index, kinds, first=first)
        first += len(kinds)


def record(
    frames: list[ExaminedFrame], verdict: str = "FLAG", name: str = "drawn-1", **changes: Any
) -> dict[str, Any]:
    """Give the verdict of drawn frames as plain JSON values, with changes."""
    status = [one for frame in frames for one in frame.status]
    scored = status.count(CellStatus.SCORED)
    counts = []
    for role, threshold in ROLES.items():
        positive = int(sum((frame.roles[role] >= threshold).sum() for frame in frames))
        share = positive / scored if scored else 0.0
        interval = [max(0.0, share - 0.08), min(1.0, share + 0.08)]
        counts.append(
            {
                "role": role,
                "positive": positive,
                "scored": scored,
                "share": share,
                "interval": interval,
            }
        )
    ranked = sorted(
        (-float(value), int(cell))
        for frame in frames
        for value, cell in zip(frame.suspicion, frame.ids, strict=True)
        if np.isfinite(value)
    )
    values = {
        "schema": 1,
        "research_use_only": True,
        "slide": name,
        "verdict": verdict,
        "probability": {"FLAG": 0.97, "REVIEW": 0.52, "CLEAR": 0.04}[verdict] if scored else None,
        "interval": {"FLAG": [0.91, 0.99], "REVIEW": [0.31, 0.74], "CLEAR": [0.01, 0.09]}[verdict]
        if scored
        else None,
        "tally": {
            "seen": len(status),
            "scored": scored,
            "not_examined": status.count(CellStatus.NOT_EXAMINED),
            "failed": status.count(CellStatus.FAILED),
        },
        "reasons": [{"code": verdict.lower(), "text": "the drawn cells were made so"}],
        "counts": counts,
        "evidence": [cell for _, cell in ranked[:12]] if verdict != "CLEAR" else [],
        "frames": [
            {"source": frame.frame.source, "sha256": frame.frame.digest}
            for frame in frames
            if not frame.rejected
        ],
        "timings": {"gate": 0.21, "segment": 1.93, "infer": 0.84},
        "bundle_digest": "b" * 64,
        "engine_digest": "e" * 64,
        "runtime": "onnxruntime 1.31.1 CPUExecutionProvider",
        "errors": [],
    }
    return {**values, **changes}
