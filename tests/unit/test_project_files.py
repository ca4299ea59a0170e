"""What stands around the code is in step with it: locks, citations, notices, lanes, releases."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import edgeapl

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def locked(name: str) -> dict[str, set[str]]:
    """Versions by package of a lock file, each of which must have digests."""
    versions: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\S)", text(name)):
        found = re.match(r"([\w.-]+)==([^ ;\\]+)", entry)
        assert found is not None, entry
        assert "--hash=sha256:" in entry, f"{name}: {found[1]} has no digest"
        versions.setdefault(canonicalize_name(found[1]), set()).add(found[2])
    return versions


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("constraints/station.txt", ["page", "formats", "openvino", "build", "plots"]),
        ("constraints/rtx.txt", ["page", "formats", "build", "rtx"]),
        ("constraints/cameras.txt", ["page", "formats", "openvino", "build", "plots", "cameras"]),
    ],
)
def test_every_package_of_a_station_is_locked_within_what_is_asked_for(
    file: str, extras: list[str]
) -> None:
    versions = locked(file)
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]:
        wanted = Requirement(line)
        if wanted.name == PROJECT["name"]:  # an extra that brings another
            continue
        have = versions.get(canonicalize_name(wanted.name), set())
        assert have, f"{wanted.name} is not locked: bash constraints/lock"
        outside = {version for version in have if not wanted.specifier.contains(version)}
        assert not outside, f"{line}: locked to {outside}: bash constraints/lock"
    assert "://" not in text(file), "a lock names packages, no places"


def test_no_page_has_marks_of_a_merge_that_was_not_settled() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    marked = [
        page.name
        for page in pages
        if re.search(r"^(<{7} |={7}$|>{7} )", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert not marked


@pytest.mark.parametrize(("cuda", "other"), [("12", "13"), ("13", "12")])
def test_each_tensorrt_comes_with_the_bindings_of_its_own_cuda(cuda: str, other: str) -> None:
    wanted = {one.name: one for one in map(Requirement, EXTRAS[f"tensorrt-cu{cuda}"])}
    assert set(wanted) == {"edgeapl", f"tensorrt-cu{cuda}", "cuda-bindings"}
    assert wanted["cuda-bindings"].specifier.contains(f"{cuda}.9.0")
    assert not wanted["cuda-bindings"].specifier.contains(f"{other}.9.0")
    # JetPack's TensorRT is the oldest, and CUDA 13 came with 10.13.
    assert wanted[f"tensorrt-cu{cuda}"].specifier.contains("10.13.2.6")
    assert not wanted[f"tensorrt-cu{cuda}"].specifier.contains("10.2.0")


def test_the_version_is_the_same_everywhere_and_has_its_section_in_the_changelog() -> None:
    version = PROJECT["version"]
    assert edgeapl.__version__ == version
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert f"\n## {version}\n" in text("CHANGELOG.md")


def test_every_paper_that_a_recipe_names_is_cited() -> None:
    cited = text("CITATION.cff")
    sources = [path.read_text("utf-8") for path in (ROOT / "export" / "recipes").glob("*.py")]
    papers = {found for source in sources for found in re.findall(r"doi (10\.[^\s\",]+)", source)}
    assert len(papers) >= 3
    assert [doi for doi in sorted(papers) if f"doi: {doi}\n" not in cited] == []


def test_every_part_of_others_is_named_with_its_licence() -> None:
    notice, licences = text("NOTICE"), text("edgeapl/web/static/LICENSES.txt")
    vendored = [
        path.name
        for path in (ROOT / "edgeapl" / "web" / "static").iterdir()
        if re.search(r"-\d+\.\d+", path.name)
    ]
    assert len(vendored) >= 2
    for name in vendored:
        assert f"edgeapl/web/static/{name}" in notice
        assert name in licences
    assert "has not chosen a licence" in notice


def test_the_workflows_run_what_developers_run() -> None:
    for name in ("ci", "release"):
        assert "run: bash .ci/run\n" in text(f".github/workflows/{name}.yml")


@pytest.mark.parametrize(
    ("tag", "said"), [("v0.0.0", "does not name version"), ("latest", "does not name version")]
)
def test_a_tag_that_names_another_version_is_not_released(
    tag: str, said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "release"), tag, str(tmp_path / "dist")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stdout
    assert not (tmp_path / "dist").exists()
