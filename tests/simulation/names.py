"""What things are called in the simulated world."""

from __future__ import annotations

from .apiserver import Body

SHOP = "shop"
POOL = "default"
DAEMON = "monerod:18081"


def place(name: str) -> tuple[str, str]:
    """Namespace and name: "other/trade" is in namespace other, "trade" in the shop's."""
    namespace, _, rest = name.rpartition("/")
    return namespace or SHOP, rest


def full_name(body: Body) -> str:
    """The name by which users here call an object: the reverse of ``place``."""
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    return name if namespace == SHOP else f"{namespace}/{name}"
