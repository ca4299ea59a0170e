"""The numbers behind `edgeapl bench`: percentiles, ratios, meters, graphs, plots."""

from __future__ import annotations

import itertools
import math
import os
import signal
import stat
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeapl.bench import bare_networks, plots, usage
from edgeapl.bench.energy import RaplMeter, TegraMeter, find_meters, watts_of
from edgeapl.bench.graph import network_cost, product_model
from edgeapl.bench.peak import Peak, higher_peak, measure_peak
from edgeapl.bench.statistics import bound_rank, paired_ratio, samples_needed, summarise
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from edgeapl.testing import FakeClock, FakeEngine
from tests.conv_bundle import conv_network
from tests.small_bundle import SIZE, model
from tests.waiting import wait_until

# Percentiles


@pytest.mark.parametrize(("percent", "needs"), [(50, 5), (90, 29), (99, 299)])
def test_a_percentile_needs_so_many_samples_that_the_largest_bounds_it(
    percent: int, needs: int
) -> None:
    assert samples_needed(percent) == needs
    assert bound_rank(needs, percent) == needs
    assert bound_rank(needs - 1, percent) is None


def test_loadgen_s_own_confidence_gives_loadgen_s_own_count() -> None:
    assert samples_needed(99, 0.99) == 459
    assert samples_needed(90, 0.99) == 44


def test_the_bound_is_above_the_true_percentile_as_often_as_promised() -> None:
    random = np.random.default_rng(3)
    true = -math.log(1 - 0.9)  # of the exponential distribution
    held = 0
    for _ in range(2000):
        summary = summarise(random.exponential(size=60).tolist())
        assert summary is not None
        at_most = summary.percentiles[1].at_most
        held += at_most is not None and at_most >= true
    # 95 % of 2000, less three standard deviations (9.7 each).
    assert held > 1900 - 30


def test_percentiles_are_samples_by_nearest_rank() -> None:
    summary = summarise([float(n) for n in range(100, 0, -1)])
    assert summary is not None
    assert [one.value for one in summary.percentiles] == [50, 90, 99]
    assert (summary.count, summary.mean, summary.largest) == (100, 50.5, 100)
    assert summarise([]) is None
    with pytest.raises(ValueError, match="finite"):
        summarise([1.0, math.nan])


# Ratios


def test_a_paired_ratio_is_found_through_a_slow_machine() -> None:
    random = np.random.default_rng(0)
    slow = random.uniform(1, 5, 40)  # what else the machine does, alike for both of a pair
    b = slow * random.normal(1, 0.02, 40)
    a = 1.3 * slow * random.normal(1, 0.02, 40)
    ratio = paired_ratio(a.tolist(), b.tolist())
    assert ratio.interval is not None
    assert ratio.interval[0] < 1.3 < ratio.interval[1]
    assert ratio.interval[1] - ratio.interval[0] < 0.03
    assert paired_ratio(a.tolist(), b.tolist()) == ratio  # drawn the same way each time


def test_too_few_pairs_have_no_interval_and_none_are_refused() -> None:
    assert paired_ratio([2.0, 2.0], [1.0, 1.0]).interval is None
    for above, below in ([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]):
        with pytest.raises(ValueError, match="pairs"):
            paired_ratio(above, below)


# Memory and processor


def fake_process(proc: Path, pid: int, parent: int, ticks: int, peak_kb: int) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = ["S", str(parent), *["0"] * 9, str(ticks), "0", *["0"] * 30]
    (folder / "stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")
    (folder / "status").write_text(f"Name:\ta\nVmHWM:\t  {peak_kb} kB\nVmRSS:\t 1 kB\n")
    (folder / "clear_refs").write_text("")


def test_children_of_children_count_and_strangers_do_not(tmp_path: Path) -> None:
    own = os.getpid()
    fake_process(tmp_path, own, 1, 100, 10)
    fake_process(tmp_path, own + 1, own, 50, 20)
    fake_process(tmp_path, own + 2, own + 1, 25, 40)
    fake_process(tmp_path, own + 3, 1, 1000, 1000)
    (tmp_path / "self").mkdir()
    meter = usage.MemoryMeter(tmp_path)
    assert (tmp_path / str(own + 2) / "clear_refs").read_text() == "5"
    assert meter.peak() == usage.Memory(70 * 1024, 3, "")
    assert usage.cpu_seconds(tmp_path) == pytest.approx(175 / os.sysconf("SC_CLK_TCK"))


