"""The two images of the project, and Prometheus to test with: built when their content changed, named after it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from testbed import cache, debian, imagetar
from testbed.cleanup import drop_old
from testbed.engine import Engine
from testbed.registry import registry_reachable
from testbed.settings import IMAGE_PREFIX, OPERATOR_SUITE, REPO_ROOT, WALLET_SUITE

_OPERATOR_PACKAGES = ("python3", "python3-venv", "ca-certificates", "tzdata")
_WALLET_PACKAGES = ("monero", "ca-certificates")
_COMPILER_PACKAGES = ("gcc", "libc6-dev", "libssl-dev")
_PROMETHEUS_PACKAGES = ("prometheus",)
# Where a person's own certificate authorities may be named, in the order of preference.
_CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class Images:
    """References of the two images, exactly as a pod has to name them."""

    operator: str
    wallet: str


def build_all(engine: Engine) -> Images:
    """Build what is not built yet and return the references."""
    with cache.exclusive():
        return Images(_operator(engine), _wallet(engine))


def build_wallet(engine: Engine) -> str:
    """Build the wallet image alone, if it is not built yet, and return its reference."""
    with cache.exclusive():
        return _wallet(engine)


def build_prometheus(engine: Engine) -> str:
    """Build the image with prometheus and promtool, if it is not built yet, and return its reference."""
    folder = REPO_ROOT / "tests" / "harness" / "prometheus_image"
    with cache.exclusive():
        return _of_folder(
            engine, "prometheus", folder, OPERATOR_SUITE, {"BASE_IMAGE": ("prometheus", _PROMETHEUS_PACKAGES)}
        )


def _operator(engine: Engine) -> str:
    dockerfile = REPO_ROOT / "operator" / "Dockerfile"
    requirements = REPO_ROOT / "requirements" / "operator.txt"
    packages = [REPO_ROOT / "operator" / name for name in ("escrow_operator", "escrow_gateway")]
    stock = registry_reachable(engine)
    key = cache.content_hash(
        [dockerfile, requirements, *packages],
        root=REPO_ROOT,
        extra=[_flavour(stock, OPERATOR_SUITE, _OPERATOR_PACKAGES)],
    )
    ref = f"{IMAGE_PREFIX}/operator:{key}"
    if engine.image_exists(ref):
        return ref
    args = {}
    if not stock:
        args["BASE_IMAGE"] = debian.base_image(engine, "operator", OPERATOR_SUITE, _OPERATOR_PACKAGES)
    with ExitStack() as stack:
        secrets = _pip_secrets(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        engine.build(REPO_ROOT, dockerfile, ref, title="operator image", build_args=args, secrets=secrets)
    drop_old(engine, "operator")
    return ref


def _wallet(engine: Engine) -> str:
    bases = {"BASE_IMAGE": ("wallet", _WALLET_PACKAGES), "BUILD_IMAGE": ("compiler", _COMPILER_PACKAGES)}
    return _of_folder(engine, "wallet", REPO_ROOT / "images" / "wallet", WALLET_SUITE, bases)


def _of_folder(
    engine: Engine, name: str, folder: Path, suite: str, bases: Mapping[str, tuple[str, tuple[str, ...]]]
) -> str:
    """An image of one folder. ``bases``: name and packages of a Debian image, by argument of the build."""
    stock = registry_reachable(engine)
    extra = [_flavour(stock, suite, tuple(chain.from_iterable(packages for _, packages in bases.values())))]
    ref = f"{IMAGE_PREFIX}/{name}:{cache.content_hash([folder], root=REPO_ROOT, extra=extra)}"
    if engine.image_exists(ref):
        return ref
    args = {}
    if not stock:
        args = {key: debian.base_image(engine, base, suite, packages) for key, (base, packages) in bases.items()}
    engine.build(folder, folder / "Dockerfile", ref, title=f"{name} image", build_args=args)
    drop_old(engine, name)
    return ref


def _flavour(stock: bool, suite: str, packages: tuple[str, ...]) -> str:
    """Name what an image stands on, so that images on different bases never share a name."""
    base = "registry" if stock else f"debian {suite} {' '.join(packages)}"
    return f"{base} {imagetar.architecture()}"


def _pip_secrets(folder: Path) -> dict[str, Path]:
    """Hand this machine's way to its package index to the build, without leaving it in the image."""
    secrets = {}
    bundle = next((Path(os.environ[name]) for name in _CA_VARIABLES if os.environ.get(name)), None)
    if bundle is not None and bundle.is_file():
        secrets["ca_bundle"] = bundle
    index = os.environ.get("PIP_INDEX_URL")
    if index:
        config = folder / "pip.conf"
        config.write_text(f"[global]\nindex-url = {index}\n")
        secrets["pip_conf"] = config
    return secrets
