"""The operator's role is what its code uses: nothing is missing and nothing is too much."""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from escrow_operator.adapters import kube
from escrow_operator.adapters.kube import Resource
from escrow_operator.core.manifests import common
from escrow_operator.core.manifests import pool as manifests
from escrow_operator.core.manifests.common import BASE_LABELS
from escrow_operator.core.manifests.prepared import PREPARED_TYPE, prepared_secret
from escrow_operator.core.manifests.session import (
    CONNECTION_TYPE,
    DEED_TYPE,
    connection_secret,
    deed_secret,
    disruption_budget,
    endpoint_slice,
)
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import Login
from escrow_operator.models.prepared import PreparedEscrow
from testbed.settings import REPO_ROOT
from unit.factories import pool, session, slot
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
    "merge": {"patch"},
    "delete": {"delete"},
}
"""What the API server asks for, by method of adapters.kube.Kube."""

Rights = dict[tuple[str, str], set[str]]
"""Verbs by API group and resource."""

KOPF: Rights = {
    ("xmr-escrow.dev", "escrowsessions"): {"list", "watch"},
    ("xmr-escrow.dev", "walletpools"): {"list", "watch"},
}
"""kopf watches what has handlers. (Into what has timers or daemons it would also patch its finalizer.)"""

NAMED_ONLY: Rights = {
    ("", "namespaces"): {"get"},
}
"""For whoever serves chosen namespaces, and of those alone."""

AT_HOME: Rights = {
    ("coordination.k8s.io", "leases"): {"create", "get", "patch"},
}
"""In the release's own namespace alone."""

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

    A method called with a variable counts for the constants that the module puts first into tuples, the plans of what
    to apply, and for those of tuples that it goes through.
    """
    tree = ast.parse(source)
    firsts = (node.elts[:1] for node in ast.walk(tree) if isinstance(node, ast.Tuple))
    gone_through = (
        node.iter.elts for node in ast.walk(tree) if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple)
    )
    names = {one.id for elements in (*firsts, *gone_through) for one in elements if isinstance(one, ast.Name)}
    planned = names & RESOURCES.keys()
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
        assert rule.keys() - {"resourceNames"} == {"apiGroups", "resources", "verbs"}
        assert rule.get("resourceNames", ["all"])
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
    elsewhere = NAMED_ONLY | AT_HOME
    assert granted(operator_rules(render())) == {key: used()[key] for key in used().keys() - elsewhere.keys()}


def test_every_resource_of_the_adapter_is_in_the_role() -> None:
    rights = granted(operator_rules(render()))

    assert {
        (group(resource), resource.plural) for resource in RESOURCES.values()
    } <= rights.keys() | NAMED_ONLY.keys() | AT_HOME.keys()


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["shop"]}, {"fullnameOverride": "other"}])
def test_who_leads_is_agreed_on_by_one_lease_of_the_release(values: Object) -> None:
    objects = render(values)
    (deployment,) = of_kind(objects, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    env = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    lease = env["XMR_ESCROW_LEADER_ELECTION__LEASE_NAME"]
    (role,) = (found for found in of_kind(objects, "Role") if found["metadata"]["name"].endswith("-leader"))
    assert role["metadata"]["namespace"] == "xmr-escrow-system"
    # The pods are those of operators, to see whether one without a lease still runs.
    assert granted(role["rules"]) == {key: used()[key] for key in AT_HOME} | {("", "pods"): {"list"}}
    assert {key: used()[key] for key in AT_HOME} == AT_HOME
    for rule in role["rules"]:
        assert rule["verbs"] in (["create"], ["list"]) or rule["resourceNames"] == [lease]
    (binding,) = (found for found in of_kind(objects, "RoleBinding") if found["metadata"]["name"].endswith("-leader"))
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [pod["serviceAccountName"]]


def test_the_operator_can_neither_look_through_secrets_nor_delete_any() -> None:
    """Invariant I4: RBAC does not tell deeds from other Secrets."""
    assert granted(operator_rules(render()))["", "secrets"] == {"get", "create", "patch"}


CHANGING = {"update", "patch", "delete"}

UNGUARDED = {("", "events"), ("", "persistentvolumeclaims")}
"""What the operator may make that is no right to anything. Others of these kinds are: a Secret that is filled with the
token of an account, a Service or an EndpointSlice that takes the traffic of another."""


def policy(objects: list[Object]) -> Object:
    """What the policy that bounds the operator's rights says."""
    (found,) = of_kind(objects, "ValidatingAdmissionPolicy")
    (binding,) = of_kind(objects, "ValidatingAdmissionPolicyBinding")
    assert binding["spec"] == {"policyName": found["metadata"]["name"], "validationActions": ["Deny"]}
    spec: Object = found["spec"]
    assert spec["failurePolicy"] == "Fail"
    return spec


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["shop"]}, {"fullnameOverride": "other"}])
def test_whatever_the_operator_may_change_of_others_kinds_is_only_its_own(values: Object) -> None:
    objects = render(values)
    roles = of_kind(objects, "Role" if "watchNamespaces" in values else "ClusterRole")
    names = [found["metadata"]["name"] for found in roles]
    rules = next(
        found["rules"]
        for found, name in zip(roles, names, strict=True)
        if not name.startswith("xmr-escrow-e") and not name.endswith("-leader")
    )
    rights = granted(rules)
    guarded = {
        (api_group, resource): set(rule["operations"])
        for rule in policy(objects)["matchConstraints"]["resourceRules"]
        for api_group in rule["apiGroups"]
        for resource in rule["resources"]
    }

    changed = {key for key, verbs in rights.items() if verbs & CHANGING and key[0] != "xmr-escrow.dev"}
    assert changed == guarded.keys()
    for operations in guarded.values():
        assert operations >= {"UPDATE", "DELETE"}
    made = {key for key, verbs in rights.items() if "create" in verbs} - UNGUARDED
    assert made == {key for key, operations in guarded.items() if "CREATE" in operations}


