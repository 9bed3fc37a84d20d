//! How much of a processor a charge takes in the vault. A measurement, not a test: it asserts nothing.

use crate::stage::{
    NOW, NOW_MS, at_stripe, charge, issued, kept, number, on_stage, open_card, who,
};
use model::{AccountName, Credentials, Secret};
use std::hint::black_box;
use vault::wait;

const ROUNDS: u64 = 100_000;

/// How long this thread has run, in nanoseconds. Unlike the clock, it does not see the neighbours.
fn run_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn measure(what: &str, mut once: impl FnMut()) {
    let start = run_time();
    for round in 0..ROUNDS {
        once();
        // So that the audit log is not asked for more than it can write. It takes no run time.
        if round % 1_000 == 999 {
            std::thread::park_timeout(std::time::Duration::from_millis(12));
        }
    }
    println!("{what}: {} ns", (run_time() - start) / ROUNDS);
}

on_stage!(
    #[ignore = "a measurement: cargo test --release -p vault --test vault speed -- --ignored --nocapture"]
    1 reads_for_a_charge(stage) {
        let (vault, shop, _) = stage.make_with_merchants();
        let token = kept(&vault, &shop, "4111111111111111");
        let name = AccountName::parse("stripe").unwrap();
        let pairs = ["secretKey", "publishableKey", "webhook"]
            .map(|name| (name.into(), Secret::new("sk_test_4eC39HqLyjWDarjtT1zdp7dc")));
        let account = vault.put_account(&shop, &name, "Stripe", Credentials::new(pairs.into()), NOW_MS);
        wait(account).unwrap();
        let key = issued(&vault, &shop, "till");
        let who = who();
        for _ in 0..3 {
            measure("open_card with a token", || {
                black_box(open_card(&vault, &shop, charge(number(&token), None), at_stripe(&who)).unwrap());
            });
            measure("account with three credentials", || {
                black_box(vault.account(&shop, &name).unwrap().unwrap());
            });
            measure("authenticate", || {
                // Exposed to be presented.
                black_box(vault.authenticate(key.key.expose().as_bytes(), NOW).unwrap());
            });
        }
    }
);
