"""The wheel holds every package of the tree, and no module has two names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
MAPPED = ("export", "calibration", "engines")


def packages_below(folder: Path, name: str) -> set[str]:
    return {
        ".".join((name, *path.parent.relative_to(folder).parts))
        for path in folder.rglob("__init__.py")
    }


def test_every_package_of_the_tree_is_in_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    in_tree = packages_below(ROOT / "edgeapl", "edgeapl")
    for root in MAPPED:
        in_tree = {name for name in in_tree if not name.startswith(f"edgeapl.{root}")}
    for root in MAPPED:
        in_tree |= packages_below(ROOT / root, f"edgeapl.{root}")
    assert set(listed["packages"]) == in_tree
    mapped = {f"edgeapl.{root}": root for root in MAPPED}
    assert listed["package-dir"] == {"edgeapl": "edgeapl", **mapped}


def test_a_root_folder_is_not_imported_under_its_own_name() -> None:
    for root in MAPPED:
        done = subprocess.run(
            [sys.executable, "-c", f"import {root}"], cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert f"import it as edgeapl.{root}" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from edgeapl.cli.main import run\n"
        "code = run(['--help'])\n"
        "heavy = {'cv2', 'onnxruntime', 'numpy', 'torch', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(f'{code} {sorted(heavy)}' if code or heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "score" in done.stdout


def test_the_library_imports_without_any_extra() -> None:
    """Submodules outside export need nothing beyond the base packages."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("edgeapl/stages", "edgeapl/sources", "edgeapl/report", "edgeapl/journal")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    ]
    blocked = "{'torch', 'onnx', 'tomli_w', 'tensorrt', 'pycuda', 'openvino', 'matplotlib'}"
    code = (
        "import importlib, sys\n"
        f"for name in {blocked}: sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
