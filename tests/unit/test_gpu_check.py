"""The check for a real GPU, made on the fake one: every record is there, and failures are seen."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.registry import CUDA, Availability
from edgeapl.engines.trt.chain import TrtChain
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.model import EMBEDDED
from edgeapl.station import hosted_model
from edgeapl.testing import FakeDriver
from tests.gpu import check, on_chain, on_networks, on_onnxruntime, wheels
from tests.gpu.apart import ENDING_S, Ended, run_apart
from tests.gpu.record import Record, UnmetError, read
from tests.gpu.site import Site, Stand
from tests.waiting import wait_until

ONLY_THERE = {"onnxruntime.cuda", "onnxruntime.frame", "time.against_trtexec", "sanitizer"}
"""What nothing on this machine can show: it must be called a failure, and say why."""

FIGURES = {
    "machine": {"gpu", "compute_capability", "driver", "versions", "targets", "clocks"},
    "memory.copies": {"rounds", "bytes"},
    "memory.other_interface": {"rounds", "bytes"},
    "memory.out_of_memory": {"free", "said"},
    "memory.leaks": {"rounds", "free_before", "free_after"},
    "chain.answers": {"fake"},
    "parity.fp32": {"apl-demo cells fake"},
    "parity.fp16": {"apl-demo cells fake"},
    "parity.int8": {"apl-demo cells fake"},
    "time.first_run": {"fake"},
    "time.stages": {"fake"},
    "time.frame": {"fake"},
    "time.against_torch": {"fake"},
    "station.one_process": {"target", "groups", "back_after_kill_s", "kept_back_s", "head_ms"},
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All records of a dry run, by name."""
    pytest.importorskip("onnx")
    out = tmp_path_factory.mktemp("check") / "records.json"
    ended = check.main(["--json", str(out), "--dry-run"])
    document = json.loads(out.read_text(encoding="utf-8"))
    assert ended == 1, "what cannot be shown here is a failure"
    assert document["schema"] == 1
    assert document["dry_run"]
    assert document["research_use_only"]
    assert document["passed"] is False
    return {record["name"]: record for record in document["records"]}


def test_every_check_leaves_a_record(records: Any) -> None:
    assert set(records) == set(check.CHECKS) == {*FIGURES, *ONLY_THERE}


@pytest.mark.parametrize("name", check.CHECKS)
def test_what_a_fake_gpu_can_show_passes_and_the_rest_fails_with_its_reason(
    records: Any, name: str
) -> None:
    record = records[name]
    assert record["seconds"] >= 0
    missing = name in ONLY_THERE or (name == "time.against_torch" and not find_spec("torch"))
    if missing:
        assert not record["passed"]
        assert "not" in record["why"] or "no GPU" in record["why"]
        return
    assert record["passed"], record["why"]
    assert set(record["figures"]) >= FIGURES[name]


def failing(name: str, monkeypatch: pytest.MonkeyPatch, site: Site | None = None) -> str:
    record = check.made(name, site or Site(dry=True))
    assert not record.passed
    return record.why


def test_a_record_that_fails_a_limit_keeps_all_its_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(on_networks.LIMITS, "fp16", 0.0)
    record = check.made("parity.fp16", Site(dry=True))
    assert not record.passed
    assert record.figures["apl-demo cells fake"]["difference"] > 0


def test_eight_bits_are_asked_of_tensorrt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(dry=False, frames=Path())
    monkeypatch.setattr(Site, "runtimes", lambda self: [Stand("torch", None)])
    monkeypatch.setattr(on_networks, "_crops", lambda site, folder: None)
    assert "only TensorRT computes INT8" in failing("parity.int8", monkeypatch, site)


def test_a_wrong_answer_of_the_chain_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    finish, count = TrtChain.finish, iter(range(10_000))

    def once_wrong(self: TrtChain) -> dict[str, dict[str, Any]]:
        answers = finish(self)
        if next(count) == 7:
            answers["more"]["myeloblast"] = np.asarray(answers["more"]["myeloblast"], "f4") + 0.01
        return answers

    monkeypatch.setattr(TrtChain, "finish", once_wrong)
    assert "an answer differs by 0.01" in failing("chain.answers", monkeypatch)


def test_an_answer_that_is_no_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = TrtChain.finish

    def nothing(self: TrtChain) -> dict[str, dict[str, Any]]:
        answers = finish(self)
        answers["cells"]["features"] = np.full_like(answers["cells"]["features"], np.nan)
        return answers

    monkeypatch.setattr(TrtChain, "finish", nothing)
    assert "differs by inf" in failing("chain.answers", monkeypatch)


def test_networks_in_several_processes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted_model, "ON_GPU", ())
    assert "in 2 processes" in failing("station.one_process", monkeypatch)


