"""Storage classes: kind's own ``standard``, and beside it ``shared`` for volumes of several nodes."""

from __future__ import annotations

import json

from testbed.errors import ToolingError
from testbed.settings import SHARED_MOUNT, TESTBED_DIR


def shared_storage_manifest(standard_deployment: str) -> str:
    """Render the provisioner of the class ``shared``.

    It runs the same images as kind's provisioner for ``standard``, whose Deployment (as JSON) names them:
    they are on every node already, whichever node image that is.
    """
    container = json.loads(standard_deployment)["spec"]["template"]["spec"]["containers"][0]
    helper = _argument(container.get("command", []) + container.get("args", []), "--helper-image")
    text = (TESTBED_DIR / "manifests" / "shared-storage.yaml").read_text()
    head, separator, body = text.partition("apiVersion:")
    body = body.replace("PROVISIONER_IMAGE", container["image"]).replace("HELPER_IMAGE", helper)
    return head + separator + body.replace("SHARED_MOUNT", SHARED_MOUNT)


def _argument(words: list[str], name: str) -> str:
    for index, word in enumerate(words):
        if word == name:
            return words[index + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    raise ToolingError(f"kind's storage provisioner is not started with {name}", "pin another kind")
