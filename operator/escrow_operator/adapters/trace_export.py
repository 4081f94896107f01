"""Sends spans to a collector, by OTLP over HTTP from a thread of its own. Imported only where traces are on.

The environment has the settings, by OpenTelemetry's own names (``OTEL_…``). A collector that is slow or away costs
spans, and nothing else: they wait in a queue with a bound, which drops what is too much.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

_LOG = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""For which the end of the process waits for the last spans to be sent."""

LOG_SECONDS = 60.0
"""Between two lines about spans that cannot be sent."""

PROTOCOL = "http/protobuf"


class NotSpoken(ValueError):
    """A protocol that is not spoken here. The message quotes no value."""


def export(service: str) -> tuple[Tracer, Callable[[], None]]:
    """A tracer whose spans are exported, and what sends the last ones and ends it.

    Raises NotSpoken, which names the variable at fault, and whatever the SDK raises.
    """
    # The first one that is set counts.
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        found = os.environ.get(name)
        if found and found != PROTOCOL:
            raise NotSpoken(f"{name} is not {PROTOCOL}, and nothing else is spoken")
        if found:
            break
    _hear_the_sdk()
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def end() -> None:
        # A thread that nobody waits for any longer: the SDK's own end takes half a minute if the collector hangs.
        thread = threading.Thread(target=provider.shutdown, name="traces-end", daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)

    return provider.get_tracer("xmr-escrow-operator"), end


def _resource(service: str) -> Resource:
    """Who sends the spans; what the environment says of it counts more."""
    named = {"service.name": service, "service.instance.id": socket.gethostname()}
    return Resource.create(named).merge(OTELResourceDetector().detect())


def _hear_the_sdk() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_Warnings()]
    logger.propagate = False


class _Warnings(logging.Handler):
    """Tells what the SDK warns of, now and then, and without what it quotes: headers with a token, answers, spans."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """One line, if there was none lately."""
        now = time.monotonic()
        if self._told is not None and now - self._told < LOG_SECONDS:
            return
        self._told = now
        found = record.args if isinstance(record.args, tuple) else ()
        reasons = [str(number) for number in found if isinstance(number, int)]
        if record.exc_info and record.exc_info[0]:
            reasons.append(record.exc_info[0].__name__)
        _LOG.warning("traces: %s %s (told once a minute)", record.msg, reasons or "")
