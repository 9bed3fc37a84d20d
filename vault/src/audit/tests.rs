//! The log in files, without a vault.

use super::line::{self, LINE_BYTES_MAX, timestamp};
use super::segment::Faults;
use super::*;
use crate::seal::{Dek, DekId, Purpose};
use crate::store::scratch::Scratch;
use crate::wait;
use model::KeyId;
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::atomic::AtomicBool;

/// Small enough for a few lines to fill it.
const SEGMENT: u64 = 2_000;

fn keys(byte: u8) -> Deks {
    let dek = Dek::new(DekId([byte; 8]), Purpose::Audit, &[byte; 32], 0);
    Deks::new(Arc::new(dek), vec![])
}

/// A log that is remembered in `memory`, and its faults.
fn open(scratch: &Scratch, memory: &Arc<Mutex<Option<Tail>>>) -> Audit {
    let (keys, kept) = (keys(1), memory.clone());
    let remembered = *memory.lock().unwrap();
    let remember: Remember = Box::new(move |tail| *kept.lock().unwrap() = Some(tail));
    let settings = Settings {
        program: "1.2.3".into(),
        configuration: "abc".into(),
        segment_bytes_max: Some(SEGMENT),
    };
    Audit::open(scratch.path(), &settings, Memory { keys: &keys, remembered, remember }).unwrap()
}

fn fresh(scratch: &Scratch) -> Audit {
    open(scratch, &Arc::default())
}

fn event(object: &str) -> Event {
    Event {
        action: Action::TokenReveal,
        actor: Actor::Key(KeyId::parse("abcdefghijkl").unwrap()),
        merchant: Some(MerchantId::parse("shop").unwrap()),
        object: object.into(),
        outcome: Outcome::Success,
        origin: Some(Origin {
            address: Some("192.0.2.7".parse().unwrap()),
            request: Some("0123456789abcdef0123456789abcdef".into()),
        }),
    }
}

/// A log of some lines over several files, closed, and the newest head.
fn filled(scratch: &Scratch) -> Head {
    let audit = fresh(scratch);
    for n in 0..20 {
        wait(audit.record(event(&format!("token {n}")))).unwrap();
    }
    let head = wait(audit.signed_head(event("head"))).unwrap();
    audit.close();
    head
}

fn segments(scratch: &Scratch) -> Vec<PathBuf> {
    let listed = segment::list(&directory_in(scratch.path())).unwrap();
    listed.into_iter().map(|(_, path)| path).collect()
}

fn lines(scratch: &Scratch) -> Vec<serde_json::Value> {
    let text: String =
        segments(scratch).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(scratch: &Scratch, heads: &[&Head]) -> Result<Verified, Problem> {
    let heads = heads.iter().map(|head| (*head).clone()).collect();
    let keys = Signatory::new(&keys(1)).trusted().to_vec();
    let expected = Expected { heads, keys, ..Expected::default() };
    verify(&directory_in(scratch.path()), &expected).unwrap().map_err(|flaw| flaw.problem)
}

#[test]
fn an_event_has_every_field_and_follows_the_one_before() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    wait(audit.record(event("token").failed("no such token"))).unwrap();
    audit.close();
    let lines = lines(&scratch);
    let line = &lines[1];
    for (pointer, value) in [
        ("/sequence", "2"),
        ("/action", "\"token.reveal\""),
        ("/requirement", "\"10.2.1.1\""),
        ("/actor/type", "\"key\""),
        ("/actor/id", "\"abcdefghijkl\""),
        ("/merchant", "\"shop\""),
        ("/object", "\"token\""),
        ("/outcome", "\"failure\""),
        ("/reason", "\"no such token\""),
        ("/origin/address", "\"192.0.2.7\""),
        ("/origin/request", "\"0123456789abcdef0123456789abcdef\""),
    ] {
        assert_eq!(line.pointer(pointer).unwrap().to_string(), value, "{pointer}");
    }
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line["previous"], lines[0]["hash"]);
    let words: Vec<_> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(words, ["log.start", "token.reveal", "log.stop", "log.head"]);
    assert_eq!(lines[0]["object"], "program 1.2.3, configuration abc");
}

