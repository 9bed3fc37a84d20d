//! The unified answer of a payment operation: `OperationResult`.

use crate::reply::Reply;
use crate::upstream::Tally;
use model::{
    AccountName, AddressCheck, Amount, CvvCheck, Decline, Evidence, Kind, NotAllowed, Outcome,
    Payment, Report, Secret, Standing, State, TransactionId, Unknown,
};
use serde::Serialize;
use serde_json::value::RawValue;
use vault::payments::Told;

mod verdict;

/// How an operation at one account ended, from our side.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Our own fault, before anything was sent.
    Failed,
    /// Nothing that moves money can have reached the provider.
    NotSent,
    /// The payment, which is in this state, does not allow it; nobody was asked.
    NotAllowed(NotAllowed, State),
    /// The provider has no such operation.
    NotSupported,
    /// The provider answered, or we do not know.
    Reported(Report),
}

/// An operation that ended, with what the answer and the log say of it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) account: Option<AccountName>,
    pub(crate) amount: Option<Amount>,
    /// The accounts that were asked, in their order.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) ending: Ending,
    pub(crate) gateway: &'static str,
    pub(crate) key: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) provider: &'static str,
    pub(crate) tally: Tally,
    /// The gateway's own name for the card, where it told one.
    pub(crate) token: Option<Secret>,
}

/// What the access log and the metrics keep of a finished operation.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) account: Option<AccountName>,
    pub(crate) code: Code,
    pub(crate) key: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) outcome: &'static str,
    pub(crate) provider: &'static str,
    pub(crate) tally: Tally,
}

/// The six `operationResultCode`s of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Code {
    Accepted,
    FatalFailure,
    NotImplemented,
    Rejected,
    Success,
    TemporaryFailure,
}

/// The answer, field for field in the documented order; what we add comes last.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationResult<'a> {
    operation_type: &'static str,
    operation_result_code: Code,
    operation_result_description: &'static str,
    authorization_code: Option<&'a str>,
    currency: Option<&'a str>,
    amount: Option<Box<RawValue>>,
    gateway_name: &'static str,
    gateway_reference: Option<&'a str>,
    gateway_result_code: Option<&'a str>,
    gateway_result_description: Option<&'a str>,
    gateway_result_sub_code: Option<&'a str>,
    gateway_result_sub_description: Option<&'a str>,
    gateway_token: Option<&'a str>,
    custom_gateway_response: Option<&'a str>,
    transaction_id: &'a str,
    state: Option<&'static str>,
    decline_reason: Option<&'static str>,
    retryable: bool,
    attempts: Vec<AttemptItem<'a>>,
    address_check: Option<&'static str>,
    cvv_check: Option<&'static str>,
    network_transaction_id: Option<&'a str>,
}

/// One account that was asked, or left out.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) account: Option<AccountName>,
    pub(crate) gateway: &'static str,
    pub(crate) tell: Tell,
}

/// What is told of an account of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Asked(Code),
    Skipped(Skip),
}

/// Why an account was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Skip {
    Disabled,
    /// Its provider failed lately, and there is another account to ask.
    Unavailable,
}

#[derive(Serialize)]
struct AttemptItem<'a> {
    account: Option<&'a str>,
    gateway: &'static str,
    result: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Skip>,
}

// === impl Ending ===

impl Ending {
    /// The code that a merchant hears of it.
    pub(crate) fn code(&self, kind: Kind) -> Code {
        self.verdict(kind).code
    }

    /// What the journal says of an ending.
    fn of_standing(standing: Standing, evidence: &Evidence, state: State) -> Self {
        let outcome = match standing {
            Standing::NotDone => return Self::NotSent,
            Standing::Sending => Outcome::Unknown(Unknown::Interrupted),
            Standing::Ended(outcome) => outcome,
        };
        Self::Reported(Report {
            state: Some(state),
            authorization_code: evidence.authorization_code.clone(),
            reference: evidence.reference.clone(),
            code: evidence.code.clone(),
            description: evidence.description.clone(),
            sub_code: evidence.sub_code.clone(),
            sub_description: evidence.sub_description.clone(),
            address_check: evidence.address_check,
            cvv_check: evidence.cvv_check,
            network_transaction_id: evidence.network_transaction_id.clone(),
            ..Report::bare(outcome)
        })
    }
}

