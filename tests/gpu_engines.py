"""Engines for the fake GPU, written as `build-engine` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import open_bundle
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.engines.store.machine import machine_id
from edgeapl.engines.store.record import CUTTER, BuiltFor, BuiltNetwork, EngineRecord
from edgeapl.engines.trt.crop_network import crop_network
from tests.fake_tensorrt import FakeTensorRt


def write_plans(folder: Path, to: Path, fake: FakeTensorRt, *, cutter: bool = True) -> EngineFolder:
    """Write what `build-engine` writes; what the fake takes for a plan is an ONNX file."""
    bundle = open_bundle(folder / "bundle")
    plans = {name: bundle.read(one.file) for name, one in bundle.manifest.networks.items()}
    plans[CUTTER] = crop_network(bundle.manifest.crop)
    built = {name: built_of(name, plan) for name, plan in plans.items()}
    files = {}
    for name, plan in plans.items():
        if name != CUTTER or cutter:
            files[f"{name}.plan"] = folder / name
            files[f"{name}.plan"].write_bytes(plan)
    cut = built.pop(CUTTER)
    place = fake.place
    record: dict[str, Any] = {
        "schema": 1,
        "research_use_only": True,
        "bundle": bundle.digest,
        "bundle_name": "small",
        "precision": "fp32",
        "target": "tensorrt",
        "built_for": BuiltFor(
            library=place.library,
            version=place.version,
            device=place.device,
            capability=place.compute_capability,
            machine=machine_id(),
        ),
        "software": "edgeapl test",
        "built_at": "2026-01-01T00:00:00+00:00",
        "networks": built,
        "cutter": cut if cutter else None,
        "settings": {"threads": 1, "batch_size": 4},
        "proof": {},
        "timing": {},
    }
    return write_engines(to, EngineRecord.model_validate(record), files)


def built_of(name: str, plan: bytes) -> BuiltNetwork:
    return BuiltNetwork(file=f"{name}.plan", sha256=sha256(plan), size=len(plan), precision="fp32")