#[test]
fn every_action_has_a_word_and_a_requirement_of_its_own() {
    let mut words: Vec<_> = Action::ALL.iter().map(|action| action.word()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Action::ALL.len());
    for requirement in ["1", "2", "3", "4", "5", "6", "7"].map(|n| format!("10.2.1.{n}")) {
        let asked = |action: &&Action| action.requirement() == requirement;
        assert!(Action::ALL.iter().any(|action| asked(&action)), "{requirement}");
    }
}

#[test]
fn a_log_that_nobody_touched_is_verified_over_all_its_files() {
    let scratch = Scratch::new();
    let head = filled(&scratch);
    let verified = check(&scratch, &[&head]).unwrap();
    assert!(verified.segments > 3, "{verified:?}");
    // Start, twenty, one for the head, its head, stop, and the last head.
    assert_eq!((verified.lines, verified.first, verified.last), (25, 1, 25));
    assert_eq!((verified.heads, verified.unsigned), (2, 0));
    let bytes: u64 = segments(&scratch).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(verified.bytes, bytes);
}

#[test]
fn any_bit_that_is_flipped_is_found() {
    let scratch = Scratch::new();
    filled(&scratch);
    let path = &segments(&scratch)[1];
    let good = fs::read(path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(path, &bad).unwrap();
        assert!(check(&scratch, &[]).is_err(), "byte {at}");
    }
    fs::write(path, &good).unwrap();
    check(&scratch, &[]).unwrap();
}

/// A way to lie about what was, and what is said of it.
type Lie = (&'static str, fn(&[PathBuf]), Problem);

fn edit(path: &Path, change: fn(&mut Vec<String>)) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    change(&mut lines);
    fs::write(path, lines.concat()).unwrap();
}

const LIES: [Lie; 8] = [
    ("a line is dropped", |files| edit(&files[1], |lines| drop(lines.remove(1))), Problem::Missing),
    ("two lines are swapped", |files| edit(&files[1], |lines| lines.swap(0, 1)), Problem::Missing),
    (
        "a line is repeated",
        |files| edit(&files[1], |lines| lines.insert(1, lines[0].clone())),
        Problem::OutOfOrder,
    ),
    ("a file is removed", |files| fs::remove_file(&files[1]).unwrap(), Problem::Missing),
    ("the first file is removed", |files| fs::remove_file(&files[0]).unwrap(), Problem::Missing),
    (
        "half a line is cut off",
        |files| {
            let last = files.last().unwrap();
            let bytes = fs::read(last).unwrap();
            fs::write(last, &bytes[..bytes.len() - 5]).unwrap();
        },
        Problem::Torn,
    ),
    (
        "a line is written anew with a hash that fits",
        |files| {
            edit(&files[1], |lines| {
                let read = line::read(lines[0].as_bytes()).unwrap();
                let mut forged = Vec::new();
                line::write(&mut forged, read.sequence, 1, &event("lie"), None, &read.previous);
                lines[0] = String::from_utf8(forged).unwrap();
            });
        },
        Problem::Unlinked,
    ),
    (
        "the end is cut off",
        |files| {
            for file in &files[2..] {
                fs::remove_file(file).unwrap();
            }
        },
        Problem::Cut,
    ),
];

#[test]
fn every_lie_about_the_log_is_found_and_named() {
    for (what, lie, problem) in LIES {
        let scratch = Scratch::new();
        let head = filled(&scratch);
        lie(&segments(&scratch));
        assert_eq!(check(&scratch, &[&head]), Err(problem), "{what}");
    }
}

