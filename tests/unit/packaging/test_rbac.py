"""The operator's role is what its code uses: nothing is missing and nothing is too much."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from escrow_operator.adapters import kube
from escrow_operator.adapters.kube import Resource
from escrow_operator.core.manifests import common
from testbed.settings import REPO_ROOT
from unit.packaging.helm import Object, of_kind, render

PACKAGE = REPO_ROOT / "operator" / "escrow_operator"

RESOURCES = {name: value for name, value in vars(kube).items() if isinstance(value, Resource)}

VERBS = {
    "get": {"get"},
    "list": {"list"},
    "pages": {"list"},
    "watch": {"watch"},
    "create": {"create"},
    "apply": {"create", "patch"},  # server-side apply makes what is missing
    "patch": {"patch"},
    "delete": {"delete"},
}
"""What the API server asks for, by method of adapters.kube.Kube."""

Rights = dict[tuple[str, str], set[str]]
"""Verbs by API group and resource."""

KOPF: Rights = {
    ("xmr-escrow.dev", "walletpools"): {"list", "watch"},
}
"""kopf watches what has handlers. (Into what has timers or daemons it would also patch its finalizer.)"""

OWNERS: Rights = {
    ("xmr-escrow.dev", "escrowsessions/finalizers"): {"update"},
    ("xmr-escrow.dev", "walletpools/finalizers"): {"update"},
}
"""For blockOwnerDeletion, where the admission plugin OwnerReferencesPermissionEnforcement is on."""


def group(resource: Resource) -> str:
    """The API group, empty for core."""
    return "" if resource.prefix.startswith("/api/") else resource.prefix.split("/")[2]


def calls(source: str) -> Iterator[tuple[str, str, bool]]:
    """(method, constant, whether on the status) of each call of the Kubernetes adapter in a module.

    A method called with a variable counts for the constants that the module puts first into tuples: the plans of what
    to apply.
    """
    tree = ast.parse(source)
    planned = {
        node.elts[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Name)
    } & RESOURCES.keys()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS):
            continue
        if ast.unparse(node.func.value).rpartition(".")[2] not in ("kube", "_kube"):
            continue
        assert isinstance(node.args[0], ast.Name), ast.unparse(node)
        subresource = any(keyword.arg == "subresource" for keyword in node.keywords)
        name = node.args[0].id
        for constant in [name] if name in RESOURCES else sorted(planned):
            yield node.func.attr, constant, subresource


def used() -> Rights:
    """What the operator's code and kopf do."""
    rights: Rights = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for method, constant, on_status in calls(path.read_text()):
            resource = RESOURCES[constant]
            name = f"{resource.plural}/status" if on_status else resource.plural
            rights[group(resource), name] |= VERBS[method]
    for more in (KOPF, OWNERS):
        for key, verbs in more.items():
            rights[key] |= verbs
    return dict(rights)


def granted(rules: list[Object]) -> Rights:
    """What rules allow. None may be for all of something or for some names."""
    rights: Rights = defaultdict(set)
    for rule in rules:
        assert rule.keys() == {"apiGroups", "resources", "verbs"}
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        for api_group in rule["apiGroups"]:
            for resource in rule["resources"]:
                rights[api_group, resource] |= set(rule["verbs"])
    return dict(rights)


def operator_rules(objects: list[Object], kind: str = "ClusterRole") -> list[Object]:
    """The rules of the operator's own role."""
    rules: list[Object] = next(
        role["rules"] for role in of_kind(objects, kind) if role["metadata"]["name"] == "xmr-escrow-operator"
    )
    return rules


def test_the_role_is_what_the_code_uses() -> None:
    assert granted(operator_rules(render())) == used()


def test_every_resource_of_the_adapter_is_in_the_role() -> None:
    rights = granted(operator_rules(render()))

    assert {(group(resource), resource.plural) for resource in RESOURCES.values()} <= rights.keys()


def test_the_operator_cannot_look_through_secrets() -> None:
    assert granted(operator_rules(render()))["", "secrets"].isdisjoint({"list", "watch", "update", "deletecollection"})


def test_the_operator_cannot_take_the_wallets_volumes() -> None:
    """Invariant I4, by the API server's own hand."""
    assert granted(operator_rules(render()))["", "persistentvolumeclaims"] == {"create", "get", "list"}


