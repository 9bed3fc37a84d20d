//! What is done to a payment that was made earlier.

use super::payment::Money;
use super::queried::Queried;
use super::{HOSTS, PAYMENTS, sent};
use super::links::{self, Links};
use crate::wire::{Body, Request};
use crate::{Cx, Refusal};
use model::{Action, Amount, FollowUp, Operation};
use serde::Serialize;

/// A change, and what is known of the payment.
pub(super) struct Change<'a> {
    verb: Verb,
    /// What this change is called: our name for the attempt.
    reference: &'a str,
    amount: Amount,
    memo: Option<&'a str>,
    progress: Option<Progress>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Capture,
    Refund,
    Void,
}

/// How much of a payment was taken before.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    pub(super) authorized: Amount,
    pub(super) captured: Amount,
    pub(super) captures: u32,
}

/// A link: its relation, which decides what is sent, and its path.
pub(super) struct Link {
    relation: &'static str,
    path: String,
}

#[derive(Serialize)]
struct Part<'a> {
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<Sequence>,
}

#[derive(Serialize)]
struct Sequence {
    number: u32,
    total: u32,
}

// === impl Change ===

impl<'a> Change<'a> {
    /// The change that an operation asks for; its amount is one that Worldpay can take.
    pub(super) fn of<C>(
        operation: &'a Operation<C>,
        earlier: &'a FollowUp,
    ) -> Result<Self, Refusal> {
        let verb = match &operation.action {
            Action::Capture(_) => Verb::Capture,
            Action::Refund(_) => Verb::Refund,
            Action::Void(_) => Verb::Void,
            Action::Authorize(_) | Action::Status(_) | Action::Tokenize(_) => {
                return Err(Refusal::Unsupported);
            },
        };
        Money::of(earlier.amount)?;
        let known = earlier.known.as_ref();
        let progress = known.map(|known| Progress {
            authorized: known.authorized,
            captured: known.captured,
            captures: known.captures,
        });
        Ok(Self {
            verb,
            reference: &operation.key,
            amount: earlier.amount,
            memo: known.and_then(|known| known.memo.as_deref()),
            progress,
        })
    }

    /// The same with what Worldpay says of the payment, where we know nothing.
    pub(super) fn informed(self, queried: &Queried) -> Self {
        let progress = self.progress.or_else(|| queried.progress());
        Self { progress, ..self }
    }

    /// The link, where the memo has it.
    pub(super) fn remembered(&self) -> Option<Link> {
        let memo = self.memo?;
        self.find(|relation| links::in_memo(memo, relation))
    }

    /// The link among those of an answer.
    pub(super) fn from(&self, links: &Links) -> Option<Link> {
        self.find(|relation| links.find(relation).map(str::to_owned))
    }

    fn find(&self, path: impl Fn(&str) -> Option<String>) -> Option<Link> {
        let mut relations = self.relations().iter();
        relations.find_map(|relation| Some(Link { relation, path: path(relation)? }))
    }

    /// What is asked for, the best first. A refund always says its amount; a sale that cannot be
    /// cancelled any more is reversed.
    fn relations(&self) -> &'static [&'static str] {
        match self.verb {
            Verb::Capture if self.takes_all() => &["settle", "partialSettle"],
            Verb::Capture => &["partialSettle"],
            Verb::Refund => &["partialRefund"],
            Verb::Void => &["cancel", "reverse"],
        }
    }

    fn takes_all(&self) -> bool {
        let all = |p: &Progress| p.captures == 0 && p.authorized == self.amount;
        self.progress.as_ref().is_some_and(all)
    }

    /// Writes the request. It is decided before that Worldpay can take the amount.
    pub(super) fn request(&self, link: &Link, cx: &Cx<'_>) -> Result<Request, Refusal> {
        let reference = self.reference;
        let value = Money::of(self.amount)?;
        let body = match link.relation {
            "settle" => Body::json(&Part { reference, value: None, sequence: None }),
            "partialSettle" => {
                let sequence = Some(self.sequence());
                Body::json(&Part { reference, value: Some(value), sequence })
            }
            "partialRefund" => Body::json(&Part { reference, value: Some(value), sequence: None }),
            _ => Body::empty(),
        };
        sent(Request::post(HOSTS.optional(cx)?, link.path.clone(), body), PAYMENTS, cx)
    }

    /// Which of how many: it is the last when it takes all that is left.
    fn sequence(&self) -> Sequence {
        let before = self.progress.map_or(0, |progress| progress.captures);
        let number = before.saturating_add(1);
        let is_last = self.progress.is_some_and(|progress| {
            let taken = progress.captured.minor().saturating_add(self.amount.minor());
            taken >= progress.authorized.minor()
        });
        Sequence { number, total: if is_last { number } else { number.saturating_add(1) } }
    }
}
