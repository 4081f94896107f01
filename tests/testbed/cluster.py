"""A kind cluster that comes up the same way with and without an image registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed import cache, network, nodeimage, progress, tools
from testbed.cleanup import drop_build_containers, remove_volumes
from testbed.contexts import USER_KUBECONFIG, forget_context
from testbed.engine import Engine, find_engine
from testbed.errors import ToolingError
from testbed.kindconfig import CLUSTER_LABEL, kind_config
from testbed.registry import registry_reachable
from testbed.settings import (
    BENCH_CLUSTER,
    DEMO_CLUSTER,
    IMAGE_PREFIX,
    SHARED_MOUNT,
    STOCK_NODE_IMAGE,
    cache_dir,
    valid_cluster_name,
)
from testbed.state import Action, ClusterRecord, NodeContainer, decide, read_record, write_record
from testbed.storage import shared_storage_manifest

_API_GRACE_SECONDS = 40.0


class Cluster:
    """One kind cluster by name; nothing happens before a method is called."""

    def __init__(self, name: str = DEMO_CLUSTER, engine: Engine | None = None) -> None:
        if not valid_cluster_name(name):
            raise ToolingError(f"{name!r} is no cluster name", "use lower-case letters, digits and dashes")
        self.name = name
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The container engine that runs the nodes."""
        if self._engine is None:
            self._engine = find_engine()
        return self._engine

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with this cluster alone; it is there when the cluster is."""
        return self._folder / "kubeconfig"

    @property
    def _folder(self) -> Path:
        return cache_dir() / "clusters" / self.name

    @property
    def _shared(self) -> Path:
        return self._folder / "shared"

    @property
    def _record_file(self) -> Path:
        return self._folder / "state.json"

    @property
    def record(self) -> ClusterRecord | None:
        """What was written down when the cluster was complete."""
        return read_record(self._record_file)

    def node_containers(self) -> list[NodeContainer]:
        """List the nodes' containers, running or not."""
        label = f"label={CLUSTER_LABEL}={self.name}"
        names = self.engine.capture("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
        if not names:
            return []
        # `ps` words the state differently in every engine and version; `inspect` does not.
        template = "{{.Name}} {{.State.Status}}"
        lines = self.engine.capture("inspect", "--format", template, *names).splitlines()
        pairs = (line.split() for line in lines if line.strip())
        found = (NodeContainer(name.lstrip("/"), state) for name, state in pairs)
        return sorted(found, key=lambda node: node.name)

    def exists(self) -> bool:
        """Tell whether any container of the cluster exists, in whatever state."""
        return bool(self.node_containers())

    def healthy(self) -> bool:
        """Tell whether a next ``up`` would leave the cluster as it is."""
        return self._decide(None)[0] is Action.REUSE

    def _decide(self, nodes: int | None) -> tuple[Action, str]:
        containers = self.node_containers()
        running = bool(containers) and all(item.state == "running" for item in containers)
        return decide(
            self.record,
            containers,
            nodes=nodes,
            current_images={STOCK_NODE_IMAGE, f"{IMAGE_PREFIX}/node:{nodeimage.node_image_key()}"},
            api_ready=running and self._api_ready_soon(),
        )

    def _api_ready_soon(self) -> bool:
        """Give an API server that was just restarted the seconds it needs, before the cluster is given up."""
        deadline = time.monotonic() + _API_GRACE_SECONDS
        while not self.api_ready():
            if not self.kubeconfig.exists() or time.monotonic() > deadline:
                return False
            time.sleep(1)
        return True

    def api_ready(self) -> bool:
        """Tell whether the API server answers that it is ready."""
        if not self.kubeconfig.exists():
            return False
        try:
            return self.kubectl("get", "--raw", "/readyz", "--request-timeout=5s", timeout=15).strip() == "ok"
        except ToolingError:
            return False

    def up(self, nodes: int | None = None, kubeconfig: Path | None = None) -> None:
        """Bring the cluster up, or leave it alone when it is up.

        ``nodes`` None takes an existing cluster with any number of nodes and creates one with one.
        ``kubeconfig`` None adds the cluster's context to the user's own kubeconfig and selects it.
        """
        with cache.exclusive():
            action, why = self._decide(nodes)
            if action is not Action.REUSE:
                progress.say(f"cluster {self.name}: {why}")
                self._create(nodes or 1)
            self._export(kubeconfig, fresh=action is not Action.REUSE)

    def _create(self, nodes: int) -> None:
        self._delete()
        drop_build_containers(self.engine)
        self._shared.mkdir(parents=True, exist_ok=True)
        stock = registry_reachable(self.engine)
        image = STOCK_NODE_IMAGE if stock else nodeimage.node_image(self.engine)
        kind = tools.kind()
        # Simulated pods have no network that could be guarded, and each node would watch all of them.
        crowded = self.name == BENCH_CLUSTER
        policies = not stock and not crowded
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "kind.json"
            config.write_text(json.dumps(kind_config(nodes, self._shared, own_network=not stock, crowded=crowded)))
            argv = [str(kind), "create", "cluster", "--name", self.name, "--image", image]
            argv += ["--config", str(config), "--kubeconfig", str(self.kubeconfig)]
            if stock:
                argv += ["--wait", "180s"]
            progress.run_logged(argv, f"creating cluster {self.name} ({nodes} nodes)", env=self.engine.env)
        if not stock:
            with progress.step("connecting the nodes"):
                network.connect(self.engine, self._nodes_with_pod_network(nodes))
        if policies:
            self.apply(network.policy_manifest())
        self._finish(policies=policies)
        write_record(self._record_file, ClusterRecord(nodes, image))

    def _nodes_with_pod_network(self, nodes: int) -> str:
        """Return the nodes once the controller manager has given each its share of the pod network."""
        deadline = time.monotonic() + 90
        while True:
            listing = self.kubectl("get", "nodes", "-o", "json")
            items = json.loads(listing)["items"]
            if len(items) == nodes and all(item["spec"].get("podCIDR") for item in items):
                return listing
            if time.monotonic() > deadline:
                raise ToolingError(
                    f"the nodes of {self.name} got no share of the pod network within 90 s",
                    f"look at the controller manager: python -m testbed logs --name {self.name} logs/",
                )
            time.sleep(0.5)

    def _finish(self, *, policies: bool) -> None:
        """Make every node take pods, add the class for shared volumes, and wait until all of it runs."""
        with progress.step("waiting for the nodes, DNS and storage"):
            self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=180s", timeout=200)
            taint = "node-role.kubernetes.io/control-plane"
            self.kubectl("taint", "nodes", "-l", taint, f"{taint}:NoSchedule-", check=False)
            deployment = ("deployment/local-path-provisioner", "--namespace", "local-path-storage")
            self.apply(shared_storage_manifest(self.kubectl("get", *deployment, "-o", "json")))
            for namespace, name in (
                ("kube-system", "deployment/coredns"),
                ("local-path-storage", "deployment/local-path-provisioner"),
                ("shared-storage", "deployment/local-path-provisioner"),
                *([("kube-system", "daemonset/kube-network-policies")] if policies else []),
            ):
                argv = ("rollout", "status", name, "--namespace", namespace)
                self.kubectl(*argv, "--timeout=180s", timeout=200)

    def _export(self, kubeconfig: Path | None, *, fresh: bool) -> None:
        record = self.record
        if record is None:
            return
        target = str(kubeconfig.absolute()) if kubeconfig else ""
        if kubeconfig is not None:
            kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            kubeconfig.write_bytes(self.kubeconfig.read_bytes())
            kubeconfig.chmod(0o600)
        elif fresh or record.exported_kubeconfig != USER_KUBECONFIG:
            self._kind("export", "kubeconfig", "--name", self.name)
            target = USER_KUBECONFIG
        else:
            return
        record = ClusterRecord(record.nodes, record.node_image, target)
        write_record(self._record_file, record)

    def down(self) -> None:
        """Remove the cluster with everything in it; caches stay."""
        with cache.exclusive():
            self._delete()

    def _delete(self) -> None:
        record = self.record
        self._record_file.unlink(missing_ok=True)
        containers = self.node_containers()
        if containers:
            with progress.step(f"removing cluster {self.name}"):
                self._empty_shared(containers)
                names = [item.name for item in containers]
                # A paused container can be removed by no engine before it runs again.
                for item in containers:
                    if item.state == "paused":
                        self.engine.capture("unpause", item.name, check=False)
                at_once = ["--time", "0"] if self.engine.name == "podman" else []
                self.engine.capture("rm", "--force", *at_once, "--volumes", *names, check=False)
        remove_volumes(self.engine, self.name)
        if record is not None and record.exported_kubeconfig:
            forget_context(f"kind-{self.name}", record.exported_kubeconfig)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _empty_shared(self, containers: list[NodeContainer]) -> None:
        """Remove the shared volumes from inside a node, where their foreign owners do not matter."""
        running = [item.name for item in containers if item.state == "running"]
        if running:
            command = f"rm -rf {SHARED_MOUNT}/*"
            self.engine.capture("exec", running[0], "sh", "-c", command, check=False)
        elif os.geteuid() == 0:
            shutil.rmtree(self._shared, ignore_errors=True)

    def kubectl(self, *args: str, stdin: str = "", timeout: float = 120.0, check: bool = True) -> str:
        """Run kubectl against this cluster and return what it printed."""
        argv = [str(tools.kubectl()), "--kubeconfig", str(self.kubeconfig), *args]
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise ToolingError(
                f"`kubectl {' '.join(args)}` did not end within {timeout:.0f} s",
                f"see how the cluster is: python -m testbed status --name {self.name}",
            ) from None
        if check and done.returncode != 0:
            raise ToolingError(f"`kubectl {' '.join(args)}` failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, yaml_text: str) -> str:
        """Apply manifests (server-side, so large ones work too)."""
        return self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml_text)

    def kustomize(self, folder: Path, images: Mapping[str, str]) -> str:
        """Render a kustomization with the images of this machine in the place of its placeholders."""
        with tempfile.TemporaryDirectory() as temporary:
            # kustomize takes no absolute paths, and compares real ones.
            overlay = Path(temporary).resolve()
            chosen = []
            for placeholder, ref in images.items():
                name, _, tag = ref.rpartition(":")
                chosen.append({"name": placeholder, "newName": name, "newTag": tag})
            content = {"resources": [os.path.relpath(folder.resolve(), overlay)], "images": chosen}
            (overlay / "kustomization.yaml").write_text(json.dumps(content))
            return self.kubectl("kustomize", str(overlay))

    def load(self, *images: str) -> list[str]:
        """Put images of the engine into every node; return those that were not there yet."""
        missing = [image for image in images if not self.loaded(image)]
        if not missing:
            return []
        with (
            cache.exclusive(),
            tempfile.TemporaryDirectory(dir=cache_dir(), prefix="load.partial-") as folder,
        ):
            for index, image in enumerate(missing):
                archive = Path(folder) / f"{index}.tar"
                argv = ["save", "--output", str(archive), image]
                self.engine.run_logged(argv, f"saving {image}")
                argv = [str(tools.kind()), "load", "image-archive", str(archive), "--name", self.name]
                progress.run_logged(argv, f"loading {image}", env=self.engine.env)
        return missing

    def loaded(self, image: str) -> bool:
        """Tell whether every node holds the image."""
        listing = ("ctr", "--namespace", "k8s.io", "images", "ls", "--quiet")
        nodes = self.node_containers()
        return bool(nodes) and all(image in self.engine.capture("exec", node.name, *listing).split() for node in nodes)

    def _kind(self, *args: str) -> None:
        argv: Sequence[str] = [str(tools.kind()), *args]
        done = subprocess.run(argv, env=dict(self.engine.env), capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise ToolingError(f"`kind {' '.join(args)}` failed: {done.stderr.strip()}")
