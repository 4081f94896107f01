"""Can this machine pull images? The one question that decides which way everything else goes."""

from __future__ import annotations

import os

from testbed import progress
from testbed.engine import Engine
from testbed.errors import ToolingError
from testbed.settings import ENV_REGISTRY, STOCK_NODE_IMAGE

_TIMEOUT_SECONDS = 25.0


def registry_reachable(engine: Engine) -> bool:
    """Return the person's word if given, else ask the registry once in this run."""
    word = os.environ.get(ENV_REGISTRY, "").lower()
    if word in {"yes", "no"}:
        return word == "yes"
    if word:
        raise ToolingError(f"{ENV_REGISTRY} is {word!r}", "set it to yes or no, or leave it unset")
    return _probe(engine.name, engine)


_answers: dict[str, bool] = {}


def _probe(key: str, engine: Engine) -> bool:
    if key not in _answers:
        # Reading a manifest costs one small request; it needs the same reach as a pull.
        _answers[key] = engine.succeeds("manifest", "inspect", STOCK_NODE_IMAGE, timeout=_TIMEOUT_SECONDS)
        reach = "reachable" if _answers[key] else "not reachable: images are built from packages"
        progress.say(f"image registry: {reach} ({ENV_REGISTRY}=yes|no overrides)")
    return _answers[key]
