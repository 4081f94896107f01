"""Spans: what is in them, what never is, and what they cost whoever has none."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from aiohttp import web
from kubernetes.aio import client
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags, get_current_span

from escrow_operator.adapters import trace_export, tracing
from escrow_operator.adapters.kube import SECRETS, Kube
from escrow_operator.adapters.kube_errors import ConflictError, KubeError
from escrow_operator.errors import EscrowError
from escrow_operator.models.monero import Login
from testbed.settings import REPO_ROOT
from unit.adapters.fake_server import FakeServer, MakeWallet, Serve
from unit.spans import Spans, is_child, recorded

CANARY = "c4n4ry"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded() as found:
        yield found


def test_a_leaf_is_in_the_work_it_is_of_and_in_it_is_no_other(spans: Spans) -> None:
    with tracing.root("work", {tracing.SESSION: "demo"}), tracing.leaf("call", {}), tracing.leaf("inner", {}):
        pass
    assert spans.names == ["call", "work"]
    assert is_child(spans.named("call"), spans.named("work"))
    assert spans.named("work").attributes == {tracing.SESSION: "demo"}


def test_without_work_there_is_no_leaf(spans: Spans) -> None:
    with tracing.leaf("call", {}):
        tracing.note({"a": 1})
    assert spans.all == ()


def test_work_that_begins_in_other_work_is_no_part_of_it(spans: Spans) -> None:
    with tracing.root("outer", {}), tracing.root("inner", {}):
        pass
    assert spans.named("inner").parent is None
    assert spans.named("inner").context.trace_id != spans.named("outer").context.trace_id


async def test_tasks_of_a_piece_of_work_are_of_it(spans: Spans) -> None:
    async def call(name: str) -> None:
        with tracing.leaf(name, {}):
            await asyncio.sleep(0)

    with tracing.root("work", {}):
        await asyncio.gather(call("a"), call("b"))
    assert sorted(spans.names) == ["a", "b", "work"]
    assert all(is_child(spans.named(name), spans.named("work")) for name in "ab")


async def test_a_task_that_outlives_its_work_adds_nothing_to_it(spans: Spans) -> None:
    ended = asyncio.Event()

    async def late() -> None:
        await ended.wait()
        with tracing.leaf("late", {}):
            pass

    with tracing.root("work", {}):
        task = asyncio.create_task(late())
    ended.set()
    await task
    assert spans.names == ["work"]


@pytest.mark.usefixtures("spans")
def test_what_begins_outside_keeps_no_span() -> None:
    with tracing.root("work", {}):
        with tracing.outside():
            assert not get_current_span().is_recording()
        assert get_current_span().is_recording()


def test_i9_of_an_exception_only_the_type_is_told(spans: Spans) -> None:
    with pytest.raises(ValueError, match=CANARY), tracing.root("work", {}), tracing.leaf("call", {}):
        raise ValueError(CANARY)
    assert spans.names == ["call", "work"]
    for span in spans.all:
        assert span.attributes == {"error.type": "ValueError"}
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert span.events == ()
    assert CANARY not in spans.text


async def test_a_span_ends_with_the_task_that_is_cancelled(spans: Spans) -> None:
    async def work() -> None:
        with tracing.root("work", {}), tracing.leaf("call", {}):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert [(span.name, (span.attributes or {})["error.type"]) for span in spans.all] == [
        ("call", "CancelledError"),
        ("work", "CancelledError"),
    ]


@pytest.mark.parametrize("sampled", [0, 1])
def test_a_callers_flag_counts_only_if_he_is_trusted(sampled: int) -> None:
    caller = SpanContext(trace_id=7, span_id=8, is_remote=True, trace_flags=TraceFlags(sampled))
    with recorded(ParentBased(ALWAYS_OFF)) as spans:
        with tracing.root("a stranger's", {}, caller=caller), tracing.leaf("call", {}):
            pass
        assert not spans.all
        with tracing.root("a friend's", {}, caller=caller, trusted=True), tracing.leaf("call", {}):
            pass
        assert spans.names == (["call", "a friend's"] if sampled else [])
        assert {span.context.trace_id for span in spans.all} <= {7}


async def test_i9_a_wallets_call_is_told_by_its_method_alone(wallet: MakeWallet, spans: Spans) -> None:
    server = FakeServer(login=Login("user", f"{CANARY}-login"), errors={"open_wallet": (-1, f"{CANARY} is wrong")})
    made = await wallet(server, server.login)
    with tracing.root("work", {}), pytest.raises(EscrowError):
        await made.open_wallet(CANARY, f"{CANARY}-password", deadline=5)
    call = spans.named("open_wallet")
    assert call.attributes == {
        "rpc.system.name": "jsonrpc",
        "rpc.method": "open_wallet",
        "server.address": "127.0.0.1",
    }
    assert CANARY not in spans.text


async def test_i9_a_request_of_the_api_is_told_by_verb_and_kind_alone(serve: Serve, spans: Spans) -> None:
    async def handle(request: web.Request) -> web.Response:
        status = 409 if request.method == "POST" else 200
        return web.json_response({"kind": "Status", "message": CANARY, "reason": CANARY, "data": CANARY}, status=status)

    kube = Kube(client.ApiClient(configuration=client.Configuration(host=await serve(handle))))
    with tracing.root("work", {}):
        await kube.get(SECRETS, "shop", CANARY)
        with pytest.raises(ConflictError):
            await kube.create(SECRETS, "shop", {"metadata": {"name": CANARY}, "data": CANARY})
    await kube.close()
    told = {span.name: dict(span.attributes or {}) for span in spans.all if span.name != "work"}
    assert told == {
        "get secrets": {"http.request.method": "GET", "http.response.status_code": 200},
        "post secrets": {
            "http.request.method": "POST",
            "http.response.status_code": 409,
            "error.type": "ConflictError",
        },
    }
    assert CANARY not in spans.text


async def test_an_api_server_that_is_away_ends_the_span(spans: Spans) -> None:
    kube = Kube(client.ApiClient(configuration=client.Configuration(host="http://127.0.0.1:9")))
    with tracing.root("work", {}), pytest.raises(KubeError):
        await kube.get(SECRETS, "shop", "x")
    await kube.close()
    assert (spans.named("get secrets").attributes or {})["error.type"] == "UnavailableError"


def run(program: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """What a process of its own writes to its two outputs."""
    environment = {**os.environ, "PYTHONPATH": str(REPO_ROOT / "operator"), **variables}
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout, done.stderr


OFF = """
import sys
from escrow_gateway import __main__
from escrow_operator import __main__
from escrow_operator.adapters import tracing
end = tracing.begin("test")
with tracing.root("work", {}), tracing.leaf("call", {}):
    pass
