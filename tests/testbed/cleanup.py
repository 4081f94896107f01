"""Remove what clusters and interrupted builds leave behind in the engine."""

from __future__ import annotations

from testbed import cache
from testbed.engine import Engine
from testbed.settings import IMAGE_PREFIX, cache_dir

_KIND_NETWORK = "kind"


def clean_engine(engine: Engine) -> None:
    """Remove the network that no cluster uses any more, and half-built images with their containers."""
    with cache.exclusive():
        # The engine refuses to remove a network in use, by whatever cluster.
        engine.succeeds("network", "rm", _KIND_NETWORK)
        if engine.name == "podman":
            for container in build_leftovers(_external(engine)):
                engine.succeeds("rm", "--force", container)
        for folder in (cache_dir(), cache_dir() / "go", cache_dir() / "rootfs"):
            cache.drop_partials(folder)


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
