#!/usr/bin/env python3
"""Brings up to date what is made from something else.

crds/ → the chart's crds/ and the schema of its value walletPool.spec; the chart → deploy/base/operator.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import generated

ROOT = generated.ROOT
CHART = ROOT / "charts" / "xmr-escrow-operator"
CRDS = ROOT / "crds"

IMAGE = "registry.invalid/xmr-escrow/operator"
"""What an overlay replaces."""

GATEWAY_TLS = "xmr-escrow-operator-gateway-tls"
"""Which whoever applies the manifests makes: the gateway's pods wait for it."""

NAME, NAMESPACE = "xmr-escrow-operator", "xmr-escrow-system"

HELM_ONLY = ("helm.sh/chart:", "app.kubernetes.io/managed-by: Helm", "# Source: ")
"""Lines that say that Helm manages an object, which is not so with kustomize."""

HEADER = """\
# Made by deploy/sync.py from charts/xmr-escrow-operator with its default values: change those, not this.
# The image's name resolves nowhere (RFC 6761): an overlay sets your own, see examples/overlay. The gateway waits for
# the TLS Secret xmr-escrow-operator-gateway-tls, which you make.
"""

SCHEMA_KEYS = (
    "type",
    "description",
    "required",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)


def crd_copies() -> dict[Path, str]:
    """The custom resources, for Helm to install with the chart."""
    return {CHART / "crds" / source.name: source.read_text() for source in sorted(CRDS.glob("*.yaml"))}


def values_schema() -> dict[Path, str]:
    """The values' schema with the WalletPool's spec in it."""
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text())
    crd = yaml.safe_load((CRDS / "walletpools.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["definitions"]["walletPoolSpec"] = json_schema(spec)
    return {path: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"}


def json_schema(crd: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema that is strict where the custom resource prunes. CEL rules and defaults are the API server's."""
    if crd.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer", "number"]}
    schema: dict[str, Any] = {key: crd[key] for key in SCHEMA_KEYS if key in crd}
    if "properties" in crd:
        schema["properties"] = {name: json_schema(sub) for name, sub in crd["properties"].items()}
        if not crd.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    if "additionalProperties" in crd:
        schema["additionalProperties"] = json_schema(crd["additionalProperties"])
    if "items" in crd:
        schema["items"] = json_schema(crd["items"])
    return schema


def rendered(helm: str) -> dict[Path, str]:
    """The chart's objects for plain kubectl."""
    argv = [
        helm,
        "template",
        "--skip-tests",
        NAME,
        str(CHART),
        "--namespace",
        NAMESPACE,
        "--set",
        f"image.repository={IMAGE}",
    ]
    # A certificate that the chart makes would be another one each time, and its key in this repository.
    argv += ["--set", f"gateway.tls.secretName={GATEWAY_TLS}"]
    text = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - the caller's helm
    lines = [line for line in text.splitlines() if not line.strip().startswith(HELM_ONLY)]
    documents = [part.strip() for part in "\n".join(lines).split("\n---\n")]
    documents[0] = documents[0].removeprefix("---").strip()
    return {ROOT / "deploy" / "base" / "operator.yaml": HEADER + "\n---\n".join(documents) + "\n"}


def differs(path: Path, wanted: str) -> bool:
    """Whether a file has to be written. Of YAML only the objects count: versions of Helm differ in blank lines."""
    if path.exists() and path.name == "operator.yaml":
        return list(yaml.safe_load_all(path.read_text())) != list(yaml.safe_load_all(wanted))
    return generated.differs(path, wanted)


def surplus() -> list[Path]:
    """Copies whose original is gone."""
    return [path for path in (CHART / "crds").glob("*") if path not in crd_copies()]


def main() -> int:
    """Exit code 1 when --check finds something out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is out of date")
    parser.add_argument("--helm", default=os.environ.get("HELM", "helm"), help="the helm to render with")
    args = parser.parse_args()
    # The schema first: helm validates the values with it.
    stale: list[Path] = []
    for make in (crd_copies, values_schema, lambda: rendered(args.helm)):
        stale += generated.bring_up_to_date(make(), check=args.check, differ=differs)
    for path in surplus():
        stale.append(path)
        if not args.check:
            path.unlink()
    return generated.report(stale, check=args.check, command="deploy/sync.py")


if __name__ == "__main__":
    sys.exit(main())
