"""Follows the sessions, the pool and the Events of the demo's namespace, and prints what changes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from demo import screen
from demo.names import NAMESPACE
from testbed import tools
from testbed.cluster import Cluster
from testbed.errors import ToolingError

GROUP_PATH = f"/apis/xmr-escrow.dev/v1alpha1/namespaces/{NAMESPACE}"
EVENTS_PATH = f"/api/v1/namespaces/{NAMESPACE}/events"
KINDS = {"EscrowSession": "escrow", "WalletPool": "wpool"}

_RETRY_SECONDS = 1.0
_COLUMNS = "{:<14} {:<10} {:<7} {:<18} {:<9} {}"
HEADER = _COLUMNS.format("NAME", "PHASE", "OPEN", "FUNDED", "BALANCE", "CONFIRMATIONS")

Object = Mapping[str, Any]


class Watcher:
    """Keeps the newest version of every session and pool between ``with`` and its end."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._changed = threading.Condition()
        self._objects: dict[str, dict[str, Object]] = {"escrowsessions": {}, "walletpools": {}}
        self._rows: dict[str, str] = {}
        self._seen_events: set[str] = set()
        self._processes: list[subprocess.Popen[str]] = []
        self._stopped = False

    def __enter__(self) -> Watcher:
        for event in json.loads(self._cluster.kubectl("get", "--raw", EVENTS_PATH))["items"]:
            self._seen_events.add(event["metadata"]["uid"])
        for kind in self._objects:
            self._list(kind)
        streams: tuple[tuple[str, Callable[[Any], None]], ...] = (
            (f"{GROUP_PATH}/escrowsessions", self._see("escrowsessions")),
            (f"{GROUP_PATH}/walletpools", self._see("walletpools")),
            (EVENTS_PATH, self._see_event),
        )
        for path, handler in streams:
            threading.Thread(target=self._follow, args=(path, handler), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            for process in self._processes:
                process.terminate()

    def session(self, name: str) -> Object | None:
        """Return a session as last seen, or None."""
        with self._changed:
            return self._objects["escrowsessions"].get(name)

    def pool(self, name: str) -> Object | None:
        """Return a pool as last seen, or None."""
        with self._changed:
            return self._objects["walletpools"].get(name)

    def until(self, test: Callable[[], bool], seconds: float, what: str, *, about: str = "") -> None:
        """Wait until ``test`` holds. ``about`` names the session whose conditions explain why it does not."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not test():
                left = deadline - time.monotonic()
                if left <= 0 or (about and phase(self.session(about)) == "Failed"):
                    raise ToolingError(f"{what} did not happen{_waited(left, seconds)}{self._why(about)}")
                self._changed.wait(min(left, 5.0))

    def _why(self, name: str) -> str:
        item = self.session(name)
        if item is None:
            return ""
        lines = [
            f"\n  {c['type']}={c['status']} {c['reason']}: {c.get('message', '')}"
            for c in item.get("status", {}).get("conditions", ())
        ]
        return f". Session {name} says:" + "".join(lines) if lines else ""

    def _list(self, kind: str) -> None:
        listing = json.loads(self._cluster.kubectl("get", "--raw", f"{GROUP_PATH}/{kind}"))
        for item in listing["items"]:
            self._keep(kind, item)

    def _follow(self, path: str, handler: Callable[[Any], None]) -> None:
        """Read one watch after another: the API server ends each after a while."""
        argv = [str(tools.kubectl()), "--kubeconfig", str(self._cluster.kubeconfig)]
        argv += ["get", "--raw", f"{path}?watch=1&timeoutSeconds=600"]
        while not self._stopped:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            with self._changed:
                self._processes.append(process)
                if self._stopped:
                    process.terminate()
            for line in process.stdout or ():
                if line.strip():
                    handler(json.loads(line))
            process.wait()
            with self._changed:
                self._processes.remove(process)
                self._changed.wait(_RETRY_SECONDS)

    def _see(self, kind: str) -> Callable[[Any], None]:
        def handle(event: Any) -> None:
            if event["type"] == "DELETED":
                with self._changed:
                    self._objects[kind].pop(event["object"]["metadata"]["name"], None)
                    self._changed.notify_all()
            elif event["type"] in ("ADDED", "MODIFIED"):
                if kind == "escrowsessions":
                    self._show(event["object"])
                self._keep(kind, event["object"])

        return handle

    def _keep(self, kind: str, item: Object) -> None:
        with self._changed:
            self._objects[kind][item["metadata"]["name"]] = item
            self._changed.notify_all()

    def _show(self, item: Object) -> None:
        if "status" not in item:
            return
        name = item["metadata"]["name"]
        text = describe(item)
        if self._rows.get(name) != text:
            self._rows[name] = text
            screen.row(text)

    def _see_event(self, watched: Any) -> None:
        event = watched["object"]
        uid = event.get("metadata", {}).get("uid")
        about = event.get("involvedObject", {})
        if watched["type"] != "ADDED" or uid in self._seen_events:
            return
        self._seen_events.add(uid)
        if about.get("kind") in KINDS:
            who = f"{KINDS[about['kind']]}/{about['name']}"
            text = f"  Event {who} {event['reason']}: {event['message']}"
            screen.happened(text, warning=event["type"] == "Warning")


def _waited(left: float, seconds: float) -> str:
    return f" within {seconds:.0f} s" if left <= 0 else ""


def phase(item: Object | None) -> str:
    """Return a session's phase; empty when there is no session or no status yet."""
    return str(item.get("status", {}).get("phase", "")) if item else ""


def condition(item: Object | None, kind: str) -> Mapping[str, str]:
    """Return a condition, or an empty mapping."""
    conditions = item.get("status", {}).get("conditions", ()) if item else ()
    return next((c for c in conditions if c["type"] == kind), {})


def is_true(item: Object | None, kind: str) -> bool:
    """Tell whether a condition is True for the spec as it is now."""
    found = condition(item, kind)
    return found.get("status") == "True" and found.get("observedGeneration") == (item or {})["metadata"]["generation"]


def describe(item: Object) -> str:
    """One line about a session, as ``kubectl get`` has it, with the reason for what is not True."""
    status = item.get("status", {})
    opened, funded = condition(item, "WalletsOpen"), condition(item, "Funded")
    return _COLUMNS.format(
        item["metadata"]["name"],
        status.get("phase") or "-",
        opened.get("status", "-"),
        _with_reason(funded),
        status.get("balance", {}).get("total", "-"),
        _progress(item),
    ).rstrip()


def _progress(item: Object) -> str:
    """Say how many of the confirmations that count there are; more of them are no news."""
    wanted = item["spec"]["confirmations"]
    for part, prefix in (("settlement", "payout "), ("funding", "")):
        found = item["status"].get(part)
        if found:
            return f"{prefix}{min(found.get('confirmations', 0), wanted)}/{wanted}"
    return "-"


def _with_reason(found: Mapping[str, str]) -> str:
    if not found:
        return "-"
    return found["status"] if found["status"] == "True" else found["reason"]
