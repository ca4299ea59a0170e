"""What engines/trt takes from TensorRT is there, as we call it, in every version we serve.

The real bindings are imported over empty libraries (see tests/trt_stubs.py), those of
TensorRT-RTX over its own. What is taken is read from our source, so that nothing is forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgeapl.engines.trt.tensors import DTYPES
from tests.probing import environment, probe
from tests.trt_calls import (
    BESIDE_RTX_ONLY,
    CALLS,
    CLASSES,
    MEMBERS,
    OF_THE_MODULE,
    PROPERTIES,
    RTX_ONLY,
    sources,
    taken,
)
from tests.trt_stubs import (
    REFUSAL,
    as_tensorrt,
    installed_bindings,
    stub_libraries,
)

BINDINGS, ABSENT = installed_bindings()
RTX = "tensorrt-rtx"
PROBE = "tests.trt_probe"
EVERY = [*(path.name for path in BINDINGS), RTX] if BINDINGS else ["without bindings", RTX]
REMOVED = ("IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator", "IInt8LegacyCalibrator")
REMOVED_FLAGS = {"FP16", "INT8", "BF16", "FP8", "INT4"}
GONE = (
    r"Calibrator|BuilderFlag\.(?!TF32)|EXPLICIT_BATCH|int8_calib|platform_has_fast|"
    "set_dynamic_range"
)


@pytest.fixture(scope="module", params=EVERY)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one library has, and what our code made of it; major: 10, 11, or 0 for RTX."""
    if request.param == RTX:
        pytest.importorskip("tensorrt_rtx")
        return {"major": 0, **probe(PROBE, environment(), RTX)}
    if ABSENT:
        pytest.skip(ABSENT)
    (bindings,) = (path for path in BINDINGS if path.name == request.param)
    folder = tmp_path_factory.mktemp("stubs")
    found = probe(PROBE, stub_libraries(bindings, folder), "tensorrt")
    return {"major": int(found["ours"]["version"].split(".")[0]), **found}


@pytest.fixture(params=EVERY[:-1])
def bindings(request: pytest.FixtureRequest) -> Path:
    """The folder of one version's bindings."""
    if ABSENT:
        pytest.skip(ABSENT)
    (found,) = (path for path in BINDINGS if path.name == request.param)
    return found


def wanted(table: Any, library: Any) -> list[str]:
    left_out = RTX_ONLY | BESIDE_RTX_ONLY if library["major"] else set()
    return sorted(set(table) - left_out)


def signatures(library: Any, name: str) -> list[str]:
    kind, member = name.split(".")
    found: list[str] = library["api"].get(kind, {}).get(member, [])
    return found


def accepts(signature: str, call: str) -> bool:
    """Whether a method takes what we give, the rest by default, and answers as we take it."""
    match = re.fullmatch(r"\(self: [\w.]+(?:, )?(.*)\) -> (.*)", signature)
    given, answer = call[1:].split(") -> ")
    if match is None or match[2] != answer:
        return False
    parameters = [part for part in re.split(r", (?=\w+: )", match[1]) if part]
    kinds = [part.split(": ", 1)[1] for part in parameters]
    ours = given.split(", ") if given else []
    rest = kinds[len(ours) :]
    return [kind.split(" = ")[0] for kind in kinds[: len(ours)]] == ours and all(
        " = " in kind for kind in rest
    )


@pytest.mark.parametrize(
    ("signature", "call", "fits"),
    [
        ("(self: A, x: int, y: str = None) -> bool", "(int) -> bool", True),
        ("(self: A, x: int = 0) -> bool", "(int) -> bool", True),
        ("(self: A) -> None", "() -> None", True),
        ("(self: A, x: int, y: str) -> bool", "(int) -> bool", False),
        ("(self: A, x: int) -> None", "(int) -> bool", False),
        ("(self: A, x: str) -> bool", "(int) -> bool", False),
        ("(self: A) -> bool", "(int) -> bool", False),
    ],
)
def test_a_signature_fits_only_what_it_takes(signature: str, call: str, fits: bool) -> None:
    assert accepts(signature, call) is fits


