"""Write a bundle whose golden answers are its own, then prove that it opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.specs import GoldenSpec
from edgeapl.bundle.write import write_bundle
from edgeapl.model.golden import golden_answers, golden_frame, golden_npz
from edgeapl.model.opener import open_model
from edgeapl.model.request import ModelRequest


def seal_bundle(
    folder: Path, settings: Mapping[str, Any], files: Mapping[str, bytes | Path], golden_png: bytes
) -> Bundle:
    """Run the golden frame through the networks, store the answers, write the bundle.

    Parameters
    ----------
    folder : new folder, or a bundle that is replaced.
    settings : the manifest without ``schema_version`` and ``files``; its ``golden`` names the
        files for the frame and its answers.
    files : file name to content, or to a file to copy; without the two golden files.
    golden_png : the golden frame, a PNG with at least one cell.

    Raises EngineError when the networks cannot answer on the golden frame.
    """
    golden = GoldenSpec.model_validate(settings["golden"])
    complete = {**files, golden.frame: golden_png, golden.expected: b""}
    write_bundle(folder, settings, complete)
    with open_model(ModelRequest(folder, self_test=False)) as model:
        answers = golden_npz(model, golden_answers(model, golden_frame(golden_png, golden)))
    bundle = write_bundle(folder, settings, {**complete, golden.expected: answers})
    open_model(folder).close()
    return bundle


def reseal(folder: Path) -> Bundle:
    """Compute the golden answers again, after a deliberate change of the segmenter.

    A certificate stays only where no answer has changed. Raises BundleError when the bundle is
    damaged: its files must still be what they were.
    """
    before = open_bundle(folder)
    proof, expected = before.manifest.certificate, before.manifest.golden.expected
    kept = (
        {} if proof is None else {name: before.read(name) for name in (proof.evidence, proof.look)}
    )
    made = add_files(folder, {}, {})
    if proof is None or made.manifest.files[expected] != before.manifest.files[expected]:
        return made
    settings = before.manifest.model_dump(
        mode="json", exclude={"schema_version", "files"}, exclude_none=True
    )
    return write_bundle(
        folder, settings, {**{n: made.read(n) for n in made.manifest.files}, **kept}
    )


def add_files(
    folder: Path, settings: Mapping[str, Any], files: Mapping[str, bytes | Path]
) -> Bundle:
    """Rewrite a bundle with more settings and files, and new golden answers.

    A certificate is left out: what it was given for answers otherwise now.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    golden = manifest.golden
    proof = manifest.certificate
    left_out = [golden.frame, golden.expected, *((proof.evidence, proof.look) if proof else ())]
    old = manifest.model_dump(
        mode="json", exclude={"schema_version", "files", "certificate"}, exclude_none=True
    )
    kept = {name: bundle.read(name) for name in manifest.files if name not in left_out}
    png = bundle.read(golden.frame)
    return seal_bundle(folder, {**old, **settings}, {**kept, **files}, png)