def test_every_rule_says_why() -> None:
    lines = (REPO_ROOT / "charts" / "xmr-escrow-operator" / "templates" / "_helpers.tpl").read_text().splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("- apiGroups:")]

    assert rules
    for number in rules:
        assert lines[number - 1].startswith("# "), lines[number]


def test_with_chosen_namespaces_it_has_no_rights_elsewhere() -> None:
    objects = render({"watchNamespaces": ["shop", "market"]})
    roles = of_kind(objects, "Role")
    cluster = granted(operator_rules(objects))

    assert cluster == {("storage.k8s.io", "storageclasses"): {"get"}}
    assert [role["metadata"]["namespace"] for role in roles] == ["shop", "market"]
    for role, binding in zip(roles, of_kind(objects, "RoleBinding"), strict=True):
        assert granted(role["rules"]) | cluster == used()
        assert binding["metadata"]["namespace"] == role["metadata"]["namespace"]
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"][0]["namespace"] == "xmr-escrow-system"


USERS = ("xmr-escrow-view", "xmr-escrow-session-edit", "xmr-escrow-pool-admin")
"""The roles for people."""

READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete", "deletecollection"}


def user_role(name: str) -> Object:
    """One of the roles for people."""
    return next(role for role in of_kind(render(), "ClusterRole") if role["metadata"]["name"] == name)


def test_the_roles_for_people_are_these() -> None:
    names = {role["metadata"]["name"] for role in of_kind(render(), "ClusterRole")}

    assert names == {"xmr-escrow-operator", *USERS}


@pytest.mark.parametrize("name", USERS)
def test_users_get_no_secrets_and_write_no_status(name: str) -> None:
    rights = granted(user_role(name)["rules"])

    assert {api_group for api_group, _ in rights} == {"xmr-escrow.dev"}
    for (_, resource), verbs in rights.items():
        assert not resource.endswith(("/status", "/finalizers")) or verbs <= READ


def test_whoever_runs_trades_cannot_say_where_keys_go() -> None:
    """A pool's image gets the volumes of all three roles, and its address all that the wallets ask."""
    rights = granted(user_role("xmr-escrow-session-edit")["rules"])

    assert rights["xmr-escrow.dev", "escrowsessions"] == READ | WRITE
    assert rights.keys() == {("xmr-escrow.dev", "escrowsessions"), ("xmr-escrow.dev", "escrowsessions/status")}


def test_whoever_runs_the_platform_runs_pools() -> None:
    rights = granted(user_role("xmr-escrow-pool-admin")["rules"])

    assert rights["xmr-escrow.dev", "walletpools"] == READ | WRITE
    assert rights["xmr-escrow.dev", "walletpools/scale"] == {"get", "update", "patch"}
    assert not WRITE & rights.get(("xmr-escrow.dev", "escrowsessions"), set())


@pytest.mark.parametrize(
    ("name", "into"),
    [
        ("xmr-escrow-view", {"view", "edit", "admin"}),
        ("xmr-escrow-session-edit", {"edit", "admin"}),
        ("xmr-escrow-pool-admin", set[str]()),
    ],
)
def test_the_clusters_own_roles_contain_the_users_roles(name: str, into: set[str]) -> None:
    """Whom the platform lets run pools it says by a binding: who may edit a namespace's workloads is not asked."""
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    labels = user_role(name)["metadata"]["labels"]

    assert {label.removeprefix(prefix) for label in labels if label.startswith(prefix)} == into


def test_handlers_watch_what_kopf_may_watch() -> None:
    """A handler for another resource needs another rule; one of another sort the right to patch."""
    tree = ast.parse(Path(PACKAGE / "handlers" / "registry.py").read_text())
    watched = {
        node.args[2].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("kopf.on.event", "kopf.timer", "kopf.daemon", "kopf.on.update", "kopf.on.create")
        and isinstance(node.args[2], ast.Constant)
    }

    assert watched == {resource for _, resource in KOPF}


def test_owners_are_those_whose_finalizers_it_may_update() -> None:
    source = Path(common.__file__).read_text()

    assert '"blockOwnerDeletion": True' in source
    for kind in ("WalletPool", "EscrowSession"):
        assert f'"{kind}"' in source
