"""Content hashes, directories that exist whole or not at all, and the lock that keeps runs apart."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed import progress
from testbed.errors import ToolingError
from testbed.settings import cache_dir

_PARTIAL = ".partial-"
_IGNORED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def content_hash(paths: Iterable[Path], *, root: Path, extra: Iterable[str] = ()) -> str:
    """Hash files and folders by name and content, and strings that the result depends on besides.

    The order of ``paths`` and the place of ``root`` do not matter; times and owners do not either.
    """
    digest = hashlib.sha256()
    files: set[Path] = set()
    for path in paths:
        files.update(_files(path))
    for file in sorted(files, key=lambda item: item.relative_to(root).as_posix()):
        data = file.read_bytes()
        digest.update(f"file {file.relative_to(root).as_posix()} {len(data)}\n".encode())
        digest.update(data)
    for text in extra:
        digest.update(f"extra {len(text)}\n{text}".encode())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for entry in path.rglob("*"):
        if entry.is_file() and not _IGNORED.intersection(entry.parts) and entry.suffix != ".pyc":
            yield entry


def build_once(final: Path, build: Callable[[Path], None]) -> Path:
    """Let ``build`` fill a directory that appears under its final name only when it is complete."""
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}{_PARTIAL}{os.getpid()}")
    partial.mkdir()
    try:
        build(partial)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def drop_partials(folder: Path) -> None:
    """Remove what interrupted runs left half built; the caller holds the lock."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _PARTIAL in entry.name:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


@contextmanager
def exclusive(timeout: float = 2400.0) -> Iterator[None]:
    """Hold the lock of the tooling.

    The kernel frees it when its holder dies, however it dies, so it can never be stale. What a dead holder
    left half done is removed first. Not to be nested.
    """
    path = cache_dir() / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        _acquire(handle.fileno(), path, timeout)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        for folder in (cache_dir(), cache_dir() / "go", cache_dir() / "rootfs"):
            drop_partials(folder)
        yield


def _acquire(fileno: int, path: Path, timeout: float) -> None:
    start = time.monotonic()
    told = 0.0
    while True:
        try:
            fcntl.flock(fileno, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text().strip() or "unknown"
            waited = time.monotonic() - start
            if waited > timeout:
                raise ToolingError(
                    f"process {holder} has held the lock of the tooling for more than {timeout:.0f} s",
                    f"see what it does with `ps {holder}`; end it if it hangs, then run this again",
                ) from None
            if waited >= told:
                progress.say(f"waiting for another run of the tooling (process {holder}) to end")
                told = waited + progress.HEARTBEAT_SECONDS
            time.sleep(0.5)
        else:
            return