#[test]
fn a_log_that_is_written_anew_as_a_whole_is_found_by_its_keys_and_by_a_kept_head() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let head = filled(&scratch);
    filled(&other);
    assert_eq!(check(&other, &[&head]), Err(Problem::NotOfHead));
    let forged = Expected { keys: vec![[7; 32]], ..Expected::default() };
    let found = verify(&directory_in(scratch.path()), &forged).unwrap().unwrap_err();
    assert_eq!(found.problem, Problem::BadHead);
    assert!(found.to_string().contains("did not sign"), "{found}");
}

#[test]
fn a_log_whose_old_files_are_kept_elsewhere_is_verified_when_that_is_said() {
    let scratch = Scratch::new();
    let head = filled(&scratch);
    let files = segments(&scratch);
    fs::remove_file(&files[0]).unwrap();
    let expected = Expected { heads: vec![head], begins_later: true, ..Expected::default() };
    let verified = verify(&directory_in(scratch.path()), &expected).unwrap().unwrap();
    assert_eq!((verified.segments, verified.last), (files.len() - 1, 25));
}

#[test]
fn a_torn_end_is_set_aside_and_a_line_says_so() {
    let scratch = Scratch::new();
    filled(&scratch);
    let last = segments(&scratch).pop().unwrap();
    let torn = b"{\"sequence\":26,\"time\":\"20";
    File::options().append(true).open(&last).unwrap().write_all(torn).unwrap();
    fresh(&scratch).close();
    let lines = lines(&scratch);
    let said = lines[25]["object"].as_str().unwrap();
    let kept = last.with_file_name(said.rsplit(' ').next().unwrap());
    assert_eq!(fs::read(kept).unwrap(), torn);
    assert_eq!(lines[25]["action"], "log.repair");
    let said = format!("{} bytes that are no line, now in ", torn.len());
    assert!(lines[25]["object"].as_str().unwrap().starts_with(&said), "{}", lines[25]);
    check(&scratch, &[]).unwrap();
}

#[test]
fn an_end_that_was_cut_while_nobody_looked_is_told_and_stays_visible() {
    let (scratch, memory) = (Scratch::new(), Arc::default());
    let audit = open(&scratch, &memory);
    for _ in 0..5 {
        wait(audit.record(event("token"))).unwrap();
    }
    audit.close();
    drop(audit);
    let remembered = memory.lock().unwrap().unwrap().sequence;
    assert_eq!(remembered, 8, "start, five, stop, head");
    let last = segments(&scratch).pop().unwrap();
    edit(&last, |lines| lines.truncate(1));
    let cut = lines(&scratch).len();
    assert!(cut < 8, "{cut}");
    open(&scratch, &memory).close();
    let lines = lines(&scratch);
    assert_eq!(lines[cut]["action"], "log.repair");
    assert_eq!(lines[cut]["outcome"], "failure");
    assert_eq!(lines[cut]["sequence"], 9);
    assert_eq!(check(&scratch, &[]), Err(Problem::Missing));
    // Once said, it is not said again.
    open(&scratch, &memory).close();
    let repairs = self::lines(&scratch);
    let repairs = repairs.iter().filter(|line| line["action"] == "log.repair");
    assert_eq!(repairs.count(), 1);
}

#[test]
fn a_log_whose_end_is_gone_opens_also_when_its_new_file_is_there_and_empty() {
    let (scratch, memory) = (Scratch::new(), Arc::default());
    open(&scratch, &memory).close();
    let remembered: Tail = memory.lock().unwrap().unwrap();
    // A restored vault has no log; and a process that was killed has left this of a new one.
    for path in segments(&scratch) {
        File::create(path).unwrap();
    }
    let first = remembered.sequence + 1;
    let fresh = segments(&scratch)[0].with_file_name(format!("{first:020}.jsonl"));
    File::create(&fresh).unwrap();
    open(&scratch, &memory).close();
    let lines = lines(&scratch);
    assert_eq!((&lines[0]["action"], &lines[0]["sequence"]), (&"log.repair".into(), &first.into()));
    let expected = Expected { begins_later: true, ..Expected::default() };
    let directory = directory_in(scratch.path());
    assert_eq!(verify(&directory, &expected).unwrap().unwrap().first, first);
}

