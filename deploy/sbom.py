"""What is in the two images, as CycloneDX: ``make sbom`` writes it to dist/.

It is read from the images themselves, from the lists that dpkg and pip leave in them, and not from what they were built
with: so it tells what is there.
"""

from __future__ import annotations

import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import IO

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from testbed import images, progress
from testbed.engine import Engine, find_engine

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "dist"

_DPKG_STATUS = "var/lib/dpkg/status"
_OS_RELEASE = "etc/os-release", "usr/lib/os-release"


def document(name: str, version: str, root: Path) -> str:
    """The document of an image, as JSON of CycloneDX 1.6. ``root``: its root file system as a tar file.

    Raises ValueError where no list of packages is in it: that would be a document that says nothing.
    """
    bom = Bom()
    bom.metadata.component = Component(name=name, version=version, type=ComponentType.CONTAINER)
    with tarfile.open(root) as archive:
        for component in _components(archive):
            bom.components.add(component)
    if not bom.components:
        raise ValueError(f"{root} has neither {_DPKG_STATUS} nor Python packages")
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def _components(archive: tarfile.TarFile) -> Iterator[Component]:
    debian: list[Message] = []
    distribution = "debian"
    for member in archive:
        path = PurePosixPath(member.name.removeprefix("./"))
        if not member.isfile() or (content := archive.extractfile(member)) is None:
            continue
        if str(path) == _DPKG_STATUS:
            debian = list(_stanzas(content))
        elif str(path) in _OS_RELEASE:
            fields = dict(line.decode().strip().split("=", 1) for line in content if b"=" in line)
            distribution = fields.get("VERSION_CODENAME", distribution).strip('"')
        elif path.name == "METADATA" and path.parent.suffix == ".dist-info":
            yield _python(HeaderParser().parsestr(content.read().decode()))
    for package in debian:
        if package["Status"].endswith(" installed"):
            yield _debian(package, distribution)


def _stanzas(content: IO[bytes]) -> Iterator[Message]:
    """Of dpkg's list: paragraphs in the format of mail headers."""
    for text in content.read().decode().split("\n\n"):
        if text.strip():
            yield HeaderParser().parsestr(text.lstrip("\n"))


def _debian(package: Message, distribution: str) -> Component:
    qualifiers = {"arch": package["Architecture"], "distro": distribution}
    purl = PackageURL("deb", "debian", package["Package"], package["Version"], qualifiers)
    return Component(name=package["Package"], version=package["Version"], purl=purl, bom_ref=purl.to_string())


def _python(package: Message) -> Component:
    purl = PackageURL("pypi", None, package["Name"], package["Version"])
    expression = package["License-Expression"]
    licenses = [LicenseFactory().make_from_string(expression)] if expression else []
    name, version = package["Name"], package["Version"]
    return Component(name=name, version=version, purl=purl, bom_ref=purl.to_string(), licenses=licenses)


def of_image(engine: Engine, ref: str, name: str, version: str) -> str:
    """The document of an image that the engine has."""
    container = engine.capture("create", ref).strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root.tar"
            engine.run_logged(["export", "--output", str(root), container], f"reading {ref}")
            return document(name, version, root)
    finally:
        engine.capture("rm", container)


def main() -> None:
    """Build the images where they are not built yet, and write a document for each."""
    engine = find_engine()
    built = images.build_all(engine)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    TARGET.mkdir(exist_ok=True)
    for name, ref in (("xmr-escrow-operator", built.operator), ("xmr-escrow-wallet", built.wallet)):
        file = TARGET / f"{name}-{version}.cdx.json"
        file.write_text(of_image(engine, ref, name, version) + "\n")
        progress.say(f"written: {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
