"""A file from outside never runs: each hostile or wrong checkpoint is refused in one line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")
pytest.importorskip("safetensors", reason="needs the export extra")

# torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from torch import nn  # noqa: E402

from edgeapl.errors import BundleError  # noqa: E402
from edgeapl.export.checkpoints import read_checkpoint  # noqa: E402


class Hostile:
    """Makes a file when it is unpickled by a reader that runs what it is told to."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch '{self._marker}'",)


def zipped(payload: bytes, *names: str) -> bytes:
    """A zip file laid out like torch's, with the payload as its pickle."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("w/data.pkl", payload)
        archive.writestr("w/version", "3\n")
        for name in names:
            archive.writestr(name, payload)
    return data.getvalue()


def saved(value: object, **options: Any) -> bytes:
    data = io.BytesIO()
    torch.save(value, data, **options)
    return data.getvalue()


HOSTILE: dict[str, Callable[[Hostile], bytes]] = {
    "plain pickle": pickle.dumps,
    "torch.save": saved,
    "beside weights": lambda evil: saved({"state_dict": {"a": torch.ones(1)}, "hparams": evil}),
    "old format": lambda evil: saved({"a": evil}, _use_new_zipfile_serialization=False),
    "zip": lambda evil: zipped(pickle.dumps(evil, protocol=2)),
    "torchscript": lambda evil: zipped(pickle.dumps(evil, protocol=2), "w/constants.pkl"),
    "torch.export": lambda evil: zipped(pickle.dumps(evil, protocol=2), "w/archive_format"),
}


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.ckpt", "w.pt2"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_malicious_pickle_is_refused_and_nothing_runs(
    kind: str, name: str, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    (tmp_path / name).write_bytes(HOSTILE[kind](Hostile(marker)))
    with pytest.raises(BundleError) as caught:
        read_checkpoint(tmp_path / name)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_the_hostile_file_of_this_test_does_run_where_nothing_guards(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Hostile(marker)))
    assert marker.exists()


@pytest.mark.parametrize("only", ["", "0", "1"])
def test_the_environment_can_not_switch_the_guard_off(only: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "w.pt").write_bytes(saved(Hostile(marker)))
    program = (
        "from pathlib import Path\n"
        "from edgeapl.export.checkpoints import read_checkpoint\n"
        f"read_checkpoint(Path({str(tmp_path / 'w.pt')!r}))\n"
    )
    forced = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": only}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **forced},
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = "torch is told two things" if only == "1" else "checkpoint holds more than weights"
    assert f"BundleError: {wanted}" in done.stderr
    assert not marker.exists()


def plain_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("notes.txt", "weights")
    return data.getvalue()


def keras_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    return data.getvalue()


GOOD = saved({"a": torch.ones(100)})

WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "web page": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "keras h5": (b"\x89HDF\r\n\x1a\n" + b"0" * 50, "Keras"),
    "keras": (keras_zip(), "Keras"),
    "onnx": (b"\x08\x08\x12\x07pytorch" + b"0" * 100, "ONNX"),
    "onnx of another maker": (b"\x08\x07\x12\x07tf2onnx" + b"0" * 100, "ONNX"),
    "another pickle": (pickle.dumps([1, 2]), "torch.save did not write"),
    "gzip": (b"\x1f\x8b\x08" + b"0" * 50, "unpack"),
    "another zip": (plain_zip(), "not a PyTorch checkpoint"),
    "text": (b"weights: none", "not a PyTorch checkpoint"),
    "half a file": (GOOD[: len(GOOD) // 2], "cut off or damaged"),
    "damaged legacy": (b"\x80\x02\x8a\x0a" + b"1" * 40, "torch.save did not write"),
    "damaged safetensors": ((50).to_bytes(8, "little") + b"{" + b" " * 60, "cut off or damaged"),
    "whole module": (saved(nn.Linear(2, 2)), "state_dict"),
    "a list": (saved([torch.ones(1)]), "holds a list"),
    "no tensors": (saved({"epoch": 3}), "no state_dict"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_is_no_checkpoint_is_said_what_it_is(kind: str, tmp_path: Path) -> None:
    data, word = WRONG[kind]
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(BundleError, match=word) as caught:
        read_checkpoint(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_said_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for name, word in (("", "folder"), ("none.pt", "cannot be read"), ("pipe.pt", "not a regular")):
        with pytest.raises(BundleError, match=word):
            read_checkpoint(tmp_path / name)


def bomb() -> bytes:
    """A checkpoint whose zip entries were compressed: it unpacks to some 300 times its size."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"")
        archive.writestr("w/data/0", bytes(80 << 20))
    return data.getvalue()