def test_a_copy_that_comes_back_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    move = FakeDriver.memcpy_dtod_async

    def half(self: FakeDriver, to: int, source: int, size: int, stream: Any) -> None:
        move(self, to, source, size // 2, stream)

    monkeypatch.setattr(FakeDriver, "memcpy_dtod_async", half)
    assert "came back otherwise" in failing("memory.copies", monkeypatch)


def test_memory_that_is_not_given_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    free = FakeDriver.free

    def keep(self: FakeDriver, kind: str, address: int) -> None:
        if kind != "device":
            free(self, kind, address)

    monkeypatch.setattr(FakeDriver, "free", keep)
    assert "not given back in 5 rounds" in failing("memory.leaks", monkeypatch)


def test_a_driver_that_gives_more_than_it_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GpuMemory, "unused", 0)
    assert "gave 1 GiB more" in failing("memory.out_of_memory", monkeypatch)


def test_without_real_crops_parity_on_a_real_gpu_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "give --frames" in failing("parity.fp32", monkeypatch, Site(dry=False))


def test_a_gpu_on_which_nothing_computes_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gpu.site.find_spec", lambda _: None)
    monkeypatch.setattr("tests.gpu.site.available_targets", lambda: ())
    assert "nothing computes networks" in failing("chain.answers", monkeypatch, Site(dry=False))


def test_a_card_that_tensorrt_rtx_does_not_serve_is_left_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = SimpleNamespace(ComputeCapability=SimpleNamespace(__members__={"SM89": 1}))
    driver = FakeDriver()
    site = Site(dry=False)
    monkeypatch.setitem(site.__dict__, "driver", driver)
    there = (Availability("tensorrt-rtx", "", ""),)
    monkeypatch.setattr("tests.gpu.site.available_targets", lambda: there)
    monkeypatch.setattr("tests.gpu.site.find_library", lambda _: SimpleNamespace(api=known))
    monkeypatch.setattr("tests.gpu.site.find_spec", lambda name: name == "torch" or None)
    driver.capability = (9, 0)
    assert [one.name for one in site.runtimes()] == ["torch"]
    driver.capability = (8, 9)
    assert [one.name for one in site.runtimes()] == ["tensorrt-rtx", "torch"]
    monkeypatch.setattr("tests.gpu.site.find_spec", lambda _: None)
    driver.capability = (9, 0)
    with pytest.raises(UnmetError, match=r"tensorrt-rtx: serves no GPU of 9\.0"):
        site.runtimes()


def test_a_check_that_crashes_hangs_or_has_no_time_left_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check.made_apart("machine", [], 0.0).why == "not run: no time was left"
    assert check.made_apart("machine", ["--dry-run"], 0.01).why == "more than 0 s"
    crashed = check.made_apart("machine", ["--minutes", "no"], 60.0)
    assert "its process ended with 2" in crashed.why
    passed = check.made_apart("machine", ["--dry-run"], 60.0)
    assert passed.passed
    assert passed.figures["gpu"] == "Fake GPU"
    with pytest.raises(ValueError, match="no record"):
        read('{"name": "machine"}')


def test_a_check_that_hangs_is_ended_with_all_that_it_started() -> None:
    started = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', "
    started += "'import time; time.sleep(600)']).pid, flush=True); time.sleep(600)"
    ended = run_apart(["-c", started], 3.0)
    assert ended.code is None
    assert ended.seconds < 3.0 + ENDING_S
    assert not ended.left
    child = Path("/proc") / ended.said.strip() / "stat"
    wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z", 10.0)


@pytest.mark.parametrize(
    ("left_s", "to_come", "limit"), [(540, 16, 150), (300, 13, 40), (30, 5, 20), (10, 5, 10)]
)
def test_checks_that_take_long_leave_time_for_those_behind_them(
    monkeypatch: pytest.MonkeyPatch, left_s: float, to_come: int, limit: float
) -> None:
    def over(arguments: list[str], limit_s: float) -> Ended:
        assert limit_s == limit
        return Ended(None, limit_s, "", "", ", and it cannot be ended")

    monkeypatch.setattr(check, "run_apart", over)
    record = check.made_apart("machine", [], left_s, to_come)
    assert record.why == f"more than {limit} s, and it cannot be ended"


def test_a_bundle_that_was_made_there_is_checked_and_one_that_was_not_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handed: list[list[str]] = []

    def exports(arguments: list[str], limit_s: float) -> Ended:
        assert arguments[:3] == ["-m", "edgeapl", "export"]
        wrong = "" if arguments[3] == "eckardt2022" else "runtime is missing: torch"
        return Ended(0 if not wrong else 4, 1.0, "", wrong)

    def apart(name: str, arguments: list[str], left_s: float, to_come: int) -> Record:
        handed.append(arguments)
        return Record(name, True, 0.0)

    monkeypatch.setattr(check, "run_apart", exports)
    monkeypatch.setattr(check, "made_apart", apart)
    out = tmp_path / "out.json"
    asked = ["--export", "eckardt2022", "--export", "yan2025", "--bundle", str(EMBEDDED)]
    assert check.main([f"--json={out}", *asked]) == 1
    made, failed, *others = json.loads(out.read_text())["records"]
    assert (made["name"], made["passed"]) == ("export.eckardt2022", True)
    assert (failed["name"], failed["passed"]) == ("export.yan2025", False)
    assert failed["why"] == "yan2025: runtime is missing: torch"
    assert len(others) == len(handed) == len(check.CHECKS)
    bundles = [part for part in handed[0] if part != "--bundle"]
    assert [Path(one).name for one in bundles] == [EMBEDDED.name, "eckardt2022"]


