"""What is made from something else is up to date; examples are what the schemas allow."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from escrow_gateway.methods import Access
from testbed import tools
from testbed.settings import REPO_ROOT
from unit.packaging.helm import CHART, Object, container, helm, of_kind, render

DEPLOY = REPO_ROOT / "deploy"
CRDS = REPO_ROOT / "crds"


def kustomize(folder: Path) -> list[Object]:
    """The objects of a kustomization."""
    argv = [str(tools.kubectl()), "kustomize", str(folder)]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    return list(yaml.safe_load_all(text))


def by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Objects without what tells who manages them."""
    found = {}
    for item in objects:
        labels = item["metadata"].get("labels", {})
        for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            labels.pop(label, None)
        found[item["kind"], item["metadata"]["name"]] = item
    return found


def schema_of(name: str) -> Object:
    """The OpenAPI schema of a custom resource."""
    crd = yaml.safe_load((CRDS / name).read_text())
    schema: Object = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def strict(schema: Any) -> Any:
    """The same, with the fields that the API server would drop as errors."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if known and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    return result


def custom_objects() -> list[Object]:
    """The EscrowSessions and WalletPools of the examples."""
    return [
        item
        for path in sorted((DEPLOY / "examples").glob("*.yaml"))
        for item in yaml.safe_load_all(path.read_text())
        if item["apiVersion"].startswith("xmr-escrow.dev/")
    ]


def test_everything_that_is_made_from_something_else_is_up_to_date() -> None:
    argv = [sys.executable, str(DEPLOY / "sync.py"), "--check", "--helm", str(helm())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(CRDS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_chart_installs_the_same_custom_resources(path: Path) -> None:
    assert (CHART / "crds" / path.name).read_bytes() == path.read_bytes()


def test_kustomize_installs_the_same_custom_resources() -> None:
    wanted = [yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml")]

    assert by_name(kustomize(CRDS)) == by_name(wanted)


def test_kustomize_installs_what_helm_installs() -> None:
    objects = by_name(kustomize(DEPLOY))
    crds = {key for key in objects if key[0] == "CustomResourceDefinition"}

    assert len(crds) == len(list(CRDS.glob("*.yaml")))
    assert {key: value for key, value in objects.items() if key not in crds | {("Namespace", "xmr-escrow-system")}} == (
        by_name(render({"gateway": {"tls": {"secretName": "xmr-escrow-operator-gateway-tls"}}}))
    )
    for item in objects.values():
        assert item["metadata"].get("namespace", "xmr-escrow-system") == "xmr-escrow-system"


def test_no_manifest_of_kustomize_claims_to_be_helms() -> None:
    assert "helm" not in (DEPLOY / "base" / "operator.yaml").read_text().lower()


def test_an_overlay_sets_the_image_in_both_places() -> None:
    only = container(kustomize(DEPLOY / "examples" / "overlay"))
    variables = {entry["name"]: entry.get("value") for entry in only["env"]}

    assert only["image"] == "images.example.com/xmr-escrow/operator:0.1.0"
    assert variables["XMR_ESCROW_SLOT_LOGIN_IMAGE"] == only["image"]
    assert variables["XMR_ESCROW_SESSIONS__MAX_ACTIVE"] == "50"


def test_nothing_is_pulled_from_a_name_that_somebody_else_may_own() -> None:
    """A name without a registry is one of a public registry, in an account that is not this project's."""
    paths = [
        CHART / "values.yaml",
        *DEPLOY.rglob("*.yaml"),
        *(CHART / "templates").rglob("*.*"),
        REPO_ROOT / "README.md",
        *(REPO_ROOT / "docs").rglob("*.md"),
    ]
    images = {
        f"{path.relative_to(REPO_ROOT)}: {image}"
        for path in paths
        for image in re.findall(r"[^\s\"'=`]*xmr-escrow/(?:operator|wallet)\b", path.read_text())
        if not image.startswith(("registry.invalid/", "images.example.com/", "REGISTRY/", "YOUR-REGISTRY/"))
    }

    assert images == set()


@pytest.mark.parametrize("path", sorted(CRDS.glob("*.yaml")), ids=lambda path: path.name)
def test_deleting_all_of_a_namespace_ends_no_trade(path: Path) -> None:
    """`kubectl delete all --all` takes what is in the category `all`."""
    assert yaml.safe_load(path.read_text())["spec"]["names"]["categories"] == ["xmr-escrow"]


def test_there_is_an_example_of_each_kind_and_setup() -> None:
    found = {(item["kind"], item["spec"].get("setup", "Create")) for item in custom_objects()}

    assert found == {("WalletPool", "Create"), ("EscrowSession", "Create"), ("EscrowSession", "Open")}


@pytest.mark.parametrize("item", custom_objects(), ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_examples_fit_their_schema(item: Object) -> None:
    schema = strict(schema_of(f"{item['kind'].lower()}s.yaml"))
    schema["properties"]["metadata"] = {"type": "object"}

    jsonschema.Draft202012Validator(schema).validate(item)


def test_the_strict_schema_catches_a_typo() -> None:
    schema = strict(schema_of("walletpools.yaml"))["properties"]["spec"]
    spec = {"image": "a", "daemon": {"address": "a:1", "network": "mainnet", "trust": True}}

    with pytest.raises(jsonschema.ValidationError, match="trust"):
        jsonschema.Draft202012Validator(schema).validate(spec)


def test_a_gateway_role_is_one_wallet_of_one_trade() -> None:
    objects = list(yaml.safe_load_all((DEPLOY / "examples" / "gateway-role.yaml").read_text()))
    (role,) = of_kind(objects, "Role")
    (rule,) = role["rules"]
    assert (rule["resources"], rule["resourceNames"]) == (["escrowsessions/vendor"], ["trade-1"])
    assert set(rule["verbs"]) <= {access.value for access in Access}


def test_a_clients_role_opens_one_connection_and_nothing_else() -> None:
    objects = list(yaml.safe_load_all((DEPLOY / "examples" / "client-role.yaml").read_text()))
    (role,) = of_kind(objects, "Role")
    secrets = [rule for rule in role["rules"] if "secrets" in rule["resources"]]

    assert [(rule["resourceNames"], rule["verbs"]) for rule in secrets] == [(["trade-1-vendor-rpc"], ["get"])]