def test_the_list_of_what_we_take_is_complete() -> None:
    found, unknown = taken()
    assert not unknown
    assert found - CLASSES - OF_THE_MODULE == {*CALLS, *PROPERTIES, *MEMBERS}


def test_every_method_takes_what_we_give_it(library: Any) -> None:
    wrong = {
        name: signatures(library, name)
        for name in wanted(CALLS, library)
        if not any(accepts(each, CALLS[name]) for each in signatures(library, name))
    }
    assert not wrong


def test_a_context_is_made_in_each_way_that_we_make_one(library: Any) -> None:
    wanted_ways = {"ExecutionContextAllocationStrategy"}
    if signatures(library, "IRuntimeConfig.cuda_graph_strategy"):
        wanted_ways.add("IRuntimeConfig")
    made = signatures(library, "ICudaEngine.create_execution_context")
    for way in wanted_ways:
        assert any(accepts(each, f"({way}) -> IExecutionContext") for each in made), way


def test_every_property_is_one_and_can_be_set_where_we_set_it(library: Any) -> None:
    wrong = {
        name: signatures(library, name)
        for name in wanted(PROPERTIES, library)
        if PROPERTIES[name] not in signatures(library, name)
    }
    assert not wrong


def test_every_member_of_an_enumeration_is_there(library: Any) -> None:
    assert not [name for name in wanted(MEMBERS, library) if not signatures(library, name)]


def test_every_tensor_type_that_we_know_is_one_of_the_library(library: Any) -> None:
    assert set(DTYPES) <= set(library["api"]["DataType"])


def test_a_shape_is_read_as_a_tuple(library: Any) -> None:
    assert library["ours"]["shape"] == [-1, 3, 2]


def test_what_only_rtx_has_is_asked_for_before_it_is_used(library: Any) -> None:
    # Where a version of TensorRT gains one of these, our way through it has to be looked at.
    there = {name for name in RTX_ONLY if signatures(library, name)}
    assert there == (set() if library["major"] else RTX_ONLY)


def test_strong_typing_is_asked_for_by_name_because_its_number_moved(library: Any) -> None:
    number = signatures(library, "NetworkDefinitionCreationFlag.STRONGLY_TYPED")
    assert number == [{10: "member 1", 11: "member 0", 0: "member 0"}[library["major"]]]


def test_what_tensorrt_11_removed_is_as_we_were_told(library: Any) -> None:
    old = library["major"] == 10
    assert [name in library["api"] for name in REMOVED] == [old] * len(REMOVED)
    assert bool(REMOVED_FLAGS & set(library["api"]["BuilderFlag"])) is old


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_we_take_nothing_that_tensorrt_11_removed(path: Path) -> None:
    assert not re.findall(GONE, path.read_text("utf-8"))


def test_progress_and_messages_come_through_classes_of_ours(library: Any) -> None:
    ours = library["ours"]
    assert ours["monitor"]
    assert ours["logged"] == ["an internal error", ""]  # and not the warning


def test_where_the_library_can_not_use_a_gpu_it_says_so_in_one_line(library: Any) -> None:
    ours, major = library["ours"], library["major"]
    if not major:  # RTX builds without a GPU, and reads a plan's header without one
        assert (ours["build"], ours["build for"]) == ("no error", "no error")
        assert ours["open"] == "plan does not fit this machine: head: malformed engine"
    else:
        for work, kind in (("build", "Builder"), ("build for", "Builder"), ("open", "Runtime")):
            start = f"runtime cannot start: tensorrt {ours['version']} for head: check that "
            assert ours[work].startswith(start)
            # The library's own words, heard by our ILogger through its C++.
            assert f"createInfer{kind}_INTERNAL: {REFUSAL} ({major}" in ours[work]
    assert ours["left on the GPU"] == {}


def test_bindings_without_their_libraries_are_refused_in_one_line(
    bindings: Path, tmp_path: Path
) -> None:
    refused = probe(PROBE, as_tensorrt(bindings, tmp_path / "packages"), "tensorrt")["refused"]
    missing = r"runtime is missing: tensorrt \(libnv\w+\.so\.\d+: cannot open shared object file.*"
    assert re.fullmatch(missing, refused)
