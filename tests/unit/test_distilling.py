"""One small network stands in for a bundle's, where it is proven to answer alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.certification.seen_images import seen_images
from edgeapl.errors import BundleError, EdgeAplError, InputError, ProofError, UsageError
from edgeapl.inference import classify
from edgeapl.journal import Journal
from edgeapl.model import ModelRequest, open_model
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.sources.digests import image_digests
from edgeapl.stages.cascade import Decisions
from tests.cascades import cascade_bundle as cascade_bundle_of
from tests.certified import (
    PLAIN,
    SUSPICIOUS,
    UM_PER_PX,
    certified_bundle,
    domain_bundle,
    write_slide,
)
from tests.distilling import cell, two_stages, write_cells
from tests.small_bundle import ROLES, pooled_network, small_bundle

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxslim")

from edgeapl.distillation import answered_cells, cascade_bundle, distiller
from edgeapl.distillation.distiller import Distilled, distil
from edgeapl.distillation.request import SETTINGS, DistillRequest
from edgeapl.export.architectures.student import Head, Student
from edgeapl.export.student_file import student_bytes
from edgeapl.export.training.device import Device
from edgeapl.export.training.loop import Epoch

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


class Quiet:
    def stepped(self, epoch: int, step: int, steps: int) -> None:
        pass

    def ended(self, number: int, epoch: Epoch) -> None:
        pass


def request(folder: Path, **changes: Any) -> DistillRequest:
    given = {
        "bundle": folder / "parent",
        "frames": folder / "slides",
        "out": folder / "student",
        "device": Device(threads=1),
        "crops": True,
        "um_per_px": 0.2,
        "side": 32,
        "most_cells": 400,
        "settings": replace(SETTINGS, epochs=3, batch=16),
        **changes,
    }
    return DistillRequest(**given)


def run(wanted: DistillRequest) -> Distilled:
    return distil(wanted, lambda text: None, Quiet())[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Distilled]:
    """A parent, and a student that was taught and proven."""
    folder = tmp_path_factory.mktemp("distilled")
    two_stages(folder / "parent")
    write_cells(folder / "slides", SHARES)
    return folder, run(request(folder))


def test_the_student_knows_its_parent_and_what_was_compared(
    made: tuple[Path, Distilled],
) -> None:
    folder, done = made
    parent, manifest = open_bundle(folder / "parent"), done.bundle.manifest
    assert manifest.parent is not None
    assert manifest.parent.digest == parent.digest
    assert set(manifest.networks) == {"student"}
    document = json.loads(done.bundle.read(manifest.parent.proof))
    proof, slides = document["proof"], document["slides"]
    assert proof["passed"]
    assert proof["flip_rate"] <= parent.manifest.limits.max_flip_rate
    assert set(proof["recall"]) >= {"apl", "malignant", "first.benign", "second.apl"}
    assert [one["slide"] for one in proof["slides"]] == slides["proven_on"]
    assert not set(slides["proven_on"]) & {*slides["learned_from"], *slides["doubts_measured_on"]}


def test_it_gives_no_answer_where_its_parent_would_not_ask(
    made: tuple[Path, Distilled],
) -> None:
    folder, done = made
    random = np.random.default_rng(7)
    cells = np.stack([cell(one, random)[::2, ::2] for one in ("red", "green", "blue")])
    scores = []
    for bundle in (folder / "parent", done.bundle.folder):
        with open_model(bundle) as model:
            scores.append(classify(model.bundle.manifest, model.engines, cells).checked().scores)
    before, after = scores
    for role in ("malignant", "apl"):
        assert ((before.roles[role] >= 0.5) == (after.roles[role] >= 0.5)).all()
    assert before.roles["apl"][2] == after.roles["apl"][2] == 0.0  # blue cells are benign


def test_what_taught_it_proves_nothing_later(made: tuple[Path, Distilled]) -> None:
    folder, done = made
    seen = seen_images(done.bundle)
    assert not seen.training_known, "its parent does not say what it was trained on"
    document = json.loads(done.bundle.read("distillation.json"))
    taught = {digest for digest, what in seen.used_for.items() if what == "training"}
    for name in (*document["slides"]["learned_from"], *document["slides"]["doubts_measured_on"]):
        for file in (folder / "slides" / name).iterdir():
            assert set(image_digests(file)) <= taught
    for name in document["slides"]["proven_on"]:
        for file in (folder / "slides" / name).iterdir():
            assert not set(image_digests(file)) & taught


def test_a_head_is_shown_what_its_parents_network_is_shown() -> None:
    torch = pytest.importorskip("torch")
    heads = (
        Head("first", ("a", "b"), ()),
        Head("second", ("c", "d"), ("e",), when=("first", "b")),
        Head("third", (), ("f",), after="second"),
    )
    student = Student(heads, 32, 32).eval()
    assert sum(each.numel() for each in student.parameters()) < 1_000_000
    logits = [torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 3), torch.zeros(2, 1)]
    first, second, third = student.probabilities(logits)
    assert torch.allclose(first.sum(1), torch.ones(2))
    assert second.tolist() == [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    assert third.tolist() == [[0.0], [0.5]]


def test_a_network_may_be_named_as_the_students_input_is() -> None:
    student = Student((Head("cells", (), ("a",)),), 32, 32).eval()
    made = onnx.load_model_from_string(student_bytes(student, "student", 32))
    assert [one.name for one in made.graph.input] == ["cells"]
    assert "cells-a" in {one.name for one in made.graph.output}


def few_slides(folder: Path) -> DistillRequest:
    two_stages(folder / "parent")
    return request(folder, frames=write_cells(folder / "few", SHARES[:4], cells=3))


def untrained(folder: Path) -> DistillRequest:
    two_stages(folder / "parent", trained=False)
    return request(folder)


def pooled(folder: Path) -> DistillRequest:
    rule = {"flag_at": 0.5, "clear_below": 0.1, "min_scored": 2, "max_lost_share": 0.1}
    mean = {"kind": "mean", "head": "head", "head_outputs": ["apl"]}
    small_bundle(folder / "parent", reducer=mean, rule=rule)
    return request(folder)


def no_certificate(folder: Path) -> DistillRequest:
    two_stages(folder / "parent")
    slides = write_cells(folder / "slides", SHARES, cells=2)
    return request(folder, evidence=slides)


def nothing_asked(folder: Path) -> DistillRequest:
    two_stages(folder / "parent")
    return request(folder, out=None)


def one_folder(folder: Path) -> DistillRequest:
    two_stages(folder / "parent")
    return request(folder, cascade=folder / "student")


def of_a_cascade(folder: Path) -> DistillRequest:
    made = cascade_bundle_of(folder / "parent")
    return request(folder, bundle=made.folder)


def no_bundle_there(folder: Path) -> DistillRequest:
    two_stages(folder / "parent")
    (folder / "student").mkdir()
    return request(folder)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (few_slides, InputError, "too few slides to prove a student on: 4"),
        (untrained, BundleError, "never trained"),
        (pooled, BundleError, "pooled features"),
        (no_certificate, UsageError, "no certificate to inherit"),
        (nothing_asked, UsageError, "no bundle is asked for"),
        (one_folder, UsageError, "one folder for two bundles"),
        (of_a_cascade, BundleError, "distil its parent"),
        (no_bundle_there, UsageError, "folder is not a bundle"),
    ],
)
def test_what_cannot_be_distilled_is_refused_before_the_parent_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Path], DistillRequest],
    error: type[EdgeAplError],
    says: str,
) -> None:
    monkeypatch.setattr(answered_cells, "gather_cells", None)
    with pytest.raises(error, match=says):
        run(wrong(tmp_path))


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that has earned a certificate, and slides beside those of its evidence."""
    folder = tmp_path_factory.mktemp("certified")
    domain_bundle(folder / "bare")
    for seed in range(6):
        write_slide(folder / "slides" / f"own{seed}", 700 + seed)
    return certified_bundle(folder / "bare", folder / "evidence", folder / "parent")


