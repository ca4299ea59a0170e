"""Measures all networks of a bundle that eight bits can make faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.inputs import FEWEST_ROUTED, NetworkInputs
from edgeapl.calibration.range_measurement import MeasurementOptions, NetworkRanges, measure
from edgeapl.calibration.ranges import MeasuredRanges
from edgeapl.calibration.tensors import Network
from edgeapl.errors import InputError

Tell = Callable[[str, float], None]
"""Called with the current task, and the share of it that is done, 0 to 1."""


def measure_networks(
    bundle: Bundle, inputs: Mapping[str, NetworkInputs], how: MeasurementOptions, tell: Tell
) -> tuple[MeasuredRanges, dict[str, NetworkRanges]]:
    """Measure every network with a convolution that was shown enough cells.

    The others stay in FP32, with the reason. That costs little: a network that few cells of the set
    reach is reached by few cells at the station.

    Raises InputError when there is nothing to measure, EngineError when a network fails.
    """
    manifest = bundle.manifest
    networks: dict[str, NetworkRanges] = {}
    kept: dict[str, str] = {}
    for name, spec in manifest.networks.items():
        model = bundle.read(spec.file)
        why = _why_kept(manifest, name, model, inputs.get(name))
        if why is not None:
            kept[name] = why
            continue
        task = f"measure {name}"

        def step(done: int, of: int, task: str = task) -> None:
            tell(task, done / of)

        networks[name] = measure(name, model, inputs[name], how, step)
    if not networks:
        each = "; ".join(f"{name}: {why}" for name, why in kept.items())
        raise InputError("no network could be measured", each, "give other slides")
    measured = MeasuredRanges(
        method=how.method,
        percentile=how.percentile,
        images=_images(manifest, inputs, networks),
        networks={name: network.tensors for name, network in networks.items()},
        digests={name: manifest.files[manifest.networks[name].file] for name in networks},
        kept=kept,
    )
    return measured, networks


def _why_kept(
    manifest: Manifest, name: str, model: bytes, shown: NetworkInputs | None
) -> str | None:
    """Return why a network stays in FP32; None if it is measured."""
    if not Network(name, model).has_convolution:
        return "no convolution in it"
    if manifest.segmenter.sam is not None and name in manifest.detector_networks:
        return "it draws outlines, and Segment Anything is not run in eight bits"
    if name in manifest.detector_networks:
        return "images of single cells tell nothing about it" if shown is None else None
    count = 0 if shown is None else len(shown)
    if count < FEWEST_ROUTED:
        return f"{count} cells of the set were shown to it, fewer than {FEWEST_ROUTED}"
    return None


def _images(
    manifest: Manifest, inputs: Mapping[str, NetworkInputs], networks: Mapping[str, NetworkRanges]
) -> int:
    """Return how many of the chosen cells were used: those of the network that used most.

    A network that is shown some of the cells may have used any of them.
    """
    on_cells = [name for name in networks if name not in manifest.detector_networks]
    all_cells = max((len(inputs[name]) for name in on_cells), default=0)
    used = [
        all_cells
        if manifest.networks[name].when is not None and not inputs[name].all_cells
        else networks[name].images
        for name in on_cells
    ]
    return max(used or [network.images for network in networks.values()])
