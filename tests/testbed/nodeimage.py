"""The node image for machines without an image registry, built from Debian packages and Go modules."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from testbed import debian, progress, tools
from testbed.cache import content_hash
from testbed.cleanup import drop_old
from testbed.engine import Engine
from testbed.errors import ToolingError
from testbed.imagetar import write_image
from testbed.settings import IMAGE_PREFIX, KUBERNETES_VERSION, NODE_SUITE, POLICY_IMAGE, TESTBED_DIR, cache_dir

# Raise it with every change of this module or of imagetar.py that changes the image.
_RECIPE = "2"
_KIND_MODULE = "sigs.k8s.io/kind"
_MODULES = ("kubernetes", "etcd", "coredns", "local-path-provisioner", "kube-network-policies")
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus"),
    *("conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod", "socat"),
    *("libseccomp2", "pigz", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps"),
    *("containerd", "runc", "containernetworking-plugins"),
)
_PROXY_PACKAGES = ("iptables", "nftables", "conntrack", "kmod")


def node_image_key() -> str:
    """Hash everything the node image depends on.

    A new key means a new image and new clusters, so this module counts by its recipe number, not its text.
    """
    paths = [TESTBED_DIR / "go" / name for name in (*_MODULES, "kind")]
    extra = [_RECIPE, KUBERNETES_VERSION, NODE_SUITE, *_PACKAGES, *_PROXY_PACKAGES]
    return content_hash([*paths, TESTBED_DIR / "node"], root=TESTBED_DIR, extra=extra)


def node_image(engine: Engine) -> str:
    """Return the node image, building it if this machine has not built exactly this one before."""
    ref = f"{IMAGE_PREFIX}/node:{node_image_key()}"
    if engine.image_exists(ref):
        return ref
    with progress.step("node image (once per version: up to 20 minutes on two cores)"):
        debian.need_debian()
        bins = {name: tools.go_build(name) for name in _MODULES}
        kind_source = tools.module_dir("kind", _KIND_MODULE)
        base = debian.base_image(engine, "node", NODE_SUITE, _PACKAGES)
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="node-context.partial-") as folder:
            context = Path(folder)
            _fill_rootfs(context / "rootfs", kind_source, bins["kubernetes"])
            _fill_images(context / "images", kind_source, bins)
            engine.build(
                context,
                TESTBED_DIR / "node" / "Dockerfile",
                ref,
                title="assembling the node image",
                build_args={"BASE_IMAGE": base},
                keep_layers=False,
            )
        drop_old(engine, "node", kept=1)
    return ref


def _fill_rootfs(target: Path, kind_source: Path, kubernetes: Path) -> None:
    """Copy the files of kind's own node image, with the modes its build gives them, and Kubernetes."""
    source = kind_source / "images" / "base" / "files"
    if not source.is_dir():
        raise ToolingError(f"this version of kind has no {source}", "pin a kind that carries images/base")
    for file in sorted(source.rglob("*")):
        name = file.relative_to(source)
        if not file.is_file() or name.parts[0] not in {"etc", "kind", "usr"}:
            continue
        program = name.parts[0] == "usr" or name.parts[:2] == ("kind", "bin")
        _install(file, target / name, 0o755 if program else 0o644)
    for name_ in ("kubeadm", "kubelet", "kubectl"):
        _install(kubernetes / name_, target / "usr" / "bin" / name_, 0o755)
    (target / "kind" / "version").write_text(KUBERNETES_VERSION)
    manifests = target / "kind" / "manifests"
    manifests.mkdir()
    (manifests / "default-storage.yaml").write_text(default_storage(_storage_source(kind_source))[0])


