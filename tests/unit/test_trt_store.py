"""A build for TensorRT-RTX comes with a plan that cuts cells, which is recorded as all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx")
pytest.importorskip("onnx")
from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.specs import CropSpec, SegmenterSpec
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.calibration.builder.plans import cuts_on_device
from edgeapl.cli.main import run
from edgeapl.engines.registry import Origin, open_chain
from edgeapl.engines.store import local_target
from edgeapl.engines.store.folder import EngineFolder, open_engines
from edgeapl.engines.store.record import CUTTER
from edgeapl.engines.trt.build import build_plan
from edgeapl.engines.trt.crop_network import crop_network, crop_ranges
from edgeapl.engines.trt.library import find_library
from edgeapl.errors import EngineError
from tests.small_bundle import small_bundle

RECIPES = {
    "eckardt2022": (CropSpec(window_um=19.972, size_px=299), 0.0668),
    "manescu2023": (CropSpec(window_um=12.8, size_px=200), 0.064),
    "yan2025": (CropSpec(window_um=25.0, size_px=448, resized_px=550, mask=True), 0.1),
    "apl-cell-mil": (CropSpec(window_um=36.0, size_px=128, resized_px=144), 0.1),
    "boxes": (CropSpec(window_um=20.0, size_px=224, cut="box"), 0.1),
}
"""How the recipes that look for cells cut them, at their own scale."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> EngineFolder:
    folder = tmp_path_factory.mktemp("plans")
    bundle = small_bundle(folder / "bundle")
    # FP32 and FP16 are tried; neither can be timed.
    request = BuildRequest(bundle.folder, None, "tensorrt-rtx", folder / "engines")
    return build_engine(request, lambda stage: None)


@pytest.mark.parametrize("name", RECIPES)
def test_what_cuts_the_cells_of_a_recipe_builds(name: str) -> None:
    spec, um_per_px = RECIPES[name]
    ranges = crop_ranges(spec, um_per_px)
    library = find_library("tensorrt-rtx")
    plan = build_plan(crop_network(spec), name="crop", library=library, ranges=ranges)
    assert plan[:4] == b"vtrt"


def test_the_record_tells_its_digest_and_size(built: EngineFolder) -> None:
    cutter = built.record.cutter
    assert cutter is not None
    assert cutter.file == f"{CUTTER}.plan"
    assert (built.folder / cutter.file).stat().st_size == cutter.size
    assert built.read(CUTTER)[:4] == b"vtrt"
    assert set(built.record.networks) == {"cells", "head"}


def test_what_was_built_without_a_gpu_says_that_the_cpu_alone_proved_it(
    built: EngineFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    if local_target.runs_here("tensorrt-rtx"):
        pytest.skip("a GPU is here")
    record = built.record
    assert record.proof["run_in"] == "onnxruntime"
    assert not record.proven_where_it_runs
    # No more is claimed than a stand-in can show.
    assert record.proof["words"].startswith("proven on the CPU only: a GPU may add halves")
    assert "never" not in record.proof["words"]
    assert record.timing["speed_against_bundle"] is None
    assert set(record.timing["seconds_for_16_cells"]) == {"bundle"}
    assert record.precision == "fp16"
    assert "fp16 tensorrt-rtx is preferred" in record.timing["not_picked"]["fp32 tensorrt-rtx"]
    assert run(["inspect", str(built.folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "clears no slide until edgeapl engines prove ran on its GPU" in shown
    assert "not timed" in shown
    assert "not picked: fp32 tensorrt-rtx" in shown
    scratch = record.plans["cells"].scratch
    assert scratch is not None
    assert run(["engines", "inspect", str(built.folder)]) == 0
    assert "float" in capsys.readouterr().out
    assert run(["engines", "inspect", str(built.folder), "--profile"]) == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_inspect_shows_it(built: EngineFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(built.folder)]) == 0
    assert f"cells are cut on the GPU by {CUTTER}.plan" in capsys.readouterr().out
    assert run(["inspect", str(built.folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["cutter"]["sha256"] == built.record.files[CUTTER].sha256


@pytest.mark.parametrize(
    ("kind", "target", "wanted"),
    [
        ("hsv-watershed", "tensorrt-rtx", True),
        ("hsv-watershed", "tensorrt", True),
        ("hsv-watershed", "onnxruntime", False),
        ("field", "tensorrt-rtx", False),
    ],
)
def test_only_plans_of_bundles_that_look_for_cells_get_one(
    built: EngineFolder, kind: str, target: str, wanted: bool
) -> None:
    manifest = open_bundle(built.folder.parent / "bundle").manifest
    segmenter = SegmenterSpec.model_validate({"kind": kind})
    assert cuts_on_device(manifest.model_copy(update={"segmenter": segmenter}), target) is wanted


def test_one_bit_of_it_keeps_all_from_being_opened(built: EngineFolder, tmp_path: Path) -> None:
    for path in built.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    open_engines(tmp_path)
    plan = bytearray((tmp_path / f"{CUTTER}.plan").read_bytes())
    plan[1000] ^= 1
    (tmp_path / f"{CUTTER}.plan").write_bytes(plan)
    with pytest.raises(EngineError, match="changed since it was built"):
        open_engines(tmp_path)


def test_it_is_never_loaded_for_engines_that_are_no_plans(built: EngineFolder) -> None:
    origin = built.origin(CUTTER)
    assert isinstance(origin, Origin)
    with pytest.raises(EngineError, match="cannot be chained"):
        open_chain("onnxruntime", built.read(CUTTER), (), {}, origin)
