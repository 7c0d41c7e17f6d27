/**
 * Spans of a request, from the edge through the job's headers into the worker. Deno exports them where OTEL_DENO is set;
 * elsewhere every call here does nothing. Sources: OpenTelemetry's API, W3C Trace Context.
 */
import {
  type Attributes,
  type Context,
  context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";

export type { Attributes, Context, Span };

/** Header of requests and of jobs on the bus. */
export const TRACEPARENT = "traceparent";
const PATTERN = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const SAMPLED = 1;

const tracer = trace.getTracer("tessera");

/** A span that is open. Times are by performance.now(), here and below. */
export interface SpanStart {
  readonly name: string;
  /** `server`: a request is answered; `consumer`: a job from a queue is worked on. */
  readonly kind: "server" | "consumer";
  /** As it came with the request or job; what is no such header begins a trace. */
  readonly traceparent: string | null | undefined;
  readonly startedAt: number;
  readonly attributes?: Attributes;
}

export function startSpan({ name, kind, traceparent, startedAt, attributes = {} }: SpanStart): Span {
  return tracer.startSpan(name, {
    kind: kind === "server" ? SpanKind.SERVER : SpanKind.CONSUMER,
    startTime: epochMs(startedAt),
    attributes,
  }, parentOf(traceparent));
}

/** Calls `run` with the span as the parent of what is recorded in it. */
export function inSpan<T>(span: Span, run: () => T): T {
  return context.with(contextOf(span), run);
}

/** What was going on where this is called, for stages that are known later. */
export function activeContext(): Context {
  return context.active();
}

export function contextOf(span: Span): Context {
  return trace.setSpan(ROOT_CONTEXT, span);
}

/** Records something that is over. */
export function recordStage(
  name: string,
  startedAt: number,
  endedAt: number,
  attributes: Attributes = {},
  parent: Context = context.active(),
): void {
  if (trace.getSpan(parent)?.isRecording() !== true) return;
  tracer.startSpan(name, { startTime: epochMs(startedAt), attributes }, parent).end(epochMs(endedAt));
}

/** More of the span that is going on. */
export function describeSpan(attributes: Attributes): void {
  trace.getSpan(context.active())?.setAttributes(attributes);
}

/** @param error its code or status, where it failed through no fault of the client */
export function endSpan(span: Span, endedAt: number, error: string | null = null): void {
  if (error !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
  span.end(epochMs(endedAt));
}

/** The header that goes on with a trace; null outside of one. */
export function traceparentOf(parent: Context = context.active()): string | null {
  const of = trace.getSpan(parent)?.spanContext();
  if (of === undefined || /^0*$/.test(of.traceId)) return null;
  return `00-${of.traceId}-${of.spanId}-${of.traceFlags.toString(16).padStart(2, "0")}`;
}

function parentOf(traceparent: string | null | undefined): Context {
  const [, version, traceId, spanId, flags, rest] = PATTERN.exec(traceparent?.trim() ?? "") ?? [];
  const isHeader = version !== undefined && version !== "ff" && (version !== "00" || rest === undefined) &&
    !/^0+$/.test(traceId!) && !/^0+$/.test(spanId!);
  if (!isHeader) return ROOT_CONTEXT;
  const traceFlags = Number.parseInt(flags!, 16) & SAMPLED;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId: traceId!, spanId: spanId!, traceFlags, isRemote: true });
}

function epochMs(at: number): number {
  return performance.timeOrigin + at;
}
