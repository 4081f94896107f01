"""Install charts in the test cluster."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from testbed import progress, tools
from testbed.cluster import Cluster
from testbed.errors import ToolingError

_COMMAND = "jsonpath={.spec.template.spec.containers[0].command}"
"""Operators have one since they agree on a leader."""


class Helm:
    """helm against one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def _run(self, title: str, *args: str) -> None:
        argv = [str(tools.helm()), *args, "--kubeconfig", str(self._cluster.kubeconfig)]
        progress.run_logged(argv, title)

    def upgrade_install(
        self,
        release: str,
        chart_dir: Path,
        namespace: str,
        values: Mapping[str, object] | None = None,
        *,
        wait_seconds: int = 180,
    ) -> None:
        """Install a chart, or bring its release to these values, and wait until it is ready."""
        # As docs/install.md has it: nothing of a release needs more than Pod Security's "restricted" lets pods do.
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        self._cluster.apply(json.dumps(made))
        self._forget_interrupted(release, namespace)
        self._stop_predecessor(release, namespace)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "values.json"
            file.write_text(json.dumps(values or {}))
            args = ["upgrade", "--install", release, str(chart_dir), "--namespace", namespace]
            args += ["--values", str(file), "--wait", f"--timeout={wait_seconds}s"]
            self._run(f"helm release {release}", *args)

    def template(self, release: str, chart_dir: Path, namespace: str, values: Mapping[str, object]) -> str:
        """What the chart renders without a look at the cluster, its custom resources included."""
        argv = [str(tools.helm()), "template", release, str(chart_dir), "--namespace", namespace]
        argv += ["--include-crds", "--skip-tests", "--values", "-"]
        done = subprocess.run(argv, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise ToolingError(f"helm template failed: {done.stderr.strip()}")
        return done.stdout

    def _forget_interrupted(self, release: str, namespace: str) -> None:
        """Remove the mark of a Helm run that was interrupted: Helm itself would refuse to go on for ever."""
        pending = f"owner=helm,name={release},status in (pending-install,pending-upgrade,pending-rollback)"
        self._cluster.kubectl("delete", "secrets", "--namespace", namespace, "--selector", pending)

    def _stop_predecessor(self, release: str, namespace: str) -> None:
        """End an operator of a version without a lease, as docs/upgrade.md says: the chart refuses to act beside it."""
        words = ("get", "deployment", release, "--namespace", namespace, "--ignore-not-found", "--output")
        if self._cluster.kubectl(*words, "name") and not self._cluster.kubectl(*words, _COMMAND):
            self._cluster.kubectl("scale", "deployment", release, "--namespace", namespace, "--replicas=0")

    def test(self, release: str, namespace: str) -> None:
        """Run the release's tests. Raises ToolingError, with their logs, when one fails."""
        self._run(f"helm test {release}", "test", release, "--namespace", namespace, "--logs", "--timeout=120s")

    def uninstall(self, release: str, namespace: str) -> None:
        """Remove a release; one that is not there is fine."""
        args = ["uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait"]
        self._run(f"removing helm release {release}", *args)