end()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "google."))])
"""


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_what_is_off_is_not_even_imported(variables: dict[str, str]) -> None:
    assert run(OFF, variables) == ("[]\n", "")


DEAD = """
import json, logging, sys, threading, time
from escrow_operator.adapters import tracing
logging.basicConfig(level="WARNING")
end = tracing.begin("test")
longest = 0.0
for number in range(20_000):
    begun = time.monotonic()
    with tracing.root("work", {"n": number}):
        pass
    longest = max(longest, time.monotonic() - begun)
import gc
from opentelemetry.sdk.trace import ReadableSpan
kept = sum(isinstance(found, ReadableSpan) for found in gc.get_objects())
begun = time.monotonic()
end()
print(json.dumps({"longest": longest, "kept": kept, "end": time.monotonic() - begun}))
"""


@pytest.fixture
def hanging() -> Iterator[str]:
    """A collector that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("is_hanging", [False, True])
def test_a_dead_collector_delays_nobody_and_fills_no_memory(hanging: str, is_hanging: bool) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": hanging if is_hanging else "http://127.0.0.1:9"}
    out, err = run(DEAD, variables)
    found = json.loads(out)
    # Who waited for an export would wait ten seconds, and the SDK's own end takes thirty. A busy machine takes some.
    assert found["longest"] < 5
    assert found["kept"] < 2 * 2048 + 2 * 512, "the queue, and the batch that is being sent"
    assert found["end"] < 8
    assert len(err.splitlines()) <= 2, "no line a span"


WITH_HEADERS = """
import logging
from escrow_operator.adapters import tracing
logging.basicConfig(level="DEBUG")
end = tracing.begin("test")
with tracing.root("work", {}):
    pass
end()
"""


@pytest.mark.parametrize("headers", [f"authorization={CANARY}%0Ab", f'authorization="{CANARY}"', f"{CANARY} {CANARY}"])
def test_i9_a_token_for_the_collector_is_not_logged(headers: str) -> None:
    """The SDK quotes headers that it cannot use, and so do exceptions of its HTTP client."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    out, err = run(WITH_HEADERS, endpoint | {"OTEL_EXPORTER_OTLP_HEADERS": headers})
    assert CANARY not in out + err
    assert "traces: " in err


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "grpc")
    with pytest.raises(trace_export.NotSpoken, match=f"{name} is not http/protobuf"):
        trace_export.export("test")


def test_the_variable_for_traces_counts_before_the_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    _, end = trace_export.export("test")
    end()


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", CANARY)]
)
def test_variables_of_somebody_else_keep_nothing_from_starting(name: str, value: str) -> None:
    """Webhooks of a cluster add them to every pod."""
    code = "from escrow_operator.adapters import tracing; tracing.begin('x')(); print(tracing.is_on())"
    out, err = run(code, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", name: value})
    assert out.strip() == "False"
    assert "there are no traces" in err
    assert CANARY not in err
