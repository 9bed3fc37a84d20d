//! What is opened, what is refused, and that each refusal says what to do.

use crate::scratch::Scratch;
use crate::{CACHE, create, open};
use std::fs;
use std::path::Path;
use vault::store::{Collection, OpenError, SledStore, Store, Write, wait};

fn refusal(path: &Path) -> OpenError {
    SledStore::open(path, CACHE).unwrap_err()
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The mark with which the making of a store begins: nothing is promised.
fn first_mark() -> Vec<u8> {
    let body = [&1_u64.to_be_bytes()[..], &[0; 25]].concat();
    let checksum = crc32fast::hash(&body).to_be_bytes();
    [&b"orchmrk2"[..], &body, &checksum].concat()
}

fn write_format(scratch: &Scratch, format: Option<&str>) {
    let (collection, key) = (Collection::Meta, b"format".to_vec());
    let write = match format {
        Some(format) => Write::Put { collection, key, value: format.into() },
        None => Write::Delete { collection, key },
    };
    wait(open(scratch.path()).batch(vec![write])).unwrap();
}

#[test]
fn what_is_not_there_is_not_made() {
    let scratch = Scratch::new();
    for path in [scratch.path().to_owned(), scratch.path().join("nowhere")] {
        let error = refusal(&path);
        assert!(matches!(&error, OpenError::Missing(missing) if *missing == path), "{error:?}");
        assert!(error.to_string().contains("orchestra vault init"), "{error}");
    }
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn a_store_whose_data_file_is_gone_does_not_come_back_empty() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    fs::remove_file(scratch.path().join("db")).unwrap();
    assert!(matches!(refusal(scratch.path()), OpenError::Lost { found: 0, .. }));
    assert!(!scratch.path().join("db").exists());
    // Nor does one whose data file was emptied.
    fs::write(scratch.path().join("db"), "").unwrap();
    let error = refusal(scratch.path());
    assert!(matches!(error, OpenError::Lost { .. }), "{error:?}");
    assert!(fs::read(scratch.path().join("db")).unwrap().is_empty());
}

#[test]
fn what_an_attempt_without_room_leaves_behind_is_in_nobodys_way() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("lock"), "").unwrap();
    assert!(matches!(refusal(scratch.path()), OpenError::Missing(_)));
    drop(create(&scratch));
    drop(open(scratch.path()));
    // What was cut short after it is told from what was lost.
    for name in ["db", "wal.0", "wal.1"] {
        fs::remove_file(scratch.path().join(name)).unwrap();
    }
    assert!(matches!(refusal(scratch.path()), OpenError::Lost { .. }));
    fs::write(scratch.path().join("mark"), first_mark()).unwrap();
    assert!(matches!(refusal(scratch.path()), OpenError::Unfinished(_)));
}

#[test]
fn a_store_is_made_only_where_nothing_is() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("lost+found")).unwrap();
    drop(create(&scratch));
    let again = SledStore::create(scratch.path(), CACHE).unwrap_err();
    assert!(matches!(again, OpenError::Exists(_)), "{again:?}");
    let other = Scratch::new();
    fs::write(other.path().join("letter"), "dear").unwrap();
    let foreign = SledStore::create(other.path(), CACHE).unwrap_err();
    assert!(matches!(foreign, OpenError::Exists(_)), "{foreign:?}");
    assert_eq!(names(other.path()), ["letter"]);
}

#[test]
fn a_new_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.path().join("deep/down");
    drop(SledStore::create(&path, CACHE).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    drop(SledStore::open(&path, CACHE).unwrap());
}

#[test]
fn a_store_that_is_open_is_not_opened_again() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let error = refusal(scratch.path());
    assert!(matches!(error, OpenError::Locked(_)), "{error:?}");
    assert!(error.to_string().contains("Stop it first"), "{error}");
    drop(store);
    drop(open(scratch.path()));
}

#[test]
fn another_format_is_refused_and_named() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    write_format(&scratch, Some("7"));
    let error = refusal(scratch.path());
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "7"), "{error:?}");
    assert!(error.to_string().contains("has format 7, and this program reads format 2"), "{error}");
}

#[test]
fn a_store_that_was_never_finished_is_refused() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    write_format(&scratch, None);
    // It was finished, since something was promised: so this is damage.
    assert!(matches!(refusal(scratch.path()), OpenError::Corrupt { .. }));
    fs::write(scratch.path().join("mark"), first_mark()).unwrap();
    ["wal.0", "wal.1"].iter().for_each(|name| fs::write(scratch.path().join(name), "").unwrap());
    assert!(matches!(refusal(scratch.path()), OpenError::Unfinished(_)));
}

#[test]
fn half_a_snapshot_is_removed() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let value = b"value".to_vec();
    wait(store.put_if_absent(Collection::Tokens, b"key".to_vec(), value.clone())).unwrap();
    drop(store);
    // It writes a snapshot when it opens.
    drop(open(scratch.path()));
    // Newer than any snapshot there is: nonsense, or all but its name, as a cut leaves it.
    let name = "snap.7FFFFFFFFFFFFFFF.generating";
    let names = || names(scratch.path()).into_iter();
    let snapshot = names().find(|name| name.starts_with("snap.")).unwrap();
    let whole = fs::read(scratch.path().join(snapshot)).unwrap();
    for half in [vec![0xa5; 777], whole] {
        fs::write(scratch.path().join(name), half).unwrap();
        let store = open(scratch.path());
        // Removed, and not put aside as one that was damaged.
        assert!(names().all(|found| !found.contains(name)));
        assert_eq!(store.get(Collection::Tokens, b"key"), Ok(Some(value.clone())));
    }
}

#[test]
fn a_file_among_the_blobs_is_refused() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    let blob = scratch.path().join("blobs/7");
    fs::write(&blob, "a page").unwrap();
    assert!(matches!(refusal(scratch.path()), OpenError::Blobs(_)));
    fs::remove_file(&blob).unwrap();
    drop(open(scratch.path()));
}

#[test]
fn settings_of_another_engine_are_refused() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    let conf = scratch.path().join("conf");
    let mut settings = fs::read(&conf).unwrap();
    let version = settings.windows(4).position(|bytes| bytes == b"0.34").unwrap();
    settings.splice(version..version + 4, *b"0.33");
    let body = settings.len() - 4;
    let checksum = crc32fast::hash(&settings[..body]).to_le_bytes();
    settings[body..].copy_from_slice(&checksum);
    fs::write(&conf, settings).unwrap();
    let error = refusal(scratch.path());
    assert!(matches!(error, OpenError::Format { .. }), "{error:?}");
}
