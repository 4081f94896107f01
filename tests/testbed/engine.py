"""The container engine: Docker when an engine answers, else Podman, installed when that is possible."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed import progress
from testbed.errors import ToolingError
from testbed.settings import ENV_ENGINE, cache_dir

_CAP_SYS_RESOURCE = 24
_DEBIAN_PACKAGES = (
    "podman",
    "runc",
    "netavark",
    "aardvark-dns",
    "iptables",
    "mmdebstrap",
    "ca-certificates",
)


@dataclass(frozen=True)
class Engine:
    """A container engine that answers; ``env`` is what its commands, and kind, run with."""

    name: str
    env: Mapping[str, str] = field(repr=False)

    def capture(self, *args: str, check: bool = True, timeout: float = 120.0) -> str:
        """Run an engine command that ends soon and return what it printed."""
        argv = [self.name, *args]
        try:
            done = subprocess.run(
                argv,
                env=dict(self.env),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise ToolingError(
                f"`{' '.join(argv)}` gave no answer within {timeout:.0f} s",
                f"see whether `{self.name} ps` answers; restart the engine if it does not",
            ) from None
        if check and done.returncode != 0:
            raise ToolingError(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def succeeds(self, *args: str, timeout: float = 60.0) -> bool:
        """Tell whether an engine command ends well and in time."""
        try:
            done = subprocess.run(
                [self.name, *args],
                env=dict(self.env),
                capture_output=True,
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def run_logged(self, args: Sequence[str], title: str, *, hint: str = "", cwd: Path | None = None) -> None:
        """Run a long engine command with signs of life."""
        progress.run_logged([self.name, *args], title, env=self.env, hint=hint, cwd=cwd)

    def image_exists(self, ref: str) -> bool:
        """Tell whether the engine holds the image."""
        return self.succeeds("image", "inspect", ref)

    def build(
        self,
        context: Path,
        dockerfile: Path,
        tag: str,
        *,
        title: str,
        build_args: Mapping[str, str] | None = None,
        secrets: Mapping[str, Path] | None = None,
        keep_layers: bool = True,
    ) -> None:
        """Build an image; the tag appears only when the build is complete.

        ``keep_layers`` False saves the room that the steps would take, for images built once.
        """
        args = ["build", "--network", "host", "--file", str(dockerfile), "--tag", tag]
        if self.name == "podman":
            # Docker's own format keeps STOPSIGNAL, SHELL and HEALTHCHECK.
            layers = str(keep_layers).lower()
            args += ["--format", "docker", f"--layers={layers}", "--force-rm"]
        for key, value in (build_args or {}).items():
            args += ["--build-arg", f"{key}={value}"]
        for key, path in (secrets or {}).items():
            args += ["--secret", f"id={key},src={path}"]
        hint = "Docker needs its buildx plugin for this build" if self.name == "docker" else ""
        self.run_logged([*args, str(context)], title, hint=hint)


def find_engine(*, install: bool = True) -> Engine:
    """Return the engine to use, after installing Podman where that is possible and needed."""
    wanted = os.environ.get(ENV_ENGINE, "")
    if wanted not in {"", "docker", "podman"}:
        raise ToolingError(f"{ENV_ENGINE} is {wanted!r}", "set it to docker or podman, or leave it unset")
    if wanted != "podman" and _answers("docker", dict(os.environ)):
        return Engine("docker", dict(os.environ))
    if wanted == "docker":
        raise ToolingError("no Docker engine answers `docker info`", "start Docker, then run this again")
    if shutil.which("podman") is None:
        if not install:
            raise ToolingError("no container engine is running", "run `python -m testbed up` first")
        install_debian_packages(_DEBIAN_PACKAGES, "installing Podman")
    env = _podman_env()
    if not _answers("podman", env):
        raise ToolingError(
            "Podman is installed but `podman info` fails",
            "run `podman info` to see why; on a Mac or Windows start its machine with `podman machine start`",
        )
    return Engine("podman", env)


def _answers(binary: str, env: Mapping[str, str]) -> bool:
    if shutil.which(binary) is None:
        return False
    try:
        done = subprocess.run([binary, "info"], env=dict(env), capture_output=True, timeout=60, check=False, text=True)
    except subprocess.TimeoutExpired:
        return False
    # Some clients end with code 0 although nothing is behind them.
    return done.returncode == 0 and "Cannot connect" not in done.stdout + done.stderr


def may_install() -> bool:
    """Whether Debian packages can be installed here: on Debian, as root."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def install_debian_packages(packages: Sequence[str], title: str) -> None:
    """Install Debian packages, or say exactly what the person has to do instead."""
    if not may_install():
        names = " ".join(packages)
        raise ToolingError(
            "no container engine answers, and the tooling cannot install one here (not Debian, or not root)",
            "install and start Docker or Podman, then run this again. "
            f"On Debian and its relatives: sudo apt-get install -y {names}",
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    progress.run_logged(["apt-get", "update"], "reading the package lists", env=env)
    progress.run_logged(["apt-get", "install", "-y", "--no-install-recommends", *packages], title, env=env, timeout=900)


def _podman_env() -> dict[str, str]:
    env = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": "podman"}
    if platform.system() != "Linux" or os.geteuid() != 0 or "CONTAINERS_CONF" in os.environ:
        return env
    # kind hands /lib/modules to its nodes; a minimal machine has none, and the mount would fail.
    Path("/lib/modules").mkdir(parents=True, exist_ok=True)
    text = containers_conf(
        cgroup_v2=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        may_raise_limits=_has_capability(_CAP_SYS_RESOURCE),
        hard_nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        hard_nproc=resource.getrlimit(resource.RLIMIT_NPROC)[1],
    )
    if text:
        path = cache_dir() / "containers.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        env["CONTAINERS_CONF"] = str(path)
    return env


def containers_conf(*, cgroup_v2: bool, may_raise_limits: bool, hard_nofile: int, hard_nproc: int) -> str:
    """Render the settings without which Podman cannot start a kind node on this machine.

    crun refuses cgroup v1, and Podman's default limits need CAP_SYS_RESOURCE. Empty when nothing is needed.
    """
    sections = []
    if not cgroup_v2:
        sections.append('[engine]\nruntime = "runc"\n')
    if not may_raise_limits:
        limits = []
        for name, hard, ceiling in (("nofile", hard_nofile, 20000), ("nproc", hard_nproc, 30000)):
            value = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
            limits.append(f'"{name}={value}:{value}"')
        sections.append(f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\n")
    return "\n".join(sections)


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return True