def test_without_proc_this_process_alone_is_measured_and_that_is_said(tmp_path: Path) -> None:
    memory = usage.MemoryMeter(tmp_path).peak()
    assert memory.peak_bytes > 2**20
    assert "without children" in memory.note
    assert usage.cpu_seconds(tmp_path) > 0


def test_what_all_programs_use_is_told_apart_from_waiting(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 20 30 4000 500 1 2 3 0 0\ncpu0 1 1 1 1\n")
    assert usage.busy_seconds(tmp_path) == pytest.approx(66 / os.sysconf("SC_CLK_TCK"))
    assert usage.busy_seconds(tmp_path / "nowhere") is None


def test_what_is_not_our_own_is_others(tmp_path: Path) -> None:
    clock = FakeClock()
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  0 0 0 0 0 0 0 0\n")
    others = usage.OtherLoad(clock.monotonic_ns, tmp_path)
    clock.move(10)
    (tmp_path / "stat").write_text(f"cpu  {20 * ticks} 0 0 9 9 0 0 0\n")
    assert others.cores(own_s=5) == pytest.approx(1.5)
    assert others.cores(own_s=30) == 0
    assert usage.OtherLoad(clock.monotonic_ns, tmp_path / "nowhere").cores(0) is None


def test_the_machine_is_named() -> None:
    machine = usage.machine()
    assert machine["processor"]
    assert int(str(machine["cores"])) >= 1
    assert isinstance(machine["clocks"], dict)


# Energy


def rapl(folder: Path, value: int, largest: int = 1_000_000) -> Path:
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    (folder / "energy_uj").write_text(f"{value}\n")
    return folder


def test_a_counter_that_runs_over_loses_nothing(tmp_path: Path) -> None:
    folder = rapl(tmp_path / "intel-rapl:0", 999_000)
    meter = RaplMeter(folder)
    (folder / "energy_uj").write_text("1000\n")
    assert meter.joules() == pytest.approx(0.002001)
    (folder / "energy_uj").write_text("3000\n")
    assert meter.joules() == pytest.approx(0.004001)


def test_packages_are_counted_and_not_their_parts_again(tmp_path: Path) -> None:
    rapl(tmp_path / "intel-rapl:0", 0)
    rapl(tmp_path / "intel-rapl:0:0", 0)
    meters = find_meters(tmp_path)
    assert [meter.name for meter in meters.found if "RAPL" in meter.name] == ["RAPL package-0"]
    meters.close()


def test_a_meter_that_may_not_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = rapl(tmp_path / "intel-rapl:0", 0)
    text = Path.read_text

    def refuse(path: Path, *args: str, **kwargs: str) -> str:
        if path == folder / "energy_uj":
            raise PermissionError(13, "Permission denied")
        return text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    absent = find_meters(tmp_path).absent
    assert "Permission denied" in absent["RAPL"]
    assert "root" in absent["RAPL"]


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("RAM 2/7 GPU@41C VDD_IN 4521mW/4480mW VDD_CPU_GPU_CV 900mW/900mW", 4.521),
        ("RAM 1/4 POM_5V_IN 2100/2000 POM_5V_GPU 40/40", 2.1),
        ("RAM 1/4", None),
    ],
)
def test_the_power_of_a_jetson_is_read(line: str, watts: float | None) -> None:
    assert watts_of(line) == watts


