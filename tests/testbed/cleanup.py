"""Remove what clusters and interrupted builds leave behind in the engine."""

from __future__ import annotations

import re
import time

from testbed import cache
from testbed.engine import Engine
from testbed.kindconfig import CLUSTER_LABEL
from testbed.settings import CLUSTER_PREFIX, IMAGE_PREFIX, cache_dir, log_dir

_KIND_NETWORK = "kind"


def clean_engine(engine: Engine) -> None:
    """Remove the network that no cluster uses any more, and half-built images with their containers."""
    with cache.exclusive():
        # The engine refuses to remove a network in use, by whatever cluster.
        engine.succeeds("network", "rm", _KIND_NETWORK)
        drop_build_containers(engine)
        drop_old_logs()


def drop_build_containers(engine: Engine) -> None:
    """Remove the containers of builds that were interrupted; the caller holds the lock."""
    if engine.name == "podman":
        for container in build_leftovers(_external(engine)):
            engine.succeeds("rm", "--force", container)


def drop_untagged(engine: Engine) -> None:
    """Remove what builds and their steps left without a name, told by the base that it stands on.

    The next build of an image does its steps again, so this is for the end of all clusters.
    """
    template = "{{.Id}} {{index .RootFS.Layers 0}}"
    references = engine.capture("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    bases = [ref for ref in references if ref.startswith(f"{IMAGE_PREFIX}/") and "-base:" in ref]
    untagged = engine.capture("image", "ls", "--quiet", "--filter", "dangling=true").split()
    if not bases or not untagged:
        return
    inspect = ("image", "inspect", "--format", template)
    ground = {line.split()[1] for line in engine.capture(*inspect, *bases).splitlines()}
    for line in engine.capture(*inspect, *untagged).splitlines():
        image, _, lowest = line.partition(" ")
        if lowest in ground:
            engine.succeeds("image", "rm", image)


def _external(engine: Engine) -> str:
    return engine.capture("ps", "--all", "--external", "--format", "{{.ID}}\t{{.Image}}\t{{.Status}}")


def build_leftovers(listing: str) -> list[str]:
    """Pick the containers that interrupted builds of this project's images left in storage."""
    found = []
    for line in listing.splitlines():
        identity, image, status = ([*line.split("\t"), "", ""])[:3]
        if status.strip().lower() == "storage" and image.startswith(f"{IMAGE_PREFIX}/"):
            found.append(identity)
    return found


def remove_volumes(engine: Engine, cluster: str) -> None:
    """Remove the volumes of a cluster's former nodes, gigabytes each.

    Docker removes them with their container. With Podman kind makes them itself, labelled with the node's
    name; the engine refuses to remove one in use.
    """
    if engine.name != "podman":
        return
    template = "{{.Name}}\t{{range $key, $value := .Labels}}{{$key}} {{end}}"
    for volume in node_volumes(engine.capture("volume", "ls", "--format", template), cluster):
        engine.succeeds("volume", "rm", volume)


def node_volumes(listing: str, cluster: str) -> list[str]:
    """Pick the volumes labelled with the name of a node of this cluster."""
    node = re.compile(rf"{re.escape(cluster)}-(control-plane|worker)\d*")
    found = []
    for line in listing.splitlines():
        name, _, labels = line.partition("\t")
        if any(node.fullmatch(label) for label in labels.split()):
            found.append(name)
    return found


def drop_old_logs(*, days: float = 7.0) -> None:
    """Remove logs of commands that nobody will ask about any more."""
    oldest = time.time() - days * 86400
    for log in log_dir().glob("*.log"):
        if log.stat().st_mtime < oldest:
            log.unlink(missing_ok=True)


def known_clusters(engine: Engine) -> list[str]:
    """Name the clusters of this project that exist on the machine, whole or not."""
    template = '{{index .Labels "' + CLUSTER_LABEL + '"}}'
    if engine.name == "docker":
        template = '{{.Label "' + CLUSTER_LABEL + '"}}'
    argv = ("ps", "--all", "--filter", f"label={CLUSTER_LABEL}", "--format", template)
    names = set(engine.capture(*argv).split())
    folder = cache_dir() / "clusters"
    names |= {path.parent.name for path in folder.glob("*/state.json")}
    return sorted(name for name in names if name.startswith(CLUSTER_PREFIX))


def drop_old(engine: Engine, name: str, *, kept: int = 2) -> None:
    """Remove all but the newest builds of an image; the engine refuses those in use."""
    argv = ("image", "ls", "--format", "{{.Tag}}", f"{IMAGE_PREFIX}/{name}")
    for tag in engine.capture(*argv).split()[kept:]:
        engine.succeeds("image", "rm", f"{IMAGE_PREFIX}/{name}:{tag}")
