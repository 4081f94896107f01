"""A span of each request, for OpenTelemetry. What is in it is decided here, and in ``identity`` for names.

Middlewares that others offer note the path, the query, the caller's address and his programme. All of that is the
caller's own text, in which he may put what is secret.
"""

from __future__ import annotations

from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from escrow_gateway.audit import Record
from escrow_operator.adapters import tracing

_HTTP_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

_LONGEST_TRACEPARENT = 128
"""Those of today have 55 characters; of later versions the rest is not read."""

_TRACE_CONTEXT = TraceContextTextMapPropagator()


class Traced:
    """Around everything. With ``trusts_callers`` a request belongs to its caller's trace, and is sampled as he says."""

    def __init__(self, app: ASGIApp, trusts_callers: bool = False) -> None:
        self._app, self._trusts_callers = app, trusts_callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, in a span if traces are on."""
        if scope["type"] != "http" or not tracing.is_on():
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _HTTP_METHODS else None
        attributes = {tracing.HTTP_METHOD: method or "_OTHER", "url.scheme": scope.get("scheme", "http")}
        with tracing.root(
            method or "HTTP",
            attributes,
            kind=SpanKind.SERVER,
            caller=_caller(scope),
            trusted=self._trusts_callers,
        ) as span:
            try:
                await self._app(scope, receive, send)
            finally:
                _tell(span, method or "HTTP", scope)


def _caller(scope: Scope) -> SpanContext | None:
    """The caller's span. His ``tracestate`` and ``baggage``, texts of any kind, are not read."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(found) != 1 or len(found[0]) > _LONGEST_TRACEPARENT:
        return None
    context = _TRACE_CONTEXT.extract({"traceparent": found[0].decode("latin-1")})
    caller = get_current_span(context).get_span_context()
    return caller if caller.is_valid else None


def _tell(span: Span, method: str, scope: Scope) -> None:
    record: Record = scope["record"]
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    if record.access is not None:
        span.set_attribute(tracing.ACCESS, record.access)
    if record.problem is not None:
        span.set_attribute(tracing.PROBLEM, record.problem)
    if record.status:
        span.set_attribute(tracing.HTTP_STATUS, record.status)
    if record.status >= 500:
        span.set_attribute(tracing.ERROR, record.problem or str(record.status))
        span.set_status(StatusCode.ERROR)