impl Told for Ending {
    fn standing(&self) -> Standing {
        match self {
            Self::Failed | Self::NotAllowed(..) | Self::NotSent | Self::NotSupported => {
                Standing::NotDone
            }
            Self::Reported(report) => Standing::Ended(report.outcome),
        }
    }

    fn report(&self) -> Option<&Report> {
        match self {
            Self::Failed | Self::NotAllowed(..) | Self::NotSent | Self::NotSupported => None,
            Self::Reported(report) => Some(report),
        }
    }
}

// === impl Finished ===

impl Finished {
    /// An operation of which no account is known.
    pub(crate) fn new(key: Box<str>, kind: Kind, amount: Option<Amount>, ending: Ending) -> Self {
        let tally = Tally::default();
        let (account, attempts) = (None, Vec::new());
        let (gateway, provider, token) = ("", "-", None);
        Self { account, amount, attempts, ending, gateway, key, kind, provider, tally, token }
    }

    /// What the journal knows of a payment, or of a change of one. None: there is no such change.
    pub(crate) fn of_journal(payment: &Payment, change: Option<&TransactionId>) -> Option<Self> {
        let last = payment.last_attempt()?;
        let state = payment.state();
        let (kind, amount, standing, evidence) = match change {
            None => (payment.kind(), payment.amount, last.standing, &last.evidence),
            Some(id) => {
                let change = payment.change(id)?;
                (change.kind.kind(), change.amount, change.standing, &change.evidence)
            }
        };
        let ending = Ending::of_standing(standing, evidence, state);
        let key = payment.id.as_str().into();
        let mut finished = Self::new(key, kind, Some(amount), ending);
        let attempt = |one: &model::Attempt| Attempt {
            account: one.account.clone(),
            gateway: gateway_of(&one.provider),
            tell: Tell::Asked(Ending::of_standing(one.standing, &one.evidence, state).code(kind)),
        };
        finished.attempts = payment.attempts.iter().map(attempt).collect();
        finished.account.clone_from(&last.account);
        finished.gateway = gateway_of(&last.provider);
        Some(finished)
    }

    /// The answer to the merchant.
    pub(crate) fn reply(&self) -> Reply {
        let verdict = self.ending.verdict(self.kind);
        let bare = Report::bare(Outcome::Unknown(Unknown::Interrupted));
        let report = self.report().unwrap_or(&bare);
        let amount = report.amount.or(self.amount);
        let currency = amount.map(|amount| amount.currency());
        let result = OperationResult {
            operation_type: operation_type(self.kind),
            operation_result_code: verdict.code,
            operation_result_description: verdict.description,
            authorization_code: report.authorization_code.as_deref(),
            currency: currency.as_ref().map(|currency| currency.code()),
            amount: amount.and_then(|amount| RawValue::from_string(amount.decimal()).ok()),
            gateway_name: self.gateway,
            gateway_reference: report.reference.as_deref(),
            gateway_result_code: report.code.as_deref(),
            gateway_result_description: report.description.as_deref(),
            gateway_result_sub_code: report.sub_code.as_deref(),
            gateway_result_sub_description: report.sub_description.as_deref(),
            // The name is exposed because the merchant asked for it.
            gateway_token: self.token.as_ref().map(Secret::expose),
            custom_gateway_response: None,
            transaction_id: &self.key,
            state: verdict.state.map(State::word),
            decline_reason: self.decline().map(Decline::word),
            retryable: verdict.retryable && !self.is_final(report),
            attempts: self.attempts.iter().map(AttemptItem::of).collect(),
            address_check: report.address_check.map(AddressCheck::word),
            cvv_check: report.cvv_check.map(CvvCheck::word),
            network_transaction_id: report.network_transaction_id.as_deref(),
        };
        Reply::json(verdict.code.status(), &result)
    }

    /// What the log and the metrics keep.
    pub(crate) fn summary(self) -> Summary {
        Summary {
            code: self.ending.code(self.kind),
            outcome: self.outcome_word(),
            account: self.account,
            key: self.key,
            kind: self.kind,
            provider: self.provider,
            tally: self.tally,
        }
    }

