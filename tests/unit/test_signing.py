"""A station that trusts keys runs what one of them signed, unchanged and not too old."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as to
from cryptography.hazmat.primitives.asymmetric import ec

from edgeapl.bundle import keys
from edgeapl.bundle.load import SEAL, Bundle, open_bundle
from edgeapl.bundle.signature import ENGINE_SIGNATURE, SIGNATURE, write_signature
from edgeapl.bundle.trust import Trust, read_trust, version_key
from edgeapl.bundle.write import write_bundle
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.cli.choices import station_trust
from edgeapl.cli.main import run
from edgeapl.config import load_station
from edgeapl.engines.store.folder import EngineFolder, open_engines
from edgeapl.engines.store.record import RECORD
from edgeapl.engines.store.record import SEAL as ENGINE_SEAL
from edgeapl.errors import (
    BundleError,
    ConfigError,
    EngineError,
    ModelError,
    StorageError,
    UsageError,
)
from edgeapl.journal import verdict_from_json
from edgeapl.model import ModelRequest, open_model
from edgeapl.model.engine_choice import choose_engines
from edgeapl.model.signer import sign_bundle, sign_engines
from edgeapl.types import Signer
from tests.small_bundle import drawn_field, png, small_bundle

NAME = "Reference laboratory"


def no_passphrase() -> bytes:
    raise AssertionError("the key has no passphrase")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signing")


@pytest.fixture(scope="module")
def key(place: Path) -> keys.PrivateKey:
    keys.write_pair(place / "key.pem", None)
    return keys.read_private(place / "key.pem", no_passphrase)


@pytest.fixture(scope="module")
def trust(key: keys.PrivateKey) -> Trust:
    return read_trust([keys.fingerprint(key.public)], {"small": "1.0"})


@pytest.fixture(scope="module")
def signed(place: Path, key: keys.PrivateKey) -> Bundle:
    folder = place / "signed"
    small_bundle(folder)
    sign_bundle(folder, key, NAME)
    return open_bundle(folder)


@pytest.fixture(scope="module")
def built(signed: Bundle, place: Path) -> EngineFolder:
    request = BuildRequest(signed.folder, "fp32", "onnxruntime", place / "engines")
    return build_engine(request, lambda text: None)


@pytest.fixture
def copy(signed: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed.folder, tmp_path / "copy"))


def seal(folder: Path, edit: Callable[[str], str]) -> None:
    """Edit the manifest and seal it again: all that takes is the right to write."""
    path = folder / "bundle.toml"
    text = edit(path.read_text())
    path.write_text(text)
    (folder / SEAL).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  bundle.toml\n")


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return lambda folder: seal(folder, edit)


def swap_networks(folder: Path) -> None:
    cells, head = (folder / "cells.onnx").read_bytes(), (folder / "head.onnx").read_bytes()
    forged = cells + b"\x00"
    (folder / "cells.onnx").write_bytes(forged)
    old, new = (hashlib.sha256(data).hexdigest() for data in (cells, forged))
    assert head
    seal(folder, lambda text: text.replace(old, new))


def link_network(folder: Path) -> None:
    (folder / "cells.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "cells.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def link_signature(folder: Path) -> None:
    (folder / SIGNATURE).rename(folder.parent / "elsewhere.sig")
    (folder / SIGNATURE).symlink_to(folder.parent / "elsewhere.sig")


def rename_signer(folder: Path) -> None:
    path = folder / SIGNATURE
    path.write_text(path.read_text().replace(NAME, "Somebody else"))


def exchange_key(folder: Path) -> None:
    """Keep the trusted key's public half, but sign with another."""
    other = folder.parent / "forger.pem"
    keys.write_pair(other, None)
    forger = keys.read_private(other, no_passphrase)
    trusted = json.loads((folder / SIGNATURE).read_text())["key"]
    replaced('name = "auer_rod"', 'name = "auer_rods"')(folder)
    (folder / SIGNATURE).unlink()
    digest = hashlib.sha256((folder / "bundle.toml").read_bytes()).hexdigest()
    _signature(folder, forger, digest, trusted)


def _signature(folder: Path, forger: keys.PrivateKey, digest: str, public: str) -> None:
    write_signature(
        folder / SIGNATURE, forger, signs="bundle", digest=digest, name="small", version="1.0",
        signer=NAME,
    )  # fmt: skip
    content = json.loads((folder / SIGNATURE).read_text())
    (folder / SIGNATURE).write_text(json.dumps({**content, "key": public}))


def empty_signature(folder: Path) -> None:
    (folder / SIGNATURE).write_text("")


