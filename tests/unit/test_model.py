"""A bundle opens for use only when it gives its golden answers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.errors import EngineError, ModelError
from edgeapl.model import open_model
from edgeapl.model.resolution import RUN_CELLS, RUN_PIXELS, own_batch_size
from tests.small_bundle import cell_network, drawn_field, png, settings, small_bundle


def rewritten(folder: Path, **files: bytes) -> Path:
    """Write the small bundle again with other files, under correct digests."""
    bundle = small_bundle(folder)
    content = {name: bundle.read(name) for name in bundle.manifest.files}
    content |= {name.replace("_", "."): data for name, data in files.items()}
    return write_bundle(folder, settings(), content).folder


def test_a_bundle_passes_its_own_self_test(tmp_path: Path) -> None:
    small_bundle(tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        assert model.bundle.digest == open_bundle(tmp_path / "b").digest
        assert "onnxruntime" in model.runtime


@pytest.mark.parametrize("side", [16, 64, 96, 128, 200, 224, 299, 448, 1024])
def test_a_run_takes_as_many_cells_as_keep_its_pixels_few(side: int) -> None:
    cells = own_batch_size(side)
    assert 1 <= cells <= RUN_CELLS
    assert cells == 1 or cells * side**2 <= RUN_PIXELS
    assert cells == RUN_CELLS or (cells + 1) * side**2 > RUN_PIXELS


def test_a_bundle_without_engines_runs_as_many_cells_as_suit_its_pictures(tmp_path: Path) -> None:
    small_bundle(tmp_path / "b")
    with open_model(tmp_path / "b") as model:
        assert model.batch_size == own_batch_size(model.bundle.manifest.crop.size_px)


def test_other_networks_fail_the_self_test(tmp_path: Path) -> None:
    other = cell_network(bias=np.full(3, -9, np.float32))
    with pytest.raises(EngineError, match="self-test failed"):
        open_model(rewritten(tmp_path / "b", cells_onnx=other))


def test_a_network_without_numbers_fails_the_self_test(tmp_path: Path) -> None:
    blind = cell_network(weights=np.full((3, 3), np.nan, np.float32))
    with pytest.raises(EngineError, match="no usable score"):
        open_model(rewritten(tmp_path / "b", cells_onnx=blind))


def test_a_golden_frame_with_other_cells_fails_the_self_test(tmp_path: Path) -> None:
    moved = png(drawn_field(((60, 60), (150, 60))))
    with pytest.raises(EngineError, match="self-test failed"):
        open_model(rewritten(tmp_path / "b", golden_png=moved))


@pytest.mark.parametrize("name", ["cells_onnx", "golden_png", "golden_npz"])
def test_files_that_are_not_what_they_should_be_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError):
        open_model(rewritten(tmp_path / "b", **{name: b"nonsense"}))


def test_golden_answers_with_executable_content_are_not_loaded(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, centres=np.array([object()], dtype=object))
    with pytest.raises(ModelError, match="cannot be read"):
        open_model(rewritten(tmp_path / "b", golden_npz=file.getvalue()))