def test_the_power_of_a_jetson_is_added_up(tmp_path: Path) -> None:
    command = tmp_path / "tegrastats"
    command.write_text(
        f"#!{sys.executable}\nprint('VDD_IN 4000mW/1mW\\n' * 3, end='', flush=True)\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    times = itertools.count(0.0)
    meter = TegraMeter(str(command), lambda: next(times))
    for _ in range(1000):
        if meter.joules() >= 12:
            break
        time.sleep(0.01)
    meter.close()
    assert meter.joules() == pytest.approx(12.0)


@pytest.mark.parametrize("signals", ["stopped", "ignored"])
def test_a_meter_whose_program_does_not_end_is_closed_all_the_same(
    tmp_path: Path, signals: str
) -> None:
    command = tmp_path / "tegrastats"
    command.write_text(
        f"#!{sys.executable}\nimport signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('VDD_IN 4000mW/1mW', flush=True)\ntime.sleep(600)\n"
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    meter = TegraMeter(str(command), itertools.count(0.0).__next__)
    process = meter._process
    try:
        wait_until(lambda: meter.joules() > 0, 30)
        if signals == "stopped":
            process.send_signal(signal.SIGSTOP)
        closing = threading.Thread(target=meter.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()
        assert process.poll() == -signal.SIGKILL
    finally:
        process.kill()


# Graphs


def test_operations_are_counted_by_hand() -> None:
    cost = network_cost("cells", conv_network(), {"cells": (1, SIZE, SIZE, 3)})
    conv = SIZE * SIZE * 3 * 27
    gemm = 3 * 3
    assert cost.flop == 2 * (conv + gemm)
    assert cost.elements == 2 * SIZE * SIZE * 3 + 3 * 3 * 9 + 3 + 9 + 3
    twice = network_cost("cells", conv_network(), {"cells": (2, SIZE, SIZE, 3)})
    assert twice.flop == 2 * cost.flop


def test_shapes_that_only_running_tells_are_said() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Cast", ["where"], ["rows"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["rows", "rows"], ["y"]),
    ]
    made = model(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])],
        {},
    )
    with pytest.raises(EngineError, match="known only when it runs"):
        network_cost("boxes", made, {"x": (1, 3)})


@pytest.mark.parametrize("int8", [False, True])
def test_the_product_is_the_product(int8: bool) -> None:
    engine = open_engine("onnxruntime", "product", product_model(8, int8=int8, repeat=2))
    kind = np.uint8 if int8 else np.float32
    values = np.arange(64).reshape(8, 8).astype(kind)
    answers = engine.run({"a": values})
    random = np.random.default_rng(0)
    for number in range(2):
        if int8:
            other = random.integers(-127, 128, (8, 8)).astype(np.int64)
        else:
            other = random.normal(size=(8, 8)).astype(np.float32)
        expected = values.astype(other.dtype)[:1] @ other[:, :1]
        assert answers[f"o{number}"] == pytest.approx(expected, rel=1e-5)


def test_without_onnx_the_peak_is_numpys_and_int8_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeapl.bench.peak.COPY_BYTES", 1 << 20)
    monkeypatch.setattr("edgeapl.bench.peak.SIZE", 64)
    peak = measure_peak(1, None)
    assert (peak.by, peak.int8) == ("numpy", None)
    assert "INT8 peak was not measured" in peak.notes[0]
    assert peak.of("fp32") == peak.fp32 > 0
    assert peak.of("fp16") is None


def test_the_higher_peak_counts_since_other_work_can_only_lower_it() -> None:
    one, other = Peak("numpy", 2.0, None, 5.0), Peak("numpy", 3.0, 9.0, 4.0)
    assert higher_peak(one, other) == Peak("numpy", 3.0, None, 5.0)
    assert higher_peak(other, other) == other


# Bare networks


def test_all_workers_and_all_rows_are_counted_and_each_session_is_closed() -> None:
    opened: list[FakeEngine] = []
    asked: list[tuple[int, int]] = []
    shapes: list[int] = []

    def opener(threads: int, workers: int) -> FakeEngine:
        asked.append((threads, workers))

        def answer(inputs: object) -> dict[str, np.ndarray]:
            shapes.append(len(inputs["x"]))  # type: ignore[index]
            return {"y": np.zeros(1)}

        opened.append(FakeEngine(answer, {"x": ("uint8", (None, 3))}, ("y",)))
        return opened[-1]

    rows = {"x": np.zeros((10, 3), np.uint8)}
    settings = bare_networks.settings_to_try(2, (1, 4))
    assert [str(one) for one in settings] == [
        "1x2 batch 1", "1x2 batch 4", "2x1 batch 1", "2x1 batch 4",
    ]  # fmt: skip
    best, tried = bare_networks.best_setting(opener, rows, settings, at_least_s=0)
    assert best in tried
    assert [rate.setting for rate in tried] == list(settings)
    assert asked[:4] == [(2, 1), (2, 1), (1, 2), (1, 2)]
    assert len(asked) == 4 + bare_networks.FINALISTS
    # One run that does not count, then one of each worker.
    assert [engine.runs for engine in opened[:4]] == [2, 2, 3, 3]
    assert all(engine.closed for engine in opened)
    assert set(shapes) == {1, 4}  # never the rest of two