#[test]
fn what_is_noted_is_written_without_anybody_waiting() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    for n in 0..100 {
        audit.note(event(&format!("{n}"))).unwrap();
    }
    audit.close();
    let objects: Vec<_> = lines(&scratch).iter().map(|line| line["object"].to_string()).collect();
    for n in 0..100 {
        assert_eq!(objects[n + 1], format!("\"{n}\""));
    }
    assert_eq!(audit.note(event("late")), Err(AuditError::Closed));
    assert_eq!(wait(audit.record(event("late"))), Err(AuditError::Closed));
    assert_eq!(audit.figures().refused, 2);
    assert_eq!(audit.figures().waiting, 0);
}

#[test]
fn many_who_wait_share_their_syncs_and_each_has_a_line() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    wait(audit.record(event("token"))).unwrap();
                }
            });
        }
    });
    let figures = audit.figures();
    audit.close();
    assert!(figures.lines >= 321, "{figures:?}");
    assert!(figures.syncs < 320, "{figures:?}");
    assert_eq!(check(&scratch, &[]).unwrap().lines, lines(&scratch).len() as u64);
}

/// Makes a part of the disk fail or work.
fn fail(audit: &Audit, part: impl Fn(&Faults) -> &AtomicBool, fails: bool) {
    part(audit.shared.faults.get().unwrap()).store(fails, Ordering::SeqCst);
}

/// Waits until the log is in the state.
fn until(audit: &Audit, state: State) {
    while audit.shared.state() != state {
        audit.shared.wake();
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_refuses_lines_and_takes_them_again_when_there_is_room() {
    let parts: [fn(&Faults) -> &AtomicBool; 2] =
        [|faults| &faults.reserve, |faults| &faults.append];
    for part in parts {
        let scratch = Scratch::new();
        let audit = fresh(&scratch);
        wait(audit.record(event("before"))).unwrap();
        fail(&audit, part, true);
        // What fails may be the line that meets the failure, or the one after it.
        while wait(audit.record(event("during"))).is_ok() {}
        assert!(!audit.works());
        assert_eq!(audit.note(event("refused")), Err(AuditError::Full));
        assert_eq!(wait(audit.record(event("refused"))), Err(AuditError::Full));
        fail(&audit, part, false);
        until(&audit, State::Open);
        wait(audit.record(event("after"))).unwrap();
        audit.close();
        check(&scratch, &[]).unwrap();
        let objects: Vec<_> = lines(&scratch).iter().map(|l| l["object"].to_string()).collect();
        assert!(objects.contains(&"\"after\"".to_owned()), "{objects:?}");
        assert!(!objects.contains(&"\"refused\"".to_owned()), "{objects:?}");
    }
}

#[test]
fn a_disk_that_is_full_when_a_new_file_is_due_leaves_a_log_that_is_verified() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    fail(&audit, |faults| &faults.reserve, true);
    // Until there is no room, and then what was taken before that was seen.
    while audit.figures().bytes < 2 * SEGMENT {
        fail(&audit, |faults| &faults.reserve, true);
        let _full = wait(audit.record(event("token")));
        fail(&audit, |faults| &faults.reserve, false);
        until(&audit, State::Open);
    }
    audit.close();
    drop(audit);
    fresh(&scratch).close();
    check(&scratch, &[]).unwrap();
}

#[test]
fn after_a_failed_sync_nothing_is_taken_until_a_restart() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    fail(&audit, |faults| &faults.sync, true);
    assert_eq!(wait(audit.record(event("lost"))), Err(AuditError::Broken));
    fail(&audit, |faults| &faults.sync, false);
    assert_eq!(wait(audit.record(event("refused"))), Err(AuditError::Broken));
    assert_eq!(audit.note(event("refused")), Err(AuditError::Broken));
    audit.close();
    drop(audit);
    let audit = fresh(&scratch);
    wait(audit.record(event("again"))).unwrap();
    audit.close();
    check(&scratch, &[]).unwrap();
}

