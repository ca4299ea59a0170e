"""The bundle of a student: its network in place of its parent's, and all else as it was."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.write import write_bundle
from edgeapl.calibration.calibrator import CalibrateRequest, calibrate
from edgeapl.certification.seen_images import read_training
from edgeapl.cores import cpu_cores
from edgeapl.distillation.request import DistillRequest, Say
from edgeapl.export.student_file import INPUT
from edgeapl.export.trained_on import FILE as TRAINING_SET
from edgeapl.export.trained_on import digests_document
from edgeapl.model.isolation import call_isolated
from edgeapl.model.sealer import seal_bundle
from edgeapl.model.trial import limit_of
from edgeapl.stages.cascade import student_output
from edgeapl.stages.domain import DomainModel

NETWORK = "student"

NOT_TAKEN = frozenset(
    {
        *("schema_version", "files", "networks", "golden"),
        *("certificate", "calibration", "training", "parent"),
        *("features", "explanation", "domain", "cascade"),
    }
)
"""Parts of a parent's manifest that are about its own networks."""


def student_parts(
    parent: Bundle, model: bytes, seen: frozenset[str]
) -> tuple[dict[str, Any], dict[str, bytes | Path]]:
    """Return the settings and files of a student's bundle, still without its proof.

    Parameters
    ----------
    model : its ONNX file. seen : SHA-256 (hex) of the images that it was taught on.
    """
    manifest = parent.manifest
    settings, files = common_parts(parent, seen)
    settings["name"] = f"{manifest.name.removesuffix('-student')[:56]}-student"
    settings["intended_use"] = f"In place of {manifest.name}, faster. {manifest.intended_use}"
    # One view: it was taught the mean of its parent's answers to all.
    settings["crop"].pop("views", None)
    settings["networks"] |= {
        NETWORK: {"file": f"{NETWORK}.onnx", "input": INPUT, "classes": _classes(manifest)}
    }
    settings["roles"] = [
        {**role, "network": NETWORK, "output": student_output(role["network"], role["output"])}
        for role in settings["roles"]
    ]
    files[f"{NETWORK}.onnx"] = model
    files[manifest.model_card] = _card(parent).encode()
    return settings, files


def common_parts(
    parent: Bundle, seen: frozenset[str]
) -> tuple[dict[str, Any], dict[str, bytes | Path]]:
    """Return what finds and judges slides as the parent does, and is no network of cells."""
    manifest = parent.manifest
    settings = manifest.model_dump(mode="json", exclude=set(NOT_TAKEN), exclude_none=True)
    settings["golden"] = manifest.golden.model_dump(mode="json")
    kept = {*manifest.detector_networks, manifest.reducer.head} - {None}
    settings["networks"] = {
        name: network.model_dump(mode="json", exclude_none=True)
        for name, network in manifest.networks.items()
        if name in kept
    }
    files: dict[str, bytes | Path] = {
        network["file"]: parent.folder / network["file"]
        for network in settings["networks"].values()
    }
    if manifest.explanation is not None and manifest.explanation.kind == "occlusion":
        settings["explanation"] = manifest.explanation.model_dump(mode="json")
    if manifest.domain is not None:
        settings["domain"] = manifest.domain.model_dump(mode="json")
        files[manifest.domain.file] = without_features(parent.read(manifest.domain.file))
    before = read_training(parent)
    settings["training"] = {"images": TRAINING_SET}
    files[TRAINING_SET] = digests_document(before.images | seen, complete=before.is_known)
    return settings, files


def without_features(look: bytes) -> bytes:
    """Return a look of slides without that of the parent's features, which a student has not."""
    file = io.BytesIO()
    DomainModel.load(io.BytesIO(look)).without("features").save(file)
    return file.getvalue()


def sealed(
    parent: Bundle,
    settings: Mapping[str, Any],
    files: Mapping[str, bytes | Path],
    request: DistillRequest,
    folder: Path,
    say: Say,
) -> Bundle:
    """Write a bundle with golden answers of its own, and calibrate it on the laboratory's slides.

    Its ranges are measured now, as to calibrate it later would cost it an inherited certificate.

    Parameters
    ----------
    folder : empty, for it. Runs in another process first: a new network may hang or crash.

    Raises EngineError when its networks do, InputError when the slides are unfit.
    """
    golden = parent.read(parent.manifest.golden.frame)
    limit_s = 2 * limit_of(settings["segmenter"]["kind"], settings["crop"].get("views", 1))
    made = folder / "made"
    call_isolated(seal_bundle, made, settings, files, golden, folder=made, limit_s=limit_s)
    calibrating = CalibrateRequest(
        bundle=made,
        frames=request.frames,
        crops=request.crops,
        leave_out_unusable=True,
        um_per_px=request.um_per_px,
        out=folder / "calibrated",
        threads=cpu_cores(),
    )
    calibrate(calibrating, lambda text, _: say(text))
    calibrated = open_bundle(folder / "calibrated")
    return calibrated if parent.manifest.domain is None else _looking_as(made, calibrated, folder)


def _looking_as(made: Path, calibrated: Bundle, folder: Path) -> Bundle:
    """Return the calibrated bundle with the gate and the look of slides that it had before.

    Those are the parent's: which slides suit the cells' networks was proven of the parent.
    """
    before, after = open_bundle(made).manifest, calibrated.manifest
    assert before.domain is not None
    settings = after.model_dump(mode="json", exclude={"schema_version", "files"}, exclude_none=True)
    for part in ("gate", "domain"):
        settings[part] = before.model_dump(mode="json", exclude_none=True)[part]
    files: dict[str, bytes | Path] = {name: calibrated.folder / name for name in after.files}
    if after.domain is not None:
        del files[after.domain.file]
    files[before.domain.file] = made / before.domain.file
    return write_bundle(folder / "looking", settings, files)


def _classes(manifest: Manifest) -> list[str]:
    """Return the student's exclusive classes: those of the parent's only network that has some."""
    with_classes = [name for name in manifest.cell_networks if manifest.networks[name].classes]
    if len(with_classes) != 1:
        return []
    (name,) = with_classes
    return [student_output(name, one) for one in manifest.networks[name].classes]


def _card(parent: Bundle) -> str:
    manifest = parent.manifest
    return f"""# Student of {manifest.name} {manifest.version}

One small network that was taught the answers of the bundle {parent.digest} on unlabelled cells. How
far it answers alike, on slides that it did not learn from, is in this bundle: see `parent` in
bundle.toml. Whatever its parent gets wrong it gets wrong too.

Research use only. Not for diagnosis.
"""
