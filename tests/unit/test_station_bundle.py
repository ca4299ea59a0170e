"""A station takes another bundle between slides, keeps the last good one, and goes back to it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgeapl.bundle.load import open_bundle
from edgeapl.cli import bundle_switch
from edgeapl.cli.bundle_switch import ASK_S, BundleSwitch
from edgeapl.cli.main import run
from edgeapl.config import StationConfig
from edgeapl.errors import BundleError, StorageError, UsageError
from edgeapl.journal import BUNDLE, Journal, read_rows, verify
from edgeapl.model import BLOOD_CELLS, EMBEDDED
from edgeapl.station.bundle_history import BundleHistory, go_back, use_bundle
from edgeapl.testing import FakeClock
from tests.small_bundle import small_bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    versions = ("1.0", "2.0", "3.0")
    return {name: small_bundle(folder / name, version=name).folder for name in versions}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite3"


def use(path: Path, folder: Path) -> str:
    with Journal.open(path, reserve_bytes=0) as journal:
        return use_bundle(journal, open_bundle(folder)).version


def version(path: Path) -> str | None:
    current = BundleHistory(path).current()
    return None if current is None else current.version


def actions(path: Path) -> list[tuple[str, str]]:
    rows = read_rows(path, kinds=(BUNDLE,))
    return [(str(row.content["action"]), row.content["bundle"]["version"]) for row in rows]


def test_choices_are_rows_and_back_goes_one_step_at_a_time(
    bundles: dict[str, Path], path: Path
) -> None:
    assert version(path) is None
    for name in ("1.0", "2.0"):
        use(path, bundles[name])
    assert version(path) == "2.0"
    with Journal.open(path, reserve_bytes=0) as journal:
        gone, now = go_back(journal)
        assert (gone.version, now and now.version) == ("2.0", "1.0")
        use_bundle(journal, open_bundle(bundles["3.0"]))
        assert version(path) == "3.0"
        go_back(journal)
        gone, now = go_back(journal)
        assert (gone.version, now) == ("1.0", None)
        with pytest.raises(UsageError, match="there is no bundle to go back from"):
            go_back(journal)
    assert actions(path) == [
        ("use", "1.0"), ("use", "2.0"), ("back", "2.0"),
        ("use", "3.0"), ("back", "3.0"), ("back", "1.0"),
    ]  # fmt: skip
    assert verify(path).problems == ()


def test_the_copy_stays_when_the_bundle_is_changed_or_removed(
    bundles: dict[str, Path], path: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(bundles["1.0"], tmp_path / "mine")
    use(path, mine)
    shutil.rmtree(mine)
    current = BundleHistory(path).current()
    assert current is not None
    assert open_bundle(Path(current.folder)).digest == current.digest
    assert Path(current.folder).parent == path.parent / "bundles"
    with pytest.raises(UsageError, match="bundle is in use already"):
        use(path, bundles["1.0"])


def test_a_copy_that_was_damaged_or_left_half_is_made_again(
    bundles: dict[str, Path], path: Path
) -> None:
    use(path, bundles["1.0"])
    current = BundleHistory(path).current()
    assert current is not None
    kept = Path(current.folder)
    use(path, bundles["2.0"])
    (kept / "cells.onnx").write_bytes(b"damaged")
    kept.with_name(f"{kept.name}.partial").mkdir()
    use(path, bundles["1.0"])
    assert open_bundle(kept).digest == current.digest
    assert not list(kept.parent.glob("*.partial"))


def test_a_bundle_that_changes_while_it_is_copied_is_not_chosen(
    bundles: dict[str, Path], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.copytree

    def copy(source: Path, target: Path) -> None:
        real(source, target)
        (target / "cells.onnx").write_bytes(b"another")

    monkeypatch.setattr("shutil.copytree", copy)
    with pytest.raises(StorageError, match="copy of the bundle is not like it"):
        use(path, bundles["1.0"])
    assert version(path) is None


# A running station


class Opening:
    """Stands for what opens a model: takes note of the bundle, and refuses some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, ...] = ()) -> None:
        self.opened: list[str | None] = []
        self.refused = refused
        monkeypatch.setattr(bundle_switch, "hosted_model", self.model)

    @contextmanager
    def model(self, named: Path, *_: Any) -> Iterator[str | None]:
        found = open_bundle(named).manifest.version
        if named in (BLOOD_CELLS, EMBEDDED):
            found = named.name
        self.opened.append(found)
        if found in self.refused:
            raise BundleError("self-test fails", named)
        yield found


