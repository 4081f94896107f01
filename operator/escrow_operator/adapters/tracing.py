"""Spans of OpenTelemetry, of operator and gateway (docs/traces.md). Off unless the environment names a collector.

A span has what its caller gives, and nothing else: neither texts of exceptions, which may quote what is secret, nor
arguments (invariant I9). There are spans of whole pieces of work (``root``), and in them spans of what is waited for
(``leaf``), in which there are no others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)

_LOG = logging.getLogger(__name__)

Attributes = Mapping[str, str | int | bool]

NAMESPACE = "k8s.namespace.name"
SESSION = "xmr_escrow.session"
POOL = "xmr_escrow.pool"
ROLE = "xmr_escrow.role"
ACCESS = "xmr_escrow.access"
PROBLEM = "xmr_escrow.problem"
WOKEN = "xmr_escrow.woken"
ERROR = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"

NO_SPAN: AbstractContextManager[Span] = nullcontext(INVALID_SPAN)
"""Takes attributes, and tells nobody. Its blocks may be in each other."""


class _Tracing:
    """Of this process: ``tracer`` is None while it is off."""

    tracer: Tracer | None = None


def begin(service: str) -> Callable[[], None]:
    """Export spans from now on if the environment names a collector. The returned function ends that.

    Where that cannot be, which is logged, there are none: nobody's money waits for traces, and the variables may come
    from a webhook of the cluster.
    """
    if not _is_wanted():
        return _nothing
    # The SDK and protobuf take memory and time to import: only who wants traces pays for them.
    from escrow_operator.adapters.trace_export import NotSpoken, export  # noqa: PLC0415

    try:
        tracer, end = export(service)
    except Exception as error:
        # What the SDK says may quote a header with a token.
        why = str(error) if isinstance(error, NotSpoken) else type(error).__name__
        _LOG.error("there are no traces (environment variables OTEL_…): %s", why)
        return _nothing
    use(tracer)
    return end


def _nothing() -> None:
    """There is nothing to end."""


def use(tracer: Tracer | None) -> None:
    """Make spans with a tracer from now on; none with None."""
    _Tracing.tracer = tracer


def is_on() -> bool:
    """Whether spans are made."""
    return _Tracing.tracer is not None


def root(
    name: str,
    attributes: Attributes,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    caller: SpanContext | None = None,
    trusted: bool = False,
) -> AbstractContextManager[Span]:
    """A span around a whole piece of work, in whatever task that is begun; its own trace.

    It belongs to the trace of a ``caller`` who is ``trusted``, and is sampled as that one says. To another one's trace
    it has a link.
    """
    tracer = _Tracing.tracer
    if tracer is None:
        return NO_SPAN
    # What is in the task's own context may be of other work, which had this one done.
    parent, links = Context(), None
    if caller is not None and trusted:
        parent = set_span_in_context(NonRecordingSpan(caller), parent)
    elif caller is not None:
        links = [Link(caller)]
    return _recorded(partial(tracer.start_span, name, parent, kind, attributes, links), is_leaf=False)


def leaf(name: str, attributes: Attributes, *, kind: SpanKind = SpanKind.CLIENT) -> AbstractContextManager[Span]:
    """A span in the present one, if that is recorded; what happens in its block has no spans."""
    tracer = _Tracing.tracer
    if tracer is None or not get_current_span().is_recording():
        return NO_SPAN
    return _recorded(partial(tracer.start_span, name, None, kind, attributes), is_leaf=True)


def outside() -> AbstractContextManager[Span]:
    """What begins in the block is in no span."""
    return NO_SPAN if _Tracing.tracer is None else use_span(INVALID_SPAN, record_exception=False)


def note(attributes: Attributes) -> None:
    """Attributes for the present span."""
    if _Tracing.tracer is not None:
        get_current_span().set_attributes(attributes)


def rpc_call(method: str, host: str) -> dict[str, str | int | bool]:
    """Attributes of a call of a wallet or a monerod; ``method`` is one of theirs, and no text of somebody else's."""
    return {"rpc.system.name": "jsonrpc", "rpc.method": method, "server.address": host}


@contextmanager
def _recorded(start: Callable[[], Span], *, is_leaf: bool) -> Iterator[Span]:
    span = start()
    try:
        with use_span(INVALID_SPAN if is_leaf else span, record_exception=False, set_status_on_exception=False):
            yield span
    except BaseException as error:
        span.set_attribute(ERROR, type(error).__name__)
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        span.end()


def _is_wanted() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(os.environ.get(name) for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