def sign_by_another(folder: Path) -> None:
    keys.write_pair(folder.parent / "other.pem", None)
    other = keys.read_private(folder.parent / "other.pem", no_passphrase)
    sign_bundle(folder, other, "Somebody")


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no signature": (lambda folder: (folder / SIGNATURE).unlink(), "no signature"),
    "rule made lax": (replaced("suspicious_share = 0.2", "suspicious_share = 0.4"), "changed"),
    "crop edited": (replaced("window_um = 6.4", "window_um = 60.4"), "changed"),
    "threshold edited": (replaced("threshold = 0.5", "threshold = 0.9"), "changed"),
    "roles permuted": (
        lambda folder: seal(
            folder,
            lambda text: (
                text.replace('"promyelocyte"', '"x"')
                .replace('"myeloblast"', '"promyelocyte"')
                .replace('"x"', '"myeloblast"')
            ),
        ),
        "changed",
    ),
    "network swapped and sealed": (swap_networks, "changed"),
    "network is a link": (link_network, "not a plain file"),
    "signature is a link": (link_signature, "not a plain file"),
    "signature emptied": (empty_signature, "not understood"),
    "signer renamed": (rename_signer, "does not fit its key"),
    "signed by a forger in the name of the key": (exchange_key, "does not fit its key"),
    "signed by another key": (sign_by_another, "is none of them"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_bundle_that_was_touched_is_refused(attack: str, copy: Path, trust: Trust) -> None:
    touch, said = ATTACKS[attack]
    touch(copy)
    with pytest.raises(BundleError, match=said) as caught:
        open_model(ModelRequest(copy, trust=trust))
    assert "\n" not in str(caught.value)


def test_a_signed_bundle_is_run_and_says_who_signed(
    signed: Bundle, trust: Trust, key: keys.PrivateKey
) -> None:
    assert signed.signer == Signer(NAME, keys.fingerprint(key.public))
    with open_model(ModelRequest(signed.folder, trust=trust)) as model:
        assert model.bundle.signer == signed.signer


def test_the_signature_of_another_bundle_does_not_fit(
    signed: Bundle, tmp_path: Path, trust: Trust
) -> None:
    other = small_bundle(tmp_path / "other", version="2.0")
    shutil.copy(signed.folder / SIGNATURE, other.folder / SIGNATURE)
    with pytest.raises(BundleError, match="made for something else"):
        open_model(ModelRequest(other.folder, trust=trust))
    with pytest.raises(BundleError, match="made for something else"):
        open_bundle(other.folder)  # also where no key is trusted


def test_a_bundle_that_is_replaced_after_opening_is_noticed(
    signed: Bundle, copy: Path, trust: Trust
) -> None:
    bundle = open_bundle(copy)
    trust.check(bundle)
    swap_networks(copy)
    with pytest.raises(BundleError, match="changed after the bundle was opened"):
        bundle.read("cells.onnx")


def test_an_old_version_is_refused_though_it_is_signed(signed: Bundle, trust: Trust) -> None:
    assert trust.keys is not None
    with pytest.raises(BundleError, match="older than the station allows"):
        open_model(ModelRequest(signed.folder, trust=Trust(trust.keys, {"small": "1.0+cal1"})))
    open_model(ModelRequest(signed.folder, trust=Trust(trust.keys, {"another": "9.0"}))).close()


def test_versions_are_ordered_by_number() -> None:
    ordered = ["0.9", "1.0rc1", "1.0", "1.0+cal2", "1.0+cal10", "1.2", "1.10", "2"]
    assert sorted(set(ordered), key=version_key) == ordered
    assert version_key("1") == version_key("1.0.0.0")


def test_unsigned_bundles_run_where_no_key_is_trusted(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "plain")
    with open_model(ModelRequest(bundle.folder, trust=read_trust(None, {}))) as model:
        assert model.bundle.signer is None


def test_a_bundle_that_is_written_again_is_unsigned(signed: Bundle, tmp_path: Path) -> None:
    settings = signed.manifest.model_dump(
        mode="json", exclude={"schema_version", "files"}, exclude_none=True
    )
    files: dict[str, bytes | Path] = {
        name: (signed.folder / name).read_bytes() for name in signed.manifest.files
    }
    copy = Path(shutil.copytree(signed.folder, tmp_path / "again"))
    assert write_bundle(copy, settings, files).signer is None
    assert not (copy / SIGNATURE).exists()


def test_a_missing_library_is_a_refusal(
    signed: Bundle, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(BundleError, match=r"cannot be checked.*pip install cryptography"):
        open_model(ModelRequest(signed.folder, trust=trust))


# Engines.


@pytest.mark.slow
def test_engines_need_a_signature_of_their_own(
    signed: Bundle, built: EngineFolder, trust: Trust, key: keys.PrivateKey, tmp_path: Path
) -> None:
    """The bundle's name in their record proves nothing: who writes the folder writes that too."""
    folder = Path(shutil.copytree(built.folder, tmp_path / "engines"))
    with pytest.raises(EngineError, match="of these engines there is no signature"):
        choose_engines(signed, folder, trust)
    with pytest.raises(EngineError, match="of these engines there is no signature"):
        open_model(ModelRequest(signed.folder, engines=open_engines(folder), trust=trust))
    sign_engines(folder, key, NAME)
    chosen = choose_engines(signed, folder, trust)
    assert chosen.engines is not None
    with open_model(ModelRequest(signed.folder, engines=chosen.engines, trust=trust)) as model:
        assert model.bundle.signer is not None


def test_engines_of_a_forged_bundle_are_refused(
    signed: Bundle, built: EngineFolder, trust: Trust, key: keys.PrivateKey, tmp_path: Path
) -> None:
    """Also when they name the signed bundle, and carry a signature made for other engines."""
    folder = Path(shutil.copytree(built.folder, tmp_path / "engines"))
    sign_engines(folder, key, NAME)
    record = json.loads((folder / RECORD).read_text())
    name = record["networks"]["cells"]["file"]
    forged = (folder / name).read_bytes() + b"\x00"
    (folder / name).write_bytes(forged)
    record["networks"]["cells"] |= {
        "sha256": hashlib.sha256(forged).hexdigest(), "size": len(forged),
    }  # fmt: skip
    text = json.dumps(record)
    (folder / RECORD).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / ENGINE_SEAL).write_text(f"{digest}  {RECORD}\n")
    with pytest.raises(EngineError, match="made for something else"):
        choose_engines(signed, folder, trust)
    shutil.copy(signed.folder / SIGNATURE, folder / ENGINE_SIGNATURE)
    with pytest.raises(EngineError, match="made for something else"):
        choose_engines(signed, folder, trust)


# The station file, and the commands of a station.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trusted_keys = []", "no key is listed"),
        ('trusted_keys = [""]', "trusted_keys"),
        ('trusted_keys = ["missing.pub"]', "cannot be read"),
        ('trusted_keys = ["empty.pub"]', "not a public key"),
        ('trusted_keys = "abc"', "trusted_keys"),
        ('[oldest_versions]\nsmall = "new"', "oldest_versions"),
    ],
)
def test_a_list_that_trusts_nobody_is_an_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pub").write_text("")
    file = tmp_path / "edgeapl.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        station_trust(load_station(file))