def tree(levels: int) -> bytes:
    """A TorchScript pickle: each module holds the next one twice, so that a walk never ends."""
    new = b"c__torch__.M\nM\n)\x81"
    module = new + b"}b"
    for _ in range(levels):
        module = new + b"}(X\x01\x00\x00\x00a" + module + b"q\x01X\x01\x00\x00\x00bh\x01ub"
    return b"\x80\x02" + module + b"."


GREEDY: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip bomb": (bomb, "unpacks to far more"),
    "one number as a billion": (
        lambda: saved({"a": torch.zeros(1).expand(1_000_000_000)}),
        "far larger than their file",
    ),
    "modules without end": (
        lambda: zipped(tree(30), "w/constants.pkl"),
        "modules without end",
    ),
}


@pytest.mark.parametrize("kind", GREEDY)
def test_a_small_file_can_not_fill_the_memory(kind: str, tmp_path: Path) -> None:
    make, word = GREEDY[kind]
    (tmp_path / "w.pt").write_bytes(make())
    with pytest.raises(BundleError, match=word):
        read_checkpoint(tmp_path / "w.pt")


def test_names_from_a_file_can_not_write_lines_of_their_own(tmp_path: Path) -> None:
    nan = torch.full((1,), float("nan"))
    torch.save({"a\n\x1b[2Jall is well": nan, "b" * 5000: nan}, tmp_path / "w.pt")
    with pytest.raises(BundleError, match="not finite") as caught:
        read_checkpoint(tmp_path / "w.pt")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("kind", ["state_dict", "torchscript"])
def test_a_file_with_flipped_bits_gives_an_error_or_its_tensors(kind: str, tmp_path: Path) -> None:
    """No other exception may come out, whatever is damaged."""
    path = tmp_path / "w.pt"
    if kind == "torchscript":
        torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)).save(str(path))
    else:
        path.write_bytes(GOOD)
    data = path.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 150)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with contextlib.suppress(BundleError):
            read_checkpoint(path)


def torchscript() -> bytes:
    data = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(30, 20), torch.zeros(1, 30)), data)
    return data.getvalue()


def exported() -> bytes:
    data = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(30, 20), (torch.zeros(1, 30),)), data)
    return data.getvalue()


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "state_dict": lambda: saved({"a": torch.ones(600)}),
    "torchscript": torchscript,
    "pt2": exported,
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_one_flipped_bit_in_any_member_is_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    """Weights with a flipped bit are still numbers, and would be proven against themselves."""
    good, path = ARCHIVES[kind](), tmp_path / "w.pt"
    path.write_bytes(good)
    read_checkpoint(path, trust_archive=True)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = [entry for entry in archive.infolist() if entry.compress_size]
    assert len(entries) > 3
    for entry in entries:
        header = entry.header_offset
        names = int.from_bytes(good[header + 26 : header + 28], "little")
        extra = int.from_bytes(good[header + 28 : header + 30], "little")
        place = header + 30 + names + extra + entry.compress_size // 2
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        with pytest.raises(BundleError) as caught:
            read_checkpoint(path, trust_archive=True)
        assert entry.filename in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_member_that_is_there_twice_is_refused(kind: str, tmp_path: Path) -> None:
    data = io.BytesIO(ARCHIVES[kind]())
    with zipfile.ZipFile(data, "a") as archive:
        name = next(name for name in archive.namelist() if "/data/" in name or "weights/" in name)
        archive.writestr(name, bytes(2400))
    (tmp_path / "w.pt").write_bytes(data.getvalue())
    with pytest.raises(BundleError, match="holds a member twice"):
        read_checkpoint(tmp_path / "w.pt", trust_archive=True)


def safetensors_of(places: dict[str, tuple[int, int]], data: bytes) -> bytes:
    tensors = {
        name: {"dtype": "F32", "shape": [(last - first) // 4], "data_offsets": [first, last]}
        for name, (first, last) in places.items()
    }
    header = json.dumps(tensors).encode()
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "places",
    [
        {"a": (0, 16), "b": (8, 24)},
        {"a": (0, 16), "b": (0, 16)},
        {"a": (0, 8), "b": (16, 24)},
        {"a": (0, 16)},
        {"a": (0, 32)},
    ],
)
def test_safetensors_whose_tensors_overlap_or_leave_gaps_are_refused(
    places: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_of({"a": (0, 8), "b": (8, 24)}, bytes(24)))
    assert set(read_checkpoint(path).tensors) == {"a", "b"}
    path.write_bytes(safetensors_of(places, bytes(24)))
    with pytest.raises(BundleError, match="cut off or damaged"):
        read_checkpoint(path)
