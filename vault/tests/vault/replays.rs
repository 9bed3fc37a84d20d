//! Idempotency keys and the clock. What else a key is good for is in `payments`.

use crate::payments::two;
use crate::stage::{NOW_MS, on_stage};
use vault::payments::{Claimed, Replay};
use vault::{SweepCursor, wait};

const DAY_MS: u64 = 86_400_000;

on_stage!(1 a_key_that_was_used_while_the_clock_was_back_is_kept_as_long_as_others(stage) {
    let (vault, shop) = two(stage);
    drop(vault.name_payment(&shop, NOW_MS).unwrap());
    let claim = |now| {
        let mut fields = vault.request_fields(&shop).unwrap();
        fields.add("amount", &[b"10.00"]);
        wait(vault.claim_replay(&shop, "key", fields, now)).unwrap()
    };
    let Claimed::New(mine) = claim(NOW_MS - 2 * DAY_MS) else { panic!("nobody used it") };
    let answer = Replay { status: 200, body: Box::from(&b"{}"[..]) };
    wait(vault.answer_replay(mine, &answer)).unwrap();
    // The clock is right again.
    let mut cursor = SweepCursor::default();
    assert_eq!(wait(vault.sweep_replays(&mut cursor, NOW_MS - DAY_MS)), Ok((0, false)));
    assert!(matches!(claim(NOW_MS), Claimed::Answered(again) if again == answer));
    vault.close();
});