@pytest.fixture
def station(place: Path, key: keys.PrivateKey, tmp_path: Path) -> Path:
    """A station file that names the key by its file."""
    shutil.copy(place / "key.pem.pub", tmp_path / "key.pub")
    file = tmp_path / "edgeapl.toml"
    file.write_text('trusted_keys = ["key.pub"]\n')
    return file


COMMANDS = {
    "score": ["score", "{images}", "--bundle", "{bundle}", "--out", "{out}"],
    "watch": ["watch", "{images}", "-b", "{bundle}", "--max-frames", "1", "--out", "{out}"],
    "bench": ["bench", "{bundle}", "--frames", "1", "--warmup", "1", "--images", "{images}"],
    "bench, the second": ["bench", "{good}", "{bundle}", "--frames", "1", "--warmup", "1"],
    "bench at the station": ["bench", "{bundle}", "--scenario", "glass-to-flag", "--frames", "1"],
    "inspect": ["inspect", "{bundle}"],
    "doctor": ["doctor", "--bundle", "{bundle}"],
    "evaluate": ["evaluate", "{out}", "--labels", "{out}", "--bundle", "{bundle}"],
    "calibrate": ["calibrate", "{bundle}", "--frames", "{images}", "--out", "{out}"],
    "build-engine": ["build-engine", "{bundle}", "--out", "{out}"],
    "export, to check": ["export", "eckardt2022", "--random-weights", "1", "--check", "{bundle}"],
}
WITH_JOURNAL = ("score", "watch", "doctor")
NEEDS = {"calibrate": "onnx", "build-engine": "onnx", "export, to check": "torch"}


def filled(command: list[str], station: Path, **places: Path) -> list[str]:
    words = [word.format(**places) for word in command]
    journal = ["--journal", str(station.parent / "j")] if command[0] in WITH_JOURNAL else []
    return [*words, *journal, "--station", str(station)]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("forged", ["unsigned", "signature left"])
