"""Stories of those who run the cluster: upgrades, Secrets, nodes, volumes, namespaces; and of wrong files to open."""

from __future__ import annotations

from typing import cast

from escrow_operator.adapters.kube import NAMESPACES, PODS, POOLS, SESSIONS
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.models.common import Label, Role

from .bodies import copied
from .network import Trouble
from .story import ACTIVE, FAILED, Story, active, blocked, create, gone
from .wallet_rpc import WalletProcess
from .world import World

LOGIN_SECRET = "monerod-login"


def guard_monerod(world: World) -> None:
    """monerod asks for a login, which is in a Secret of the pool's namespace."""
    _set_monerods_login(world, "first")
    world.make_pool(daemon={"loginSecretRef": {"name": LOGIN_SECRET}})


def _set_monerods_login(world: World, password: str) -> None:
    world.make_secret(LOGIN_SECRET, SecretUse.MONEROD, username="operator", password=password)
    world.require_login("operator", password)


async def change_monerods_secret(world: World) -> None:
    """The wallets that are open know the former login, and get pods that know the new one."""
    _set_monerods_login(world, "second")

    def all_know_it() -> bool:
        processes = [cast("WalletProcess | None", world.cluster.process_of(pod)) for pod in world.pods_of("trade")]
        return all(process and process.daemon_login == world.monerod.login for process in processes)

    await world.until(
        lambda: world.is_true("trade", "Ready") and world.wallets_are_open("trade") and all_know_it(),
        what="trade to be Ready with the new login",
    )


async def create_old(world: World) -> None:
    """One that is there before the upgrade."""
    world.apply("old")
    await active(world, "old")


async def upgrade(world: World) -> None:
    """Operator and wallets get another version: who is open stays so in the pods he has, who opens is carried on."""
    before = [pod["metadata"]["uid"] for pod in world.pods_of("old")]
    world.apply("new")
    await world.until(lambda: world.pods_of("new"), what="new to have a slot")
    await world.stop_operator()
    world.make_pool(warm=2, image="wallet:2")
    await active(world, "old", "new")
    assert [pod["metadata"]["uid"] for pod in world.pods_of("old")] == before, "an upgrade of the pool closed a wallet"

    def images() -> set[str]:
        return {pod["spec"]["containers"][0]["image"] for pod in world.free_pods()}

    await world.until(lambda: world.is_warm() and images() == {"wallet:2"}, what="free slots of the new version")


async def upgrade_from_objects_that_say_less(world: World) -> None:
    """What former versions left has less in it: who is open stays so, in his pods, and is told what there is now."""
    before = [pod["metadata"]["uid"] for pod in world.pods_of("old")]
    opened = _times_opened(world)
    await world.stop_operator()
    for session in world.server.all(SESSIONS):
        fresh = copied(session)
        for wallet in fresh["status"]["wallets"].values():
            del wallet["podUID"], wallet["podIP"]
        world.server.replace(SESSIONS, fresh["metadata"]["namespace"], fresh, status_only=True)
    # Free pods are replaced at an upgrade: they have what is new.
    for pod in world.pods_of("old"):
        fresh = copied(pod)
        for label in (Label.DAEMON, Label.TEMPLATE):
            fresh["metadata"]["annotations"].pop(label, None)
        world.server.replace(PODS, fresh["metadata"]["namespace"], fresh)
    await world.until(
        lambda: all("podUID" in wallet for wallet in world.status("old")["wallets"].values()),
        what="the status to say what the gateway asks for",
    )
    # Pods would be replaced later, one after the other.
    await world.quiet()
    assert [pod["metadata"]["uid"] for pod in world.pods_of("old")] == before, "an upgrade replaced a pod"
    assert _times_opened(world) == opened, "an upgrade opened a wallet anew"


def _times_opened(world: World) -> int:
    return sum("open_wallet" in step for step in world.steps)


async def create_and_close(world: World) -> None:
    """Wallets that nobody has open."""
    await create(world)
    world.delete("trade")
    await gone(world, "trade")


def _former_address(world: World) -> str:
    (found,) = {address for _, address in world.watchman.addresses.values()}
    return found


async def open_with_a_wrong_password(world: World) -> None:
    """Nothing is tried again before somebody corrects the Secret; then the wallets are what they were."""
    world.apply_with_wallets_of("trade", "again", buyer="guessed")
    await world.until(lambda: world.phase("again") == FAILED, what="again to be Failed")
    assert world.reason("again", "Ready") == "WrongPassword"
    world.apply_with_wallets_of("trade", "again")
    await active(world, "again")
    assert world.status("again")["address"] == _former_address(world)


async def open_a_missing_file(world: World) -> None:
    """The same with a file that is not there, and is restored."""
    volume = world.volume(Role.VENDOR)
    world.apply_with_wallets_of("trade", "again")
    name = world.session("again")["spec"]["wallets"]["vendor"]["file"]  # type: ignore[index]
    file = volume.remove(name)
    await world.until(lambda: world.phase("again") == FAILED, what="again to be Failed")
    assert world.reason("again", "Ready") == "WalletFileNotFound"
    volume.restore(name, file)
    # A change of the spec says that somebody mended it.
    world.apply("again", ttl="3h")
    await active(world, "again")
    assert world.status("again")["address"] == _former_address(world)