def switch(
    path: Path,
    named: Path | None = None,
    clock: FakeClock | None = None,
    *,
    drawn: bool = False,
) -> BundleSwitch:
    time = clock or FakeClock()
    config = StationConfig()
    now = lambda: time.monotonic_ns() / 1e9  # noqa: E731
    return BundleSwitch(named, path, config, "none", None, drawn, now)


def terminal() -> Console:
    return Console(file=io.StringIO(), width=300)


@pytest.mark.parametrize(("drawn", "name"), [(True, "apl-demo"), (False, "blood-cells")])
def test_drawn_frames_get_the_demonstration_and_real_ones_the_counter_of_cells(
    drawn: bool, name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening(monkeypatch)
    with ExitStack() as opened:
        switch(path, drawn=drawn).open_model(opened, terminal())
    assert opening.opened == [name]


def test_a_station_opens_what_was_chosen_and_hears_of_another_choice(
    bundles: dict[str, Path], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, clock = Opening(monkeypatch), FakeClock()
    use(path, bundles["1.0"])
    station = switch(path, clock=clock)
    with ExitStack() as opened:
        station.open_model(opened, terminal())
        assert not station.wanted()
        use(path, bundles["2.0"])
        assert not station.wanted(), "the journal is not asked all the time"
        clock.move(ASK_S)
        assert station.wanted()
    with ExitStack() as opened:
        station.open_model(opened, terminal())
        clock.move(ASK_S)
        assert not station.wanted()
    assert opening.opened == ["1.0", "2.0"]


def test_a_bundle_that_cannot_be_opened_gives_way_to_the_last_good_one(
    bundles: dict[str, Path], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, shown = Opening(monkeypatch, refused=("2.0",)), terminal()
    for name in ("1.0", "2.0"):
        use(path, bundles[name])
    with ExitStack() as opened:
        switch(path).open_model(opened, shown)
    assert opening.opened == ["2.0", "1.0"]
    assert actions(path)[-1] == ("refused", "2.0")
    assert version(path) == "1.0"
    assert isinstance(shown.file, io.StringIO)
    said = shown.file.getvalue()
    assert "cannot be used, so the last good bundle is: self-test fails" in said


def test_a_bundle_of_the_command_line_is_used_whatever_was_chosen(
    bundles: dict[str, Path], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, clock = Opening(monkeypatch, refused=("3.0",)), FakeClock()
    use(path, bundles["1.0"])
    station = switch(path, bundles["2.0"], clock)
    with ExitStack() as opened:
        station.open_model(opened, terminal())
        clock.move(ASK_S)
        assert not station.wanted()
    assert opening.opened == ["2.0"]
    refusing = switch(path, bundles["3.0"])
    with pytest.raises(BundleError), ExitStack() as opened:
        refusing.open_model(opened, terminal())
    assert version(path) == "1.0"


# The command


def test_the_command_uses_shows_and_goes_back(
    bundles: dict[str, Path],
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    on = ["--journal", str(path)]
    assert run(["station", "use", *on]) == 0
    assert "what the station file names" in capsys.readouterr().out
    for name in ("1.0", "2.0"):
        assert run(["station", "use", str(bundles[name]), *on]) == 0
    said = capsys.readouterr().out
    assert "the station uses small 2.0" in said
    assert "--back goes back to small 1.0" in said
    assert run(["station", "use", "--back", *on, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["uses"] == open_bundle(bundles["1.0"]).digest
    assert run(["journal", "list", *on]) == 0
    assert "back bundle small 2.0" in capsys.readouterr().out
    assert run(["station", "use", str(bundles["1.0"]), "--back", *on]) == 2
    assert "a bundle and --back" in capsys.readouterr().err


def test_a_bundle_that_is_not_trusted_or_damaged_is_never_chosen(
    bundles: dict[str, Path], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    on = ["--journal", str(path), "--engines", "none"]
    damaged = shutil.copytree(bundles["1.0"], tmp_path / "damaged")
    (damaged / "cells.onnx").write_bytes(b"damaged")
    assert run(["station", "use", str(damaged), *on]) == 4
    (tmp_path / "edgeapl.toml").write_text(f'trusted_keys = ["{"0" * 64}"]\n')
    assert run(["station", "use", str(bundles["1.0"]), *on]) == 4
    assert version(path) is None
