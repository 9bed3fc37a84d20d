//! The access log: one line of JSON for each request, and the only place that makes one.
//!
//! A line holds names of ours, numbers and words from fixed sets. It never holds a body, a header
//! value, a path or a query as the client sent it.

use crate::context::Cx;
use crate::metrics::Metrics;
use crate::result::Summary;
use anyhow::{Context, Result};
use model::{AccountName, KeyId, MerchantId};
use pingora_proxy::Session;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Takes lines and has them written by a thread of its own, so that a slow disk stops no request.
///
/// The thread wakes by the clock and not for each line: to wake a thread costs more than to serve
/// the rest of a refused request.
pub(crate) struct AccessLog {
    metrics: Arc<Metrics>,
    waiting: Arc<Waiting>,
    writer: Option<JoinHandle<()>>,
}

/// Lines that are not written yet.
#[derive(Default)]
struct Waiting {
    /// Whether no more lines will come.
    ended: AtomicBool,
    lines: Mutex<Vec<u8>>,
}

/// How many bytes of lines may wait for the disk; what comes beyond is counted and dropped.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// How long a line waits before it is written.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Room for the usual line.
const LINE_ROOM: usize = 640;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request: &'a str,
    client: Option<IpAddr>,
    http: &'static str,
    tls: Option<&'a str>,
    method: &'static str,
    route: &'static str,
    status: u16,
    micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<PaymentPart<'a>>,
    /// Whether the client was gone before the answer was written.
    client_gone: bool,
}

/// The part of a line that tells of a payment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentPart<'a> {
    transaction_id: &'a str,
    operation: &'static str,
    account: Option<&'a str>,
    provider: &'static str,
    outcome: &'static str,
    result: &'static str,
    exchanges: usize,
    kept_connections: usize,
    provider_micros: u64,
}

// === impl AccessLog ===

impl AccessLog {
    /// Starts to write to the end of the file at `path`, or to standard output.
    pub(crate) fn start(path: Option<&Path>, metrics: Arc<Metrics>) -> Result<Self> {
        let out: Box<dyn Write + Send> = match path {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Box::new(
                    file.with_context(|| format!("log.access: cannot open {}", path.display()))?,
                )
            }
            None => Box::new(std::io::stdout()),
        };
        let waiting = Arc::new(Waiting::default());
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let writer = thread.spawn({
            let waiting = waiting.clone();
            move || waiting.write_all(out)
        })?;
        Ok(Self { metrics, waiting, writer: Some(writer) })
    }

    /// Writes the line of a request that was answered with `status`.
    pub(crate) fn request(&self, session: &Session, cx: &Cx, status: u16, client_gone: bool) {
        let http = if session.as_downstream().is_http2() { "2" } else { "1.1" };
        let digest = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
        let client = session.client_addr().and_then(|address| address.as_inet());
        let principal = cx.principal.as_ref();
        self.write(&Line {
            time: crate::clock::timestamp(crate::clock::now_millis()),
            request: cx.id.as_str(),
            client: client.map(SocketAddr::ip),
            http,
            tls: digest.map(|digest| digest.version.as_ref()),
            method: method_word(&session.req_header().method),
            route: cx.route,
            status,
            micros: micros(cx.started.elapsed()),
            refusal: cx.refusal,
            merchant: principal.map(|principal| MerchantId::as_str(&principal.merchant)),
            key: principal.map(|principal| KeyId::as_str(&principal.key)),
            payment: cx.summary.as_ref().map(PaymentPart::of),
            client_gone,
        });
    }

    fn write(&self, line: &impl Serialize) {
        let mut text = Vec::with_capacity(LINE_ROOM);
        let written = serde_json::to_writer(&mut text, line).is_ok();
        text.push(b'\n');
        if !(written && self.waiting.add(&text)) {
            self.metrics.log_line_dropped();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.waiting.ended.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // A writer that panicked has nothing left to tell.
            drop(writer.join());
        }
    }
}

// === impl Waiting ===

impl Waiting {
    /// Adds a line, unless too much waits already.
    fn add(&self, line: &[u8]) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = lines.len().saturating_add(line.len()) <= WAITING_BYTES_MAX;
        if fits {
            lines.extend_from_slice(line);
        }
        fits
    }

    /// Writes what waits, again and again, until no more lines will come.
    fn write_all(&self, mut out: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        loop {
            // Looked at first, so that what came before the end is still written.
            let ended = self.ended.load(Ordering::Acquire);
            std::mem::swap(
                &mut batch,
                &mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner),
            );
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                log::error!("the access log cannot be written");
            }
            batch.clear();
            if ended {
                return;
            }
            std::thread::park_timeout(WRITE_EVERY);
        }
    }
}

/// Methods from a fixed set: a client may send any word.
fn method_word(method: &http::Method) -> &'static str {
    match method.as_str() {
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        _ => "other",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

// === impl PaymentPart ===

impl<'a> PaymentPart<'a> {
    fn of(summary: &'a Summary) -> Self {
        Self {
            transaction_id: &summary.key,
            operation: summary.kind.word(),
            account: summary.account.as_ref().map(AccountName::as_str),
            provider: summary.provider,
            outcome: summary.outcome,
            result: summary.code.word(),
            exchanges: summary.tally.exchanges,
            kept_connections: summary.tally.reused,
            provider_micros: micros(summary.tally.time),
        }
    }
}