    /// The word of the outcome in logs and metrics.
    pub(crate) fn outcome_word(&self) -> &'static str {
        match &self.ending {
            Ending::Failed => "failed",
            Ending::NotAllowed(..) => "not_allowed",
            Ending::NotSent => "not_sent",
            Ending::NotSupported => "not_supported",
            Ending::Reported(report) => report.outcome.word(),
        }
    }

    /// Whether the provider used a word that no table of ours knows.
    pub(crate) fn is_unmapped(&self) -> bool {
        self.decline() == Some(Decline::Unmapped)
            || matches!(
                self.report().map(|report| report.outcome),
                Some(Outcome::Unknown(Unknown::Unreadable))
            )
    }

    /// Whether the provider advises against another try of what was declined.
    fn is_final(&self, report: &Report) -> bool {
        self.decline().is_some()
            && providers::by_gateway(self.gateway).is_some_and(|one| one.forbids_retry(report))
    }

    fn report(&self) -> Option<&Report> {
        match &self.ending {
            Ending::Reported(report) => Some(report),
            Ending::Failed | Ending::NotAllowed(..) | Ending::NotSent | Ending::NotSupported => {
                None
            }
        }
    }

    fn decline(&self) -> Option<Decline> {
        match self.report()?.outcome {
            Outcome::Declined(decline) => Some(decline),
            Outcome::Approved | Outcome::Pending | Outcome::Rejected(_) | Outcome::Unknown(_) => {
                None
            }
        }
    }
}

/// The API's name of a provider's gateway.
fn gateway_of(provider: &str) -> &'static str {
    providers::by_gateway(provider).map(|provider| provider.gateway().id).unwrap_or_default()
}

/// The API's word for a kind; an authorization is called `PreAuth`.
pub(crate) fn operation_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Authorize => "PreAuth",
        Kind::Capture => "Capture",
        Kind::Charge => "Charge",
        Kind::Refund => "Refund",
        Kind::Status => "Status",
        Kind::Tokenize => "Tokenize",
        Kind::Void => "Void",
    }
}

// === impl AttemptItem ===

impl<'a> AttemptItem<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        let Attempt { account, gateway, tell } = attempt;
        let (result, skipped) = match tell {
            Tell::Asked(code) => (Some(*code), None),
            Tell::Skipped(why) => (None, Some(*why)),
        };
        Self { account: account.as_ref().map(AccountName::as_str), gateway, result, skipped }
    }
}

// === impl Skip ===

impl Skip {
    /// The word for it in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Unavailable => "unavailable",
        }
    }
}

// === impl Code ===

