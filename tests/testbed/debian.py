"""Root file systems and single packages from the Debian mirror that this machine's apt already uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed import cache, progress
from testbed.engine import Engine, install_debian_packages
from testbed.errors import ToolingError
from testbed.settings import IMAGE_PREFIX, cache_dir

_FORMAT = "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)"


def need_debian() -> None:
    """Raise unless root file systems can be made here."""
    if shutil.which("apt-get") is None:
        raise ToolingError(
            "no image registry is reachable, and building the images without one needs Debian's apt",
            "connect this machine to an image registry, or run on Debian as root",
        )
    if shutil.which("mmdebstrap") is None:
        install_debian_packages(["mmdebstrap"], "installing mmdebstrap")


def mirrors(index_targets: str) -> tuple[str, str]:
    """Pick the main and the security mirror out of what ``apt-get indextargets`` prints."""
    main = security = ""
    for line in index_targets.splitlines():
        uri, origin, label, component = ([*line.split("|"), "", "", ""])[:4]
        if origin != "Debian" or component != "main":
            continue
        if label == "Debian-Security":
            security = security or uri
        else:
            main = main or uri
    return main, security


def _mirrors() -> tuple[str, str]:
    argv = ["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"]
    main, security = mirrors(subprocess.run(argv, capture_output=True, text=True, check=False).stdout)
    if not main and os.geteuid() == 0:
        progress.run_logged(["apt-get", "update"], "reading the package lists")
        main, security = mirrors(subprocess.run(argv, capture_output=True, text=True, check=False).stdout)
    if not main:
        raise ToolingError("apt knows no Debian mirror", "add Debian to apt's sources, then `apt-get update`")
    return main, security


def make_rootfs(suite: str, packages: Sequence[str], target: Path) -> None:
    """Write the root file system of a minimal Debian with some packages as a tar file."""
    need_debian()
    main, security = _mirrors()
    argv = [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        # The indexes of a suite that is no release yet may be past their date.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        suite,
        str(target),
        f"deb {main} {suite} main",
    ]
    if security and suite == "bookworm":
        argv.append(f"deb {security} {suite}-security main")
    progress.run_logged(argv, f"Debian {suite} root file system", timeout=900)


def base_image(engine: Engine, name: str, suite: str, packages: Sequence[str]) -> str:
    """Return a base image of a minimal Debian with some packages, made once."""
    key = cache.content_hash([], root=Path("/"), extra=[suite, *packages])
    ref = f"{IMAGE_PREFIX}/{name}-base:{key}"
    if engine.image_exists(ref):
        return ref
    tar = cache_dir() / "rootfs" / f"{name}-{key}.partial-{os.getpid()}.tar"
    tar.parent.mkdir(parents=True, exist_ok=True)
    try:
        make_rootfs(suite, packages, tar)
        engine.run_logged(["import", str(tar), ref], f"importing {ref}")
    finally:
        tar.unlink(missing_ok=True)
    return ref


def unpack_package(package: str, target: Path) -> None:
    """Unpack one Debian package of this machine's own suite below ``target``."""
    need_debian()
    target.mkdir(parents=True, exist_ok=True)
    argv = ["apt-get", "download", "-o", "APT::Sandbox::User=root", package]
    progress.run_logged(argv, f"fetching {package}", cwd=target)
    for deb in target.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(deb), str(target)], check=True, capture_output=True)
        deb.unlink()
