"""Whatever a wallet or a monerod answers, and however slowly: a result, or one of the adapter's own errors, in time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from escrow_operator.adapters.answer import FORMATS
from escrow_operator.adapters.json_rpc import LONGEST_ANSWER, MOST_VALUES
from escrow_operator.adapters.monerod import LONGEST_INFO, Daemon
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import (
    DaemonAnswerTooLong,
    DaemonError,
    WalletAnswerTooLong,
    WalletError,
    WalletProtocolError,
    WalletTimeout,
    WalletUnauthorized,
)
from escrow_operator.models.monero import Login

TXID = "c0d31c45bf1e7bf0ccd7088635bcca2b8b33cb7e308c44384b3ce607988cd383"
LOGIN = Login("op", "secret-of-the-pod")

DEADLINE = 2.0
SOON = 0.3
"""Seconds for calls that are to be answered, and for those that never will be."""

GRACE = 5.0
"""Seconds by which a busy machine may be late; an answer that is not given up takes for ever."""

Writer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering(write: Writer, *, reads: bool = True) -> AsyncIterator[str]:
    """A server that writes what it likes once it was asked, and its URL."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                if reads:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split()[0])
                    await reader.readexactly(length)
                await write(writer)

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def once(data: bytes) -> Writer:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return write


def forever(start: bytes, again: bytes, *, every: float = 0.0) -> Writer:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(every)

    return write


