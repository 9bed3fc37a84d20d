//! The Unix socket between the command line and the running program.
//!
//! One line of JSON goes in and one comes back, and the connection ends. The socket is the owner's:
//! its mode is 0600, and the kernel tells who is at the other end (`SO_PEERCRED`), which must be
//! the program's own user or root.

use super::{Answer, Counter, Refusal, Request, long};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use vault::Vault;
use vault::audit::{Actor, Who};
use zeroize::Zeroizing;

/// How long a request may be: the largest account there can be, every byte of it escaped.
const REQUEST_BYTES_MAX: usize = 262_144;
/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 4_194_304;
/// How long a whole exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How many operators are listened to at a time.
const OPERATORS_MAX: usize = 8;
/// How long to wait when no connection can be taken, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const ROOT: u32 = 0;

/// A socket that is listened to until this is dropped.
#[derive(Debug)]
pub struct Listening {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Listens to operators at `path`, in a thread of its own.
///
/// # Errors
/// When there can be no socket at `path`, or another program listens there.
pub fn spawn(counter: Counter, path: &Path) -> Result<Listening> {
    let place = || format!("the admin socket {}", path.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let (listener, owner) = bind(path).with_context(place)?;
    drop(entered);
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, owner, Arc::new(counter)) => {}
                    _ = stopped => {}
                }
            });
        })
        .with_context(place)?;
    Ok(Listening { path: path.to_owned(), stop: Some(stop), thread: Some(thread) })
}

/// Asks the program that listens at `path`, if there is one. It must belong to `owner`, so that
/// nobody else's program gets to see the request.
///
/// # Errors
/// There is a program, and it does not answer.
pub(crate) async fn ask(
    path: &Path,
    owner: u32,
    request: &Request,
) -> Result<Option<Result<Answer, Refusal>>> {
    let Some(stream) = connect(path, owner).await? else { return Ok(None) };
    let answered = timeout(time_for(request), exchange(stream, request)).await;
    answered.context("the running program did not answer in time")?.map(Some)
}

/// How long the whole of an exchange may take.
fn time_for(request: &Request) -> Duration {
    if matches!(request, Request::Verify) { long::VERIFY_TIMEOUT } else { EXCHANGE_TIMEOUT }
}

/// A connection to the program that listens at `path`, if there is one and it belongs to `owner`.
pub(super) async fn connect(path: &Path, owner: u32) -> Result<Option<UnixStream>> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => bail!("the admin socket {}: {}", path.display(), error.kind()),
    };
    let peer = stream.peer_cred().context("the admin socket does not tell whose it is")?.uid();
    ensure!(is_trusted(peer, owner), "the admin socket belongs to the user {peer}");
    Ok(Some(stream))
}

/// Whether the user at the other end may see requests, or make them.
fn is_trusted(peer: u32, owner: u32) -> bool {
    peer == owner || peer == ROOT
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn exchange(mut stream: UnixStream, request: &Request) -> Result<Result<Answer, Refusal>> {
    let lost = "the running program ended the conversation";
    let line = line(request, REQUEST_BYTES_MAX).context("the request is too long")?;
    stream.write_all(&line).await.context(lost)?;
    let answer = read_line(&mut stream, ANSWER_BYTES_MAX).await.context(lost)?;
    // The parser's own words are dropped, because they quote what they read.
    serde_json::from_slice(&answer).ok().context("the running program is of another version")
}

/// A listener at `path` that is never open to others, not even for a moment, and its owner.
fn bind(path: &Path) -> Result<(UnixListener, u32)> {
    ensure!(std::os::unix::net::UnixStream::connect(path).is_err(), "another orchestra listens");
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    if let Some(directory) = directory {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let fresh = path.with_extension("new");
    if fs::symlink_metadata(&fresh).is_ok() {
        fs::remove_file(&fresh)?;
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    let owner = fs::symlink_metadata(&fresh)?.uid();
    // This also replaces what a program left behind that was killed.
    fs::rename(&fresh, path)?;
    Ok((listener, owner))
}

async fn serve(listener: UnixListener, owner: u32, counter: Arc<Counter>) {
    let seats = Arc::new(Semaphore::new(OPERATORS_MAX));
    while let Ok(seat) = seats.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let counter = counter.clone();
        tokio::spawn(async move {
            if converse(stream, owner, counter).await.is_err() {
                log::warn!("a conversation on the admin socket was cut short");
            }
            drop(seat);
        });
    }
}

async fn converse(mut stream: UnixStream, owner: u32, counter: Arc<Counter>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if !is_trusted(peer, owner) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let request = timeout(EXCHANGE_TIMEOUT, read_line(&mut stream, REQUEST_BYTES_MAX)).await??;
    let operator = Actor::Operator { uid: peer, name: None };
    let answered = match serde_json::from_slice::<Request>(&request) {
        Ok(Request::Backup) => return hand_over(stream, counter.vault(), operator).await,
        Ok(Request::Verify) => long::verify_aside(counter.vault(), operator).await,
        Ok(request) => {
            timeout(EXCHANGE_TIMEOUT, counter.answer(&Who::operator(peer), request)).await?
        }
        Err(_) => Err(Refusal::new("the running program does not understand the request")),
    };
    let line = line(&answered, ANSWER_BYTES_MAX).or_else(|| {
        let refused: Result<Answer, _> = Err(Refusal::new("the answer is too long"));
        line(&refused, ANSWER_BYTES_MAX)
    });
    timeout(EXCHANGE_TIMEOUT, stream.write_all(&line.unwrap_or_default())).await?
}

/// Has a backup written to the other end, in a thread that may block.
async fn hand_over(stream: UnixStream, vault: Arc<Vault>, operator: Actor) -> io::Result<()> {
    let stream = stream.into_std()?;
    let sent = move || long::send_backup(&vault, stream, operator);
    tokio::task::spawn_blocking(sent).await.map_err(io::Error::other)
}

/// `message` as one line, if it is not longer than that. A single secret fits into the first
/// allocation, so that no copy of it is left behind.
fn line(message: &impl Serialize, bytes_max: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(REQUEST_BYTES_MAX));
    serde_json::to_writer(&mut *line, message).ok()?;
    line.push(b'\n');
    (line.len() <= bytes_max).then_some(line)
}

/// The bytes before the first newline, which must come before `bytes_max` of them have.
async fn read_line(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; bytes_max]);
    let mut len: usize = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        let more = from.read(rest).await?;
        let end = rest.iter().take(more).position(|&b| b == b'\n');
        if let Some(end) = end {
            bytes.truncate(len.saturating_add(end));
            return Ok(bytes);
        }
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len = len.saturating_add(more);
    }
    Err(io::ErrorKind::InvalidData.into())
}

