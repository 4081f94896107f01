"""Write container image archives with nothing but Python: a few files, perhaps over a root file system."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def architecture() -> str:
    """Return this machine's architecture by the name that images use."""
    return _ARCH.get(platform.machine(), platform.machine())


def write_image(
    archive: Path,
    tag: str,
    *,
    programs: Mapping[str, Path],
    links: Mapping[str, str] | None = None,
    entrypoint: Sequence[str] = (),
    base: Path | None = None,
) -> None:
    """Write an archive that ``ctr images import`` and ``podman load`` understand.

    ``programs`` maps paths in the image to files here, ``links`` names to what they point at, and
    ``base`` is the tar file of a root file system to lie underneath.
    """
    layers: list[tuple[str, Path | bytes]] = []
    if base is not None:
        layers.append((_sha256(base), base))
    top = _layer(programs, links or {})
    layers.append((hashlib.sha256(top).hexdigest(), top))
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": list(entrypoint) or None,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest, _ in layers]},
        "history": [{"created_by": "testbed"} for _ in layers],
    }
    raw = json.dumps(config, sort_keys=True).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}.tar" for digest, _ in layers]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, name, raw)
        for digest, source in layers:
            if isinstance(source, Path):
                tar.add(source, arcname=f"{digest}.tar", filter=_plain)
            else:
                _add(tar, f"{digest}.tar", source)
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _layer(programs: Mapping[str, Path], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in _folders([*programs, *links]):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for path, source in sorted(programs.items()):
            _add(tar, path.lstrip("/"), source.read_bytes(), mode=0o755)
        for path, target in sorted(links.items()):
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def _folders(paths: Sequence[str]) -> list[str]:
    """Name every folder above the paths, the outer ones first."""
    found = {str(parent) for path in paths for parent in Path(path.lstrip("/")).parents}
    return sorted(found - {"."})


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