def http(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def rpc(result: Any) -> bytes:
    return http(json.dumps({"jsonrpc": "2.0", "id": "0", "result": result}).encode())


@contextlib.asynccontextmanager
async def wallet_of(write: Writer, *, login: Login | None = None, reads: bool = True) -> AsyncIterator[WalletRpc]:
    async with answering(write, reads=reads) as url:
        client = WalletRpc(url, login)
        try:
            yield client
        finally:
            await client.aclose()


@contextlib.asynccontextmanager
async def daemon_of(write: Writer) -> AsyncIterator[Daemon]:
    async with answering(write) as url:
        client = Daemon(url)
        try:
            yield client
        finally:
            await client.aclose()


PIECE = b"[" * 65_536
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHALLENGE = b'WWW-Authenticate: Digest qop="auth",algorithm=MD5,realm="monero-rpc",nonce="u4KPEkEB4S0BI1mzR0XKiQ=="'


@pytest.mark.parametrize(
    "write",
    [
        forever(OK + b"\r\n", PIECE),
        forever(OK + b"Content-Length: 1000000000\r\n\r\n", PIECE),
        forever(OK + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    ],
    ids=["until the end", "a gigabyte", "in chunks"],
)
async def test_an_answer_without_end_is_read_no_further_and_not_kept(write: Writer) -> None:
    async with wallet_of(write) as wallet:
        tracemalloc.start()
        try:
            with pytest.raises(WalletAnswerTooLong, match="longer than any that is read"):
                await wallet.balance(deadline=30)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4 * LONGEST_ANSWER
    async with daemon_of(write) as daemon:
        with pytest.raises(DaemonAnswerTooLong):
            await daemon.info(deadline=30)


async def test_as_much_as_an_honest_wallet_may_say_is_read() -> None:
    transfer = {
        "amount": 2**63, "double_spend_seen": False, "fee": 2**40, "height": 3_000_000, "locked": False, "txid": TXID,
        "timestamp": 1_795_354_800, "type": "in", "unlock_time": 0, "confirmations": 1_000, "address": "4" * 95,
        "amounts": [2**63], "note": "", "payment_id": "0" * 16, "subaddr_index": {"major": 0, "minor": 0},
        "subaddr_indices": [{"major": 0, "minor": 0}], "suggested_confirmations_threshold": 1,
    }  # fmt: skip
    async with wallet_of(once(rpc({"in": [transfer] * 6_000}))) as wallet:
        assert len(await wallet.transfers(incoming=True)) == 6_000
    async with wallet_of(once(rpc({"info": "ab" * (LONGEST_ANSWER // 2 - 100)}))) as wallet:
        assert len(await wallet.export_multisig_info()) > LONGEST_ANSWER - 1_000


@pytest.mark.parametrize("item", ["{}", "[]", '""', "0", '{"a":0}'])
async def test_many_small_values_do_not_take_a_hundred_times_their_length(item: str) -> None:
    many = ",".join([item] * MOST_VALUES)
    body = f'{{"result":{{"in":[{many}]}}}}'.encode()
    assert len(body) < LONGEST_ANSWER
    async with wallet_of(once(http(body))) as wallet:
        with pytest.raises(WalletAnswerTooLong, match="more parts than any"):
            await wallet.transfers(incoming=True, deadline=30)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"identity"])
async def test_a_compressed_answer_is_not_unpacked(encoding: bytes) -> None:
    bomb = gzip.compress(b"[" * 100_000_000)
    async with wallet_of(once(http(bomb, b"Content-Encoding: " + encoding))) as wallet:
        tracemalloc.start()
        try:
            with pytest.raises(WalletProtocolError, match="not a JSON object"):
                await wallet.balance(deadline=30)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < LONGEST_ANSWER


@pytest.mark.parametrize(
    "write",
    [
        forever(b"", b"HTTP/1.1 200 " + PIECE),
        forever(OK + b"X: ", PIECE),
        forever(OK, b"X: y\r\n" * 1_000),
        forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        forever(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65_536),
        forever(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"X: y\r\n" * 1_000),
        forever(OK + b"Content-Length: 1000\r\n\r\n", b"[", every=0.01),
        forever(OK + b"X: ", b"x", every=0.01),
        forever(b"", b""),
    ],
    ids=["status", "header", "headers", "continue", "extension", "trailers", "drip", "slow header", "silence"],
)
async def test_what_never_ends_is_given_up_at_the_deadline(write: Writer) -> None:
    async with wallet_of(write) as wallet:
        begun = time.monotonic()
        with pytest.raises(WalletError):
            await wallet.balance(deadline=SOON)
        assert time.monotonic() - begun < SOON + GRACE


async def test_a_server_that_never_reads_the_question_is_given_up_at_the_deadline() -> None:
    long = ["ab" * 2**23]
    async with wallet_of(forever(OK + b"Content-Length: 1000\r\n\r\n", b"[", every=0.01), reads=False) as wallet:
        begun = time.monotonic()
        with pytest.raises(WalletTimeout):
            await wallet.import_multisig_info(long, deadline=SOON)
        assert time.monotonic() - begun < SOON + GRACE


async def test_a_refusal_without_end_is_read_no_further() -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\n" + CHALLENGE + b"\r\n\r\n"
    async with wallet_of(forever(refusal, b"x" * 65_536), login=LOGIN) as wallet:
        with pytest.raises(WalletAnswerTooLong):
            await wallet.balance(deadline=30)


async def test_slow_refusals_take_one_deadline_and_not_one_for_each_try() -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        # Two of them in time, four not: a challenge, its refusal, and both again with a fresh nonce.
        await asyncio.sleep(0.4 * SOON)
        writer.write(http(b"", CHALLENGE, status=b"401 Unauthorized"))
        await writer.drain()

    async with wallet_of(write, login=LOGIN) as wallet:
        with pytest.raises(WalletTimeout):
            await wallet.balance(deadline=SOON)


@pytest.mark.parametrize(
    "challenge",
    [
        b'Digest realm="a", nonce="\xff\xfe", algorithm=MD5, qop="auth"',
        b'Digest realm="a", nonce="b", algorithm=MD5, domain="http://[bad http://a:b:c"',
        b'Digest realm="a", nonce="b", algorithm=ROT13',
        b'Digest realm="a", nonce="b", algorithm=MD5, qop="auth-conf"',
        b'Digest realm="a\x01\x7f", nonce="b", algorithm=MD5',
        b"Digest ",
        b"Basic realm=x",
    ],
)
async def test_a_challenge_that_makes_no_sense(challenge: bytes) -> None:
    refusal = http(b"", b"WWW-Authenticate: " + challenge, status=b"401 Unauthorized")
    async with wallet_of(once(refusal), login=LOGIN) as wallet:
        with pytest.raises((WalletProtocolError, WalletUnauthorized)):
            await wallet.balance(deadline=DEADLINE)


async def test_a_challenge_that_made_no_sense_does_not_spoil_the_next_call() -> None:
    answers = iter(
        [
            http(b"", b'WWW-Authenticate: Digest realm="a", nonce="b", algorithm=ROT13', status=b"401 Unauthorized"),
            rpc({"height": 1}),
        ]
    )

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))
        await writer.drain()

    async with wallet_of(write, login=LOGIN) as wallet:
        with pytest.raises(WalletProtocolError):
            await wallet.height(deadline=DEADLINE)
        assert await wallet.height(deadline=DEADLINE) == 1


NAMES = [
    *FORMATS, "amount", "balance", "blocks_fetched", "blocks_to_unlock", "busy_syncing", "confirmations",
    "double_spend_seen", "fee", "height", "in", "in_pool", "info", "locked", "missed_tx", "multisig",
    "multisig_import_needed", "multisig_info", "n_outputs", "nettype", "offline", "out", "pool", "ready",
    "synchronized", "target_height", "threshold", "time_to_unlock", "timestamp", "total", "transfer",
    "transfers", "tx_pool_size", "txs", "type", "unlock_time", "unlocked_balance",
]  # fmt: skip
WORDS = st.text() | st.sampled_from(["OK", "BUSY", "in", "fakechain", TXID, "4" * 95, "\ud800", "\x1b[2J", "\n", "NaN"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 2**31, 2**63, 2**64, -1, 10**4_100, True, False, None])
VALUES = st.recursive(
    WORDS | NUMBERS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from(NAMES), below, max_size=12),
    max_leaves=40,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=30)
ANSWERS = st.one_of(
    OBJECTS,
    st.fixed_dictionaries({"result": OBJECTS | VALUES}),
    st.fixed_dictionaries({"error": VALUES}),
    st.fixed_dictionaries({"error": st.fixed_dictionaries({"code": NUMBERS | WORDS, "message": VALUES})}),
)


def as_json(value: Any) -> bytes:
    """As a hostile server may write it: with NaN, and with numbers that Python itself would not write."""
    if isinstance(value, dict):
        return b"{" + b",".join(as_json(key) + b":" + as_json(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(as_json, value)) + b"]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**4_000:
        return b"1" + b"0" * 5_000
    return json.dumps(value).encode()


DEEP = st.integers(1, 100_000).map(lambda depth: b'{"result":' * depth) | st.integers(1, 100_000).map(
    lambda depth: b'{"result":' + b"[" * depth + b"]" * depth + b"}"
)
BODIES = st.binary() | ANSWERS.map(as_json) | DEEP


async def _ask_wallet(wallet: WalletRpc) -> list[Any]:
    """Every question there is, answered or refused in the adapter's own words."""
    questions: list[Callable[[], Awaitable[Any]]] = [
        lambda: wallet.address(deadline=DEADLINE),
        lambda: wallet.open_wallet("f", "password", deadline=DEADLINE),
        lambda: wallet.is_multisig(deadline=DEADLINE),
        lambda: wallet.prepare_multisig(deadline=DEADLINE),
        lambda: wallet.make_multisig(["a", "b"], 2, "password", deadline=DEADLINE),
        lambda: wallet.export_multisig_info(deadline=DEADLINE),
        lambda: wallet.import_multisig_info(["a"], deadline=DEADLINE),
        lambda: wallet.refresh(deadline=DEADLINE),
        lambda: wallet.height(deadline=DEADLINE),
        lambda: wallet.balance(deadline=DEADLINE),
        lambda: wallet.transfers(incoming=True, outgoing=True, pool=True, deadline=DEADLINE),
    ]
    return [await _outcome(question, WalletError) for question in questions]


async def _ask_daemon(daemon: Daemon) -> list[Any]:
    questions: list[Callable[[], Awaitable[Any]]] = [
        lambda: daemon.info(deadline=DEADLINE),
        lambda: daemon.transactions([TXID], deadline=DEADLINE),
        lambda: daemon.transactions([TXID, "a" * 64, "b" * 64], deadline=DEADLINE),
    ]
    return [await _outcome(question, DaemonError) for question in questions]


async def _outcome(question: Callable[[], Awaitable[Any]], own: type[Exception]) -> Any:
    try:
        return await question()
    except own as error:
        return str(error)


def _must_fit_a_status(outcomes: list[Any]) -> None:
    """Strict JSON, and nothing that does something to a terminal."""
    for outcome in outcomes:
        text = str(outcome)
        text.encode()
        assert text.isprintable()


@given(body=BODIES)
@settings(max_examples=150)
@example(body=b'{"result":' + b"[" * 100_000)
@example(body=b'{"result":{"txid":"\\ud800","address":"\\u001b[2J","version":' + b"9" * 4_000 + b"}}")
@example(body=b'{"error":{"code":' + b"9" * 4_000 + b',"message":"x"}}')
@example(body=b'{"error":{"code":-1,"message":"\\u001b]0;owned\\u0007\\u202e"}}')
@example(body=b"\xef\xbb\xbf{}")
async def test_any_body(body: bytes) -> None:
    async with wallet_of(once(http(body))) as wallet:
        _must_fit_a_status(await _ask_wallet(wallet))
    async with daemon_of(once(http(body))) as daemon:
        _must_fit_a_status(await _ask_daemon(daemon))


def closing(data: bytes) -> Writer:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return write


LINES = st.lists(
    st.binary(max_size=40)
    | st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 401 Unauthorized\r\n", b"HTTP/1.1 101 Switching Protocols\r\n",
            b"HTTP/1.0 200\r\n", b"HTTP/1.1 301 Moved\r\nLocation: http://[bad\r\n", b"HTTP/1.1 204 No Content\r\n",
            CHALLENGE + b"\r\n", b"WWW-Authenticate: Digest nonce=\xff, realm=\r\n", b"Content-Length: -1\r\n",
            b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n",
            b"Upgrade: x\r\n",
            b"Connection: upgrade\r\n", b"Set-Cookie: \xff=\x00\r\n", b"\r\n", b"ffffffffffffffff\r\n", b"{}",
        ]
    )
)  # fmt: skip


@given(lines=LINES)
@settings(max_examples=150)
async def test_any_bytes_on_the_wire(lines: list[bytes]) -> None:
    async with wallet_of(closing(b"".join(lines)), login=LOGIN) as wallet:
        _must_fit_a_status([await _outcome(lambda: wallet.balance(deadline=DEADLINE), WalletError)])


async def test_those_who_ask_for_long_transactions_do_not_silence_the_others() -> None:
    asked: list[int] = []

    async def write(writer: asyncio.StreamWriter) -> None:
        # Each of four is more than a quarter of what is read.
        asked.append(0)
        count = 4 if len(asked) == 1 else 2
        decoded = json.dumps({"unlock_time": 0, "vin": []})
        found = {"tx_hash": TXID, "in_pool": False, "block_height": 3, "double_spend_seen": False, "as_json": decoded}
        long = [found | {"as_hex": "a" * 1_500_000} for _ in range(count)]
        writer.write(http(json.dumps({"status": "OK", "txs": long}).encode()))
        await writer.drain()

    async with daemon_of(write) as daemon:
        found = await daemon.transactions([TXID] * 4, deadline=30)
    assert (TXID in found, len(asked)) == (True, 3)


async def test_less_is_read_of_monerods_own_state() -> None:
    async with daemon_of(once(http(b" " * (LONGEST_INFO + 1)))) as daemon:
        with pytest.raises(DaemonAnswerTooLong):
            await daemon.info(deadline=DEADLINE)