def _install(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _storage_source(kind_source: Path) -> str:
    return (kind_source / "pkg" / "build" / "nodeimage" / "const_storage.go").read_text()


def default_storage(source: str) -> tuple[str, str, str]:
    """Take the storage manifest, its provisioner image and its helper image out of kind's own source."""
    images = dict(re.findall(r'const (storage\w+Image) = "([^"]+)"', source))
    manifest = re.search(r"const defaultStorageManifest = `(.*)`\s*$", source, re.DOTALL)
    if manifest is None or set(images) != {"storageProvisionerImage", "storageHelperImage"}:
        raise ToolingError("kind's storage manifest is not where it was", "pin the kind this was made for")
    text = re.sub(r"` \+ (\w+) \+ `", lambda match: images[match[1]], manifest[1])
    return text, images["storageProvisionerImage"], images["storageHelperImage"]


def _fill_images(target: Path, kind_source: Path, bins: dict[str, Path]) -> None:
    """Write the archives of every image that a fresh control plane runs, under the names it asks for."""
    target.mkdir()
    wanted = _kubeadm_images(bins["kubernetes"])
    _, provisioner, helper = default_storage(_storage_source(kind_source))
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="images.partial-") as folder:
        work = Path(folder)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            program = {f"/usr/local/bin/{name}": bins["kubernetes"] / name}
            write_image(target / f"{name}.tar", wanted[name], programs=program)
        proxy_root = work / "proxy.tar"
        debian.make_rootfs(NODE_SUITE, _PROXY_PACKAGES, proxy_root)
        write_image(
            target / "kube-proxy.tar",
            wanted["kube-proxy"],
            programs={"/usr/local/bin/kube-proxy": bins["kubernetes"] / "kube-proxy"},
            base=proxy_root,
        )
        etcd = {"/usr/local/bin/etcd": bins["etcd"] / "etcd"}
        write_image(target / "etcd.tar", wanted["etcd"], programs=etcd)
        write_image(
            target / "coredns.tar",
            wanted["coredns"],
            programs={"/coredns": bins["coredns"] / "coredns"},
            entrypoint=["/coredns"],
        )
        debian.unpack_package("catatonit", work / "catatonit")
        write_image(
            target / "pause.tar",
            _sandbox_image(kind_source),
            programs={"/pause": work / "catatonit" / "usr" / "bin" / "catatonit"},
            entrypoint=["/pause", "-P"],
        )
        binary = bins["local-path-provisioner"] / "local-path-provisioner"
        write_image(
            target / "local-path-provisioner.tar",
            provisioner,
            programs={"/usr/local/bin/local-path-provisioner": binary},
            entrypoint=["local-path-provisioner"],
        )
        write_image(
            target / "kube-network-policies.tar",
            POLICY_IMAGE,
            programs={"/bin/netpol": bins["kube-network-policies"] / "kube-network-policies"},
            entrypoint=["/bin/netpol"],
        )
        debian.unpack_package("busybox-static", work / "busybox")
        busybox = next((work / "busybox").rglob("bin/busybox"))
        write_image(
            target / "local-path-helper.tar",
            helper,
            programs={"/bin/busybox": busybox},
            links={f"/bin/{name}": "busybox" for name in ("sh", "mkdir", "rm", "chmod", "ls", "sleep")},
        )


def _kubeadm_images(kubernetes: Path) -> dict[str, str]:
    argv = [str(kubernetes / "kubeadm"), "config", "images", "list"]
    argv += ["--kubernetes-version", KUBERNETES_VERSION]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    refs = done.stdout.split()
    if done.returncode != 0 or not refs:
        raise ToolingError(f"kubeadm does not list its images: {done.stderr.strip()}")
    return {ref.rpartition("/")[2].partition(":")[0]: ref for ref in refs}


def _sandbox_image(kind_source: Path) -> str:
    config = (kind_source / "images" / "base" / "files" / "etc" / "containerd" / "config.toml").read_text()
    match = re.search(r'sandbox_image = "([^"]+)"', config)
    if match is None:
        raise ToolingError("kind's containerd config names no sandbox image", "pin the kind this was made for")
    return match[1]