def test_every_command_that_opens_a_model_refuses(
    command: str, forged: str, copy: Path, signed: Bundle, station: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if command in NEEDS:
        pytest.importorskip(NEEDS[command])
    if forged == "unsigned":
        (copy / SIGNATURE).unlink()
    replaced("suspicious_share = 0.2", "suspicious_share = 0.4")(copy)
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(png(drawn_field()))
    places = {"bundle": copy, "good": signed.folder, "images": images, "out": tmp_path / "out"}
    assert run(filled(COMMANDS[command], station, **places)) == 4
    said = "".join(capfd.readouterr())
    assert "signature" in said or "signed" in said
    results = ("*.json*", "*.html", "*.csv", "*.png")
    assert not [path for kind in results for path in (tmp_path / "out").rglob(kind)]


def test_every_verdict_says_who_signed(
    signed: Bundle, key: keys.PrivateKey, station: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "a.png").write_bytes(png(drawn_field()))
    places = {"bundle": signed.folder, "images": images, "out": out}
    assert run(filled([*COMMANDS["score"], "--um-per-px", "0.2"], station, **places)) == 0
    fingerprint = keys.fingerprint(key.public)
    record = json.loads((out / "verdicts.jsonl").read_text().splitlines()[0])
    assert (record["signed_by"], record["signing_key"]) == (NAME, fingerprint)
    assert verdict_from_json(record).signer == Signer(NAME, fingerprint)
    (report,) = out.rglob("report.html")
    assert NAME in report.read_text()
    assert fingerprint in report.read_text()
    assert f"signed by: {NAME}" in capfd.readouterr().err
    assert run(["inspect", str(signed.folder), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["signed_by"] == NAME
    assert run(["journal", "list", "--json", "--journal", str(tmp_path / "j")]) == 0
    capfd.readouterr()
    old = {name: value for name, value in record.items() if not name.startswith("sign")}
    assert verdict_from_json(old).signer is None  # a record of an older version


# Keys.


def test_a_key_is_made_and_signs_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAPL_KEY_PASSPHRASE", "four words are enough")
    key, bundle = tmp_path / "k.pem", small_bundle(tmp_path / "b").folder
    assert run(["keys", "new", str(key), "--protect"]) == 0
    assert key.stat().st_mode & 0o077 == 0
    assert b"ENCRYPTED" in key.read_bytes()
    made = key.read_bytes()
    assert run(["keys", "new", str(key)]) == 5  # never over a key that is there
    public = Path(f"{key}.pub")
    public.rename(tmp_path / "aside")
    assert run(["keys", "new", str(key)]) == 5
    (tmp_path / "aside").rename(public)
    assert key.read_bytes() == made
    sign = ["sign", str(bundle), "--key", str(key), "--name", NAME]
    assert run(sign) == 0
    assert run(["keys", "show", f"{key}.pub"]) == 0
    shown = capsys.readouterr().out.split()[-1]
    assert open_bundle(bundle).signer == Signer(NAME, shown)
    assert run(sign) == 0  # again, over a signature that is there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "k.pem", "k.pem.pub"]
    monkeypatch.setenv("EDGEAPL_KEY_PASSPHRASE", "wrong")
    assert run(sign) == 2
    assert "passphrase does not open the key" in capsys.readouterr().err
    monkeypatch.delenv("EDGEAPL_KEY_PASSPHRASE")
    assert run(sign) == 2
    assert "key needs a passphrase" in capsys.readouterr().err


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ec.pem"
    made = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(made.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption()))
    with pytest.raises(UsageError, match="not an ed25519 key"):
        keys.read_private(path, no_passphrase)
    path.write_text("nothing")
    with pytest.raises(UsageError, match="not a private key"):
        keys.read_private(path, no_passphrase)
    with pytest.raises(UsageError, match="cannot be read"):
        keys.read_private(tmp_path / "missing", no_passphrase)


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "unsigned", "x" * 81, "\u202eeman"])
def test_a_signer_needs_a_name_that_can_be_shown(
    name: str, copy: Path, key: keys.PrivateKey
) -> None:
    with pytest.raises(UsageError, match="signer's name"):
        sign_bundle(copy, key, name)


def test_what_is_damaged_is_not_signed(copy: Path, key: keys.PrivateKey) -> None:
    (copy / "cells.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError):
        sign_bundle(copy, key, NAME)


def test_a_signature_that_cannot_be_written_is_said(
    copy: Path, key: keys.PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    before = (copy / SIGNATURE).read_bytes()
    with pytest.raises(StorageError, match="signature cannot be written"):
        sign_bundle(copy, key, NAME)
    assert (copy / SIGNATURE).read_bytes() == before
    assert {path.name for path in copy.parent.iterdir()} == {"copy"}
