"""A station whose engines fail or hang when they are opened starts with the bundle's networks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.trust import Trust
from edgeapl.cli import choices
from edgeapl.config import StationConfig
from edgeapl.engines.hosted import process
from edgeapl.engines.hosted.host import EngineHost
from edgeapl.engines.hosted.networks import GroupFiles
from edgeapl.engines.store.cache import cache_folder
from edgeapl.errors import ConfigError, DeadlineError, EdgeAplError, EngineError
from edgeapl.model import engine_choice, fallback, resolution
from edgeapl.model.engine_choice import ChosenEngines
from edgeapl.model.resolution import ResolvedModel
from edgeapl.testing import FakeDriver
from tests import gpu_child
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import OTHERS
from tests.gpu_child import Trouble
from tests.gpu_engines import write_plans
from tests.small_bundle import small_bundle


@dataclass
class Opener:
    """Fails with engines, and works without."""

    error: EdgeAplError
    own: Any = field(default_factory=nullcontext)
    opened: list[Any] = field(default_factory=list)

    def __call__(self, resolved: ResolvedModel) -> Any:
        self.opened.append(resolved.engines)
        if resolved.engines is not None:
            raise self.error
        return self.own


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Engines that are there; what they are does not matter here."""
    engines: Any = SimpleNamespace(record=SimpleNamespace(target="rtx"))

    def choose(bundle: object, wanted: object, trust: object = None) -> ChosenEngines:
        return ChosenEngines(None if wanted == "none" else engines, "whichever")

    monkeypatch.setattr(resolution, "choose_engines", choose)
    monkeypatch.setattr(fallback, "try_out", passed)
    return engines


FAILURES = [
    EngineError("GPU memory is short", "cells"),
    DeadlineError("network took too long", "cells", "more than 120 s"),
]


@pytest.mark.parametrize("error", FAILURES, ids=["fails", "hangs"])
@pytest.mark.parametrize("wanted", ["auto", "folder"])
def test_engines_that_were_not_asked_for_by_name_are_left_alone_when_they_can_not_be_opened(
    chosen: Any, error: EdgeAplError, wanted: str, tmp_path: Path
) -> None:
    small_bundle(tmp_path / "bundle")
    opener, said = Opener(error), io.StringIO()
    station = choices._opened(
        opener, tmp_path / "bundle", StationConfig(), wanted, Console(file=said, width=200)
    )
    if wanted != "auto":
        with pytest.raises(type(error)), station:
            pass
        return
    with station as opened:
        assert opened is opener.own
    assert opener.opened == [chosen, None]
    assert f"not used: {error}" in said.getvalue()


def test_other_troubles_are_not_hidden(chosen: Any, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    opener = Opener(ConfigError("wrong"))
    with (
        pytest.raises(ConfigError),
        choices._opened(opener, tmp_path / "bundle", StationConfig(), "auto", Console()),
    ):
        pass


@pytest.mark.slow
def test_a_station_starts_though_its_gpu_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(process, "CHILD", gpu_child.__name__)
    flags = tmp_path / "flags"
    flags.mkdir()
    monkeypatch.setenv(gpu_child.FLAGS, str(flags))
    monkeypatch.setattr(EngineHost, "open_together", impatient)
    fake = FakeTensorRt(FakeDriver(), largest=8, others=OTHERS)
    small_bundle(tmp_path / "bundle")
    written = write_plans(tmp_path, cache_folder() / "engines", fake)
    written.folder.rename(cache_folder() / written.record.key)
    monkeypatch.setattr(engine_choice, "check_fits", lambda *_: None)
    monkeypatch.setattr(engine_choice, "runtime_version", lambda _: fake.place.version)
    monkeypatch.setattr(fallback, "try_out", passed)
    Trouble.HANGS.begin(flags)
    said = io.StringIO()
    terminal = Console(file=said, width=300)
    with choices.hosted_model(tmp_path / "bundle", StationConfig(), "auto", terminal) as hosted:
        assert hosted.model.runtime.startswith("onnxruntime")
    assert "not used: networks took too long to open" in said.getvalue()


def passed(folder: Path, trust: Trust | None, engines: object = None) -> Bundle:
    """Stand in for the trial in another process, where nothing of the fake GPU is known."""
    return open_bundle(folder)


together = EngineHost.open_together


def impatient(groups: Sequence[GroupFiles]) -> Mapping[str, EngineHost]:
    return together(groups, opening_s=10.0)