#[test]
fn an_act_that_is_cut_short_has_a_line_after_it_too() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    let begun = AtomicBool::new(false);
    let never = std::future::poll_fn(|_| {
        begun.store(true, Ordering::SeqCst);
        std::task::Poll::<Result<(), AuditError>>::Pending
    });
    let mut act = Box::pin(audit.act(event("one"), never));
    wait(std::future::poll_fn(|cx| {
        assert!(act.as_mut().poll(cx).is_pending());
        if begun.load(Ordering::SeqCst) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    }));
    drop(act);
    // Nobody has begun with this one.
    drop(audit.act(event("two"), async { Ok::<_, AuditError>(()) }));
    audit.close();
    let said: Vec<_> = lines(&scratch)[1..3]
        .iter()
        .map(|line| [line["outcome"].clone(), line["reason"].clone()])
        .collect();
    let why = "it was cut short: how far it came is not known";
    let none = serde_json::Value::Null;
    assert_eq!(said, [["attempted".into(), none], ["failure".into(), why.into()]]);
    check(&scratch, &[]).unwrap();
}

#[test]
fn an_act_has_a_line_before_it_and_one_after_it() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    let done: Result<u8, AuditError> = wait(audit.act(event("one"), async { Ok(7) }));
    assert_eq!(done, Ok(7));
    let failed: Result<u8, AuditError> =
        wait(audit.act(event("two"), async { Err(AuditError::Busy) }));
    assert_eq!(failed, Err(AuditError::Busy));
    fail(&audit, |faults| &faults.sync, true);
    let begun = AtomicBool::new(false);
    let act = async {
        begun.store(true, Ordering::SeqCst);
        Ok(())
    };
    assert_eq!(wait(audit.act(event("three"), act)), Err(AuditError::Broken));
    assert!(!begun.load(Ordering::SeqCst), "without its line nothing is done");
    audit.close();
    let lines = lines(&scratch);
    let said: Vec<_> =
        lines[1..5].iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, ["attempted", "success", "attempted", "failure"]);
}

#[test]
fn nothing_like_a_card_number_is_written_and_a_line_has_an_end() {
    let scratch = Scratch::new();
    let audit = fresh(&scratch);
    wait(audit.record(event("card 4111111111111111 of nobody"))).unwrap();
    wait(audit.record(event(&"\u{7}\"\n".repeat(500)))).unwrap();
    audit.close();
    let lines = lines(&scratch);
    assert_eq!(lines[1]["object"], "card **************** of nobody");
    check(&scratch, &[]).unwrap();
}

proptest! {
    #[test]
    fn a_line_is_read_as_it_was_written_and_never_too_long(
        object in ".{0,200}",
        name in proptest::option::of(".{0,200}"),
        request in ".{0,200}",
        sequence: u64,
        time: u64,
        previous: [u8; 32],
    ) {
        let signatory = Signatory::new(&keys(1));
        let head = signatory.sign(&Tail { sequence, hash: previous }, &timestamp(time));
        let event = Event {
            actor: Actor::Operator { uid: u32::MAX, name: name.map(Into::into) },
            merchant: Some(MerchantId::parse(&"m".repeat(64)).unwrap()),
            origin: Some(Origin { address: Some("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()), request: Some(request.into()) }),
            ..event(&object)
        };
        for head in [None, Some(&head)] {
            let mut written = Vec::new();
            let hash = line::write(&mut written, sequence, time, &event, head, &previous);
            prop_assert!(written.len() <= LINE_BYTES_MAX, "{}", written.len());
            let read = line::read(&written).unwrap();
            prop_assert_eq!((read.sequence, read.previous, read.hash), (sequence, previous, hash));
            prop_assert_eq!(read.head.as_ref(), head);
        }
    }

    #[test]
    fn no_bytes_make_a_line_panic(bytes: Vec<u8>) {
        prop_assert!(line::read(&bytes).is_none());
    }
}
