"""A port of a pod or service on 127.0.0.1, for as long as a ``with`` block lasts."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
import time
from types import TracebackType

from testbed import tools
from testbed.cluster import Cluster
from testbed.errors import ToolingError

_LISTENING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


class PortForward:
    """``kubectl port-forward`` of ``target`` (``pod/x``, ``service/y``) on a free port of 127.0.0.1.

    It is bound to the pod it found; when that pod goes, the connection goes, and nothing restarts it.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, target: str, port: int | str, *, timeout: float = 30.0
    ) -> None:
        self._argv = [str(tools.kubectl()), "--kubeconfig", str(cluster.kubeconfig)]
        self._argv += ["--namespace", namespace, "port-forward", "--address", "127.0.0.1"]
        self._argv += [target, f":{port}"]
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._said: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """The forwarded port as an HTTP address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Tell whether the forwarding process still runs."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> PortForward:
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        try:
            self.port = self._wait_until_listening()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the forwarding process, and no other."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)

    def _read(self, process: subprocess.Popen[str]) -> None:
        # Keeps reading to the end: a full pipe would stop kubectl.
        for line in process.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    def _wait_until_listening(self) -> int:
        deadline = time.monotonic() + self._timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if not line:
                break
            self._said.append(line.strip())
            match = _LISTENING.search(line)
            if match:
                return int(match[1])
        said = " / ".join(self._said) or "nothing"
        raise ToolingError(
            f"`{' '.join(self._argv)}` ended, or did not listen within {self._timeout:.0f} s; it said: {said}",
            "see whether the pod is Running and listens on that port",
        )
