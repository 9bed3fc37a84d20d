//! What every provider is put through, with every line of its ledger.

use super::order::{Order, ledger, status, text, verdict};
use tests::net::Net;
use tests::sandbox::Provider;
use tests::sandbox::fault::{Effect, Fault, Operation};
use tests::sandbox::ledger::Entry;

/// The verdict of a charge that was made.
pub(crate) const SOLD: &str = "200 Success Captured null false";
/// The verdict of what the provider cannot do, and was not asked for.
pub(crate) const NOT_ASKED: &str = "400 null null null null";

/// A charge: at which account, how much, what the merchant is told, and the line of the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sale<'a> {
    pub(crate) account: &'a str,
    pub(crate) amount: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) verdict: &'a str,
    pub(crate) line: &'a str,
}

/// Makes each charge, under the reference `ORD-77`, and returns the entry of the ledger for each.
pub(crate) async fn sells(net: &Net, sales: &[Sale<'_>]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for sale in sales {
        let order = Order::new(sale.account, sale.amount, sale.currency).my_ref("ORD-77");
        let answer = order.charge(net).await;
        assert_eq!(verdict(&answer), sale.verdict, "{sale:?}: {}", answer.text());
        assert_eq!(ledger(net).pop().as_deref(), Some(sale.line), "{sale:?}");
        let entry = net.sandbox.ledger().pop().unwrap();
        if sale.verdict == SOLD {
            assert_eq!(entry.payment, text(&answer, "gatewayReference"), "{sale:?}");
        }
        entries.push(entry);
    }
    assert_eq!(net.sandbox.ledger().len(), sales.len());
    entries
}

/// Holds, captures in part, refunds in part, and voids at a provider that does all of it at once.
/// A second capture of the first payment, of `beyond`, gets the verdict `refused`.
pub(crate) async fn lives(net: &Net, account: &str, beyond: &str, refused: &str) {
    let order = |amount| Order::new(account, amount, "USD");
    let held = order("100.00").my_ref("ORD-1").authorize(net).await;
    assert_eq!(verdict(&held), "200 Success Authorized null false", "{}", held.text());
    let payment = text(&held, "gatewayReference");
    let told = status(net, account, "refTransId", &payment).await;
    assert_eq!(verdict(&told), "200 Success Authorized null false", "{}", told.text());
    let captured = order("60.00").of(&payment).capture(net).await;
    assert_eq!(verdict(&captured), "200 Success Captured null false", "{}", captured.text());
    let refunded = order("25.00").of(&payment).refund(net).await;
    assert_eq!(verdict(&refunded), "200 Success Refunded null false", "{}", refunded.text());
    let again = order(beyond).of(&payment).capture(net).await;
    assert_eq!(verdict(&again), refused, "{}", again.text());
    let second = text(&order("5.00").authorize(net).await, "gatewayReference");
    let voided = order("5.00").of(&second).void(net).await;
    assert_eq!(verdict(&voided), "200 Success Voided null false", "{}", voided.text());
    let expected = [
        "authorize Approved 10000 USD",
        "capture Approved 6000 USD",
        "refund Approved 2500 USD",
        "authorize Approved 500 USD",
        "void Approved 500 USD",
    ];
    assert_eq!(ledger(net), expected);
}

/// Has the provider leave a charge in doubt in each way, which takes so many `requests`; says of
/// each whether it was carried out, and the id that the merchant was given.
pub(crate) async fn doubts(
    net: &Net,
    account: &str,
    provider: Provider,
    requests: u64,
) -> Vec<(bool, String)> {
    let mut doubts = Vec::new();
    for (effect, before) in [(Effect::Cut, true), (Effect::Half, false), (Effect::Cut, false)] {
        net.sandbox.reset();
        let fault = Fault::once(effect).at(provider).on(Operation::Charge);
        net.sandbox.fault(if before { fault.before() } else { fault }).unwrap();
        let answer = Order::new(account, "10.50", "USD").charge(net).await;
        assert_eq!(verdict(&answer), "202 Accepted Unknown null false", "{}", answer.text());
        assert_eq!(net.sandbox.requests(), requests, "sent again? {effect:?}");
        assert_eq!(net.sandbox.ledger().len(), usize::from(!before), "{effect:?}");
        doubts.push((!before, text(&answer, "transactionId")));
    }
    doubts
}
