//! What became of an operation whose answer was lost.
//!
//! A new payment is found by our key in its metadata. The list of payments shows at once what was
//! made, but one page of it may not be enough for a busy account; the search needs no pages, but its
//! index lags. So the list is asked first, and after a minute both in turn. What the search does not
//! show is believed only when its index has certainly caught up.

use super::answer::{Expected, Intent, Object, Refund};
use super::{intent_id, v1};
use crate::wire::{Answer, query};
use crate::{Found, Lost, Refusal, settled};
use model::{Kind, Outcome, Rejected, Report, State};
use serde::Deserialize;
use std::time::Duration;

/// How long before and after it was sent, by our clock, a payment may have been made by Stripe's.
const EARLIER_SECS: u64 = 300;
const LATER_SECS: u64 = 600;

/// When a payment that the list has not shown is searched for, and when it is believed that the search
/// shows it if there is one. The index takes a minute as a rule, and up to an hour when it is out of
/// order: <https://docs.stripe.com/search#data-freshness>
const SEARCH_AFTER_SECS: u64 = 90;
const SEARCH_LAG_SECS: u64 = 3_600;

/// The longest page.
const PAGE: &str = "100";

/// Both exchanges, the time that Stripe takes at most, and as much again.
pub(super) const LAG: Duration = Duration::from_mins(10);

/// Where to ask.
pub(super) fn question(lost: &Lost<'_>) -> Result<String, Refusal> {
    let payment = || intent_id(lost.payment.unwrap_or_default());
    match lost.kind {
        Kind::Authorize | Kind::Charge if is_to_search(lost.age()) => searched(lost),
        Kind::Authorize | Kind::Charge => Ok(listed(lost)),
        Kind::Capture | Kind::Void => {
            let path = v1(&["payment_intents", payment()?]);
            Ok(query(&path, &[("expand[]", "latest_charge")]))
        }
        Kind::Refund => {
            let pairs = [("payment_intent", payment()?), ("limit", PAGE)];
            Ok(query(&v1(&["refunds"]), &pairs))
        }
        Kind::Status | Kind::Tokenize => Err(Refusal::Unsupported),
    }
}

/// Whether the search's turn has come, so many seconds after it was sent: in every second span that is
/// as long as all before it, as the times between questions are, and at last always.
fn is_to_search(age: u64) -> bool {
    let spans = age.checked_div(SEARCH_AFTER_SECS).and_then(u64::checked_ilog2);
    age >= SEARCH_LAG_SECS || spans.is_some_and(|nth| nth % 2 == 0)
}

fn listed(lost: &Lost<'_>) -> String {
    let from = lost.sent.saturating_sub(EARLIER_SECS).to_string();
    let to = lost.sent.saturating_add(LATER_SECS).to_string();
    let pairs = [
        ("created[gte]", &*from),
        ("created[lte]", &to),
        ("limit", PAGE),
        ("expand[]", "data.latest_charge"),
    ];
    query(&v1(&["payment_intents"]), &pairs)
}

/// Our keys are letters and digits: nothing in them could end the clause.
fn searched(lost: &Lost<'_>) -> Result<String, Refusal> {
    if lost.key.is_empty() || !lost.key.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Refusal::Unsupported);
    }
    let wanted = format!("metadata['operation_key']:'{}'", lost.key);
    let pairs = [("query", &*wanted), ("expand[]", "data.latest_charge")];
    Ok(query(&v1(&["payment_intents", "search"]), &pairs))
}

/// What the answer says.
pub(super) fn found(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    if answer.status != 200 {
        return Found::Unclear;
    }
    match lost.kind {
        Kind::Authorize | Kind::Charge => payment(lost, answer),
        Kind::Capture | Kind::Void => change(lost, answer),
        Kind::Refund => refund(lost, answer),
        Kind::Status | Kind::Tokenize => Found::Unclear,
    }
}

/// What the page of a search says that it is.
const SEARCH: &str = "search_result";

/// A page of a list or of what a search found.
#[derive(Deserialize)]
struct Page<T> {
    object: String,
    data: Vec<T>,
    has_more: bool,
}

fn payment(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let page = answer.json::<Page<Intent>>().filter(Page::is_one);
    let Some(page) = page else { return Found::Unclear };
    let (none, is_search) = (page.none(), &*page.object == SEARCH);
    match page.data.into_iter().find(|intent| intent.key() == Some(lost.key)) {
        // Nothing is held any more, whatever was held before.
        Some(intent) if intent.status() == "canceled" => dead(&intent, State::Voided),
        Some(intent) => settled(lost, intent.report(lost.kind, &Expected::key(lost.key))),
        None if is_search && lost.age() < SEARCH_LAG_SECS => Found::Unclear,
        None => none,
    }
}

/// A payment is captured once, and a void has no object of its own: the payment tells.
fn change(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let Some(Object::PaymentIntent(intent)) = answer.json() else { return Found::Unclear };
    let expected = Expected::payment(lost.payment.unwrap_or_default());
    if !intent.is(&expected) {
        return Found::Unclear;
    }
    match (lost.kind, intent.status()) {
        (_, "requires_capture") => Found::Absent,
        (Kind::Capture, "canceled") => dead(&intent, State::Voided),
        (Kind::Void, "succeeded") => dead(&intent, State::Captured),
        (Kind::Capture, "succeeded") if !intent.received(lost.amount) => {
            // Somebody else's capture, after which ours could only be refused.
            dead(&intent, State::Captured)
        }
        _ => settled(lost, intent.report(lost.kind, &expected)),
    }
}

fn refund(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let page = answer.json::<Page<Refund>>().filter(Page::is_one);
    let Some(page) = page else { return Found::Unclear };
    let none = page.none();
    let expected = Expected::payment(lost.payment.unwrap_or_default());
    match page.data.into_iter().find(|refund| refund.key() == Some(lost.key)) {
        Some(refund) => settled(lost, refund.report(lost.kind, &expected)),
        None => none,
    }
}

/// The operation was refused, because the payment is in this state.
fn dead(intent: &Intent, state: State) -> Found {
    let outcome = Outcome::Rejected(Rejected::State);
    let reference = intent.reference();
    Found::Report(Report { state: Some(state), reference, ..Report::bare(outcome) })
}

// === impl Page ===

impl<T> Page<T> {
    fn is_one(&self) -> bool {
        matches!(&*self.object, "list" | SEARCH)
    }

    /// What it means that the page does not have it: there may be another page.
    fn none(&self) -> Found {
        if self.has_more { Found::Unclear } else { Found::Absent }
    }
}

#[cfg(test)]
mod tests {
    use super::{SEARCH_LAG_SECS, is_to_search};

    #[test]
    fn both_are_asked_within_minutes_and_at_last_the_search() {
        // As the resolver asks: after one second, and twice as long each time.
        let asked: Vec<u64> = (0..12).map(|nth| (1_u64 << nth) - 1).collect();
        assert!(asked.iter().filter(|age| **age < 90).all(|age| !is_to_search(*age)));
        let within = |minutes: u64| asked.iter().any(|age| *age < minutes * 60 && is_to_search(*age));
        assert!(within(3) && asked.iter().any(|age| *age > 120 && !is_to_search(*age)));
        assert!((0..10_000).all(|more| is_to_search(SEARCH_LAG_SECS + more)));
    }
}
