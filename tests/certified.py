"""A small bundle with a domain, labelled slides for it, and the certificate that they earn."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from edgeapl.bundle.load import Bundle
from edgeapl.certification.certifier import CertifyRequest, certify
from edgeapl.certification.evidence import ExaminationOptions
from edgeapl.certification.limits import Risk
from edgeapl.model import Model
from edgeapl.model.sealer import seal_bundle
from edgeapl.stages.clearance import Clearing
from edgeapl.stages.domain import DomainModel
from edgeapl.types import Certificate, UInt8
from tests.small_bundle import cell_network, drawn_field, head_network, png, settings

PLAIN, SUSPICIOUS = (105, 55, 140), (140, 55, 140)
UM_PER_PX = 0.2


def domain_bundle(folder: Path) -> Bundle:
    """Write the small bundle with a domain that every slide is in; SUSPICIOUS nuclei speak for APL.

    A slide of 48 PLAIN cells is cleared by its rule.
    """
    weights, bias = np.zeros((3, 3)), np.full(3, -8.0)
    weights[0, 0], bias[0] = 200, -200 * 0.48
    domain = io.BytesIO()
    DomainModel({}).save(domain)
    files = {
        "cells.onnx": cell_network(np.asarray(weights, np.float32), np.asarray(bias, np.float32)),
        "head.onnx": head_network((12, 0, 0), bias=-4),
        "MODEL_CARD.md": b"# certified\nFor tests.\n",
        "domain.npz": domain.getvalue(),
    }
    made = settings(domain={"file": "domain.npz"}, limits={"max_verdict_changes": 0.0})
    return seal_bundle(folder, made, files, png(drawn_field()))


@cache
def _field_png(seed: int, nucleus: tuple[int, int, int]) -> bytes:
    return png(field(seed, nucleus))


def field(seed: int, nucleus: tuple[int, int, int] = PLAIN) -> UInt8:
    """Draw 48 cells in a field of 800 x 600 px; each seed has its own noise and a little colour."""
    tile = drawn_field([(52, 52), (148, 52), (52, 148), (148, 148)], nucleus)
    rng = np.random.default_rng(seed)
    pixels = np.tile(tile, (4, 3, 1)).astype(np.float64)
    pixels += rng.normal(0, 2, 3) + rng.normal(0, 2, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_slide(folder: Path, seed: int, nucleus: tuple[int, int, int] = PLAIN) -> None:
    """Write a slide of one field, 48 cells."""
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(_field_png(seed, nucleus))


def write_evidence(
    folder: Path, positives: int, others: int, cleared: int = 0
) -> tuple[Path, Path]:
    """Write slides and labels; the first `cleared` positive ones look harmless."""
    rows = ["slide,label"]
    for number in range(positives + others):
        apl = number < positives
        name = f"s{number:03d}"
        harmless = not apl or number < cleared
        write_slide(folder / "slides" / name, number, PLAIN if harmless else SUSPICIOUS)
        rows.append(f"{name},{'APL' if apl else 'AML'}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    return folder / "slides", labels


def proven(model: Model) -> Model:
    """Give a model with a made-up certificate, for tests of what comes before it."""
    made_up = Certificate("c" * 64, "APL", 0.5, 0.05, 0.95, 59, 0, 0.0495)
    return replace(model, clearing=Clearing(made_up, DomainModel({})))


def certified_bundle(bundle: Path, evidence: Path, out: Path, alpha: float = 0.3) -> Bundle:
    """Let a bundle earn a certificate; with alpha 0.3 nine positive slides are enough."""
    slides, labels = write_evidence(evidence, positives=9, others=3)
    request = CertifyRequest(
        bundle,
        slides,
        labels,
        how=ExaminationOptions(um_per_px=UM_PER_PX),
        risk=Risk(alpha),
        out=out,
    )
    return certify(request, lambda text, share: None).bundle
