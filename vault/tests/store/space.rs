//! The data file does not grow without end: what is overwritten or deleted is used again.

use crate::create;
use crate::scratch::Scratch;
use vault::store::{Collection, SledStore, Store, Write, wait};

const COLLECTION: Collection = Collection::Tokens;
const ROWS: u32 = 10_000;
const VALUE_BYTES: u64 = 300;
const KEY_BYTES: u64 = 4;
/// What the rows themselves take.
const LIVE_BYTES: u64 = 10_000 * (VALUE_BYTES + KEY_BYTES);

/// How many bytes the data file has at most for each that lives in it.
const DISK_PER_LIVE_MAX: u64 = 8;

const ROUNDS: u32 = 40;
/// After so many rounds the file has the size that it keeps.
const WARM_UP: u32 = 15;
/// How much of a file that keeps its size may come and go, as a share of it: what is free again is
/// found by a thread of the engine, which a busy machine keeps waiting.
const LEEWAY: u64 = 1;

fn write(nth: u32, fill: Option<u8>) -> Write {
    let (collection, key) = (COLLECTION, nth.to_be_bytes().to_vec());
    match fill {
        Some(fill) => Write::Put { collection, key, value: vec![fill; 300] },
        None => Write::Delete { collection, key },
    }
}

/// Writes rows, some of them, in batches.
fn write_all(store: &SledStore, rows: impl Iterator<Item = Write>) {
    let rows: Vec<_> = rows.collect();
    for rows in rows.chunks(200) {
        wait(store.batch(rows.to_vec())).unwrap();
    }
}

#[test]
fn overwriting_and_deleting_do_not_make_the_file_grow_for_ever() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    write_all(&store, (0..ROWS).map(|nth| write(nth, Some(0))));
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        let fill = u8::try_from(round).unwrap();
        // A quarter of them, here and there, is overwritten; some are deleted and come back.
        let some = || (0..ROWS).filter(|nth| nth.wrapping_mul(2_654_435_761) >> 30 == round % 4);
        write_all(&store, some().map(|nth| write(nth, nth.is_multiple_of(7).then_some(fill))));
        write_all(&store, some().map(|nth| write(nth, Some(fill))));
        sizes.push(store.figures().disk_bytes);
    }
    let (early, late) = sizes.split_at(usize::try_from(WARM_UP).unwrap());
    let (warm, largest) = (early.iter().max().unwrap(), late.iter().max().unwrap());
    println!(
        "{LIVE_BYTES} live bytes; the file has {warm} after {WARM_UP} rounds, and {largest} at most \
         in the {} after them",
        ROUNDS - WARM_UP
    );
    assert!(*largest <= LIVE_BYTES * DISK_PER_LIVE_MAX, "{sizes:?}");
    assert!(*largest <= warm + warm / LEEWAY, "{sizes:?}");
}

#[test]
fn what_was_deleted_makes_room_for_what_comes() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let fill = |from: u32, fill| {
        write_all(&store, (from..from + ROWS).map(|nth| write(nth, fill)));
        store.figures().disk_bytes
    };
    let first = fill(0, Some(1));
    let mut sizes = vec![first];
    for round in 0..12 {
        // All of them go, and as many others come.
        sizes.push(fill(round * ROWS, None));
        sizes.push(fill((round + 1) * ROWS, Some(1)));
    }
    println!("full {first}, then {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= LIVE_BYTES * DISK_PER_LIVE_MAX), "{sizes:?}");
}
