"""What goes with the wheels of an archive: licence texts, the SBOM, a check that it fits."""

from __future__ import annotations

import email.parser
import hashlib
import os
import sys
import uuid
import zipfile
from datetime import datetime, timezone
from email.message import Message
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

LICENCE_NAMES = ("licen", "copying", "notice", "third")
"""How the names of files begin, or contain, that state terms."""

FITS = '''"""Refuse a machine that this archive was not made for."""

import platform
import sys

if (platform.machine(), "%d.%d" % sys.version_info[:2]) != ({machine!r}, {python!r}):
    sys.exit("this archive is for {machine}, Python {python}; here are "
             + platform.machine() + ", Python " + platform.python_version())
'''


def main(archive: Path, platform: str, python: str) -> None:
    """Write ``licences/``, ``sbom.cdx.json`` and ``fits.py`` into `archive`.

    SOURCE_DATE_EPOCH in the environment is the time that the SBOM states, in seconds.
    """
    components = []
    for wheel in sorted((archive / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as content:
            metadata = _metadata(content)
            _copy_licences(
                content, archive / "licences" / f"{metadata['Name']}-{metadata['Version']}"
            )
        components.append(_component(wheel, metadata))
    own = next(c for c in components if c.name == "edgeapl")
    bom = Bom(components=[c for c in components if c is not own])
    bom.metadata.component = own
    bom.register_dependency(own, bom.components)
    # The same wheels give the same file: no random number, no time of today.
    bom.serial_number = uuid.uuid5(
        uuid.NAMESPACE_OID, " ".join(c.bom_ref.value for c in components)
    )
    bom.metadata.timestamp = datetime.fromtimestamp(
        int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc
    )
    bom.metadata.properties.add(
        Property(name="edgeapl:platform", value=f"{platform}, Python {python}")
    )
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    (archive / "sbom.cdx.json").write_text(text + "\n", encoding="utf-8")
    (archive / "fits.py").write_text(FITS.format(machine=platform, python=python), encoding="utf-8")


def _metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(
        n for n in wheel.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")
    )
    return email.parser.BytesParser().parsebytes(wheel.read(name), headersonly=True)


def _copy_licences(wheel: zipfile.ZipFile, folder: Path) -> None:
    """Copy every file that states terms; a package may bring those of others that it contains."""
    for name in wheel.namelist():
        path = Path(name)
        stated = ".dist-info/licenses/" in name or any(
            part in path.name.lower() for part in LICENCE_NAMES
        )
        if not stated or path.suffix in {".py", ".pyi", ".h", ".so"} or name.endswith("/"):
            continue
        place = folder / "-".join(path.parts[1:])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(wheel.read(name))


def _component(wheel: Path, metadata: Message) -> Component:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name, version = metadata["Name"].lower().replace("_", "-"), metadata["Version"]
    return Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION if name == "edgeapl" else ComponentType.LIBRARY,
        bom_ref=f"{name}@{version}",
        description=str(metadata["Summary"] or ""),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=_licences(metadata),
        properties=[Property(name="edgeapl:wheel", value=wheel.name)],
    )


def _licences(metadata: Message) -> list[License]:
    """Return what the package states; its texts in ``licences/`` count, whatever is stated."""
    if metadata["License-Expression"]:
        return [LicenseExpression(str(metadata["License-Expression"]))]
    found = [c for c in metadata.get_all("Classifier", []) if c.startswith("License :: ")]
    names = [c.rsplit(" :: ", 1)[1] for c in found]
    line = str(metadata["License"] or "").strip()
    # Some packages put the whole text there.
    if not names and line and "\n" not in line:
        names = [line]
    return [DisjunctiveLicense(name=name) for name in names]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
