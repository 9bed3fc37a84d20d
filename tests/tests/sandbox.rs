//! The sandbox providers, spoken to over TLS as a client of theirs would.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

/// The parts live in the folder of the same name.
mod sandbox {
    pub(crate) mod adyen;
    pub(crate) mod authorize_net;
    pub(crate) mod checkout;
    pub(crate) mod cybersource;
    pub(crate) mod faults;
    pub(crate) mod specs;
    pub(crate) mod stripe;
    pub(crate) mod talk;
    pub(crate) mod worldpay;
    pub(crate) mod worldpay_wpg;
}
