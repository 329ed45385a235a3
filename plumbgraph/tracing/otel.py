"""OpenTelemetry fed from a graph's root, by OpenInference, to any OTLP endpoint."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from plumbgraph.errors import MissingExtra, SettingsError
from plumbgraph.tracing.anonymize import anonymized
from plumbgraph.tracing.emit import emit
from plumbgraph.tracing.langsmith_repair import UploadFailed
from plumbgraph.tracing.redact import redact
from plumbgraph.upstream import openinference_tracer


class OpenTelemetry:
    """OpenInference's tracer at a graph's root: Phoenix and other OTLP receivers show its spans.

    Spans carry OpenInference's names, with the thread as the session, and our run id. Secrets
    and mail addresses are taken out of every attribute before it leaves the process.

        with OpenTelemetry(endpoint="http://127.0.0.1:6006/v1/traces", project="support") as otel:
            graph.invoke(question, {"callbacks": otel.callbacks})

    A receiver that is down or slow costs spans, counted in `failed` and told by events, and no
    more than `wait_s` seconds at the end.

    Args:
        endpoint: Where to send spans by OTLP over HTTP.
        exporter: A span exporter instead, for example one in memory.
        project: Shown by Phoenix as the project.
        wait_s: Longest wait for spans on their way when closing.

    Attributes:
        failed: Spans that the receiver did not take.
        unsent: Whether the last `close` gave up waiting.

    Raises:
        MissingExtra: The extra `otel` is not installed.
        SettingsError: Neither an endpoint nor an exporter is given, or both are.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        exporter: Any = None,
        project: str = "plumbgraph",
        wait_s: float = 5.0,
    ) -> None:
        if (endpoint is None) == (exporter is None):
            raise SettingsError("OpenTelemetry() needs an endpoint or an exporter, not both.")
        parts = _parts()
        self.wait_s = wait_s
        self.failed = 0
        self.unsent = False
        sends = exporter or parts["otlp"](endpoint=endpoint)
        resource = parts["resource"].create(
            {"service.name": "plumbgraph", "openinference.project.name": project}
        )
        # Its own shutdown at exit waits for as long as the exporter tries.
        self.provider = parts["provider"](resource=resource, shutdown_on_exit=False)
        atexit.register(self.close)
        exporting = _redacting(sends, parts, self._note_failure)
        self.provider.add_span_processor(parts["batch"](exporting))
        tracer = self.provider.get_tracer("plumbgraph")
        handler = parts["handler"](tracer, separate_trace_from_runtime_context=False)
        self.callbacks: list[Any] = [handler]

    def attach(self, graph: Any) -> Any:
        """The graph with these callbacks at its root."""
        return graph.with_config(callbacks=self.callbacks)

    def close(self) -> None:
        """Send what is on its way, waiting a little."""
        atexit.unregister(self.close)
        ending = threading.Thread(target=self.provider.shutdown, daemon=True)
        ending.start()
        ending.join(self.wait_s)
        self.unsent = ending.is_alive()

    def _note_failure(self, spans: int, why: str) -> None:
        self.failed += spans
        emit(UploadFailed(sink="opentelemetry", error=redact(why)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _redacting(exporter: Any, parts: dict[str, Any], failed: Callable[[int, str], None]) -> Any:
    """An exporter that hands clean copies of spans to another one."""
    base: Any = parts["base"]

    class Redacting(base):  # type: ignore[misc] # the class comes from an extra
        def export(self, spans: Sequence[Any]) -> Any:
            try:
                found = exporter.export([_clean(span, parts) for span in spans])
            except Exception as fault:
                failed(len(spans), f"{type(fault).__name__}: {fault}")
                raise
            if found is not parts["taken"]:
                failed(len(spans), f"{len(spans)} spans were not taken")
            return found

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return bool(exporter.force_flush(timeout_millis))

    return Redacting()


def _clean(span: Any, parts: dict[str, Any]) -> Any:
    status = parts["status"](span.status.status_code, anonymized(span.status.description))
    events = [
        parts["event"](each.name, _attributes(each.attributes), each.timestamp)
        for each in span.events
    ]
    return parts["span"](
        name=anonymized(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes),
        events=events,
        links=span.links,
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(given: Any) -> dict[str, Any]:
    return {
        key: tuple(map(anonymized, value)) if isinstance(value, tuple) else anonymized(value)
        for key, value in (given or {}).items()
    }


def _parts() -> dict[str, Any]:
    try:
        handler = openinference_tracer()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import (  # noqa: PLC0415 - an extra
            Event,
            ReadableSpan,
            TracerProvider,
        )
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415 - an extra
            BatchSpanProcessor,
            SpanExporter,
            SpanExportResult,
        )
        from opentelemetry.trace import Status  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MissingExtra("OpenTelemetry needs further packages.", extra="otel") from fault
    return {
        "handler": handler,
        "otlp": OTLPSpanExporter,
        "resource": Resource,
        "provider": TracerProvider,
        "batch": BatchSpanProcessor,
        "base": SpanExporter,
        "taken": SpanExportResult.SUCCESS,
        "span": ReadableSpan,
        "event": Event,
        "status": Status,
    }
