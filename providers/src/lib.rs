//! One file per provider.
//!
//! A provider is a few pure functions: an [`Operation`] to a [`Request`], and an [`Answer`] to a
//! [`Report`]. Sending, retrying, timing, limiting and logging belong to the proxy; what a card or
//! a credential is belongs to `model`.

use model::{
    Amount, Card, Credentials, Gone, Kind, Notice, Operation, Outcome, Rejected, Report, Secret,
    Unknown,
};
use std::fmt;
use std::time::Duration;

mod checks;
pub mod credentials;
mod declines;
mod environment;
pub mod funds;
mod means;
pub mod pursuit;
mod stored;
mod three_ds;
mod validity;
pub mod webhook;
pub mod wire;
pub use credentials::CredentialSpec;
pub use declines::Declines;
use pursuit::{Pursuit, Trail};
pub use validity::Validity;
use webhook::{Delivery, Receipt, Unproven};
use wire::{Answer, Request};

/// The list of providers. Adding one is: a file here, a word below, a folder under `fixtures/`.
macro_rules! providers {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        /// Every provider, in the order of their names.
        pub static PROVIDERS: &[&dyn Provider] = &[$(&$name::PROVIDER),*];
    };
}

providers! {
    adyen, authorize_net, braintree, checkout, cybersource, null_failure, null_success, stripe, worldpay, worldpay_wpg
}

/// How many exchanges one operation may take.
pub const EXCHANGES_MAX: usize = 3;

/// The API's name for the credentials of an account, in refusals.
const CREDENTIALS: &str = "paymentGatewayAccount.credentials";

/// A payment provider, as data in and data out.
///
/// Implementations do not read a clock, draw randomness or do I/O: what they need is in [`Cx`].
/// This makes every one of them a table of fixtures, a fuzz target and a benchmark for free.
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// Lower-case ASCII, and the name of the file and of the fixture folder.
    fn name(&self) -> &'static str;

    /// What the API says of it.
    fn gateway(&self) -> &'static Gateway;

    /// Writes the first request of `operation` as this provider wants it.
    ///
    /// # Errors
    /// When the provider cannot be asked for this. Nothing has been sent then.
    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal>;

    /// Reads the answer to the last request of an operation of this kind.
    ///
    /// It does not fail: an answer that makes no sense is [`Outcome::Unknown`].
    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report;

    /// What follows the answer to exchange number `nth`, counted from 0.
    ///
    /// The card is gone before the first answer arrives. What is left of the operation is used to
    /// see that the answer speaks of it, and to write a second request where one is needed.
    fn step(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
        _cx: &Cx<'_>,
    ) -> Step {
        Step::Done(agreed(operation, self.outcome(operation.kind(), answer)))
    }

    /// The provider's own name for a card that it keeps, where the answer to exchange number `nth`
    /// brings it. It is asked of every answer to an operation that wants one
    /// ([`Operation::wants_token`]); an approved tokenization has one in its last answer.
    fn token(
        &self,
        _operation: &Operation<Gone>,
        _nth: usize,
        _answer: &Answer<'_>,
    ) -> Option<Secret> {
        None
    }

    /// The answer of a provider inside this process, which needs no request.
    fn instant(&self, _operation: &Operation<Gone>) -> Option<Report> {
        None
    }

    /// Writes the cheapest request that an account gets an answer to only with good credentials,
    /// and that moves no money. None, where there is nobody to ask.
    ///
    /// # Errors
    /// When the credentials cannot even be sent.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal>;

    /// Reads the answer to that request.
    fn validity(&self, answer: &Answer<'_>) -> Validity;

    /// Whether the report says that the account itself was refused, whatever the operation was.
    fn refuses_account(&self, report: &Report) -> bool {
        report.outcome == Outcome::Rejected(Rejected::Credentials)
    }

    /// The provider's words for why an issuer said no, and ours for them.
    fn declines(&self) -> Declines {
        Declines::NONE
    }

    /// Whether a decline comes with the provider's or the scheme's advice not to try again, whatever
    /// the reason is.
    fn forbids_retry(&self, _report: &Report) -> bool {
        false
    }

    /// Writes the question what became of an operation whose answer was lost: the provider's best
    /// means that needs no card. Whether it moves money is for the request to say.
    ///
    /// # Errors
    /// When the provider cannot be asked ([`Refusal::Unsupported`]).
    fn inquiry(&self, _lost: &Lost<'_>, _cx: &Cx<'_>) -> Result<Request, Refusal> {
        Err(Refusal::Unsupported)
    }

    /// For how long the provider answers a request that comes again under its key as it did the
    /// first time, at least. A question that moves money is asked within that time only: it is the
    /// very request once more. Zero: there is none.
    fn remembers(&self) -> Duration {
        Duration::ZERO
    }

    /// Reads the answer to that question.
    fn found(&self, _lost: &Lost<'_>, _answer: &Answer<'_>) -> Found {
        Found::Unclear
    }

    /// What follows an answer to that question. Most need one only.
    fn pursue(
        &self,
        lost: &Lost<'_>,
        _trail: &mut Trail,
        answer: &Answer<'_>,
        _cx: &Cx<'_>,
    ) -> Pursuit {
        Pursuit::Found(self.found(lost, answer))
    }

    /// How long after an operation was sent "there is no such payment" is not to be believed,
    /// because what the provider shows lags behind what it did.
    fn lag(&self) -> Duration {
        Duration::from_mins(15)
    }

    /// Writes the question what money the provider keeps for the account. None, where it has no
    /// such call.
    ///
    /// # Errors
    /// When the credentials cannot even be sent.
    fn funds_request(&self, _cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        Ok(None)
    }

    /// Reads the answer to that question.
    ///
    /// # Errors
    /// Why it is none.
    fn funds(&self, _answer: &Answer<'_>) -> funds::Told {
        Err(Validity::NotUnderstood)
    }

    /// What the provider tells of its own accord, once it is certain that it does: nothing of a
    /// delivery is believed before that. At most [`webhook::NOTICES_MAX`].
    ///
    /// # Errors
    /// Why nothing of it is believed.
    fn notices(&self, _delivery: &Delivery<'_>, _cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        Err(Unproven::NotExpected)
    }

    /// The proof that somebody hears it who knows the secret, for a provider that asks for one by a
    /// query before it sends anything.
    ///
    /// # Errors
    /// Why there is none.
    fn proof(&self, _query: &str, _cx: &Cx<'_>) -> Result<String, Unproven> {
        Err(Unproven::NotExpected)
    }

    /// What the provider wants to read once its delivery is taken.
    fn receipt(&self) -> Receipt {
        Receipt::EMPTY
    }
}

