//! Records the spans that are traces, from the library that logs.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, Filtered, filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::TARGET;
use super::otlp::{Attribute, SpanRecord};
use crate::clock::Clock;
use crate::metrics::traces::TraceMetrics;

/// Most spans that wait to be sent.
pub const WAITING_MAX: usize = 2_048;
/// Most attributes of a span.
const ATTRIBUTES_MAX: usize = 16;

/// Records spans, and hands them on when they are over. Where too many wait the newest are given up: nothing waits for a
/// collector.
pub struct SpanLayer {
    clock: Clock,
    sender: Sender<SpanRecord>,
    metrics: TraceMetrics,
}

/// Lets through spans that are traces.
pub type TraceFilter = FilterFn<fn(&Metadata<'_>) -> bool>;

/// A span that is not over.
struct Open {
    trace_id: String,
    span_id: u64,
    parent: Option<u64>,
    start_ns: u64,
    since: Instant,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    trace_id: Option<String>,
    error: Option<String>,
    /// What is known of a span that was elsewhere: its id, its parent, beginning and end in milliseconds since 1970.
    elsewhere: [Option<u64>; 4],
    attributes: Vec<(&'static str, Attribute)>,
}

/// Names of what is known of a span that was elsewhere.
const ELSEWHERE: [&str; 4] = ["span_id", "parent_id", "start_ms", "end_ms"];

impl Fields {
    fn add(&mut self, field: &Field, value: Attribute) {
        match (field.name(), value) {
            ("trace_id", Attribute::Text(id)) => self.trace_id = Some(id),
            ("error", Attribute::Text(error)) => self.error = Some(error),
            (name, value) if self.attributes.len() < ATTRIBUTES_MAX => self.attributes.push((name, value)),
            _ => {}
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Attribute::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Attribute::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match ELSEWHERE.iter().position(|name| *name == field.name()) {
            Some(place) => self.elsewhere[place] = Some(value),
            None => self.add(field, Attribute::Number(i64::try_from(value).unwrap_or(i64::MAX))),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Attribute::Flag(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, Attribute::Text(format!("{value:?}")));
    }
}

impl SpanLayer {
    /// A layer, and where its spans come out.
    #[must_use]
    pub fn new(clock: Clock, metrics: TraceMetrics) -> (SpanLayer, Receiver<SpanRecord>) {
        let (sender, receiver) = channel(WAITING_MAX);
        metrics.turn_on();
        (SpanLayer { clock, sender, metrics }, receiver)
    }

    /// The layer for spans that are traces alone, whatever is logged.
    #[must_use]
    pub fn filtered<S>(self) -> Filtered<SpanLayer, TraceFilter, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_trace: fn(&Metadata<'_>) -> bool = |about| about.is_span() && about.target() == TARGET;
        self.with_filter(filter_fn(is_trace))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = span.parent().and_then(|parent| {
            parent.extensions().get::<Open>().map(|open| (open.trace_id.clone(), open.span_id))
        });
        let (inherited, parent) = parent.unzip();
        let trace_id = fields.trace_id.take().or(inherited).unwrap_or_else(super::new_trace_id);
        let open = Open {
            trace_id,
            span_id: rand::random::<u64>().max(1),
            parent,
            start_ns: self.clock.now().0.saturating_mul(1_000_000),
            since: self.clock.steady(),
            fields,
        };
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        let took: Duration = self.clock.steady().saturating_duration_since(open.since);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let [span_id, parent, start_ms, end_ms] = open.fields.elsewhere;
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let record = SpanRecord {
            trace_id: open.trace_id,
            span_id: span_id.unwrap_or(open.span_id),
            parent: parent.or(open.parent),
            name: span.name(),
            start_ns: start_ms.map_or(open.start_ns, ns),
            end_ns: end_ms.map_or(open.start_ns.saturating_add(took_ns), ns),
            attributes: open.fields.attributes,
            error: open.fields.error,
        };
        if self.sender.try_send(record).is_err() {
            self.metrics.count("dropped", 1);
        }
    }
}
