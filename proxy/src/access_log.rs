//! The access log: one line of JSON for each request, and the only place that makes one.
//!
//! A line holds names of ours, numbers and words from fixed sets. It never holds a body, a header
//! value, a path or a query as the client sent it.

use crate::admission;
use crate::clock::timestamp;
use crate::configuration::Field;
use crate::context::{Cx, RequestId};
use crate::metrics::Metrics;
use crate::result::Summary;
use anyhow::{Context, Result};
use model::{AccountName, KeyId, MerchantId, Principal};
use pingora::protocols::tls::SslDigest;
use pingora_proxy::Session;
use serde::Serialize;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Takes what is to be said of requests and has it written by a thread of its own, so that a slow
/// disk stops no request.
///
/// The thread wakes by the clock and not for each line: to wake a thread costs more than to serve
/// the rest of a refused request. It also makes the text, many lines in a row, so that the request
/// itself pays only for handing over what it has.
pub(crate) struct AccessLog {
    metrics: Arc<Metrics>,
    waiting: Arc<Waiting>,
    writer: Option<JoinHandle<()>>,
}

/// Requests whose lines are not written yet.
#[derive(Default)]
struct Waiting {
    /// Whether no more will come.
    ended: AtomicBool,
    requests: Mutex<Vec<Served>>,
}

/// A request that was served, and all that its line says.
struct Served {
    client: Option<IpAddr>,
    client_gone: bool,
    http: &'static str,
    id: RequestId,
    method: &'static str,
    micros: u64,
    principal: Option<Arc<Principal>>,
    refusal: Option<&'static str>,
    route: &'static str,
    status: u16,
    summary: Option<Summary>,
    /// Milliseconds since 1970, when the request was done.
    time: u64,
    tls: Option<Arc<SslDigest>>,
}

/// How many requests may wait for the disk; what comes beyond is counted and dropped.
const WAITING_MAX: usize = 65_536;
/// How long a request waits before its line is written.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Text is written as soon as there is so much of it.
const WRITE_BYTES: usize = 64 << 10;

/// Where the lines go.
struct Out {
    to: Box<dyn Write + Send>,
    /// The file that this is, unless it is the standard output.
    file: Option<OpenFile>,
    /// Whether the last lines could not be written, which is told once.
    fails: bool,
    /// Whether what was written last is a part of a line, which must have an end before the next.
    torn: bool,
}

/// A file that is open, and where it was when it was opened.
struct OpenFile {
    path: PathBuf,
    number: FileNumber,
    /// Whether another file is to be written and cannot be opened, which is told once.
    astray: bool,
}

/// The device, and the number of the file there.
type FileNumber = (u64, u64);

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
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
        let out = match path {
            Some(path) => Out::file(path)
                .with_context(|| format!("cannot open {}", path.display()))
                .context(Field::named("log.access"))?,
            None => Out::new(Box::new(io::stdout())),
        };
        let waiting = Arc::new(Waiting::default());
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let writer = thread.spawn({
            let (waiting, metrics) = (waiting.clone(), metrics.clone());
            move || waiting.write_all(out, &metrics)
        })?;
        Ok(Self { metrics, waiting, writer: Some(writer) })
    }

    /// Writes the line of a request that was answered with `status`. It takes the summary out of
    /// the context.
    pub(crate) fn request(&self, session: &Session, cx: &mut Cx, status: u16, client_gone: bool) {
        let digest = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
        let served = Served {
            client: admission::address(session),
            client_gone,
            http: if session.as_downstream().is_http2() { "2" } else { "1.1" },
            id: cx.id,
            method: method_word(&session.req_header().method),
            micros: micros(cx.started.elapsed()),
            principal: cx.principal.clone(),
            refusal: cx.refusal,
            route: cx.route,
            status,
            summary: cx.summary.take(),
            time: crate::clock::now_millis(),
            tls: digest.cloned(),
        };
        if !self.waiting.add(served) {
            self.metrics.log_lines_dropped(1);
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
    /// Adds a request, unless too many wait already.
    fn add(&self, served: Served) -> bool {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = requests.len() < WAITING_MAX;
        if fits {
            requests.push(served);
        }
        fits
    }

    /// Writes what waits, again and again, until no more will come.
    fn write_all(&self, mut out: Out, metrics: &Metrics) {
        let mut batch = Vec::new();
        loop {
            // Looked at first, so that what came before the end is still written.
            let ended = self.ended.load(Ordering::Acquire);
            out.follow();
            std::mem::swap(
                &mut batch,
                &mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner),
            );
            write_batch(&mut out, &mut batch, metrics);
            if ended {
                return;
            }
            std::thread::park_timeout(WRITE_EVERY);
        }
    }
}

