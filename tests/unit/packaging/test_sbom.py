"""The list of what is in an image, made of what dpkg and pip left in it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from sbom import document

STATUS = """\
Package: monero
Status: install ok installed
Architecture: amd64
Version: 0.18.5.3+~0+20200826-1
Description: private currency
 more of it

Package: left
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def root(folder: Path, files: dict[str, str]) -> Path:
    tar = folder / "root.tar"
    with tarfile.open(tar, "w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return tar


def test_packages_of_debian_and_of_python_are_in_it(tmp_path: Path) -> None:
    tar = root(
        tmp_path,
        {
            "var/lib/dpkg/status": STATUS,
            "usr/lib/os-release": 'ID=debian\nVERSION_CODENAME="forky"\n',
            "opt/venv/lib/python3.11/site-packages/kopf-1.45.2.dist-info/METADATA": (
                "Metadata-Version: 2.4\nName: kopf\nVersion: 1.45.2\nLicense-Expression: MIT\n\nName: no header\n"
            ),
            "opt/venv/lib/python3.11/site-packages/kopf/METADATA": "Name: not a package\n",
        },
    )
    found = json.loads(document("an-image", "1.2", tar))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert (found["metadata"]["component"]["name"], found["metadata"]["component"]["type"]) == ("an-image", "container")
    parts = {part["purl"]: part for part in found["components"]}
    assert parts.keys() == {
        "pkg:deb/debian/monero@0.18.5.3%2B~0%2B20200826-1?arch=amd64&distro=forky",
        "pkg:pypi/kopf@1.45.2",
    }
    assert parts["pkg:pypi/kopf@1.45.2"]["licenses"] == [{"license": {"id": "MIT"}}]


def test_an_image_without_lists_is_no_empty_document(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither"):
        document("an-image", "1.2", root(tmp_path, {"etc/passwd": "root"}))
