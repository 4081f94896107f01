"""The commands of the documentation, in their order, as a reader types them: in one shell, against a real cluster."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from harness.chain import Chain
from harness.pages import Block, runnable
from harness.place import Place
from testbed import tools
from testbed.settings import REPO_ROOT

BLOCK_SECONDS = 120.0

BLOCKS = 10
"""Confirmations that the pages' trades wait for."""

SETUP = """\
set -euo pipefail
demo() { curl --silent --show-error --fail --data "$*" "$DEMO"; }
"""
"""Stands in for the blocks in which a reader says what his names are."""


class Shell:
    """One bash for all blocks: what one sets the next one uses."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._count = 0

    async def run(self, text: str) -> tuple[bool, str]:
        """Run a text; whether it went through, and all that it printed."""
        self._count += 1
        file, mark = self._folder / f"{self._count}.sh", f"-- end of {self._count} --"
        file.write_text(text)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # With a standard input of their own, the commands do not read what comes next.
        self._process.stdin.write(f"source {file} < /dev/null\necho; echo '{mark}'\n".encode())
        said = ""
        async with asyncio.timeout(BLOCK_SECONDS):
            while line := (await self._process.stdout.readline()).decode():
                if line.strip() == mark:
                    return True, said
                said += line
        return False, said


@asynccontextmanager
async def shell(place: Place, folder: Path, **variables: str) -> AsyncIterator[Shell]:
    """A bash in a folder that looks like a clone, with kubectl and ``kubectl escrow`` on its PATH."""
    programs = folder / "bin"
    programs.mkdir()
    plugin = programs / "kubectl-escrow"
    plugin.write_text(f'#!/bin/sh\nPYTHONPATH="{REPO_ROOT}/operator" exec {sys.executable} -m escrow_cli "$@"\n')
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    clone = folder / "clone"
    clone.mkdir()
    for name in ("charts", "crds", "deploy", "docs"):
        (clone / name).symlink_to(REPO_ROOT / name)
    environment = {
        **os.environ,
        "KUBECONFIG": str(place.world.cluster.kubeconfig),
        "PATH": f"{programs}:{Path(str(tools.kubectl())).parent}:{os.environ['PATH']}",
        "NAMESPACE": place.namespace,
        "POOL": place.pool_name,
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc"),
        cwd=clone,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
        # A group of its own: what a block left running in the background ends with it.
        start_new_session=True,
    )
    try:
        yield Shell(process, folder)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def stage(place: Place, chain: Chain) -> AsyncIterator[str]:
    """``demo pay``, ``demo mine`` and ``demo address`` of the tutorial, for the test's chain; their URL."""

    async def answer(request: web.Request) -> web.Response:
        match (await request.text()).split():
            case ["pay", amount, session]:
                await chain.pay((await place.escrow(session).status())["address"], amount)
                return web.Response(text="paid\n")
            case ["mine", count]:
                return web.Response(text=f"{await chain.mine(int(count))}\n")
            case ["address"]:
                return web.Response(text=f"{chain.customer.address}\n")
            case words:
                return web.Response(status=400, text=f"no such command: {words}\n")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


def meanwhile(block: Block, place: Place, chain: Chain) -> Callable[[], Awaitable[object]] | None:
    """What others do in the reader's world before a block can end: a buyer pays, and blocks are found."""
    trade = place.escrow("trade-1")

    async def paid() -> None:
        await chain.pay((await trade.status())["address"], "0.35")
        await trade.until(lambda s: s.get("funding", {}).get("state") == "Mempool", "the payment in the mempool")
        await chain.mine(BLOCKS)

    if block.page.name == "install.md" and "=condition=Funded" in block.text:
        return paid
    if block.page.name == "operation.md" and "=Completed" in block.text:
        return lambda: chain.mine(BLOCKS)
    return None


@pytest.mark.timeout(600, func_only=True)
async def test_every_command_of_the_pages_does_what_they_say(place: Place, chain: Chain, tmp_path: Path) -> None:
    lacking = [name for name in ("bash", "curl", "jq", "tar") if shutil.which(name) is None]
    assert not lacking, f"the pages' commands need {', '.join(lacking)}: install them"
    variables = {"TRADE": "trade-1", "PAYEE": chain.customer.address}
    async with stage(place, chain) as url, shell(place, tmp_path, DEMO=url, **variables) as bash:
        assert await bash.run(SETUP) == (True, "\n")
        for block in runnable():
            if (others := meanwhile(block, place, chain)) is not None:
                await others()
            begun = time.monotonic()
            done, said = await bash.run(block.text)
            print(f"{block}: {time.monotonic() - begun:.1f} s")
            assert done, f"{block}:\n{block.text}\n--- printed:\n{said}\n{await place.explain()}"
    tutorial = await place.escrow("tutorial").status()
    assert tutorial["phase"] == "Completed"
    assert await place.escrow("trade-1").pods() == []


async def test_the_example_manifests_are_what_the_api_server_takes(place: Place, tmp_path: Path) -> None:
    """Each would be stored as it is: its namespaces are replaced by one that is there."""
    files = sorted((REPO_ROOT / "deploy" / "examples").glob("*.yaml"))
    for file in files:
        text = file.read_text()
        for name in ("shop", "monero", "argocd"):
            text = text.replace(f"namespace: {name}\n", f"namespace: {place.namespace}\n")
        (tmp_path / file.name).write_text(text)
    said = await place.kubectl("apply", "--dry-run=server", "-f", str(tmp_path))
    kinds = {line.partition("/")[0] for line in said.splitlines() if "created" in line}
    assert {"escrowsession.xmr-escrow.dev", "walletpool.xmr-escrow.dev", "statefulset.apps"} <= kinds
