//! The generator against origins whose faults are known.

use super::{Load, Pace, Schedule, run};
use crate::script::{Expect, Script, Shot};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Answers the `nth` request of the origin's life; None closes the connection instead.
type Answers = fn(nth: u64) -> Option<String>;

/// An origin that serves connections in threads until the test process ends.
fn origin(answers: Answers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let served = Arc::clone(&served);
            std::thread::spawn(move || serve(&stream.unwrap(), answers, &served));
        }
    });
    address
}

fn serve(mut stream: &TcpStream, answers: Answers, served: &AtomicU64) {
    let mut reader = BufReader::new(stream);
    while let Some(length) = request(&mut reader) {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let Some(answer) = answers(served.fetch_add(1, Ordering::Relaxed)) else { return };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads the head of a request, and says how long its body is.
fn request(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            return Some(length);
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn load(address: SocketAddr, pace: Pace) -> Load {
    let expect = Expect { status: 200, marker: b"yes".to_vec(), yields: None };
    let shot = Shot::new(b"POST / HTTP/1.1\r\nhost: a\r\n", b"{count}", expect);
    Load {
        address,
        connections: 3,
        pace,
        warm_up: Duration::from_millis(20),
        window: Duration::from_millis(120),
        script: Arc::new(Script { shots: vec![shot] }),
        first: 7,
    }
}

#[test]
fn right_answers_are_counted_and_the_probe_runs_twice() {
    let address = origin(|_| Some(ok("yes")));
    let probes = AtomicU64::new(0);
    let probe = || Ok(probes.fetch_add(1, Ordering::Relaxed));
    let (taken, before, after) = run(&load(address, Pace::Closed), probe).unwrap();
    assert_eq!((before, after), (0, 1));
    assert!(taken.done > 0 && taken.failed == 0, "{:?}", taken.told);
    assert_eq!(taken.done, taken.latency.total());
    assert!(taken.next - 7 >= taken.done, "numbers are not used twice");
}

#[test]
fn a_wrong_answer_is_a_failure_however_fast_it_is() {
    let address = origin(|_| Some(ok("no")));
    let (taken, ..) = run(&load(address, Pace::Closed), || Ok(())).unwrap();
    assert_eq!(taken.done, 0);
    assert!(taken.failed > 0 && taken.told[0].contains("no yes"), "{:?}", taken.told);
}

#[test]
fn chunked_answers_and_announced_closes_are_no_failures() {
    let address = origin(|nth| {
        let close = if nth % 2 == 0 { "close" } else { "keep-alive" };
        let head = format!("HTTP/1.1 200 OK\r\nconnection: {close}\r\n");
        Some(head + "transfer-encoding: chunked\r\n\r\n2\r\nye\r\n1\r\ns\r\n0\r\n\r\n")
    });
    let (taken, ..) = run(&load(address, Pace::Closed), || Ok(())).unwrap();
    assert!(taken.done > 0 && taken.failed == 0, "{:?}", taken.told);
}

#[test]
fn a_connection_that_breaks_is_a_failure_and_is_opened_again() {
    let address = origin(|nth| (nth != 5).then(|| ok("yes")));
    let (taken, ..) = run(&load(address, Pace::Closed), || Ok(())).unwrap();
    assert_eq!(taken.failed, 1, "{:?}", taken.told);
    assert!(taken.done > 0);
}

#[test]
fn nobody_listening_is_a_failure_and_no_hang() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (taken, ..) = run(&load(address, Pace::Closed), || Ok(())).unwrap();
    assert_eq!(taken.done, 0);
    assert!(taken.failed > 0);
}

#[tokio::test(start_paused = true)]
async fn a_charge_held_up_by_the_one_before_is_late_from_when_it_was_due() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let load = Load { connections: 2, ..load(address, Pace::Open { per_s: 100 }) };
    let begun = tokio::time::Instant::now();
    let mut schedule = Schedule::new(&load, 1);
    assert_eq!((schedule.wait().await - begun).as_millis(), 10);
    tokio::time::advance(Duration::from_millis(75)).await;
    let counted_from = [schedule.wait().await, schedule.wait().await, schedule.wait().await];
    assert_eq!(counted_from.map(|at| (at - begun).as_millis()), [30, 50, 70]);
    assert_eq!((schedule.wait().await - begun).as_millis(), 90);
}
