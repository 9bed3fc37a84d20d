//! The whole program: TLS in front, a vault under a PKCS#11 token, the sandbox behind.
//!
//! Every test starts a program of its own with [`tests::net::Net`]; nothing is shared and nothing
//! is stubbed. They need the program `orchestra` beside them: `cargo build --release --workspace --bins`.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

/// The parts live in the folder of the same name.
mod e2e {
    pub(crate) mod answers;
    pub(crate) mod audit;
    pub(crate) mod authorize_net;
    pub(crate) mod backup;
    pub(crate) mod balance;
    pub(crate) mod braintree;
    pub(crate) mod chaos;
    pub(crate) mod charge;
    pub(crate) mod checkout;
    pub(crate) mod clients;
    pub(crate) mod crash;
    pub(crate) mod cybersource;
    pub(crate) mod declines;
    pub(crate) mod disconnect;
    pub(crate) mod ending;
    pub(crate) mod explain;
    pub(crate) mod failover;
    pub(crate) mod journey;
    pub(crate) mod keys;
    pub(crate) mod leaks;
    pub(crate) mod lending;
    pub(crate) mod memory;
    pub(crate) mod money;
    pub(crate) mod operating;
    pub(crate) mod order;
    pub(crate) mod outage;
    pub(crate) mod outcomes;
    pub(crate) mod refusals;
    pub(crate) mod resolving;
    pub(crate) mod rotation;
    pub(crate) mod routes;
    pub(crate) mod settings;
    pub(crate) mod start;
    pub(crate) mod stored;
    pub(crate) mod strays;
    pub(crate) mod tokenize;
    pub(crate) mod transactions;
    pub(crate) mod upstream;
    pub(crate) mod webhooks;
    pub(crate) mod worldpay;
    pub(crate) mod worldpay_wpg;
}
