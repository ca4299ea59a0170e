"""Rules that can never flag, or clear what nobody would, are refused; slides prove the rest."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.bundle.load import SEAL, open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.cli.main import run
from edgeapl.errors import BundleError, EngineError
from edgeapl.model import EMBEDDED, open_model
from edgeapl.model.golden_slides import DECISIONS
from edgeapl.model.sealer import seal_bundle
from edgeapl.types import Decision
from tests.small_bundle import (
    cell_network,
    drawn_field,
    head_network,
    png,
    settings,
    small_bundle,
)

RULE = settings()["rule"]

UNSOUND: dict[str, tuple[dict[str, Any], str]] = {
    "never flags": ({"flag_at": 1.0}, "flag_at 1 can never be reached"),
    "hardly ever flags": ({"flag_at": 0.9999}, "flag_at 0.9999 can never be reached"),
    "clears everything": ({"flag_at": 0.99, "clear_below": 0.99}, "as likely APL as not"),
    "clears what is not flagged": ({"flag_at": 0.9, "clear_below": 0.9}, "as likely APL as not"),
    "all cells may be suspicious": ({"suspicious_share": 1.0}, "half the cells look suspicious"),
    "nearly all": ({"suspicious_share": 0.95}, "half the cells look suspicious"),
    "one cell clears": ({"min_scored": 1}, "one cell clear a slide"),
    "all cells may be lost": ({"max_lost_share": 1.0}, "hardly looked at"),
    "no field need be examined": ({"min_examined_share": 0.0}, "field was not looked at"),
    "most cells may be lost": ({"max_lost_share": 0.6}, "hardly looked at"),
}


def unreached_role() -> dict[str, Any]:
    roles = settings()["roles"]
    return {"roles": [{**role, "threshold": 1.0} for role in roles]}


def sealed_with(folder: Path, edit: Callable[[str], str]) -> Path:
    path = folder / "bundle.toml"
    text = edit(path.read_text())
    path.write_text(text)
    (folder / SEAL).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  bundle.toml\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("sound") / "bundle").folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def line_of(name: str, value: object) -> Callable[[str], str]:
    def edit(text: str) -> str:
        old = f"\n{name} = {RULE.get(name, 0.95)}\n"  # what is left out has its default
        assert text.count(old) == 1
        return text.replace(old, f"\n{name} = {value}\n")

    return edit


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_rule_is_refused_when_it_is_loaded(
    name: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, said = UNSOUND[name]
    for setting, value in changes.items():
        sealed_with(copy, line_of(setting, value))
    with pytest.raises(BundleError, match=said):
        open_bundle(copy)
    assert run(["inspect", str(copy)]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_rule_is_never_written(name: str, tmp_path: Path) -> None:
    changes, said = UNSOUND[name]
    with pytest.raises(ValueError, match=said):
        small_bundle(tmp_path / "b", rule={**RULE, **changes})
    assert not (tmp_path / "b").exists()


def test_a_role_that_no_cell_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'promyelocyte' can never be reached"):
        small_bundle(tmp_path / "b", **unreached_role())


def test_bundles_that_only_give_review_may_have_any_rule(tmp_path: Path) -> None:
    lax = {**RULE, "min_scored": 1}
    small_bundle(tmp_path / "subtype", answers="subtype", rule=lax)
    small_bundle(tmp_path / "untrained", trained=False, rule=lax)


def test_a_head_that_stays_below_the_limit_is_refused(tmp_path: Path) -> None:
    files = {
        "cells.onnx": cell_network(),
        "head.onnx": head_network((1, 0, 1), bias=-3),  # at most 0.27
        "MODEL_CARD.md": b"# never\n",
    }
    with pytest.raises(BundleError, match=r"rule can never flag.*stays below flag_at 0.5"):
        seal_bundle(tmp_path / "b", settings(), files, png(drawn_field()))
    small_bundle(tmp_path / "sound")


def test_the_embedded_bundle_proves_flag_clear_and_review() -> None:
    bundle = open_bundle(EMBEDDED)
    with np.load(EMBEDDED / bundle.manifest.golden.expected) as arrays:
        said = {name: arrays[f"slide.{name}.answer"] for name in ("apl", "none", "few")}
    decided = {name: DECISIONS[int(answer[1])] for name, answer in said.items()}
    assert decided == {
        "apl": Decision.FLAG, "none": Decision.CLEAR, "few": Decision.REVIEW,
    }  # fmt: skip


CHANGED: dict[str, Callable[[str], str]] = {
    "another number of cells": line_of("min_scored", 150),
    "cells speak for something else": lambda text: (
        text.replace("suspicious = true", "suspicious = x")
        .replace("suspicious = false", "suspicious = true")
        .replace("suspicious = x", "suspicious = false")
    ),
    "another share": line_of("suspicious_share", 0.01),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_rule_that_judges_the_golden_slides_otherwise_fails_the_self_test(
    name: str, copy: Path
) -> None:
    sealed_with(copy, CHANGED[name])
    with pytest.raises(EngineError, match=r"self-test failed.*golden slide"):
        open_model(copy)


def test_golden_slides_that_are_not_whole_are_refused(copy: Path) -> None:
    bundle = open_bundle(copy)
    with np.load(copy / "golden.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "slide.apl.answer"}
    np.savez(copy / "golden.npz", **kept)
    files = {name: (copy / name).read_bytes() for name in bundle.manifest.files}
    write_bundle(copy, settings(), files)
    with pytest.raises(BundleError, match="golden slides are incomplete"):
        open_model(copy)


def test_bundles_from_before_golden_slides_still_open(copy: Path) -> None:
    bundle = open_bundle(copy)
    with np.load(copy / "golden.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if not name.startswith("slide.")}
    np.savez(copy / "golden.npz", **kept)
    files = {name: (copy / name).read_bytes() for name in bundle.manifest.files}
    write_bundle(copy, settings(), files)
    open_model(copy).close()