def another_namespace(world: World) -> None:
    """Another one with a pool of its own."""
    world.namespaces.make("other")
    world.make_pool("other/default")


async def create_in_both(world: World) -> None:
    """A session in each."""
    world.apply("trade")
    world.apply("other/trade")
    await active(world, "trade", "other/trade")


async def lose_a_namespace(world: World) -> None:
    """It goes with all that is in it, and what is in others stays."""
    world.namespaces.delete("other")
    await world.until(lambda: world.server.find(NAMESPACES, None, "other") is None, what="the namespace to be gone")
    assert world.phase("trade") == ACTIVE
    assert world.wallets_are_open("trade")


async def create_in_a_deleted_pool(world: World) -> None:
    """Its pool waits for it, and starts nothing any more."""
    await create(world)
    world.delete_pool()
    await world.until(lambda: not world.free_pods(), what="the pool to stop")


async def lose_a_pod_of_a_deleted_pool(world: World) -> None:
    """The user is told what to do, and does it."""
    address = world.status("trade")["address"]
    world.cluster.lose(world.pods_of("trade")[1])
    await blocked(world, "trade", "PoolDeleting")
    world.delete("trade")
    await world.until(lambda: not world.server.all(POOLS), what="trade and pool to be gone", every=0.01)
    world.make_pool()
    world.apply("trade")
    await active(world, "trade")
    assert world.status("trade")["address"] == address


async def lose_sight_of_a_node(world: World) -> None:
    """A wallet that may be open on a node of which nothing is heard is opened nowhere else."""
    node = world.cluster.node_of(world.pods_of("trade")[0])
    addresses = world.cluster.addresses_on(node)
    for address in addresses:
        world.network.disturb(address, Trouble.SILENT)
    world.cluster.silence(node)
    await blocked(world, "trade", "WalletInUse")
    for address in addresses:
        world.network.heal(address)
    world.cluster.hear(node)
    await active(world, "trade")
    await world.until(lambda: world.wallets_are_open("trade"), what="all wallets to be open again")


async def create_in_a_full_volume(world: World) -> None:
    """As long as there is no space no wallet is made, and then it is."""
    volume = world.volume(Role.ARBITER)
    volume.full = True
    world.apply("trade")
    await blocked(world, "trade", "StorageError")
    volume.full = False
    await active(world, "trade")


async def close_in_a_full_volume(world: World) -> None:
    """A wallet that cannot be stored is closed all the same, and is what it was."""
    volume, address = world.volume(Role.ARBITER), world.status("trade")["address"]
    volume.full = True
    world.delete("trade")
    await gone(world, "trade")
    volume.full = False
    world.apply("trade")
    await active(world, "trade")
    assert world.status("trade")["address"] == address


async def create_two(world: World) -> None:
    """One that is Active, and one that holds nothing: it has no finalizer."""
    world.apply("nowhere", poolRef={"name": "missing"})
    await blocked(world, "nowhere", "PoolNotFound")
    await create(world)


async def list_anew(world: World) -> None:
    """What happens while watches lose their place is in no event: a pod is lost, a session deleted."""
    world.cluster.lose(world.pods_of("trade")[0])
    world.delete("nowhere")
    world.server.compact()
    await world.until(lambda: world.wallets_are_open("trade"), what="all wallets to be open again")
    await active(world, "trade")
    await world.until(lambda: not world.unknown(), what="the operator to know what there is")


OPERATIONS = (
    Story("change-monerods-secret", change_monerods_secret, prepare=guard_monerod, first=create),
    Story("upgrade", upgrade, warm=2, first=create_old),
    Story("upgrade-from-objects-that-say-less", upgrade_from_objects_that_say_less, first=create_old),
    Story("open-with-a-wrong-password", open_with_a_wrong_password, first=create_and_close),
    Story("open-a-missing-file", open_a_missing_file, first=create_and_close),
    Story("lose-a-namespace", lose_a_namespace, prepare=another_namespace, first=create_in_both),
    Story(
        "lose-a-served-namespace",
        lose_a_namespace,
        {"serves": ("shop", "other")},
        prepare=another_namespace,
        first=create_in_both,
        # The operator's rights go with the namespace: what it has not heard of by then is left to people.
        patient=False,
    ),
    Story("lose-a-pod-of-a-deleted-pool", lose_a_pod_of_a_deleted_pool, first=create_in_a_deleted_pool),
    Story("lose-sight-of-a-node", lose_sight_of_a_node, first=create),
    Story("create-in-a-full-volume", create_in_a_full_volume),
    Story("close-in-a-full-volume", close_in_a_full_volume, first=create),
    Story("list-anew", list_anew, first=create_two),
)
