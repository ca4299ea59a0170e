"""`edgeapl calibrate BUNDLE --labels CSV`: let a bundle earn that it may clear."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line, print_json

if TYPE_CHECKING:
    from edgeapl.certification.certifier import Certified, CertifyRequest, Tell
    from edgeapl.types import Signer


def certify_and_show(request: CertifyRequest, tell: Tell, *, as_json: bool) -> None:
    """Run `edgeapl.certification.certifier.certify` and print what it gives."""
    from edgeapl.certification.certifier import certify

    done = certify(request, tell)
    manifest = done.bundle.manifest
    if as_json:
        about = {"name": manifest.name, "version": manifest.version, "digest": done.bundle.digest}
        print_json({**done.document, "bundle": {**about, "folder": str(done.bundle.folder)}})
    else:
        _show(done)


def _show(done: Certified) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgeapl.model.assembled import clearing_of
    from edgeapl.wording.certificate import summarise_certificate

    document = done.document
    out = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("label", "FLAG", "REVIEW", "CLEAR"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for label, verdicts in document["verdicts"].items():
        counts = [str(verdicts.get(name, 0)) for name in ("FLAG", "REVIEW", "CLEAR")]
        table.add_row(one_line(label), *counts)
    out.print(table)
    for text in _notes(document):
        out.print(text, style="yellow", markup=False, soft_wrap=True)
    certificate = clearing_of(done.bundle).certificate
    out.print(summarise_certificate(certificate), markup=False, soft_wrap=True)
    show_new_version(out, done.bundle.folder, done.bundle.manifest.version, done.bundle.digest)
    show_unsigned(out, done.signer)
    out.print(RESEARCH_USE_ONLY)


def _notes(document: dict[str, Any]) -> list[str]:
    notes = []
    for key, what in (
        ("seen_before", "slides left out because they were seen before"),
        ("not_counted", f"{document['positive']} patients not counted, too few cells"),
        ("unlabelled", "slides without a label"),
    ):
        if document[key]:
            names = ", ".join(one_line(name) for name in document[key][:5])
            notes.append(f"{len(document[key])} {what}: {names}")
    if not document["training_known"]:
        notes.append(
            "this bundle does not say what it was trained on, so slides of its training are not "
            "noticed: export it with --trained-on"
        )
    return notes


def show_new_version(out: Any, folder: Path, version: str, digest: str) -> None:
    """Print where the next version of a bundle lies. out : a rich console."""
    out.print(f"bundle {folder}", soft_wrap=True, markup=False)
    out.print(f"version {version}", markup=False)
    out.print(f"digest {digest}", soft_wrap=True)


def show_unsigned(out: Any, signer: Signer | None) -> None:
    """Print that a signature is for the version before, if there was one."""
    if signer is not None:
        text = f"unsigned: the signature of {signer.name} is for the version before: "
        text += "sign this one with edgeapl sign"
        out.print(text, style="yellow", markup=False, soft_wrap=True)
