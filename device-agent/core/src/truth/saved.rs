//! The ledger as bytes on disk: the whole of it, and what has changed since.

use std::collections::BTreeMap;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use prost::Message;

use super::counting::AlarmRule;
use super::journal::{contents, framed};
use super::kept::Kept;
use super::ledger::{AnsweringBuild, BUILDS_MAX, LedgerLimits, Run, Span, TruthLedger};
use super::quality::Counted;
use super::told::Truth;

/// One change of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Build(u8, AnsweringBuild),
    Class(u64, Box<str>),
    Kept(Kept),
    Told(u64, Time, Truth),
    Span(u64, Span),
}

/// The content of a frame.
#[derive(Clone, PartialEq, Message)]
struct Frame {
    /// The whole ledger; what came before is of no interest.
    #[prost(message, optional, tag = "1")]
    whole: Option<Whole>,
    #[prost(message, repeated, tag = "2")]
    events: Vec<SavedEvent>,
}

/// One of these.
#[derive(Clone, PartialEq, Message)]
struct SavedEvent {
    #[prost(message, optional, tag = "1")]
    build: Option<SavedBuild>,
    #[prost(message, optional, tag = "2")]
    class: Option<SavedClass>,
    #[prost(message, optional, tag = "3")]
    kept: Option<SavedKept>,
    #[prost(message, optional, tag = "4")]
    told: Option<SavedTold>,
    #[prost(message, optional, tag = "5")]
    span: Option<SavedSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedBuild {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
    #[prost(uint64, tag = "3")]
    window_ms: u64,
    /// 1: a label, 2: at least, 3: at most.
    #[prost(uint32, tag = "4")]
    rule: u32,
    #[prost(sint64, tag = "5")]
    label: i64,
    #[prost(double, tag = "6")]
    threshold: f64,
}

#[derive(Clone, PartialEq, Message)]
struct SavedClass {
    #[prost(fixed64, tag = "1")]
    key: u64,
    #[prost(string, tag = "2")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct SavedKept {
    #[prost(fixed64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
    #[prost(fixed64, tag = "4")]
    value: u64,
    #[prost(uint32, tag = "5")]
    build: u32,
    #[prost(uint32, tag = "6")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SavedTold {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(uint64, tag = "2")]
    at: u64,
    #[prost(bool, optional, tag = "3")]
    alarm: Option<bool>,
    #[prost(string, optional, tag = "4")]
    class: Option<String>,
    #[prost(double, optional, tag = "5")]
    number: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedSpan {
    #[prost(fixed64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    at: u64,
    #[prost(bool, tag = "3")]
    alarm: bool,
    #[prost(uint64, tag = "4")]
    from: u64,
    #[prost(uint64, tag = "5")]
    until: u64,
    #[prost(message, optional, tag = "6")]
    booked: Option<SavedBooked>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedBooked {
    #[prost(uint32, tag = "1")]
    build: u32,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(uint64, optional, tag = "3")]
    lead_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedTotal {
    #[prost(uint32, tag = "1")]
    build: u32,
    #[prost(uint64, tag = "2")]
    index: u64,
    #[prost(message, optional, tag = "3")]
    counters: Option<Counters>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedCounted {
    #[prost(uint32, tag = "1")]
    build: u32,
    #[prost(message, optional, tag = "2")]
    counters: Option<Counters>,
    /// True class, answered class and count, one after the other.
    #[prost(fixed64, repeated, tag = "3")]
    pairs: Vec<u64>,
    #[prost(uint64, tag = "4")]
    events: u64,
    #[prost(uint64, tag = "5")]
    events_found: u64,
    #[prost(uint64, tag = "6")]
    lead_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SavedRun {
    #[prost(uint32, tag = "1")]
    build: u32,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(uint64, tag = "3")]
    last: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Whole {
    #[prost(message, repeated, tag = "1")]
    builds: Vec<SavedBuild>,
    #[prost(uint32, optional, tag = "2")]
    current: Option<u32>,
    #[prost(message, repeated, tag = "3")]
    runs: Vec<SavedRun>,
    #[prost(uint64, tag = "4")]
    sequence: u64,
    #[prost(message, repeated, tag = "5")]
    kept: Vec<SavedKept>,
    #[prost(message, repeated, tag = "6")]
    told: Vec<SavedTold>,
    #[prost(message, repeated, tag = "7")]
    spans: Vec<SavedSpan>,
    #[prost(uint64, tag = "8")]
    spans_from: u64,
    #[prost(message, repeated, tag = "9")]
    totals: Vec<SavedTotal>,
    #[prost(message, repeated, tag = "10")]
    counted: Vec<SavedCounted>,
    #[prost(message, repeated, tag = "11")]
    classes: Vec<SavedClass>,
}

fn id(id: u32) -> Option<u8> {
    u8::try_from(id).ok().filter(|id| usize::from(*id) < BUILDS_MAX)
}

fn saved_build(id: u8, build: &AnsweringBuild) -> SavedBuild {
    let (rule, label, threshold) = match build.rule {
        AlarmRule::None => (0, 0, 0.0),
        AlarmRule::Label(label) => (1, label, 0.0),
        AlarmRule::AtLeast(least) => (2, 0, least),
        AlarmRule::AtMost(most) => (3, 0, most),
    };
    let digest = build.digest.0.to_vec();
    SavedBuild { id: id.into(), digest, window_ms: build.window_ms, rule, label, threshold }
}

fn read_build(saved: &SavedBuild) -> Option<(u8, AnsweringBuild)> {
    let rule = match saved.rule {
        1 => AlarmRule::Label(saved.label),
        2 => AlarmRule::AtLeast(saved.threshold),
        3 => AlarmRule::AtMost(saved.threshold),
        _ => AlarmRule::None,
    };
    let digest = Digest::from_slice(&saved.digest)?;
    Some((id(saved.id)?, AnsweringBuild { digest, window_ms: saved.window_ms, rule }))
}

fn saved_kept(kept: &Kept) -> SavedKept {
    let Kept { key, sequence, index, value, build, flags } = *kept;
    SavedKept { key, sequence, index, value, build: build.into(), flags: flags.into() }
}

fn read_kept(saved: &SavedKept) -> Option<Kept> {
    let SavedKept { key, sequence, index, value, .. } = *saved;
    let flags = u8::try_from(saved.flags).ok()?;
    Some(Kept { key, sequence, index, value, build: id(saved.build)?, flags })
}

fn saved_told(sequence: u64, at: Time, truth: &Truth) -> SavedTold {
    let saved = SavedTold { sequence, at: at.0, ..SavedTold::default() };
    match truth {
        Truth::Alarm(alarm) => SavedTold { alarm: Some(*alarm), ..saved },
        Truth::Class(class) => SavedTold { class: Some(class.to_string()), ..saved },
        Truth::Number(number) => SavedTold { number: Some(*number), ..saved },
    }
}

fn read_told(saved: &SavedTold) -> Option<(u64, Time, Truth)> {
    let truth = match (saved.alarm, &saved.class, saved.number) {
        (Some(alarm), ..) => Truth::Alarm(alarm),
        (_, Some(class), _) => Truth::Class(class.as_str().into()),
        (.., number) => Truth::Number(number?),
    };
    Some((saved.sequence, Time(saved.at), truth))
}

fn saved_span(key: u64, span: &Span) -> SavedSpan {
    let booked =
        span.booked.map(|(build, index, lead_ms)| SavedBooked { build: build.into(), index, lead_ms });
    SavedSpan { key, at: span.at.0, alarm: span.alarm, from: span.from.0, until: span.until.0, booked }
}

fn read_span(saved: &SavedSpan) -> (u64, Span) {
    let booked = saved.booked.as_ref().and_then(|b| Some((id(b.build)?, b.index, b.lead_ms)));
    let (from, until) = (Time(saved.from), Time(saved.until.max(1)));
    (saved.key, Span { at: Time(saved.at), alarm: saved.alarm, from, until, booked })
}

impl TruthLedger {
    /// Keeps what changes from now on, for [`TruthLedger::take_unsaved`]. The first of them is the whole ledger.
    pub fn keep_journal(&mut self) {
        self.journal = true;
        self.rewrite = true;
    }

    /// The whole ledger as one frame: the beginning of a journal.
    pub fn whole(&mut self) -> Vec<u8> {
        self.unsaved.clear();
        self.rewrite = false;
        framed(&Frame { whole: Some(self.saved()), events: Vec::new() }.encode_to_vec())
    }

    /// Whether the whole ledger has to be written, because the journal cannot go on from what is on disk.
    #[must_use]
    pub fn wants_rewrite(&self) -> bool {
        self.journal && self.rewrite
    }

    /// Writes the whole ledger next: what was taken did not reach the disk.
    pub fn not_written(&mut self) {
        self.rewrite = self.journal;
        self.unsaved.clear();
    }

    /// What has changed since the last time, as a frame for the end of the journal.
    pub fn take_unsaved(&mut self) -> Option<Vec<u8>> {
        if self.unsaved.is_empty() {
            return None;
        }
        let saved = |event: Event| match event {
            Event::Build(id, build) => {
                SavedEvent { build: Some(saved_build(id, &build)), ..SavedEvent::default() }
            }
            Event::Class(key, name) => {
                let class = SavedClass { key, name: name.into() };
                SavedEvent { class: Some(class), ..SavedEvent::default() }
            }
            Event::Kept(kept) => SavedEvent { kept: Some(saved_kept(&kept)), ..SavedEvent::default() },
            Event::Told(sequence, at, truth) => {
                SavedEvent { told: Some(saved_told(sequence, at, &truth)), ..SavedEvent::default() }
            }
            Event::Span(key, span) => {
                SavedEvent { span: Some(saved_span(key, &span)), ..SavedEvent::default() }
            }
        };
        let events = std::mem::take(&mut self.unsaved).into_iter().map(saved).collect();
        Some(framed(&Frame { whole: None, events }.encode_to_vec()))
    }

    fn saved(&self) -> Whole {
        let counted = |(build, counted): (&u8, &Counted)| SavedCounted {
            build: u32::from(*build),
            counters: Some(counted.counters),
            pairs: counted.pairs.iter().flat_map(|((was, said), count)| [*was, *said, *count]).collect(),
            events: counted.events,
            events_found: counted.events_found,
            lead_ms: counted.lead_ms,
        };
        let total = |((build, index), counters): (&(u8, u64), &Counters)| SavedTotal {
            build: u32::from(*build),
            index: *index,
            counters: Some(*counters),
        };
        let run = |run: &Run| SavedRun { build: run.build.into(), first: run.first.0, last: run.last.0 };
        Whole {
            builds: self.builds.iter().map(|(id, build)| saved_build(*id, build)).collect(),
            current: self.current.map(u32::from),
            runs: self.runs.iter().map(run).collect(),
            sequence: self.sequence,
            kept: self.alarms.iter().chain(&self.others).map(saved_kept).collect(),
            told: self.told.iter().map(|(sequence, (at, truth))| saved_told(*sequence, *at, truth)).collect(),
            spans: self.spans.iter().map(|(key, span)| saved_span(*key, span)).collect(),
            spans_from: self.spans_from.0,
            totals: self.totals.iter().map(total).collect(),
            counted: self.counted.iter().map(counted).collect(),
            classes: self
                .classes
                .iter()
                .map(|(key, name)| SavedClass { key: *key, name: name.to_string() })
                .collect(),
        }
    }

    /// Reads a journal. What cannot be read ends it. Every window of which truth is known counts as changed.
    #[must_use]
    pub fn restored(limits: LedgerLimits, journal: &[u8]) -> TruthLedger {
        let mut ledger = TruthLedger::new(limits);
        for content in contents(journal).0 {
            let Ok(frame) = Frame::decode(content) else { break };
            if let Some(whole) = &frame.whole {
                ledger = TruthLedger::of(limits, whole);
            }
            frame.events.iter().for_each(|event| ledger.repeat(event));
        }
        ledger.changed = ledger.totals.keys().copied().collect();
        ledger
    }

    fn of(limits: LedgerLimits, saved: &Whole) -> TruthLedger {
        let mut ledger = TruthLedger::new(limits);
        ledger.builds = saved.builds.iter().filter_map(read_build).collect();
        ledger.current = saved.current.and_then(id).filter(|id| ledger.builds.contains_key(id));
        let run = |run: &SavedRun| {
            Some(Run { build: id(run.build)?, first: Time(run.first), last: Time(run.last) })
        };
        ledger.runs = saved.runs.iter().filter_map(run).collect();
        let mut kept: Vec<Kept> = saved.kept.iter().filter_map(read_kept).collect();
        kept.sort_unstable_by_key(|kept| kept.sequence);
        kept.dedup_by_key(|kept| kept.sequence);
        (ledger.alarms, ledger.others) = kept.into_iter().partition(Kept::is_alarm);
        let told = saved.told.iter().filter_map(read_told);
        ledger.told = told.map(|(sequence, at, truth)| (sequence, (at, truth))).collect();
        ledger.spans = saved.spans.iter().map(read_span).collect();
        ledger.spans_from = Time(saved.spans_from);
        ledger.sequence = saved.sequence;
        let total = |total: &SavedTotal| Some(((id(total.build)?, total.index), total.counters?));
        ledger.totals = saved.totals.iter().filter_map(total).collect();
        ledger.counted = saved.counted.iter().filter_map(read_counted).collect();
        ledger.classes = saved.classes.iter().map(|class| (class.key, class.name.as_str().into())).collect();
        ledger
    }

    fn repeat(&mut self, event: &SavedEvent) {
        if let Some((id, build)) = event.build.as_ref().and_then(read_build) {
            self.set_build(id, build);
        }
        if let Some(class) = &event.class {
            self.classes.insert(class.key, class.name.as_str().into());
        }
        if let Some(kept) = event.kept.as_ref().and_then(read_kept) {
            self.keep(kept);
        }
        if let Some((sequence, at, truth)) = event.told.as_ref().and_then(read_told) {
            // What was booked once is booked again as it was.
            let _ = self.tell(sequence, at, &truth);
        }
        if let Some(span) = &event.span {
            let (key, span) = read_span(span);
            let _ = self.tell_span(key, Span { booked: None, ..span });
        }
    }
}

fn read_counted(saved: &SavedCounted) -> Option<(u8, Counted)> {
    let pairs = saved.pairs.chunks_exact(3).map(|triple| ((triple[0], triple[1]), triple[2]));
    let counted = Counted {
        counters: saved.counters.unwrap_or_default(),
        pairs: pairs.collect::<BTreeMap<_, _>>(),
        events: saved.events,
        events_found: saved.events_found,
        lead_ms: saved.lead_ms,
    };
    Some((id(saved.build)?, counted))
}
