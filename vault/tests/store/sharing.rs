//! Many writers at once: each flush is shared, exactly one of them wins, and readers see whole
//! values.

use crate::create;
use crate::scratch::Scratch;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use tokio::runtime::Builder;
use vault::store::{Collection, Pending, Store, StoreError, Write, wait};

/// Has all of them queued, in this order, before it waits for any.
fn wait_all<T>(mut writes: Vec<Pending<'_, T>>) -> Vec<Result<T, StoreError>> {
    let mut cx = Context::from_waker(Waker::noop());
    let early: Vec<_> = writes.iter_mut().map(|write| write.as_mut().poll(&mut cx)).collect();
    let results = writes.into_iter().zip(early).map(|(write, early)| match early {
        Poll::Ready(result) => result,
        Poll::Pending => wait(write),
    });
    results.collect()
}

#[test]
fn writers_share_flushes() {
    const WRITERS: u32 = 64;
    const WRITES: u32 = 50;
    let scratch = Scratch::new();
    let store = Arc::new(create(&scratch));
    let before = store.figures().commits;
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            runtime.spawn(async move {
                for nth in 0..WRITES {
                    let key = format!("{writer}/{nth}").into_bytes();
                    let put = store.put_if_absent(Collection::Tokens, key, vec![1; 300]);
                    assert_eq!(put.await, Ok(true));
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| runtime.block_on(writer).unwrap());
    let figures = store.figures();
    assert_eq!(figures.commits - before, u64::from(WRITERS * WRITES));
    assert!(figures.flushes < figures.commits, "{figures:?}");
    assert!(figures.syncs > 0 && figures.commit_wait_us_max > 0, "{figures:?}");
    assert!(figures.commit_wait_us_sum >= figures.commit_wait_us_max, "{figures:?}");
    assert_eq!(figures.waiting, 0);
}

#[test]
fn one_of_many_wins() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    for value in [vec![1; 10], vec![1; 10_000]] {
        let key = format!("of {}", value.len()).into_bytes();
        let won = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let put = store.put_if_absent(Collection::Tokens, key.clone(), value.clone());
                    won.fetch_add(u32::from(wait(put).unwrap()), Ordering::SeqCst);
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
    }
}

#[test]
fn who_loses_waits_as_well() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let key = || b"key".to_vec();
    let put = |value: usize| store.put_if_absent(Collection::Tokens, key(), vec![1; value]);
    let swap = |old: usize| {
        let old = Some(vec![2; old]);
        store.compare_and_swap(Collection::Tokens, key(), old, None)
    };
    assert_eq!(wait(put(10)), Ok(true));
    // What won may not be durable yet: the loser is answered by a flush of its own.
    for (nth, loser) in [put(10), put(10_000), swap(10), swap(10_000)].into_iter().enumerate() {
        let before = store.figures();
        assert_eq!(wait(loser), Ok(false), "{nth}");
        let after = store.figures();
        assert_eq!(after.commits, before.commits + 1, "{nth}");
        assert!(after.flushes > before.flushes, "{nth}");
    }
}

#[test]
fn changes_that_wait_together_are_made_in_their_order() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let (collection, key) = (Collection::Tokens, b"key".to_vec());
    let value = |fill: u8| vec![fill; 6_000];
    let swap = |old: Option<u8>, new: Option<u8>| {
        store.compare_and_swap(collection, key.clone(), old.map(value), new.map(value))
    };
    for _ in 0..20 {
        let (steps, held): (Vec<_>, Vec<_>) = [
            (swap(None, Some(1)), Ok(true)),
            (swap(None, Some(2)), Ok(false)),
            (swap(Some(2), Some(3)), Ok(false)),
            (swap(Some(1), Some(4)), Ok(true)),
            (swap(Some(4), Some(4)), Ok(true)),
            (swap(Some(1), None), Ok(false)),
            (swap(Some(4), None), Ok(true)),
        ]
        .into_iter()
        .unzip();
        assert_eq!(wait_all(steps), held);
        assert_eq!(store.get(collection, &key), Ok(None));
    }
}

