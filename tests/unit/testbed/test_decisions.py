"""What the tooling decides without touching anything: reuse or recreate, hashes, rendered settings."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from testbed.cache import build_once, content_hash
from testbed.cleanup import build_leftovers, node_volumes
from testbed.debian import mirrors
from testbed.engine import containers_conf
from testbed.network import NodeAddress, conflist, setup_script
from testbed.nodeimage import default_storage
from testbed.state import Action, ClusterRecord, NodeContainer, decide, read_record
from testbed.storage import shared_storage_manifest
from testbed.tools import parse_version

IMAGE = "localhost/xmr-escrow/node:1"
RECORD = ClusterRecord(nodes=2, node_image=IMAGE)
RUNNING = [NodeContainer("c-control-plane", "running"), NodeContainer("c-worker", "running")]
STOPPED = [RUNNING[0], NodeContainer("c-worker", "exited")]


Situation = tuple[ClusterRecord | None, list[NodeContainer], int | None, str, bool]


@pytest.mark.parametrize(
    ("situation", "action", "why"),
    [
        ((RECORD, RUNNING, 2, IMAGE, True), Action.REUSE, "is up"),
        ((RECORD, RUNNING, None, IMAGE, True), Action.REUSE, "is up"),
        ((RECORD, [], 2, IMAGE, False), Action.CREATE, "none"),
        ((None, RUNNING, 2, IMAGE, True), Action.RECREATE, "did not finish"),
        ((RECORD, STOPPED, 2, IMAGE, True), Action.RECREATE, "c-worker is exited"),
        ((RECORD, RUNNING[:1], 2, IMAGE, True), Action.RECREATE, "1 of its 2"),
        ((RECORD, RUNNING, 3, IMAGE, True), Action.RECREATE, "3 are wanted"),
        ((RECORD, RUNNING, 2, "other", True), Action.RECREATE, "node image"),
        ((RECORD, RUNNING, 2, IMAGE, False), Action.RECREATE, "API server"),
    ],
)
def test_up_reuses_only_a_whole_living_cluster(situation: Situation, action: Action, why: str) -> None:
    record, containers, nodes, image, api = situation
    decided, reason = decide(record, containers, nodes=nodes, current_images={image}, api_ready=api)
    assert decided is action
    assert why in reason


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"nodes": 1}', '{"unknown": 1}'):
        (tmp_path / "state.json").write_text(text)
        assert read_record(tmp_path / "state.json") is None


def test_hash_follows_content_and_names_but_not_place(tmp_path: Path) -> None:
    def tree(name: str, files: dict[str, str]) -> str:
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return content_hash([tmp_path / name], root=tmp_path / name, extra=["v1"])

    first = tree("a", {"x/one": "1", "two": "2"})
    assert first == tree("b", {"two": "2", "x/one": "1", "x/__pycache__/one.pyc": "junk"})
    assert first != tree("c", {"x/one": "1", "two": "3"})
    assert first != tree("d", {"x/uno": "1", "two": "2"})
    assert first != content_hash([tmp_path / "a"], root=tmp_path / "a", extra=["v2"])


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def breaks(target: Path) -> None:
        (target / "half").write_text("x")
        raise RuntimeError

    def works(target: Path) -> None:
        (target / "all").write_text("x")

    with pytest.raises(RuntimeError):
        build_once(tmp_path / "built", breaks)
    done = build_once(tmp_path / "built", works)
    assert [path.name for path in tmp_path.iterdir()] == ["built"]
    assert (done / "all").exists()


def test_each_node_routes_to_the_pods_of_the_others_and_not_to_its_own() -> None:
    nodes = [NodeAddress("a", "10.89.0.2", "10.244.0.0/24"), NodeAddress("b", "10.89.0.3", "10.244.1.0/24")]
    script = setup_script(nodes[0], nodes)
    assert "ip route replace 10.244.1.0/24 via 10.89.0.3" in script
    assert "via 10.89.0.2" not in script
    rendered = json.loads(conflist("10.244.0.0/24"))
    assert [plugin["type"] for plugin in rendered["plugins"]] == ["ptp", "portmap"]
    assert rendered["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/24"}]]


def test_podman_settings_only_where_the_machine_needs_them() -> None:
    infinity = resource.RLIM_INFINITY
    assert not containers_conf(cgroup_v2=True, may_raise_limits=True, hard_nofile=infinity, hard_nproc=infinity)
    text = containers_conf(cgroup_v2=False, may_raise_limits=False, hard_nofile=1024, hard_nproc=infinity)
    assert 'runtime = "runc"' in text
    assert '"nofile=1024:1024", "nproc=30000:30000"' in text


def test_mirrors_come_from_this_machines_own_sources() -> None:
    printed = (
        "http://tools.example/|Vendor|Vendor|main\n"
        "http://mirror.example/debian/|Debian|Debian|main\n"
        "http://mirror.example/debian/|Debian|Debian|contrib\n"
        "http://mirror.example/security/|Debian|Debian-Security|main\n"
    )
    assert mirrors(printed) == ("http://mirror.example/debian/", "http://mirror.example/security/")


def test_only_this_projects_unfinished_builds_are_removed() -> None:
    listing = (
        "aaa\tlocalhost/xmr-escrow/node-base:1\tStorage\n"
        "bbb\tlocalhost/xmr-escrow/node:1\tUp 3 minutes\n"
        "ccc\tlocalhost/other:1\tStorage\n"
    )
    assert build_leftovers(listing) == ["aaa"]


def test_only_volumes_of_the_clusters_own_nodes_are_removed() -> None:
    listing = "v1\tdemo-worker2 \nv2\tdemo-test-worker \nv3\t\nv4\tdemo-control-plane \n"
    assert node_volumes(listing, "demo") == ["v1", "v4"]


def test_storage_manifest_is_taken_from_kinds_source_and_its_images_serve_both_classes() -> None:
    source = (
        'const storageProvisionerImage = "example/p:1"\nconst storageHelperImage = "example/h:1"\n'
        "const defaultStorageManifest = `\nimage: ` + storageProvisionerImage + `\n- ` + storageHelperImage + `\n`\n"
    )
    text, provisioner, helper = default_storage(source)
    assert text == "\nimage: example/p:1\n- example/h:1\n"
    container = {"image": provisioner, "command": ["local-path-provisioner", "--helper-image", helper]}
    deployment = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
    manifest = shared_storage_manifest(deployment)
    assert "image: example/p:1" in manifest
    assert "--helper-image=example/h:1" in manifest
    assert "SHARED_MOUNT" not in manifest.partition("apiVersion")[2]


@pytest.mark.parametrize(
    ("text", "version"),
    [("kind v0.33.0 go1.26.1 linux/amd64", (0, 33)), ("v4.3.1+gabc", (4, 3)), ("none", (0, 0))],
)
def test_versions_are_read_from_what_programs_print(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version