/// Writes the lines of a batch, which is empty afterwards. What cannot be written is counted and
/// dropped.
fn write_batch(out: &mut Out, batch: &mut Vec<Served>, metrics: &Metrics) {
    let mut text = Vec::new();
    for served in batch.drain(..) {
        let whole = text.len();
        // A line is whole or not there.
        match serde_json::to_writer(&mut text, &served.line(&timestamp(served.time))) {
            Ok(()) => text.push(b'\n'),
            Err(_) => {
                text.truncate(whole);
                metrics.log_lines_dropped(1);
            }
        }
        if text.len() >= WRITE_BYTES {
            metrics.log_lines_dropped(out.write(&text));
            text.clear();
        }
    }
    if !text.is_empty() {
        metrics.log_lines_dropped(out.write(&text));
    }
}

// === impl Out ===

impl Out {
    fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to, file: None, fails: false, torn: false }
    }

    /// Writes to the end of the file at `path`, which is made if there is none.
    fn file(path: &Path) -> io::Result<Self> {
        let (file, number) = open(path)?;
        let open = OpenFile { path: path.to_owned(), number, astray: false };
        Ok(Self { file: Some(open), ..Self::new(Box::new(file)) })
    }

    /// Goes on in the file that is at the path now, if the one that is open was renamed or removed.
    fn follow(&mut self) {
        let Some(file) = &mut self.file else { return };
        match file.next() {
            Ok(None) => file.astray = false,
            Ok(Some((next, number))) => {
                (file.number, file.astray) = (number, false);
                (self.to, self.torn) = (Box::new(next), false);
                log::info!("the access log goes on in a new file");
            }
            Err(error) if !file.astray => {
                log::error!(
                    "the access log is written on in a file that is elsewhere now, because {} cannot \
                     be opened: {}",
                    file.path.display(),
                    error.kind()
                );
                file.astray = true;
            }
            Err(_) => {}
        }
    }

    /// Writes whole lines, and says how many of them are not there.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.torn {
            self.torn = !self.put(b"\n").is_empty();
        }
        let left = if self.torn { lines } else { self.put(lines) };
        let written = lines.strip_suffix(left).unwrap_or_default();
        self.torn |= !written.is_empty() && !written.ends_with(b"\n");
        let flushed = self.to.flush().is_ok();
        self.tell(left.is_empty() && flushed);
        left.iter().fold(0, |lost: u64, byte| lost.saturating_add(u64::from(*byte == b'\n')))
    }

    /// Writes as much as can be written, and gives what is left.
    fn put<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut left = bytes;
        while !left.is_empty() {
            match self.to.write(left) {
                Ok(written) if written > 0 => left = left.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        left
    }

    fn tell(&mut self, works: bool) {
        match (works, self.fails) {
            (false, false) => log::error!("the access log cannot be written, and lines are lost"),
            (true, true) => log::info!("the access log is written again"),
            _ => {}
        }
        self.fails = !works;
    }
}

// === impl OpenFile ===