/// An operation whose answer was lost.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    pub kind: Kind,
    /// The key of the attempt, which every provider was told where it takes one.
    pub key: &'a str,
    /// What the merchant called it, or else the key.
    pub reference: &'a str,
    pub amount: Amount,
    /// The earlier payment that it is about, as the provider calls it; none for a new payment.
    pub payment: Option<&'a str>,
    /// [`Report::memo`] of the earlier payment.
    pub memo: Option<&'a str>,
    /// When it was sent, in seconds since 1970.
    pub sent: u64,
    /// When it is asked about, in seconds since 1970.
    pub now: u64,
}

/// What an inquiry brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The provider has it, and this is what became of it.
    Report(Report),
    /// The provider knows nothing of it. Before [`Provider::lag`] is over this proves nothing.
    Absent,
    /// The answer says neither.
    Unclear,
}

/// What follows an answer.
#[derive(Debug)]
pub enum Step {
    /// This is what became of the operation.
    Done(Report),
    /// The operation goes on with another request.
    Send(Request),
}

/// Why an operation cannot be asked for. It is decided before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The provider has no such operation.
    Unsupported,
    /// The provider cannot take the value of a field, named as in the API.
    Field { name: &'static str, problem: &'static str },
}

/// What a provider may know about the world.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    pub credentials: &'a Credentials,
    /// The time, in seconds since 1970 UTC.
    pub now: u64,
    /// Random bits that nobody has seen, for providers that sign requests.
    pub nonce: u128,
}

/// What the API says of a provider.
#[derive(Debug)]
pub struct Gateway {
    /// The name by which accounts refer to it.
    pub id: &'static str,
    pub display_name: &'static str,
    pub url: &'static str,
    pub description: &'static str,
    pub credentials: &'static [CredentialSpec],
    pub supports_network_token: bool,
}

