"""Power mode and clocks stand beside times, where a machine tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeapl.engines.store.clocks import clocks


@pytest.mark.parametrize(("lowest", "said"), [("306000000", "off"), ("918000000", "on")])
def test_a_jetson_tells_its_mode_and_whether_its_clocks_are_locked(
    tmp_path: Path, lowest: str, said: str
) -> None:
    gpu = tmp_path / "sys/class/devfreq/17000000.gpu"
    other = tmp_path / "sys/class/devfreq/mmc"
    for folder in (gpu, other, tmp_path / "var/lib/nvpmodel", tmp_path / "proc/device-tree"):
        folder.mkdir(parents=True)
    (other / "governor").write_text("performance\n")
    for name, text in (("governor", "nvhost_podgov"), ("cur_freq", "306000000")):
        (gpu / name).write_text(f"{text}\n")
    (gpu / "min_freq").write_text(lowest)
    (gpu / "max_freq").write_text("918000000")
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0002\n")
    (tmp_path / "proc/device-tree/model").write_bytes(b"NVIDIA Orin\0")
    found = clocks(tmp_path)
    assert found["machine"] == "NVIDIA Orin"
    assert found["power mode"] == "pmode:0002"
    assert found["17000000.gpu governor"] == "nvhost_podgov"
    assert found["jetson_clocks"] == said
    assert not any("mmc" in name for name in found)


def test_a_machine_that_tells_nothing_adds_nothing(tmp_path: Path) -> None:
    assert clocks(tmp_path) == {}
