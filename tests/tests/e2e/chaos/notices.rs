//! The account at Adyen, and what Adyen tells of it.
//!
//! It tells of each thing right after it answered, whether or not the answer arrived, and again what
//! nobody acknowledged because the program was down.

use crate::e2e::{order, webhooks};
use tests::net::{MERCHANT, Net};
use tests::sandbox::Provider;
use tests::sandbox::webhook::{Hook, Moment};

/// An account that has had the secret of its webhooks from the beginning. One that gets other
/// credentials is asked for no change again that was sent before.
pub(super) const ADYEN: &str = "adyen-told";

/// Stores the account, and has Adyen tell of it from now on.
pub(super) async fn hear(net: &Net) {
    order::account(net, ADYEN, "Adyen", &webhooks::adyen_credentials()).await;
    let path = format!("/Webhooks/{MERCHANT}/{ADYEN}");
    let hook = Hook { path, ..webhooks::hook(net, Provider::Adyen, Moment::After) };
    net.sandbox.hook(hook).unwrap();
}

/// Has Adyen tell what it did not tell yet. Gives how much is still not acknowledged.
pub(super) async fn deliver(net: &Net) -> usize {
    net.sandbox.tell(Provider::Adyen).await.unwrap();
    net.sandbox.tally().untold
}
