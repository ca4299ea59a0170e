"""Checkpoints of every usual kind give their tensors; all of them go into the module, or none."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")
pytest.importorskip("safetensors", reason="needs the export extra")

# torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from edgeapl.errors import BundleError  # noqa: E402
from edgeapl.export.checkpoints import Checkpoint, load_into, read_checkpoint  # noqa: E402


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))


def wrapped(prefix: str, key: str | None = None) -> dict[str, Any]:
    state = {f"{prefix}{name}": tensor for name, tensor in module().state_dict().items()}
    return state if key is None else {key: state, "epoch": 3, "optimizer": {"state": {0: 1}}}


def script(path: Path) -> None:
    torch.jit.trace(module().eval()[:2], torch.zeros(1, 3, 8, 8)).save(str(path))


SAVERS: dict[str, Callable[[Path], None]] = {
    "state_dict": lambda p: torch.save(module().state_dict(), p),
    "before torch 1.6": lambda p: torch.save(
        module().state_dict(), p, _use_new_zipfile_serialization=False
    ),
    "data parallel": lambda p: torch.save(wrapped("module."), p),
    "lightning": lambda p: torch.save(wrapped("model.", "state_dict"), p),
    "compiled data parallel": lambda p: torch.save(wrapped("module._orig_mod.", "model"), p),
    "safetensors": lambda p: save_file(module().state_dict(), p),
    "half": lambda p: torch.save(module().half().state_dict(), p),
}


@pytest.mark.parametrize("kind", SAVERS)
def test_every_kind_of_file_fills_the_module(kind: str, tmp_path: Path) -> None:
    SAVERS[kind](tmp_path / "w.bin")
    target = module()
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.zero_()
    checkpoint = read_checkpoint(tmp_path / "w.bin")
    load_into(target, checkpoint, role="model")
    close = 1e-3 if kind == "half" else 0
    for name, tensor in module().state_dict().items():
        assert torch.allclose(target.state_dict()[name].double(), tensor.double(), atol=close)
    assert len(checkpoint.digest) == 64
    if kind == "half":
        assert "float16" in checkpoint.notes[-1]
    kept = {n: t.dtype for n, t in checkpoint.tensors.items() if t.dtype is not torch.float32}
    assert all("num_batches" in name and dtype is torch.int64 for name, dtype in kept.items())


def test_a_prefix_that_was_removed_is_said() -> None:
    checkpoint = Checkpoint(wrapped("module._orig_mod."), "", "state-dict", ())
    notes = load_into(module(), checkpoint, role="m").notes
    assert notes == ("prefix 'module._orig_mod.' removed",)
    bare = Checkpoint(module().state_dict(), "", "state-dict", ())
    assert load_into(module(), bare, role="m").notes == ()
    mixed = {**wrapped("module._orig_mod."), "steps": torch.zeros(1)}
    notes = load_into(module(), Checkpoint(mixed, "", "state-dict", ()), role="m").notes
    assert notes == ("prefix 'module._orig_mod.' removed", "left out: steps")


def test_a_hash_in_the_name_of_a_folder_or_file_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "run#3").mkdir()
    for name in ("w.pt", "w#2.pt"):
        torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "run#3" / name)
        assert read_checkpoint(tmp_path / "run#3" / name).notes == ("taken from 'model'",)
    assert read_checkpoint(tmp_path / "run#3" / "w.pt#model").tensors["a"] == 1


@pytest.mark.parametrize("length", [60, 0x3C20, 0x3C0A])
def test_safetensors_are_known_whatever_the_length_of_their_header(
    length: int, tmp_path: Path
) -> None:
    """The length stands first; 60 is the byte of '<', with which web pages begin."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    data = length.to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "w.safetensors").write_bytes(data)
    assert read_checkpoint(tmp_path / "w.safetensors").kind == "safetensors"


def test_a_torchscript_archive_gives_its_tensors_and_runs_nothing(tmp_path: Path) -> None:
    script(tmp_path / "w.pt")
    checkpoint = read_checkpoint(tmp_path / "w.pt")
    assert checkpoint.kind == "torchscript"
    wanted = module()[:2].state_dict()
    for name, tensor in wanted.items():
        if "num_batches" not in name:
            assert torch.equal(checkpoint.tensors[name], tensor)
    load_into(module()[:2], checkpoint, role="model")


