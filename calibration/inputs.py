"""The real inputs of every network: what the pipeline shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.engines.exclusive import ExclusiveEngines, Opener
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from edgeapl.inference import InferenceResult, classify
from edgeapl.model.assembled import segmenter_of
from edgeapl.protocols import Arrays, Engine
from edgeapl.types import Frame, UInt8

MOST_ROWS = 1024
"""Rows per network. A detector's box head is shown hundreds of boxes in every frame."""

FEWEST_ROUTED = 8
"""Fewest cells that say something about a network's ranges."""


CELLS_AT_ONCE = 4
"""Cells per run of a network: on a CPU more are no faster, and 32 of 299 px need 1.5 GB."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInputs:
    """What one network was shown, on disk.

    input : name of its input. rows : in the order of the cells.
    all_cells : the network was given all cells because too few were routed to it.
    """

    input: str
    rows: DiskArray
    all_cells: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Arrays]:
        """Yield the rows from `start` to `stop`, at most `size` at a time, for `Engine.run`."""
        for rows in self.rows.batches(size, start, stop):
            yield {self.input: rows}


def fp32_opener(bundle: Bundle, threads: int = 1) -> Opener:
    """Return an opener of a bundle's own networks."""

    def open_one(name: str) -> Engine:
        model = bundle.read(bundle.manifest.networks[name].file)
        return open_engine("onnxruntime", name, model, threads=threads)

    return open_one


def network_inputs(
    manifest: Manifest,
    opener: Opener,
    crops: Iterable[UInt8],
    frames: Iterable[Frame],
    folder: Path,
) -> dict[str, NetworkInputs]:
    """Run cells and frames through the FP32 networks and keep what each was shown.

    Parameters
    ----------
    manifest : routes the cells as at the station.
    opener : opens the networks, e.g. `fp32_opener`; one at a time is open.
    crops : batches uint8 (N, size, size, 3) RGB; one batch is in memory at a time.
    frames : shown to the detector, if the bundle has one.
    folder : an empty folder for files of rows, which belong to the caller.

    Returns the networks that were shown anything, with at most `MOST_ROWS` rows each. An untrained
    bundle routes cells at random: then an image network that was shown fewer than `FEWEST_ROUTED`
    of them is given all. Raises EngineError when a network fails or gives no numbers.
    """
    shown = {
        name: NetworkInputs(spec.input, DiskArray(folder / f"{name}.rows"))
        for name, spec in manifest.networks.items()
    }
    cells = DiskArray(folder / "cells.rows")

    def keep(name: str, inputs: Arrays, _: Arrays) -> None:
        (rows,) = inputs.values()
        _append(shown[name].rows, rows)

    # A cascade's networks are measured on what each would see alone.
    first = manifest.cascade.network if manifest.cascade else None
    manifest = manifest.model_copy(update={"cascade": None})
    with ExclusiveEngines(tuple(manifest.networks), opener, keep) as engines:
        if manifest.segmenter.detector is not None:
            segmenter = segmenter_of(manifest, engines)
            for frame in frames:
                segmenter.segment(frame)
        for batch in crops:
            result = classified(manifest, engines, batch)
            if len(result.failed):
                raise unusable(len(result.failed), len(batch))
            for start in range(0, len(batch) if first else 0, CELLS_AT_ONCE):
                assert first is not None
                some = np.ascontiguousarray(batch[start : start + CELLS_AT_ONCE])
                engines[first].run({manifest.networks[first].input: some})
            if not manifest.trained:
                _append(cells, batch)
    if not manifest.trained:
        _give_all(manifest, shown, cells)
    return {name: inputs for name, inputs in shown.items() if len(inputs)}


def _append(spool: DiskArray, rows: np.ndarray) -> None:
    missing = MOST_ROWS - len(spool)
    if missing > 0:
        spool.append(rows[:missing])


def classified(manifest: Manifest, engines: Mapping[str, Engine], crops: UInt8) -> InferenceResult:
    """Run all networks on some cells, a few at a time, network after network.

    Parameters
    ----------
    crops : uint8 (N, size, size, 3) RGB. Rows number the cells.

    Raises EngineError when a network fails.
    """
    return classify(manifest, engines, crops, CELLS_AT_ONCE).checked()


def unusable(failed: int, cells: int) -> EngineError:
    """Return the error for cells that the FP32 networks themselves cannot judge."""
    return EngineError(
        "networks gave no usable answer", f"{failed} of {cells} cells", "export the bundle again"
    )


def _give_all(manifest: Manifest, shown: dict[str, NetworkInputs], cells: DiskArray) -> None:
    for name, spec in manifest.networks.items():
        if spec.when is not None and spec.after is None and len(shown[name]) < FEWEST_ROUTED:
            shown[name] = NetworkInputs(spec.input, cells, all_cells=True)