def taught(monkeypatch: pytest.MonkeyPatch, *, blind: bool) -> None:
    """Put a network with the parent's answers, or none, in the place of the one that was taught."""
    weights, bias = np.zeros((3, 3), np.float32), np.full(3, -8.0, np.float32)
    if not blind:  # as in `domain_bundle`
        weights[0, 0], bias[0] = 200, -200 * 0.48
    before = [
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["same"]),
        helper.make_node("ReduceMean", ["same", "axes"], ["features"], keepdims=0),
    ]
    kernel = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    values = {"kernel": kernel, "axes": np.array([2, 3]), "weights": weights, "bias": bias}
    renamed = onnx.load_model_from_string(pooled_network(before, values))
    for node in renamed.graph.node:
        node.output[:] = [f"cells-{one}" if one in ROLES else one for one in node.output]
    del renamed.graph.output[:]
    renamed.graph.output.extend(
        helper.make_tensor_value_info(f"cells-{one}", TensorProto.FLOAT, ["n"]) for one in ROLES
    )
    monkeypatch.setattr(distiller, "teach", lambda *_: (None, ()))
    monkeypatch.setattr(distiller, "student_bytes", lambda *_: renamed.SerializeToString())


def of_certified(parent: Bundle, out: Path) -> DistillRequest:
    folder = parent.folder.parent
    evidence = folder / "evidence" / "slides"
    return request(folder, out=out, crops=False, um_per_px=UM_PER_PX, evidence=evidence)


