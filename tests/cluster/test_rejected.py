"""Specs that the API server itself turns away, with a message that says what to do. No operator is needed for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from escrow_operator.adapters.kube import POOLS
from escrow_operator.models.common import API_VERSION, ROLES
from harness.api import ApiError
from harness.escrow import Escrow
from harness.place import Place

WARM_SLOTS = None

WALLETS = {role.value: {"file": f"trade-{role}", "secretRef": {"name": "passwords", "key": role}} for role in ROLES}
ADDRESS = "4" + "A" * 94
TXID = "ab" * 32


@pytest.mark.parametrize(
    "amount",
    ["abc", "-1", "0", "0.0", "0.0000000000001", "1e3", "1E3", "", " 1", "1 ", "1,5", ".5", "1.", "01", "+1", "0x10",
     "NaN", "inf", "١", "999999999", "18446744.073709551616", 1, 0.35, None],
)  # fmt: skip
async def test_an_amount_that_is_no_xmr_amount(place: Place, amount: object) -> None:
    with pytest.raises(ApiError, match=r"spec\.amount"):
        await place.escrow("amount").apply(amount=amount)


@pytest.mark.parametrize("field", ["ttl", "maxAge"])
@pytest.mark.parametrize("duration", ["", "-1h", "-5m", "0s", "9s", "1d", "2 h", "h", "1.5h", "5", "99999999h", 7200])
async def test_a_duration_that_is_negative_absurd_or_none(place: Place, field: str, duration: object) -> None:
    with pytest.raises(ApiError, match=rf"spec\.{field}"):
        await place.escrow("duration").apply(**{field: duration})


async def test_a_max_age_shorter_than_the_ttl(place: Place) -> None:
    with pytest.raises(ApiError, match=r"spec\.maxAge must not be shorter than spec\.ttl"):
        await place.escrow("ages").apply(ttl="2h", maxAge="1h")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"settlement": {"outcome": "Release"}}, r"spec\.settlement\.txid"),
        ({"settlement": {"txid": TXID}}, r"spec\.settlement\.outcome"),
        ({"settlement": {"outcome": "Keep", "txid": TXID}}, r'supported values: "Release", "Refund"'),
        ({"settlement": {"outcome": "Release", "txid": "none"}}, r"spec\.settlement\.txid"),
        ({"settlement": {"outcome": "Release", "txid": TXID.upper()}}, r"spec\.settlement\.txid"),
        ({"setup": "Open"}, r"setup Open needs spec\.wallets: a file name and a password Secret for each"),
        ({"setup": "Create", "wallets": WALLETS}, r"leave spec\.wallets out, or use setup Open"),
        ({"wallets": WALLETS}, r"leave spec\.wallets out, or use setup Open"),
        ({"setup": "Create", "address": ADDRESS}, r"leave spec\.address out, or use setup Open"),
        ({"setup": "Restore"}, r'supported values: "Create", "Open"'),
        ({"setup": "Open", "wallets": {"buyer": WALLETS["buyer"]}}, r"spec\.wallets\.vendor"),
        ({"setup": "Open", "wallets": WALLETS, "address": "somewhere"}, r"spec\.address"),
        ({"eviction": "Perhaps"}, r'supported values: "LRU", "Never"'),
        ({"confirmations": 0}, r"spec\.confirmations"),
        ({"confirmations": 721}, r"spec\.confirmations"),
        ({"poolRef": None}, r"spec\.poolRef"),
        ({"poolRef": {"name": ""}}, r"spec\.poolRef\.name"),
        ({"poolRef": {"name": "p" * 41}}, r"spec\.poolRef\.name"),
    ],
)
async def test_a_spec_that_does_not_hold_together(place: Place, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        await place.escrow("odd").apply(**spec)


@pytest.mark.parametrize("file", ["", "../up", "a/b", ".hidden", "-dash", "wallet.keys", "w" * 129, "a b"])
async def test_a_wallet_file_name_that_is_a_path_or_worse(place: Place, file: str) -> None:
    wallets = WALLETS | {"buyer": {"file": file, "secretRef": {"name": "passwords"}}}
    with pytest.raises(ApiError, match=r"spec\.wallets\.buyer\.file"):
        await place.escrow("files").apply(setup="Open", wallets=wallets)


NO_NAMES = ["../../other-namespace/secrets/bank", "a/b", "..", "bank?x", "bank#x", "bank%2fx", "Bank", "-a", "a.", ""]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_a_name_that_leaves_its_namespace(place: Place, name: str) -> None:
    wallets = WALLETS | {"vendor": {"file": "f", "secretRef": {"name": name}}}
    says = "must be the name of a Secret in the session's namespace|at least 1 chars"
    with pytest.raises(ApiError, match=rf"spec\.wallets\.vendor\.secretRef\.name.*({says})"):
        await place.escrow("names").apply(setup="Open", wallets=wallets)
    with pytest.raises(ApiError, match=r"spec\.poolRef\.name"):
        await place.escrow("names").apply(poolRef={"name": name})


@pytest.mark.parametrize("key", ["a/b", "a b", "ä", ""])
async def test_a_key_that_no_secret_can_have(place: Place, key: str) -> None:
    wallets = WALLETS | {"buyer": {"file": "f", "secretRef": {"name": "passwords", "key": key}}}
    with pytest.raises(ApiError, match=r"spec\.wallets\.buyer\.secretRef\.key"):
        await place.escrow("keys").apply(setup="Open", wallets=wallets)


DAEMON = {"address": "monerod:18081", "network": "regtest"}


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.imagePullSecrets[0].name", lambda name: {"imagePullSecrets": [{"name": name}]}),
        ("spec.daemon.loginSecretRef.name", lambda name: {"daemon": DAEMON | {"loginSecretRef": {"name": name}}}),
        ("spec.daemon.tls.caSecretRef.name", lambda name: {"daemon": DAEMON | _tls(caSecretRef={"name": name})}),
        (
            "spec.daemon.tls.clientSecretRef.name",
            lambda name: {"daemon": DAEMON | _tls(clientSecretRef={"name": name})},
        ),
        ("spec.storage.storageClassName", lambda name: {"storage": {"storageClassName": name}}),
        ("spec.priorityClassName", lambda name: {"priorityClassName": name}),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
async def test_a_pool_with_a_name_that_leaves_its_namespace(
    place: Place, field: str, spec: Callable[[str], dict[str, Any]], name: str
) -> None:
    with pytest.raises(ApiError, match=re.escape(field)):
        await place.make_pool("names", warmSlots=0, **spec(name))


def _tls(**secrets: Any) -> dict[str, Any]:
    return {"tls": {"enabled": True, **secrets}}


async def test_what_a_pod_knows_of_scheduling_is_kept_and_nothing_else(place: Place) -> None:
    """JSON of any depth in one pool would be more than a reader of all of them takes."""
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"deeper": deep}
    term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    affinity = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}},
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"a": "b"}},
                    },
                }
            ]
        },
    }
    tolerations = [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]
    peer = {"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {}}
    block = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}
    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
    spec = {
        "affinity": affinity,
        "tolerations": tolerations,
        "resources": resources,
        "networkPolicy": {"enabled": True, "clients": [peer, block]},
    }
    noisy = {
        **spec,
        "affinity": affinity | {"more": deep},
        "tolerations": [tolerations[0] | {"more": deep}],
        "resources": resources | {"more": deep},
        "networkPolicy": {"enabled": True, "clients": [peer | {"more": deep}, block]},
    }
    body = {"apiVersion": API_VERSION, "kind": "WalletPool", "metadata": {"name": "deep"}}
    await place.api.create(POOLS, place.namespace, body | {"spec": place.pool_spec(warmSlots=0, **noisy)})
    kept = (await place.api.get(POOLS, place.namespace, "deep"))["spec"]
    assert {key: kept[key] for key in spec} == spec


@pytest.mark.parametrize("name", ["s" * 41, "with.dots"])
async def test_a_session_name_that_makes_no_host_name(place: Place, name: str) -> None:
    with pytest.raises(ApiError, match="must be a DNS label of at most 40 characters"):
        await place.escrow(name).apply()


@pytest.mark.parametrize("name", ["p" * 41, "with.dots"])
async def test_a_pool_name_that_makes_no_host_name(place: Place, name: str) -> None:
    with pytest.raises(ApiError, match="must be a DNS label of at most 40 characters"):
        await place.make_pool(name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def standing(place: Place) -> Escrow:
    """A session of setup Open that waits for its pool: its spec is immutable all the same."""
    escrow = place.escrow("standing")
    await escrow.apply(setup="Open", wallets=WALLETS, address=ADDRESS)
    return escrow


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poolRef": {"name": "other"}}, r"spec\.poolRef is immutable"),
        ({"setup": "Create", "wallets": None, "address": None}, r"spec\.setup is immutable"),
        ({"wallets": {"buyer": {"file": "another"}}}, r"spec\.wallets is immutable"),
        ({"wallets": {"vendor": {"secretRef": {"name": "another"}}}}, r"spec\.wallets is immutable"),
        ({"address": ADDRESS[:-1] + "B"}, r"spec\.address is immutable"),
        ({"address": None}, r"spec\.address is immutable"),
    ],
)
async def test_a_change_of_what_is_immutable(standing: Escrow, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        await standing.change(**change)


async def test_what_may_change_does(standing: Escrow) -> None:
    body = await standing.change(amount="2.5", confirmations=20, ttl="3h", maxAge="48h", eviction="Never")
    assert body["spec"]["amount"] == "2.5"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"daemon": {"address": "monerod", "network": "regtest"}}, r"spec\.daemon\.address"),
        ({"daemon": {"address": "http://monerod:18081", "network": "regtest"}}, r"spec\.daemon\.address"),
        ({"daemon": {"address": "monerod:18081", "network": "fakechain"}}, r"spec\.daemon\.network"),
        ({"daemon": {"address": "monerod:18081"}}, r"spec\.daemon\.network"),
        (
            {"daemon": {"address": "monerod:18081", "network": "regtest", "tls": {"caSecretRef": {"name": "ca"}}}},
            r"spec\.daemon\.tls names Secrets but is not enabled",
        ),
        ({"image": ""}, r"spec\.image"),
        ({"warmSlots": -1}, r"spec\.warmSlots"),
        ({"warmSlots": 501}, r"spec\.warmSlots"),
        ({"storage": {"size": "0"}}, r"spec\.storage\.size"),
        ({"storage": {"accessModes": ["ReadOnlyMany"]}}, r"spec\.storage\.accessModes"),
        ({"kdfRounds": 0}, r"spec\.kdfRounds"),
        ({"terminationGracePeriodSeconds": 1}, r"spec\.terminationGracePeriodSeconds"),
    ],
)
async def test_a_pool_that_cannot_work(place: Place, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        await place.make_pool("odd", **spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"daemon": {"address": "monerod.monero.svc:18081", "network": "mainnet"}},
            r"spec\.daemon\.network is immutable",
        ),
        ({"storage": {"storageClassName": "standard"}}, r"spec\.storage is immutable"),
        ({"kdfRounds": 2}, r"spec\.kdfRounds is immutable"),
    ],
)
async def test_a_change_of_a_pool_that_would_lose_its_wallets(
    place: Place, change: dict[str, Any], message: str
) -> None:
    await place.make_pool("cold", warmSlots=0)
    with pytest.raises(ApiError, match=message):
        await place.make_pool("cold", warmSlots=0, **change)


async def test_a_payout_under_way_is_not_exchanged_while_nobody_looks(place: Place) -> None:
    """A session that is suspended in the middle of its payout is not Settling, which keeps others' hands off it."""
    escrow = place.escrow("closed")
    named, another = ({"outcome": outcome, "txid": TXID} for outcome in ("Release", "Refund"))
    await escrow.apply(suspend=True, settlement=named)
    await escrow.until_phase("Suspended")

    async def last_seen(state: str) -> None:
        patch = json.dumps({"status": {"settlement": {"txid": TXID, "state": state}}})
        await place.kubectl("patch", "escrow", "closed", "--subresource=status", "--type=merge", "-p", patch)

    for state in ("Mempool", "Confirming"):
        await last_seen(state)
        for change in ({"settlement": another}, {"settlement": another, "suspend": False}, {"settlement": None}):
            with pytest.raises(ApiError, match="its transaction was last seen under way"):
                await escrow.change(**change)
    await last_seen("NotFound")
    await escrow.change(settlement=another)