@pytest.mark.parametrize(
    "values", [{}, {"serviceAccount": {"name": "someone"}}, {"serviceAccount": {"create": False, "name": "given"}}]
)
def test_the_policy_means_the_account_that_the_operator_has(values: Object) -> None:
    objects = render(values)
    (condition,) = policy(objects)["matchConditions"]
    (deployment,) = of_kind(objects, "Deployment")
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    found = re.fullmatch(r"request\.userInfo\.username\.matches\('(.*)'\)", condition["expression"])

    assert found
    assert re.search(found[1], f"system:serviceaccount:anywhere:{account}")
    for other in (f"system:serviceaccount:anywhere:x{account}", f"{account}", f"system:serviceaccount:a:{account}x"):
        assert not re.search(found[1], other)


def test_the_policy_speaks_of_what_the_operator_makes() -> None:
    validations = policy(render())["validations"]
    text = " ".join(validation["expression"] for validation in validations)

    assert {validation["reason"] for validation in validations} == {"Forbidden"}, "Invalid would be tried again at once"
    assert f"[{DEED_TYPE!r}, {CONNECTION_TYPE!r}, {PREPARED_TYPE!r}]" in text
    assert f"{Label.CLAIMED_BY!r} in oldObject.metadata.annotations" in text
    (label,) = {key: value for key, value in BASE_LABELS.items() if key.endswith("managed-by")}.items()
    assert f"oldObject.metadata.labels[{label[0]!r}] == {label[1]!r}" in text