impl Code {
    /// The HTTP status that goes with it.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Accepted => 202,
            Self::FatalFailure => 500,
            Self::NotImplemented | Self::Rejected => 409,
            Self::Success => 200,
            Self::TemporaryFailure => 503,
        }
    }

    /// The word for it in the API and in logs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::FatalFailure => "FatalFailure",
            Self::NotImplemented => "NotImplemented",
            Self::Rejected => "Rejected",
            Self::Success => "Success",
            Self::TemporaryFailure => "TemporaryFailure",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Ending, Finished, Tell};
    use model::{Amount, Currency, Decline, Kind, Outcome, Rejected, Report, State, Unknown};

    fn finished(kind: Kind, ending: Ending) -> Finished {
        let amount = Some(Amount::new(1050, Currency::USD).unwrap());
        let attempts = vec![Attempt {
            account: None,
            gateway: "Stripe",
            tell: Tell::Asked(ending.code(kind)),
        }];
        let tried = Finished::new("0123".into(), kind, amount, ending);
        Finished { attempts, gateway: "Stripe", provider: "stripe", ..tried }
    }

    fn reported(outcome: Outcome) -> Ending {
        Ending::Reported(Report::bare(outcome))
    }

    #[test]
    fn advice_not_to_try_again_wins_over_a_reason_that_passes() {
        let retryable = |advice: Option<&str>| {
            let declined = Report::bare(Outcome::Declined(Decline::InsufficientFunds));
            let report = Report { sub_description: advice.map(Into::into), ..declined };
            let reply = finished(Kind::Charge, Ending::Reported(report)).reply();
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            body["retryable"].as_bool()
        };
        assert_eq!(retryable(None), Some(true));
        assert_eq!(retryable(Some("try_again_later")), Some(true));
        assert_eq!(retryable(Some("do_not_try_again")), Some(false));
    }

    #[test]
    fn every_ending_has_its_code_status_and_state() {
        let outcome = |outcome| reported(outcome);
        for (ending, kind, expected) in [
            (Ending::Failed, Kind::Charge, "FatalFailure 500 true null"),
            (Ending::NotSent, Kind::Charge, "TemporaryFailure 503 true null"),
            (Ending::NotSupported, Kind::Status, "NotImplemented 409 false null"),
            (outcome(Outcome::Approved), Kind::Charge, "Success 200 false null"),
            (outcome(Outcome::Pending), Kind::Capture, "Accepted 202 false \"Pending\""),
            (
                outcome(Outcome::Declined(Decline::ExpiredCard)),
                Kind::Charge,
                "Rejected 409 false \"Declined\"",
            ),
            (
                outcome(Outcome::Declined(Decline::InsufficientFunds)),
                Kind::Authorize,
                "Rejected 409 true \"Declined\"",
            ),
            (
                outcome(Outcome::Rejected(Rejected::RateLimited)),
                Kind::Charge,
                "TemporaryFailure 503 true null",
            ),
            (
                outcome(Outcome::Rejected(Rejected::Credentials)),
                Kind::Charge,
                "Rejected 409 false null",
            ),
            (
                outcome(Outcome::Unknown(Unknown::Interrupted)),
                Kind::Charge,
                "Accepted 202 false \"Unknown\"",
            ),
            (
                outcome(Outcome::Unknown(Unknown::UpstreamFailed)),
                Kind::Refund,
                "Accepted 202 false \"Unknown\"",
            ),
            (outcome(Outcome::Approved), Kind::Tokenize, "Success 200 false null"),
            (
                outcome(Outcome::Declined(Decline::ExpiredCard)),
                Kind::Tokenize,
                "Rejected 409 false null",
            ),
            (
                outcome(Outcome::Unknown(Unknown::Interrupted)),
                Kind::Tokenize,
                "TemporaryFailure 503 true null",
            ),
            (
                outcome(Outcome::Unknown(Unknown::Unreadable)),
                Kind::Status,
                "TemporaryFailure 503 true null",
            ),
        ] {
            let shown = format!("{kind:?} {ending:?}");
            let reply = finished(kind, ending).reply();
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            let code = body["operationResultCode"].as_str().unwrap();
            let found = format!("{code} {} {} {}", reply.status, body["retryable"], body["state"]);
            assert_eq!(found, expected, "{shown}");
        }
    }

    #[test]
    fn the_body_has_every_documented_field_in_its_order() {
        let report = Report {
            state: Some(State::Captured),
            authorization_code: Some("065696".into()),
            reference: Some("pi_1".into()),
            code: Some("succeeded".into()),
            ..Report::bare(Outcome::Approved)
        };
        let reply = finished(Kind::Charge, Ending::Reported(report)).reply();
        let expected = concat!(
            r#"{"operationType":"Charge","operationResultCode":"Success","#,
            r#""operationResultDescription":"The card was charged.","authorizationCode":"065696","#,
            r#""currency":"USD","amount":10.50,"gatewayName":"Stripe","gatewayReference":"pi_1","#,
            r#""gatewayResultCode":"succeeded","gatewayResultDescription":null,"#,
            r#""gatewayResultSubCode":null,"gatewayResultSubDescription":null,"#,
            r#""gatewayToken":null,"customGatewayResponse":null,"transactionId":"0123","#,
            r#""state":"Captured","declineReason":null,"retryable":false,"#,
            r#""attempts":[{"account":null,"gateway":"Stripe","result":"Success"}],"#,
            r#""addressCheck":null,"cvvCheck":null,"networkTransactionId":null}"#,
        );
        assert_eq!(std::str::from_utf8(&reply.body).unwrap(), expected);
    }
}