def test_where_there_is_the_provider_alone_it_is_what_is_compared_and_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(dry=False, short=True)
    monkeypatch.setattr("tests.gpu.site.available_targets", lambda: (Availability(CUDA, "", ""),))
    monkeypatch.setattr("tests.gpu.site.find_spec", lambda _: None)
    assert [one.name for one in site.openers()] == [CUDA]
    with pytest.raises(UnmetError):
        site.runtimes()
    monkeypatch.setattr(
        "tests.gpu.site.open_engine", lambda target, name, onnx: OrtEngine(name, onnx)
    )
    monkeypatch.setattr(on_onnxruntime, "three_xceptions", lambda _: EMBEDDED)
    monkeypatch.setattr(on_onnxruntime, "FRAME", (300, 400))
    found = on_onnxruntime.frame(site)
    assert set(found) == {"fp32", "fp16"}
    assert found["fp32"]["largest_difference"] < 1e-5
    assert 0 < found["fp16"]["largest_difference"] < 0.05
    assert all(one["ms"] > 0 for one in found.values())


def test_on_a_machine_without_a_gpu_all_fails_and_every_record_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []

    def apart(name: str, arguments: list[str], left_s: float, to_come: int) -> Any:
        assert arguments == ["--frames", str(Path("x").resolve())]
        assert 0 < left_s <= 60
        left.append(to_come)
        return Record(name, False, 0.0, why="GPU cannot be used")

    monkeypatch.setattr(check, "made_apart", apart)
    out = tmp_path / "out.json"
    assert check.main(["--json", str(out), "--frames", "x", "--minutes", "1"]) == 1
    assert left == list(range(len(check.CHECKS)))[::-1]
    written = json.loads(out.read_text())
    assert [record["name"] for record in written["records"]] == list(check.CHECKS)
    assert not written["dry_run"]


def test_the_chain_is_asked_for_as_many_batches_as_the_promise_names() -> None:
    assert Site(dry=False).rounds(400, 12) == 400
    assert Site(dry=True).rounds(400, 12) == 12
    assert on_chain.FIELDS > 3


def packed(folder: Path) -> Path:
    (folder / "wheels").mkdir()
    for name, size in (("large.whl", 2_500_000), ("small.whl", 1000), ("empty.whl", 0)):
        content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        (folder / "wheels" / name).write_bytes(content.tobytes())
    made = wheels.pack(folder / "wheels", folder / "parts", 1)
    assert len(made) == 3
    for part in made:
        assert sum(path.stat().st_size for path in part.iterdir()) <= 1 << 20
    return folder / "parts"


def test_wheels_come_out_of_their_parts_as_they_went_in(tmp_path: Path) -> None:
    parts = packed(tmp_path)
    assert wheels.main(["unpack", str(parts), str(tmp_path / "there")]) == 0
    for path in (tmp_path / "wheels").iterdir():
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("harm", ["lost", "changed", "none"])
def test_parts_that_do_not_make_the_wheels_are_named(
    tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = packed(tmp_path)
    piece = next(iter(sorted(parts.glob("part-01/large.whl.*"))))
    if harm == "lost":
        piece.unlink()
    elif harm == "changed":
        data = piece.read_bytes()
        piece.write_bytes(bytes([data[0] ^ 1, *data[1:]]))
    else:
        shutil.rmtree(parts)
    assert wheels.main(["unpack", str(parts), str(tmp_path / "there")]) == 1
    said = capsys.readouterr().err
    wanted = {"lost": "large.whl: ", "changed": "is not what was packed", "none": "no parts"}
    assert wanted[harm] in said


def test_an_empty_folder_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(wheels.PartsError, match="no wheels"):
        wheels.pack(tmp_path, tmp_path / "parts", 1)


def test_what_would_have_to_be_compiled_there_is_not_left_behind_unsaid(tmp_path: Path) -> None:
    (tmp_path / "small.whl").write_bytes(b"1")
    (tmp_path / "pycuda-2026.1.tar.gz").write_bytes(b"2")
    with pytest.raises(wheels.PartsError, match=r"no wheel: pycuda-2026.1.tar.gz"):
        wheels.pack(tmp_path, tmp_path / "parts", 1)