def test_beyond_the_limits_nothing_is_written_and_nothing_is_lost(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, nucleus in enumerate([PLAIN, PLAIN, SUSPICIOUS, SUSPICIOUS, SUSPICIOUS]):
        write_slide(tmp_path / "slides" / f"s{number}", 800 + number, nucleus)
    wanted = replace(
        of_certified(certified, tmp_path / "student"), frames=tmp_path / "slides", evidence=None
    )
    taught(monkeypatch, blind=True)
    with pytest.raises(ProofError, match=r"cells flip .*student\.work") as refused:
        run(wanted)
    assert refused.value.exit_code == 1
    assert wanted.out is not None
    assert not wanted.out.exists()
    assert wanted.work.exists()
    taught(monkeypatch, blind=False)
    monkeypatch.setattr(answered_cells, "gather_cells", None)  # the parent is asked once
    with pytest.raises(UsageError, match="another distillation"):
        run(replace(wanted, most_cells=300))
    run(wanted)
    assert wanted.out.exists()
    assert not wanted.work.exists(), "it is gone once a student is written"


def test_a_cascade_holds_where_its_student_does_not(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, nucleus in enumerate([PLAIN, PLAIN, SUSPICIOUS, SUSPICIOUS, SUSPICIOUS]):
        write_slide(tmp_path / "slides" / f"s{number}", 800 + number, nucleus)
    wanted = replace(
        of_certified(certified, tmp_path / "student"),
        frames=tmp_path / "slides",
        cascade=tmp_path / "cascade",
        error=0.05,
    )
    taught(monkeypatch, blind=True)
    with pytest.raises(ProofError, match=r"student does not answer .*cascade .* is written"):
        run(wanted)
    assert not (tmp_path / "student").exists()
    made = open_bundle(tmp_path / "cascade")
    spec, manifest = made.manifest.cascade, made.manifest
    assert spec is not None
    assert manifest.parent is not None
    document = json.loads(made.read(manifest.parent.proof))
    assert document["proof"]["flipped"] == spec.otherwise == 0
    assert spec.cells == document["cells"]["proven_on"]
    assert document["cascade"]["passed_on"] == 1.0, "a blind student is never sure"
    assert set(manifest.networks) == {"student", "cells", "head"}
    # None wrong of 48 may still be 7 in a hundred: what the parent clears is then not clear.
    assert len(document["certificate"]["judged_otherwise"]) == 3
    assert manifest.certificate is None
    assert verdict(made, tmp_path, SUSPICIOUS) == "FLAG"


def test_too_few_cells_make_no_cascade(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught(monkeypatch, blind=False)
    wanted = replace(
        of_certified(certified, tmp_path / "student"),
        out=None,
        evidence=None,
        cascade=tmp_path / "cascade",
        error=0.0005,
    )
    with pytest.raises(InputError, match="too few cells to measure doubts on: 48"):
        run(wanted)
    assert not (tmp_path / "cascade").exists()


def lenient(bundle: Bundle, folder: Path) -> Path:
    """Write a bundle again that allows whatever a student does."""
    given = bundle.manifest.model_dump(
        mode="json", exclude={"schema_version", "files"}, exclude_none=True
    )
    names = ("max_flip_rate", "max_recall_drop", "max_verdict_changes")
    given["limits"] = dict.fromkeys(names, 1.0)
    write_bundle(folder, given, {name: bundle.folder / name for name in bundle.manifest.files})
    return folder


def test_a_cascade_that_is_wrong_more_often_than_measured_is_not_written(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, nucleus in enumerate([PLAIN, PLAIN, SUSPICIOUS, SUSPICIOUS, SUSPICIOUS]):
        write_slide(tmp_path / "slides" / f"s{number}", 800 + number, nucleus)
    taught(monkeypatch, blind=True)
    monkeypatch.setattr(cascade_bundle, "conformal_margin", lambda *_: 0.0)
    monkeypatch.setattr(Decisions, "distances", lambda self, student, parent: np.zeros(48))
    wanted = replace(
        of_certified(certified, tmp_path / "student"),
        out=None,
        evidence=None,
        frames=tmp_path / "slides",
        cascade=tmp_path / "cascade",
        bundle=lenient(certified, tmp_path / "lenient"),
    )
    with pytest.raises(ProofError, match="cells flip where 0 were measured"):
        run(wanted)
    assert not (tmp_path / "cascade").exists()


def test_the_certificate_is_inherited_by_proof_on_its_own_slides(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught(monkeypatch, blind=False)
    done = run(of_certified(certified, tmp_path / "student"))
    assert done.inherited.tried
    spec = done.bundle.manifest.certificate
    assert spec is not None
    assert spec.subject == done.bundle.manifest.subject != certified.manifest.subject
    assert verdict(done.bundle, tmp_path, PLAIN) == "CLEAR"
    assert verdict(done.bundle, tmp_path, SUSPICIOUS) == "FLAG"


def test_a_student_that_judges_a_slide_of_it_otherwise_clears_nothing(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught(monkeypatch, blind=True)  # it never sees a promyelocyte
    done = run(of_certified(certified, tmp_path / "student"))
    assert done.document["proof"]["passed"], "there was none on the slides that were held back"
    assert len(done.inherited.otherwise) == 9
    assert done.bundle.manifest.certificate is None
    assert verdict(done.bundle, tmp_path, PLAIN) == "REVIEW"


def test_without_the_slides_nothing_is_inherited(
    certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught(monkeypatch, blind=False)
    done = run(replace(of_certified(certified, tmp_path / "student"), evidence=None))
    assert done.bundle.manifest.certificate is None


def test_slides_of_the_certificate_must_not_teach(certified: Bundle, tmp_path: Path) -> None:
    wanted = of_certified(certified, tmp_path / "student")
    assert wanted.evidence is not None
    with pytest.raises(UsageError, match="12 slides of the certificate would teach"):
        run(replace(wanted, frames=wanted.evidence))


def verdict(bundle: Bundle, tmp_path: Path, nucleus: tuple[int, int, int]) -> str:
    folder = tmp_path / f"scored-{nucleus[0]}"
    write_slide(folder / "slide", 900 + nucleus[0], nucleus)
    with (
        open_model(ModelRequest(bundle.folder)) as model,
        Journal.open(folder / "journal.db") as journal,
    ):
        wanted = ScoreRequest(folder / "slide", folder / "out", um_per_px=UM_PER_PX)
        (one,) = score_folder(wanted, model, journal, ScoreListener()).records
    return str(one["verdict"])