// === impl Listening ===

impl Drop for Listening {
    fn drop(&mut self) {
        if fs::remove_file(&self.path).is_err() {
            log::warn!("the admin socket could not be removed");
        }
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the admin thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{REQUEST_BYTES_MAX, ask, bind, is_trusted, line, read_line};
    use crate::admin::{Answer, Refusal, Request};
    use crate::scratch::Scratch;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn the_socket_is_its_owners_and_replaces_a_dead_one() {
        let scratch = Scratch::new("admin-mode");
        let path = scratch.path().join("run/admin.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists(), "a program that is killed leaves it behind");
        let (_listener, _) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(bind(&path).unwrap_err().to_string().contains("another orchestra"));
    }

    #[test]
    fn the_owner_and_root_are_trusted_and_nobody_else() {
        for (peer, owner, expected) in
            [(1_000, 1_000, true), (0, 1_000, true), (0, 0, true), (1_000, 0, false), (1, 2, false)]
        {
            assert_eq!(is_trusted(peer, owner), expected, "{peer} of {owner}");
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_nobody_is_asked() {
        let scratch = Scratch::new("admin-nobody");
        let path = scratch.path().join("admin.sock");
        let owner = fs::metadata(scratch.path()).unwrap().uid();
        assert!(ask(&path, owner, &Request::Status).await.unwrap().is_none());
        drop(bind(&path).unwrap());
        assert!(ask(&path, owner, &Request::Status).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_answer_in_another_language_is_said_to_be_one() {
        let scratch = Scratch::new("admin-version");
        let path = scratch.path().join("admin.sock");
        let (listener, owner) = bind(&path).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_line(&mut stream, REQUEST_BYTES_MAX).await.unwrap();
            stream.write_all(b"{\"canary\":1}\n").await.unwrap();
        };
        let (asked, ()) = tokio::join!(ask(&path, owner, &Request::Status), serve);
        let error = format!("{:#}", asked.unwrap_err());
        assert_eq!(error, "the running program is of another version");
    }

    #[tokio::test]
    async fn lines_have_an_end_and_a_maximum() {
        for (bytes, max, expected) in [
            (&b"abc\ndef"[..], 8, Some(&b"abc"[..])),
            (b"\n", 8, Some(b"")),
            (b"abc", 8, None),
            (b"abcd\n", 4, None),
            (b"abc\n", 4, Some(b"abc")),
        ] {
            let line = read_line(&mut &*bytes, max).await;
            assert_eq!(line.ok().as_deref().map(Vec::as_slice), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_not_sent() {
        let answer: Result<Answer, Refusal> = Ok(Answer::Gone);
        assert_eq!(line(&answer, 14).unwrap().as_slice(), b"{\"Ok\":\"gone\"}\n");
        assert!(line(&answer, 5).is_none());
    }
}