def test_what_the_operator_makes_is_what_the_policy_lets_it_change() -> None:
    slots = {role: slot(role.value, role, owner=session()) for role in Role}
    names = endpoint_slice(session(), slots)
    assert names is not None
    made = [
        manifests.service(pool()),
        manifests.network_policy(pool(), "system"),
        manifests.deployment(pool(), Role.BUYER, replicas=1, login_key="k", daemon_secrets="", login_image="i"),
        connection_secret(session(), slots[Role.BUYER], Login("u", "p"), None),
        deed_secret(session(), Deed(Role.BUYER, "f", "p"), "1"),
        names,
        disruption_budget(session()),
        prepared_secret(pool(), PreparedEscrow("p", "f", dict.fromkeys(ROLES, "p"), 1), slots.values(), "1"),
    ]
    for body in made:
        assert body["metadata"]["labels"].items() >= BASE_LABELS.items(), body["kind"]
    assert "ownerReferences" not in made[4]["metadata"]
    template = made[2]["spec"]["template"]
    assert template["metadata"]["labels"].items() >= BASE_LABELS.items()
    assert template["spec"]["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & template["spec"].keys()
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in template["spec"]["containers"] + template["spec"]["initContainers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {made[0]["spec"]["clusterIP"], made[0]["metadata"]["name"]} == {"None", "default-wallets"}
    assert made[1]["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "monero-wallet-rpc"
    assert manifests.login_key_secret(pool(), "key")["metadata"]["name"].endswith("-slot-login")
    assert names["metadata"]["labels"]["kubernetes.io/service-name"].endswith("-wallets")
    protected = made[6]["spec"]["selector"]["matchLabels"]
    assert protected["app.kubernetes.io/name"] == "monero-wallet-rpc"
    assert "xmr-escrow.dev/session-uid" in protected
    kinds = {key for volume in template["spec"]["volumes"] for key in volume} - {"name"}
    assert kinds <= {"emptyDir", "secret", "persistentVolumeClaim"}


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
    roles, bindings = (
        [found for found in of_kind(objects, kind) if not found["metadata"]["name"].endswith("-leader")]
        for kind in ("Role", "RoleBinding")
    )
    cluster = granted(operator_rules(objects))

    assert cluster == {("storage.k8s.io", "storageclasses"): {"get"}} | NAMED_ONLY
    (names,) = (rule["resourceNames"] for rule in operator_rules(objects) if rule["resources"] == ["namespaces"])
    assert names == ["shop", "market"]
    assert [role["metadata"]["namespace"] for role in roles] == ["shop", "market"]
    for role, binding in zip(roles, bindings, strict=True):
        assert granted(role["rules"]) | cluster | AT_HOME == used()
        assert binding["metadata"]["namespace"] == role["metadata"]["namespace"]
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"][0]["namespace"] == "xmr-escrow-system"


PARTIES = {f"xmr-escrow-{role}": role for role in ROLES}
"""The roles for callers of the gateway."""


def test_a_partys_role_is_its_wallet_without_its_keys() -> None:
    for name, role in PARTIES.items():
        assert granted(user_role(name)["rules"]) == {
            ("xmr-escrow.dev", f"escrowsessions/{role}"): {"read", "sign", "relay"},
            ("xmr-escrow.dev", "escrowsessions"): {"get"},
        }
    assert granted(user_role("xmr-escrow-wallet-view")["rules"]) == {
        ("xmr-escrow.dev", f"escrowsessions/{role}"): {"read"} for role in ROLES
    }


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("namespaces", [[], ["shop"]])
def test_the_gateway_reads_one_secret_and_changes_sessions_alone(namespaces: list[str], *, page: bool) -> None:
    values: Object = {"watchNamespaces": namespaces, "gateway": {"page": {"enabled": page}}}
    objects = render(values)
    roles = of_kind(objects, "Role", gateway=True)
    account = "xmr-escrow-operator-gateway"
    mine = [
        role
        for role in roles
        if role["metadata"]["name"].startswith(account) and "logins" not in role["metadata"]["name"]
    ]
    (cluster,) = of_kind(objects, "ClusterRole", gateway=True)
    rules = cluster["rules"] + [rule for role in mine for rule in role["rules"]]
    assert granted(rules) == {
        ("authentication.k8s.io", "tokenreviews"): {"create"},
        ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
        ("", "secrets"): {"get"},
        ("xmr-escrow.dev", "escrowsessions"): {"get", "create", "patch"} | ({"list"} if page else set()),
        ("xmr-escrow.dev", "walletpools"): {"get"} | ({"list"} if page else set()),
        **({("", "events"): {"list"}} if page else {}),
    }
    (secret,) = (rule for rule in rules if rule["resources"] == ["secrets"])
    assert secret["resourceNames"] == [f"{account}-logins"]
    (found,) = of_kind(objects, "ValidatingAdmissionPolicy", gateway=True)
    text = json.dumps(found["spec"])
    for annotation in (Label.TOUCH, Label.SIGNING_ROUND):
        assert f"'{annotation}'" in text
    assert re.search(r"\[\^:\]\+:xmr-escrow-operator-gateway\$", text)


USERS = ("xmr-escrow-view", "xmr-escrow-session-edit", "xmr-escrow-pool-admin")
"""The roles for people."""

READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete", "deletecollection"}


def user_role(name: str) -> Object:
    """One of the roles for people."""
    return next(role for role in of_kind(render(), "ClusterRole") if role["metadata"]["name"] == name)


def test_the_roles_for_people_are_these() -> None:
    names = {role["metadata"]["name"] for role in of_kind(render(), "ClusterRole")}

    assert names == {"xmr-escrow-operator", "xmr-escrow-wallet-view", *USERS, *PARTIES}


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
    handlers = (ast.parse(path.read_text()) for path in (PACKAGE / "handlers").glob("*.py"))
    watched = {
        node.args[2].value
        for tree in handlers
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