def test_an_archive_needs_the_owners_word(tmp_path: Path) -> None:
    program = torch.export.export(module().eval()[:2], (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "w.pt2")
    with pytest.raises(BundleError, match="--trust-archive"):
        read_checkpoint(tmp_path / "w.pt2")
    checkpoint = read_checkpoint(tmp_path / "w.pt2", trust_archive=True)
    assert checkpoint.kind == "archive"
    load_into(module()[:2], checkpoint, role="model")


def test_of_several_state_dicts_none_is_chosen_silently(tmp_path: Path) -> None:
    state = module().state_dict()
    average = {name: tensor * 0 for name, tensor in state.items()}
    torch.save({"model": state, "model_ema": average}, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=r"several state_dicts.*w\.pt#model_ema"):
        read_checkpoint(tmp_path / "w.pt")
    chosen = read_checkpoint(Path(f"{tmp_path / 'w.pt'}#model_ema"))
    assert not chosen.tensors["0.weight"].any()
    with pytest.raises(BundleError, match="no such state_dict"):
        read_checkpoint(Path(f"{tmp_path / 'w.pt'}#ema"))


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = module().state_dict()
    del state["0.bias"]
    state["surplus"] = torch.zeros(1)
    state["2.0.weight"] = torch.zeros(3, 4)
    state["2.0.bias"] = torch.zeros(2, dtype=torch.int8)
    torch.save(state, tmp_path / "w.pt")
    target = module()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(BundleError) as caught:
        load_into(target, read_checkpoint(tmp_path / "w.pt"), role="promyelocyte")
    text = str(caught.value)
    for part in (
        "promyelocyte",
        "1 missing: 0.bias",
        "1 surplus: surplus",
        "(3, 4) instead of",
        "int8 instead",
    ):
        assert part in text
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (torch.full((2, 2), float("nan")), r"not finite.*: 1\.weight"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
    ],
)
def test_weights_that_can_not_be_are_named(value: Any, word: str, tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(2), "1.weight": value}, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=word):
        read_checkpoint(tmp_path / "w.pt")


def in_parts(folder: Path) -> Path:
    (folder / "dcp").mkdir()
    (folder / "dcp" / ".metadata").write_bytes(b"")
    return folder / "dcp"


def saved(value: object, name: str = "w.pt") -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        torch.save(value, folder / name)
        return folder / name

    return save


ADAM = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1, "params": [0]}]}
NO_STATE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an optimizer": (saved(ADAM), "state of an optimizer: give the file with the network's"),
    "an optimizer by name": (saved({"optimizer": ADAM, "epoch": 3}), "state of an optimizer"),
    "tensors by number": (saved({0: torch.ones(2)}), "no state_dict.*it holds 0: save"),
    "what argparse read": (
        saved({"state_dict": {"a": torch.ones(2)}, "args": argparse.Namespace(lr=1)}),
        r"more than weights \(argparse\.Namespace\).*nothing of it was run.*weights_only=False",
    ),
    "a figure of NumPy": (
        saved({"state_dict": {"a": torch.ones(2)}, "best": np.float64(0.9)}),
        r"more than weights \(numpy.*\.scalar\)",
    ),
    "a part": (
        saved({"a": torch.ones(2)}, "model-00001-of-00002.safetensors"),
        "one of several parts.*all of them into one dict",
    ),
    "a folder of parts": (in_parts, "torch.distributed.*dcp_to_torch"),
}


@pytest.mark.parametrize("case", NO_STATE)
def test_what_holds_no_weights_alone_says_the_way_out(case: str, tmp_path: Path) -> None:
    make, words = NO_STATE[case]
    with pytest.raises(BundleError, match=words) as caught:
        read_checkpoint(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_wrappers_in_wrappers_are_opened(tmp_path: Path) -> None:
    state = module().state_dict()
    inside = {"epoch": 3, "optimizer": ADAM, "run": {"best": {"net": {"weights": state}}}}
    found = read_checkpoint(saved(inside)(tmp_path))
    assert found.place == ("run", "best", "net", "weights")
    assert found.tensors.keys() == state.keys()


@pytest.mark.parametrize(
    ("part", "left"),
    [
        *((name, True) for name in ("aux_head", "AuxLogits", "head2", "loss_fn", "model_ema")),
        *((name, False) for name in ("hemato_block", "schema", "overhead", "ahead", "blossom")),
    ],
)
def test_only_whole_words_tell_what_is_for_training_alone(part: str, left: bool) -> None:
    state = {**module().state_dict(), f"{part}.weight": torch.ones(1)}
    checkpoint = Checkpoint(state, "", "state-dict", ())
    if left:
        assert load_into(module(), checkpoint, role="m").notes == (f"left out: {part}.weight",)
    else:
        with pytest.raises(BundleError, match=f"1 surplus: {part}.weight"):
            load_into(module(), checkpoint, role="m")
