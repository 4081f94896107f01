"""Wallets over TLS, as clients see them that know nothing but the connection Secret."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from escrow_operator.models.common import Role
from harness.escrow import Escrow
from harness.place import Place
from harness.world import World
from testbed.errors import ToolingError

CLIENT = """
import json, pathlib, requests, sys
url, user, password, authority = json.loads(sys.argv[1])
trusted = pathlib.Path("/tmp/wallet-ca.crt")
trusted.write_text(authority)
call = {"jsonrpc": "2.0", "id": 0, "method": "get_address"}
login = requests.auth.HTTPDigestAuth(user, password)
try:
    answer = requests.post(url + "/json_rpc", json=call, auth=login, verify=str(trusted), timeout=30)
    print(json.dumps(answer.json() if answer.ok else {"error": answer.status_code}))
except OSError as error:
    print(json.dumps({"error": str(error)}))
"""
"""As the package ``monero`` calls wallets, under the wallet's own name in the cluster."""


async def call(world: World, secret: dict[str, str], **other: str) -> dict[str, object]:
    given = secret | other
    argument = json.dumps([given[key] for key in ("url", "username", "password", "ca.crt")])
    found: dict[str, object] = json.loads(await world.operator.python(CLIENT, argument))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trade(place: Place) -> Escrow:
    return await place.active("trade")


async def test_a_stock_client_needs_no_more_than_the_connection_secret(world: World, trade: Escrow) -> None:
    secret = await trade.connection(Role.VENDOR)
    answer = await call(world, secret)
    assert isinstance(answer["result"], dict), answer
    assert answer["result"]["address"] == (await trade.status())["address"]


async def test_another_wallets_certificate_is_no_good_and_nothing_is_served_in_clear(
    world: World, trade: Escrow
) -> None:
    vendor, buyer = await trade.connection(Role.VENDOR), await trade.connection(Role.BUYER)
    refused = await call(world, vendor, **{"ca.crt": buyer["ca.crt"]})
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused["error"])
    refused = await call(world, vendor, url=vendor["url"].replace("https:", "http:"))
    assert "error" in refused
    assert "result" not in refused


async def test_i9_the_private_key_is_for_the_wallets_user_alone(world: World, trade: Escrow) -> None:
    pod = (await trade.status())["wallets"]["vendor"]["pod"]
    words = ("exec", "--namespace", trade.place.namespace, pod, "--container", "monero-wallet-rpc", "--")
    modes = world.cluster.kubectl(*words, "stat", "-c", "%a", "/run/wallet-rpc/tls.key", "/run/wallet-rpc/tls.crt")
    assert modes.split() == ["600", "600"]
    with pytest.raises(ToolingError):
        world.cluster.kubectl(*words, "touch", "/run/wallet-rpc/tls.key")
