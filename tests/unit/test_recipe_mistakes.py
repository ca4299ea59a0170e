"""Mistakes in a recipe are told at their place, before any code of the user is run."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="recipes are read by the export extra")

from edgeapl.cli.main import run
from edgeapl.errors import ConfigError
from edgeapl.export.recipes.registry import find_recipe

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model" / "recipe.toml"


def changed(tmp_path: Path, find: str, put: str) -> Path:
    text = EXAMPLE.read_text()
    assert text.count(find) >= 1
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(find, put, 1))
    (tmp_path / "model.py").write_text("raise SystemExit('this must not be run')\n")
    return path


@pytest.mark.parametrize(
    ("find", "put", "words"),
    [
        ("size_px = 64", "size_pix = 64", ["images.size_pix", "did you mean 'size_px'?"]),
        ("flag_at", "flag_when", ["rule.flag_when", "did you mean 'flag_at'?"]),
        ("threshold = 0.5", "treshold = 0.5", ["roles 1.treshold", "'threshold'"]),
        ("[reducer]", "[reduce]", ["reduce", "did you mean 'reducer'?"]),
        ("softmax.cell", "softmx.cell", ["networks.cells.softmx", "'softmax'"]),
        ("flag_at = 0.5\n", "", ["rule.flag_at", "setting is missing"]),
        ('network = "cells"', 'network = "cell"', ["roles 1.network", "'cell'", "'cells'?"]),
        ('output = "promyelocyte"', 'output = "promyelo"', ["roles 1.output", "'promyelocyte'?"]),
        ('head = "head"', 'head = "haed"', ["reducer.head", "did you mean 'head'?"]),
        ('head_outputs = ["APL"]', 'head_outputs = ["APP"]', ["head_outputs", "'APL'?"]),
        ('"cells.features"', '"cell.features"', ["features", "did you mean 'cells'?"]),
        ('"cells.features"', '"cells.feature"', ["features", "did you mean 'features'?"]),
        ("[images]", '[weights.modle]\nprefix = "net."\n[images]', ["weights.modle", "'model'?"]),
        ("[images]", "[weights.model]\nprefx = 1\n[images]", ["weights.model.prefx", "'prefix'?"]),
        ("threshold = 0.5", "threshold = 1.5", ["roles 1.threshold", "less than or equal to 1"]),
        ("clear_below = 0.1", "clear_below = 0.9", ["rule", "clear_below"]),
        ("flag_at = 0.5", "flag_at = 1.0", ["rule", "flag_at 1 can never be reached"]),
        ("min_scored = 20", "min_scored = 1", ["rule", "min_scored 1 lets one cell clear"]),
    ],
)
def test_a_mistake_is_told_at_its_line_before_code_is_run(
    find: str, put: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(tmp_path, find, put)
    out = tmp_path / "bundle"
    assert run(["export", str(path), "--weights", "model=w.pt", "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "line " in error
    for word in words:
        assert word in error
    if put and "\n" not in find + put and "rule" not in words:
        lines = path.read_text().splitlines()
        assert put in lines[int(error.partition("line ")[2].partition(")")[0]) - 1]


@pytest.mark.parametrize("number", [0, 1])
def test_of_several_roles_the_wrong_one_is_named(number: int, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    role = text[text.index("[[roles]]") : text.index("[reducer]")]
    other = role.replace('name = "promyelocyte"', 'name = "blast"')
    both = [role, other]
    both[number] = both[number].replace('network = "cells"', 'network = "cels"')
    path = changed(tmp_path, role, "".join(both))
    line = 1 + next(n for n, t in enumerate(path.read_text().splitlines()) if '"cels"' in t)
    with pytest.raises(ConfigError, match=rf"roles {number + 1}\.network .*line {line}\)"):
        find_recipe(str(path))


def test_a_mark_before_the_text_is_read_over_and_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.read_bytes())
    assert find_recipe(str(path)).name == "own-model"
    path.write_bytes(EXAMPLE.read_text().encode("utf-16"))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        find_recipe(str(path))


def test_a_role_that_is_no_known_cell_class_is_warned_of(tmp_path: Path) -> None:
    path = changed(tmp_path, 'name = "promyelocyte"\nnet', 'name = "class-7"\nnet')
    (warning,) = find_recipe(str(path)).warnings
    assert "'class-7'" in warning
    for name in ("apl_cells", "auer-rods", "promyelocytes", "other", "myelocyte_2"):
        path = changed(tmp_path, 'name = "promyelocyte"\nnet', f'name = "{name}"\nnet')
        assert find_recipe(str(path)).warnings == ()
