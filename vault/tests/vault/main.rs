//! The vault from outside: a real SoftHSM token and a real store, in a directory of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic_in_result_fn,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::type_complexity,
    reason = "tests fail by panicking, and their texts are ASCII"
)]

mod accounts;
mod backups;
mod custodians;
mod deletion;
mod keys;
mod leaks;
mod notices;
mod opening;
mod outage;
mod payments;
mod replays;
mod rotation;
mod speed;
mod stage;
mod tampering;
mod thief;
mod tokens;
