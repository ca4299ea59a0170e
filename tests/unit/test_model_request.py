"""A request says what model is wanted; what cannot be met is refused before a network is opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.trust import Trust
from edgeapl.errors import BundleError, EdgeAplError, EngineError, UsageError
from edgeapl.model import ModelRequest
from edgeapl.model.engine_choice import FROM_BUNDLE
from edgeapl.model.resolution import own_batch_size, resolve
from tests.small_bundle import small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"threads": 0}, UsageError, "threads out of range: 0: give 1 or more"),
        ({"workers": -1}, UsageError, "workers out of range: -1: give 1 or more"),
        ({"bundle": Path("nowhere")}, BundleError, "nowhere"),
        ({"trust": Trust(frozenset({"0" * 64}))}, BundleError, "there is no signature"),
        ({"trust": Trust(None, {"small": "99"})}, BundleError, "older than the station allows"),
        ({"engines": Path("nowhere")}, EngineError, "nowhere"),
    ],
    ids=lambda value: None if isinstance(value, str | type) else next(iter(value)),
)
def test_what_cannot_be_met_is_refused_before_a_network_is_opened(
    bundle: Bundle, changes: dict[str, object], error: type[EdgeAplError], words: str
) -> None:
    with pytest.raises(error, match=words):
        resolve(replace(ModelRequest(bundle.folder), **changes))  # type: ignore[arg-type]


def test_a_folder_alone_asks_for_the_bundles_own_networks_one_at_a_time(bundle: Bundle) -> None:
    resolved = resolve(bundle.folder)
    assert resolved.request == ModelRequest(bundle.folder)
    assert (resolved.engines, resolved.chosen.text) == (None, FROM_BUNDLE)
    assert (resolved.target, resolved.threads, resolved.workers) == ("onnxruntime", 1, 1)
    assert resolved.batch_size == own_batch_size(bundle.manifest.crop.size_px)
    assert (resolved.tolerance, resolved.links) == (0.0, ())


def test_workers_that_are_left_open_fill_the_cores(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeapl.model.resolution.cpu_cores", lambda: 6)
    request = ModelRequest(bundle.folder, threads=2, workers=None)
    assert resolve(request).workers == 3
    assert resolve(replace(request, workers=5)).workers == 5
