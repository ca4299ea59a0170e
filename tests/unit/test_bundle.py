"""A bundle opens only when every bit is as it was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.errors import BundleError
from tests.small_bundle import cell_network, head_network, settings

FILES = {
    "cells.onnx": cell_network(),
    "head.onnx": head_network(),
    "MODEL_CARD.md": b"# card\n",
    "golden.png": b"png",
    "golden.npz": b"npz",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", settings(), FILES).folder


def test_the_same_input_gives_the_same_digest(tmp_path: Path, folder: Path) -> None:
    again = write_bundle(tmp_path / "again", settings(), FILES)
    assert again.digest == open_bundle(folder).digest
    changed = {**FILES, "MODEL_CARD.md": b"# Card\n"}
    assert write_bundle(tmp_path / "other", settings(), changed).digest != again.digest


def test_one_flipped_bit_anywhere_is_refused(folder: Path) -> None:
    random = np.random.default_rng(7)
    flips = 0
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        places = {0, len(data) - 1, *random.integers(0, len(data), 40).tolist()}
        for place in places:
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(random.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(BundleError, match=r"[a-z]"):
                open_bundle(folder)
            flips += 1
        path.write_bytes(data)
    assert flips > 100
    open_bundle(folder)


def test_a_file_changed_after_opening_is_refused_when_read(folder: Path) -> None:
    bundle = open_bundle(folder)
    (folder / "cells.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="changed after the bundle was opened"):
        bundle.read("cells.onnx")


def surplus(folder: Path) -> None:
    (folder / "extra.bin").write_bytes(b"x")


def missing(folder: Path) -> None:
    (folder / "head.onnx").unlink()


def linked(folder: Path) -> None:
    data = (folder / "head.onnx").read_bytes()
    (folder.parent / "elsewhere").write_bytes(data)
    (folder / "head.onnx").unlink()
    (folder / "head.onnx").symlink_to(folder.parent / "elsewhere")


def unsealed(folder: Path) -> None:
    (folder / "bundle.sha256").unlink()


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (surplus, "does not list: .*extra.bin"),
        (missing, "missing: .*head.onnx"),
        (linked, "not a plain file: .*head.onnx"),
        (unsealed, "cannot be read: .*bundle.sha256"),
        (gone, "no bundle there"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(
    folder: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=said):
        open_bundle(folder)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    # A TensorProto that names its external file: key "location".
    external = FILES["cells.onnx"] + b"\x0a\x08location\x12\x04w.bin"
    bundle = write_bundle(tmp_path / "b", settings(), {**FILES, "cells.onnx": external})
    with pytest.raises(BundleError, match="one ONNX file"):
        bundle.read("cells.onnx")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"um_per_px": float("nan")}, "um_per_px"),
        ({"rule": {**settings()["rule"], "flag_at": 1.2}}, "flag_at"),
        ({"rule": {**settings()["rule"], "clear_below": 0.9}}, "clear_below"),
        ({"model_card": "CARD.md"}, "CARD.md"),
        ({"reducer": {"kind": "ratio"}}, "head"),
        ({"golden": {**settings()["golden"], "frame": "../x.png"}}, "frame"),
        ({"features": None, "reducer": {**settings()["reducer"], "kind": "max"}}, "features"),
    ],
)
def test_a_manifest_that_is_not_understood_is_never_written(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        write_bundle(tmp_path / "b", settings(**changes), FILES)
