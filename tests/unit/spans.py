"""Spans as they would be exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from escrow_operator.adapters import tracing


class Spans:
    """What was exported so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """In the order in which they ended."""
        return self.exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [span.name for span in self.all]

    @property
    def text(self) -> str:
        """All that is in them."""
        return "\n".join(span.to_json() for span in self.all)

    def named(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (found,) = (span for span in self.all if span.name == name)
        return found


@contextmanager
def recorded(sampler: Sampler = ALWAYS_ON) -> Iterator[Spans]:
    """Traces are on in the block."""
    spans = Spans()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans.exporter))
    tracing.use(provider.get_tracer("test"))
    try:
        yield spans
    finally:
        tracing.use(None)


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether a span is in another one."""
    return child.parent is not None and child.parent.span_id == parent.context.span_id