def test_a_setting_that_was_lucky_once_is_not_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {0.3: (9.0, 8.0, 7.0, 5.0), 1.5: (4.0, 6.0, 5.0, 99.0)}

    def run_rows(
        engine: object, rows: object, setting: bare_networks.Setting, seconds: float
    ) -> bare_networks.CompletedRun:
        return bare_networks.CompletedRun(
            int(10 * rates[round(seconds, 3)][setting.batch - 1]), 10.0, 1.0
        )

    monkeypatch.setattr(bare_networks, "run_rows", run_rows)
    settings = [bare_networks.Setting(1, 1, batch) for batch in (1, 2, 3, 4)]

    def opener(threads: int, workers: int) -> FakeEngine:
        return FakeEngine(lambda inputs: {}, {}, ())

    best, tried = bare_networks.best_setting(opener, {"x": np.zeros((4, 3), np.uint8)}, settings)
    assert best == bare_networks.Rate(settings[1], 6.0)
    assert [one.rows_per_s for one in tried] == [4.0, 6.0, 5.0, 5.0]


def test_rows_and_not_runs_are_counted_until_the_last_is_back() -> None:
    clock = FakeClock()

    def answer(inputs: object) -> dict[str, np.ndarray]:
        clock.move(0.75)
        return {"y": np.zeros(1)}

    engine = FakeEngine(answer, {"x": ("uint8", (None, 3))}, ("y",))
    rows = {"x": np.zeros((8, 3), np.uint8)}
    setting = bare_networks.Setting(1, 1, 4)
    done = bare_networks.run_rows(engine, rows, setting, 2.0, lambda: clock.monotonic_ns() / 1e9)
    # Three runs of four rows: the third starts before the two seconds are over, ends after them.
    assert done.rows_per_s == pytest.approx(12 / 2.25)
    assert done.cpu_s >= 0
    assert engine.runs == 4  # one before that does not count


def test_a_session_that_fails_is_an_error_and_no_rate() -> None:
    engine = FakeEngine(lambda inputs: {}, {"x": ("uint8", (None, 3))}, (), fail_on=[1])
    with pytest.raises(EngineError):
        bare_networks.run_rows(
            engine, {"x": np.zeros((2, 3), np.uint8)}, bare_networks.Setting(1, 1, 1), 0
        )


def test_one_core_has_one_way() -> None:
    assert [str(one) for one in bare_networks.settings_to_try(1, (1,))] == ["1x1 batch 1"]


# Plots


def points(svg: str, kind: str) -> list[tuple[float, float]]:
    tree = ElementTree.fromstring(svg)
    return [(float(n.get("cx", 0)), float(n.get("cy", 0))) for n in tree.iter(kind)]


def test_pairs_stand_in_order_and_higher_when_a_is_slower() -> None:
    dots = points(plots.pairs([[2.0, 1.0], [1.0, 1.0], [1.0, 2.0]]), "circle")
    assert all(a[0] < b[0] for a, b in pairwise(dots))
    assert all(a[1] < b[1] for a, b in pairwise(dots))  # SVG counts downwards


def test_a_network_lies_below_its_roof() -> None:
    network = {"network": "<b>", "flop_per_byte": 10.0, "flop_per_s": 5e10}
    floor = {"peak": {"fp32": 1e11, "int8": None, "bytes_per_s": 1e10}, "networks": [network]}
    svg = plots.roofline(floor)
    assert len(points(svg, "circle")) == 1
    assert "<b>" not in svg
    assert plots.roofline({**floor, "networks": [{**network, "flop_per_byte": None}]}) == ""


def test_the_budget_is_drawn_when_it_is_near() -> None:
    assert "budget" in plots.spread([1.0, 2.0], 3.0)
    assert "budget" not in plots.spread([1.0, 2.0], 45_000.0)
    assert plots.spread([], 1.0) == ""
    ElementTree.fromstring(plots.spread([1.0], 1.0))


def test_a_bar_is_as_long_as_its_mean() -> None:
    stages = {n: {"mean_ms": v, "p99_ms": 4.0} for n, v in {"gate": 1.0, "crop": 2.0}.items()}
    bars = ElementTree.fromstring(plots.stage_bars(stages))
    widths = [float(n.get("width", 0)) for n in bars.iter() if n.tag.endswith("rect")]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