#[test]
fn more_changes_than_a_transaction_holds_are_all_made() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let put = |nth: u32| Write::Put {
        collection: Collection::Tokens,
        key: nth.to_be_bytes().to_vec(),
        value: vec![1; 20_000],
    };
    let batches = (0..100).map(|nth| store.batch(vec![put(nth)])).collect();
    assert_eq!(wait_all(batches), [Ok(()); 100]);
    assert_eq!(store.page(Collection::Tokens, None, b"", 1_000).unwrap().len(), 100);
}

#[test]
fn increments_by_compare_and_swap_are_never_lost() {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 25;
    let scratch = Scratch::new();
    let store = create(&scratch);
    // The second counter lies in parts.
    for padding in [0, 6_000] {
        let key = format!("padded by {padding}").into_bytes();
        let text = |count: u64| [&count.to_be_bytes()[..], &vec![0; padding]].concat();
        let count = |value: &[u8]| u64::from_be_bytes(*value.first_chunk().unwrap());
        assert_eq!(wait(store.put_if_absent(Collection::Meta, key.clone(), text(0))), Ok(true));
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    let mut left = WRITES;
                    while left > 0 {
                        let old = store.get(Collection::Meta, &key).unwrap().unwrap();
                        let new = text(count(&old) + 1);
                        let swap = store.compare_and_swap(
                            Collection::Meta,
                            key.clone(),
                            Some(old),
                            Some(new),
                        );
                        left -= u64::from(wait(swap).unwrap());
                    }
                });
            }
        });
        let value = store.get(Collection::Meta, &key).unwrap().unwrap();
        assert_eq!(count(&value), WRITERS * WRITES, "padded by {padding}");
    }
}

#[test]
fn a_reader_sees_one_value_or_the_next_and_never_a_mixture() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let (collection, key) = (Collection::Accounts, b"key".to_vec());
    let put = |fill: u8| Write::Put {
        collection,
        key: key.clone(),
        value: vec![fill; 10_000 + usize::from(fill) * 100],
    };
    wait(store.batch(vec![put(0)])).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for fill in 1..=200 {
                wait(store.batch(vec![put(fill)])).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let value = store.get(collection, &key).unwrap().unwrap();
            let fill = *value.first().unwrap();
            assert_eq!(value.len(), 10_000 + usize::from(fill) * 100);
            assert!(value.iter().all(|byte| *byte == fill));
            assert_eq!(store.page(collection, None, b"", 10).unwrap().len(), 1);
        }
    });
}

#[test]
fn a_closed_store_reads_and_does_not_write() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let put =
        |key: &str| wait(store.put_if_absent(Collection::Tokens, key.into(), b"value".to_vec()));
    assert_eq!(put("before"), Ok(true));
    assert!(store.healthy());
    store.close();
    assert_eq!(put("after"), Err(StoreError::Unavailable));
    // What it still shows is durable.
    assert_eq!(wait(store.durable()), Ok(()));
    assert!(store.get(Collection::Tokens, b"before").unwrap().is_some());
    assert!(store.get(Collection::Tokens, b"after").unwrap().is_none());
    assert!(!store.healthy());
    store.close();
}

#[test]
fn nothing_of_what_is_kept_is_in_a_debug() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let (collection, key) = (Collection::Tokens, vec![211; 3]);
    let write = Write::Put { collection, key: key.clone(), value: vec![213; 9] };
    let printed = format!("{write:?}");
    wait(store.batch(vec![write])).unwrap();
    assert!(store.get(collection, &key).unwrap().is_some());
    let printed = format!("{printed} {store:?}");
    assert!(!printed.contains("211, 211") && !printed.contains("213, 213"), "{printed}");
    assert!(printed.contains("9 bytes") && printed.contains("commits: 2"), "{printed}");
}
