"""`edgeapl doctor --verify` tells an installation from the archive it should have come from."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeapl.cli.main import run
from edgeapl.errors import InputError
from edgeapl.installation import SUMS, compare_with_archive

FILES = {"anaemia/__init__.py": b"VALUE = 1\n", "anaemia/stain.py": b"VALUE = 2\n"}
INFO = "anaemia-1.2.dist-info"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of one wheel, which is installed as pip would."""
    files = {**FILES, f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: anaemia\nVersion: 1.2\n"}
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{INFO}/RECORD"] = "\n".join([*rows, f"{INFO}/RECORD,,"]).encode()
    wheel = tmp_path / "archive" / "wheels" / "anaemia-1.2-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as content:
        for name, data in files.items():
            content.writestr(name, data)
            place = tmp_path / "site" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    _sum(wheel)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "archive"


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _sum(wheel: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    sums = wheel.parents[1] / SUMS
    sums.write_text(f"{digest}  wheels/{wheel.name}\n", encoding="utf-8")


def test_what_was_installed_from_the_archive_is_as_it(archive: Path) -> None:
    assert compare_with_archive(archive) == (1, ())
    assert run(["doctor", "--verify", str(archive)]) == 0


def _change(archive: Path) -> None:
    (archive.parent / "site/anaemia/stain.py").write_bytes(b"VALUE = 3\n")


def _remove_a_file(archive: Path) -> None:
    (archive.parent / "site/anaemia/stain.py").unlink()


def _remove_the_package(archive: Path) -> None:
    (archive.parent / "site" / INFO).rename(archive.parent / "site/kept")


def _install_another_version(archive: Path) -> None:
    metadata = archive.parent / "site" / INFO / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: anaemia\nVersion: 1.3\n", encoding="utf-8")


def _change_the_wheel(archive: Path) -> None:
    with zipfile.ZipFile(next((archive / "wheels").iterdir()), "a") as wheel:
        wheel.writestr("anaemia/more.py", b"")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_change, "changed or missing: anaemia/stain.py"),
        (_remove_a_file, "changed or missing: anaemia/stain.py"),
        (_remove_the_package, "is not installed"),
        (_install_another_version, "1.3 is installed, not 1.2"),
        (_change_the_wheel, f"its wheel is not the one in {SUMS}"),
    ],
)
def test_what_deviates_is_named_and_ends_with_1(
    archive: Path,
    harm: Callable[[Path], None],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(archive)
    (found,) = compare_with_archive(archive)[1]
    assert (found.package, found.detail) == ("anaemia", said)
    assert run(["doctor", "--verify", str(archive), "--json"]) == 1
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "harm",
    [
        lambda archive: (archive / SUMS).unlink(),
        lambda archive: (archive / SUMS).write_text("", encoding="utf-8"),
        lambda archive: (archive / SUMS).write_text("torn", encoding="utf-8"),
        lambda archive: next((archive / "wheels").iterdir()).unlink(),
        lambda archive: next((archive / "wheels").iterdir()).write_bytes(b"no wheel"),
    ],
)
def test_a_folder_that_is_no_archive_is_refused_in_one_line(
    archive: Path, harm: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    harm(archive)
    with pytest.raises(InputError):
        compare_with_archive(archive)
    assert run(["doctor", "--verify", str(archive)]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
