"""What the API server does with custom resources: defaults, pruning and validation by their CRDs.

The CEL rules of the CRDs are left out: they guard what users send, and scenarios send what is allowed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import yaml

from testbed.settings import REPO_ROOT

from .bodies import copied

Schema = dict[str, Any]


@cache
def _schema(plural: str) -> tuple[Schema, Any]:
    crd = yaml.safe_load((REPO_ROOT / "crds" / f"{plural}.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema, jsonschema.Draft202012Validator(schema)


def admit(plural: str, body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The object as it would be stored, and what is wrong with it, or None."""
    schema, validator = _schema(plural)
    fresh = copied(body)
    for part in ("spec", "status"):
        if part in fresh:
            _complete(schema["properties"][part], fresh[part])
    wrong = next(validator.iter_errors({key: fresh[key] for key in ("spec", "status") if key in fresh}), None)
    return fresh, None if wrong is None else f"{wrong.json_path}: {wrong.message}"


def _complete(schema: Schema, value: Any) -> None:
    """Set defaults, and drop what the schema does not know."""
    if isinstance(value, list):
        for item in value:
            _complete(schema.get("items", {}), item)
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    for name in list(value):
        if properties and name in properties:
            _complete(properties[name], value[name])
        elif isinstance(others, dict):
            _complete(others, value[name])
        elif properties is not None and not others:
            del value[name]
    for name, inner in (properties or {}).items():
        if name not in value and "default" in inner:
            value[name] = copied(inner["default"])
            _complete(inner, value[name])