/// Finds a provider by the name that accounts use or by its own, in any case.
pub fn by_gateway(id: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| {
        provider.gateway().id.eq_ignore_ascii_case(id) || provider.name().eq_ignore_ascii_case(id)
    })
}

/// The report, unless it speaks of another amount than was asked for: then something happened, but
/// not what was asked, and it must not be read as a success.
///
/// The amount of a void is not compared, because nobody is asked for it.
fn agreed(operation: &Operation<Gone>, report: Report) -> Report {
    let differs = match (operation.kind(), operation.amount(), report.amount) {
        (Kind::Status | Kind::Tokenize | Kind::Void, _, _) => false,
        (_, Some(asked), Some(told)) => asked != told,
        (_, None, _) | (_, _, None) => false,
    };
    if differs { doubted(report) } else { report }
}

/// What became of a lost operation, as a report says it, unless the report does not know or speaks of
/// another amount.
fn settled(lost: &Lost<'_>, report: Report) -> Found {
    match report.outcome {
        Outcome::Unknown(_) => Found::Unclear,
        Outcome::Approved | Outcome::Pending
            if lost.kind != Kind::Void && report.amount != Some(lost.amount) =>
        {
            Found::Unclear
        }
        Outcome::Approved | Outcome::Declined(_) | Outcome::Pending | Outcome::Rejected(_) => {
            Found::Report(report)
        }
    }
}

/// The report with a success taken back; what the provider said stays, so that it can be looked up.
fn doubted(report: Report) -> Report {
    match report.outcome {
        Outcome::Approved | Outcome::Pending => {
            Report { outcome: Outcome::Unknown(Unknown::Unreadable), ..report }
        }
        Outcome::Declined(_) | Outcome::Rejected(_) | Outcome::Unknown(_) => report,
    }
}

// === impl Lost ===

impl Lost<'_> {
    /// How long ago it was sent, in seconds.
    pub fn age(&self) -> u64 {
        self.now.saturating_sub(self.sent)
    }
}

// === impl Cx ===

impl<'a> Cx<'a> {
    /// What a provider may know that signs nothing and asks for no time.
    pub fn timeless(credentials: &'a Credentials) -> Self {
        Self { credentials, now: 0, nonce: 0 }
    }

    /// The credential that `spec` describes, where the account has one that is not empty.
    fn find(&self, spec: &CredentialSpec) -> Option<&'a Secret> {
        spec.of(self.credentials)
    }

    /// The credential that `spec` describes, or a refusal that says `problem`.
    fn need(&self, spec: &CredentialSpec, problem: &'static str) -> Result<&'a Secret, Refusal> {
        self.find(spec).ok_or(Refusal::Field { name: CREDENTIALS, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::{PROVIDERS, by_gateway};
    use std::collections::BTreeSet;

    #[test]
    fn providers_are_found_by_either_name_in_any_case() {
        for provider in PROVIDERS {
            for id in [provider.gateway().id, provider.name()] {
                for id in [id.to_owned(), id.to_ascii_uppercase(), id.to_ascii_lowercase()] {
                    assert_eq!(by_gateway(&id).map(|p| p.name()), Some(provider.name()), "{id}");
                }
            }
        }
        assert!(by_gateway("").is_none() && by_gateway("stripe ").is_none());
    }

    #[test]
    fn the_list_is_sorted_and_no_name_comes_twice() {
        let names: Vec<_> = PROVIDERS.iter().map(|p| p.name()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let words = PROVIDERS.iter().flat_map(|p| [p.name(), p.gateway().id]);
        let lower: BTreeSet<_> = words.map(|w| w.replace('_', "").to_ascii_lowercase()).collect();
        assert_eq!(lower.len(), names.len());
        assert!(names.iter().all(|n| n.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_'))));
    }

    #[test]
    fn no_credential_has_two_meanings_in_one_gateway() {
        for provider in PROVIDERS {
            let specs = provider.gateway().credentials;
            let words = specs.iter().flat_map(|s| s.aliases.iter().chain([&s.name]));
            let words: Vec<_> = words.map(|w| w.to_ascii_lowercase()).collect();
            let unique: BTreeSet<_> = words.iter().collect();
            assert_eq!(unique.len(), words.len(), "{}: {words:?}", provider.name());
        }
    }
}
