"""Engines in fewer bits may clear only what they were tried on, slide by slide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.certification.evidence import ExaminationOptions
from edgeapl.certification.inheritance import inherit, needs_trial
from edgeapl.engines.store.folder import EngineFolder, open_engines, write_engines
from edgeapl.engines.store.record import BuiltNetwork
from edgeapl.errors import InputError, UsageError
from edgeapl.journal import Journal
from edgeapl.model import ModelRequest, open_model
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from tests.certified import UM_PER_PX, certified_bundle, domain_bundle, write_slide
from tests.small_bundle import cell_network
from tests.unit.test_engine_store import record

HOW = ExaminationOptions(um_per_px=UM_PER_PX)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("certified")
    domain_bundle(folder / "bare")
    return certified_bundle(folder / "bare", folder / "evidence", folder / "bundle")


@pytest.fixture(scope="module")
def evidence(certified: Bundle) -> Path:
    return certified.folder.parent / "evidence" / "slides"


def engines(
    bundle: Bundle, folder: Path, cells: bytes | None = None, **changes: Any
) -> EngineFolder:
    """Give engines that are the bundle's own networks, and say that they are in eight bits."""
    data = {"cells": cells or bundle.read("cells.onnx"), "head": bundle.read("head.onnx")}
    files, networks = {}, {}
    for name, content in data.items():
        files[f"{name}.onnx"] = folder / f"made-{name}.onnx"
        files[f"{name}.onnx"].write_bytes(content)
        networks[name] = BuiltNetwork(
            file=f"{name}.onnx", sha256=sha256(content), size=len(content), precision="int8"
        )
    given = {"bundle": bundle.digest, "precision": "int8", "networks": networks, **changes}
    return write_engines(folder / "engines", record(b"-", **given), files)


def verdict(bundle: Bundle, built: EngineFolder, tmp_path: Path, name: str) -> tuple[str, set[str]]:
    write_slide(tmp_path / name, 600)
    with (
        open_model(ModelRequest(bundle.folder, engines=built)) as model,
        Journal.open(tmp_path / f"{name}.db") as journal,
    ):
        request = ScoreRequest(tmp_path / name, tmp_path / f"{name}-out", um_per_px=UM_PER_PX)
        (one,) = score_folder(request, model, journal, ScoreListener()).records
    return one["verdict"], {reason["code"] for reason in one["reasons"]}


def tried(bundle: Bundle, built: EngineFolder, slides: Path) -> EngineFolder:
    done = inherit(bundle.folder, built, slides, HOW, lambda done, of: None)
    assert not done.otherwise
    return done.engines


def test_engines_that_judge_all_slides_alike_inherit_the_certificate(
    certified: Bundle, evidence: Path, tmp_path: Path
) -> None:
    built = engines(certified, tmp_path)
    assert needs_trial(certified, built)
    before = verdict(certified, built, tmp_path, "before")
    assert before[0] == "REVIEW"
    assert "certificate_engines" in before[1]
    inherited = tried(certified, built, evidence)
    assert not needs_trial(certified, inherited)
    assert (
        open_engines(built.folder).record.certificate
        == certified.manifest.files["certificate.json"]
    )
    assert verdict(certified, inherited, tmp_path, "after")[0] == "CLEAR"


def test_engines_in_fp32_are_what_was_proven(certified: Bundle, tmp_path: Path) -> None:
    built = engines(certified, tmp_path, precision="fp32")
    assert not needs_trial(certified, built)
    assert verdict(certified, built, tmp_path, "slide")[0] == "CLEAR"


def test_engines_that_judge_slides_otherwise_inherit_nothing(
    certified: Bundle, evidence: Path, tmp_path: Path
) -> None:
    weights, bias = np.zeros((3, 3)), np.full(3, -8.0)
    weights[0, 0], bias[0] = 200, -200 * 0.7  # nothing is red enough
    other = cell_network(np.asarray(weights, np.float32), np.asarray(bias, np.float32))
    built = engines(certified, tmp_path, other)
    with pytest.MonkeyPatch.context() as patch:
        # These engines fail the bundle's self-test, and the trial must notice on its own.
        patch.setattr("edgeapl.model.opener.self_test", lambda model, tolerance: None)
        done = inherit(certified.folder, built, evidence, HOW, lambda done, of: None)
    assert done.otherwise
    assert done.engines.record.certificate is None


def test_slides_that_chose_the_layers_prove_nothing(
    certified: Bundle, evidence: Path, tmp_path: Path
) -> None:
    (image, *_) = sorted((evidence / "s002").iterdir())
    built = engines(certified, tmp_path, layers_chosen_on=(sha256(image.read_bytes()),))
    with pytest.raises(UsageError, match=r"layers of these engines were chosen on 1 slide.*s002"):
        inherit(certified.folder, built, evidence, HOW, lambda done, of: None)


def test_all_slides_of_the_certificate_must_be_there(certified: Bundle, tmp_path: Path) -> None:
    write_slide(tmp_path / "others" / "s000", 700)
    built = engines(certified, tmp_path)
    with pytest.raises(InputError, match="12 of 12 slides of the certificate are not there"):
        inherit(certified.folder, built, tmp_path / "others", HOW, lambda done, of: None)


def test_there_is_nothing_to_inherit_without_a_certificate(
    certified: Bundle, evidence: Path, tmp_path: Path
) -> None:
    bare = open_bundle(certified.folder.parent / "bare")
    built = engines(bare, tmp_path)
    assert not needs_trial(bare, built)
    with pytest.raises(UsageError, match="no certificate to inherit"):
        inherit(bare.folder, built, evidence, HOW, lambda done, of: None)
