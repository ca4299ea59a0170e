"""Ask the cell networks about a batch of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from edgeapl.types import CellScores, Float32, Int64, UInt8


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """Answers for one batch.

    scores : rows of the cells that got a usable answer.
    failed : int64 (F,), numbers of the cells whose answer was not a number from 0 to 1.
    """

    scores: CellScores
    failed: Int64


def classify(
    manifest: Manifest, engines: Mapping[str, Engine], ids: Int64, crops: UInt8
) -> Classified:
    """Run every cell network once on a batch.

    Parameters
    ----------
    manifest : names roles, networks and the feature output (``network.output``).
    engines : network name to engine.
    ids : int64 (N,), numbers of the cells within the slide; N is at least 1.
    crops : uint8 (N, size, size, 3) RGB.

    Raises EngineError when a run fails or an output has the wrong name or shape. A cell with a
    non-finite answer is not an error of the run: it is reported as failed.
    """
    answers = {
        name: engines[name].run({manifest.networks[name].input: crops})
        for name in cell_networks(manifest)
    }
    count = len(ids)
    roles = {
        role.name: _column(answers, role.network, role.output, count) for role in manifest.roles
    }
    features = _features(manifest, answers, count)
    usable = np.isfinite(features).all(axis=1)
    for values in roles.values():
        usable &= (values >= 0) & (values <= 1)  # NaN fails both
    scores = CellScores(
        ids=ids[usable],
        roles={name: values[usable] for name, values in roles.items()},
        features=features[usable],
    )
    return Classified(scores=scores, failed=ids[~usable])


def cell_networks(manifest: Manifest) -> tuple[str, ...]:
    """Names of the networks that look at cells, each once, in the order of the roles."""
    names = [role.network for role in manifest.roles]
    if manifest.features is not None:
        names.append(manifest.features.partition(".")[0])
    return tuple(dict.fromkeys(names))


def _features(
    manifest: Manifest, answers: Mapping[str, Mapping[str, NDArray[np.generic]]], count: int
) -> Float32:
    if manifest.features is None:
        return np.empty((count, 0), dtype=np.float32)
    network, _, output = manifest.features.partition(".")
    values = _output(answers, network, output)
    if values.ndim != 2 or len(values) != count:
        raise EngineError(
            "network output has the wrong shape",
            manifest.features,
            f"expected ({count}, any), got {values.shape}",
        )
    return np.asarray(values, dtype=np.float32)


def _column(
    answers: Mapping[str, Mapping[str, NDArray[np.generic]]], network: str, output: str, count: int
) -> Float32:
    values = _output(answers, network, output)
    if values.shape not in ((count,), (count, 1)):
        raise EngineError(
            "network output has the wrong shape",
            f"{network}.{output}",
            f"expected ({count},), got {values.shape}",
        )
    return np.asarray(values, dtype=np.float32).reshape(count)


def _output(
    answers: Mapping[str, Mapping[str, NDArray[np.generic]]], network: str, output: str
) -> NDArray[np.generic]:
    if output not in answers[network]:
        raise EngineError(
            "network has no such output",
            f"{network}.{output}",
            f"it has {sorted(answers[network])}",
        )
    return answers[network][output]