impl OpenFile {
    /// The file that is at the path now, if it is another one.
    fn next(&self) -> io::Result<Option<(File, FileNumber)>> {
        match fs::metadata(&self.path) {
            Ok(there) if number(&there) == self.number => return Ok(None),
            // To open a pipe would wait for somebody who reads it.
            Ok(there) if !there.is_file() => return Err(ErrorKind::InvalidInput.into()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        open(&self.path).map(Some)
    }
}

fn open(path: &Path) -> io::Result<(File, FileNumber)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let number = number(&file.metadata()?);
    Ok((file, number))
}

fn number(file: &Metadata) -> FileNumber {
    (file.dev(), file.ino())
}

// === impl Served ===

impl Served {
    fn line<'a>(&'a self, time: &'a str) -> Line<'a> {
        let principal = self.principal.as_ref();
        Line {
            time,
            request: self.id.as_str(),
            client: self.client,
            http: self.http,
            tls: self.tls.as_ref().map(|digest| digest.version.as_ref()),
            method: self.method,
            route: self.route,
            status: self.status,
            micros: self.micros,
            refusal: self.refusal,
            merchant: principal.map(|principal| MerchantId::as_str(&principal.merchant)),
            key: principal.map(|principal| KeyId::as_str(&principal.key)),
            payment: self.summary.as_ref().map(PaymentPart::of),
            client_gone: self.client_gone,
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

#[cfg(test)]
mod tests {
    use super::Out;
    use crate::scratch::Scratch;
    use std::fs;
    use std::io::{Error, ErrorKind, Result, Write};
    use std::sync::{Arc, Mutex};

    /// A disk with so many bytes free, and what is on it.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let written = bytes.len().min(disk.0);
            disk.0 = disk.0.saturating_sub(written);
            disk.1.extend_from_slice(&bytes[..written]);
            if written > 0 { Ok(written) } else { Err(Error::from(ErrorKind::StorageFull)) }
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_is_renamed_or_removed_is_not_written_on() {
        let scratch = Scratch::new("access-log");
        let at = |name: &str| scratch.path().join(name);
        let text = |name: &str| fs::read_to_string(at(name)).unwrap();
        let mut out = Out::file(&at("log")).unwrap();
        let mut write = |lines: &str| {
            out.follow();
            assert_eq!(out.write(lines.as_bytes()), 0);
        };
        write("one\n");
        write("two\n");
        fs::rename(at("log"), at("log.1")).unwrap();
        write("three\n");
        assert_eq!((&*text("log.1"), &*text("log")), ("one\ntwo\n", "three\n"));
        fs::remove_file(at("log")).unwrap();
        write("four\n");
        assert_eq!(text("log"), "four\n");
        // Somebody else makes the new file, as logrotate does.
        fs::rename(at("log"), at("log.2")).unwrap();
        fs::write(at("log"), "").unwrap();
        write("five\n");
        // What cannot be opened is no reason to lose lines.
        fs::rename(at("log"), at("log.3")).unwrap();
        fs::create_dir(at("log")).unwrap();
        write("six\n");
        assert_eq!(text("log.3"), "five\nsix\n");
        fs::remove_dir(at("log")).unwrap();
        write("seven\n");
        assert_eq!(text("log"), "seven\n");
    }

    #[test]
    fn lines_that_a_full_disk_does_not_take_are_counted_and_tear_no_others() {
        let disk = Disk::default();
        let mut out = Out::new(Box::new(disk.clone()));
        let mut write = |free: usize, lines: &str| {
            disk.0.lock().unwrap().0 = free;
            out.write(lines.as_bytes())
        };
        assert_eq!(write(100, "one\ntwo\n"), 0);
        assert_eq!(write(6, "three\nfour\nfive\n"), 2);
        assert_eq!(write(2, "four\nfive\n"), 2);
        assert_eq!(write(0, "six\n"), 1);
        assert_eq!(write(100, "seven\neight\n"), 0);
        let text = String::from_utf8(disk.0.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "one\ntwo\nthree\nfo\nseven\neight\n");
    }
}
