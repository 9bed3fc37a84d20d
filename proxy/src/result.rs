//! The unified answer of a payment operation: `OperationResult`.

use crate::reply::Reply;
use crate::upstream::Tally;
use model::{AccountName, Amount, Decline, Kind, Outcome, Rejected, Report, State, Unknown};
use serde::Serialize;
use serde_json::value::RawValue;

/// How an operation at one account ended, from our side.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Our own fault, before anything was sent.
    Failed,
    /// Nothing that moves money can have reached the provider.
    NotSent,
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
    pub(crate) ending: Ending,
    pub(crate) gateway: &'static str,
    pub(crate) key: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) provider: &'static str,
    pub(crate) tally: Tally,
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
    attempts: [Attempt<'a>; 1],
}

/// One account that was tried.
#[derive(Serialize)]
struct Attempt<'a> {
    account: Option<&'a str>,
    gateway: &'static str,
    result: Code,
}

/// What a client is to make of an ending.
struct Verdict {
    code: Code,
    description: &'static str,
    retryable: bool,
    state: Option<State>,
}

// === impl Finished ===

impl Finished {
    /// The answer to the merchant.
    pub(crate) fn reply(&self) -> Reply {
        let verdict = self.verdict();
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
            gateway_token: None,
            custom_gateway_response: None,
            transaction_id: &self.key,
            state: verdict.state.map(State::word),
            decline_reason: self.decline().map(Decline::word),
            retryable: verdict.retryable,
            attempts: [Attempt {
                account: self.account.as_ref().map(AccountName::as_str),
                gateway: self.gateway,
                result: verdict.code,
            }],
        };
        Reply::json(verdict.code.status(), &result)
    }

    /// What the log and the metrics keep.
    pub(crate) fn summary(self) -> Summary {
        Summary {
            code: self.verdict().code,
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

    fn report(&self) -> Option<&Report> {
        match &self.ending {
            Ending::Reported(report) => Some(report),
            Ending::Failed | Ending::NotSent | Ending::NotSupported => None,
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

    /// The one table from endings to what the merchant hears.
    fn verdict(&self) -> Verdict {
        let new =
            |code, description, retryable, state| Verdict { code, description, retryable, state };
        let report = match &self.ending {
            Ending::Failed => {
                return new(
                    Code::FatalFailure,
                    "No money can have moved: an internal error.",
                    true,
                    None,
                );
            }
            Ending::NotSent => {
                let why = "No money can have moved: the gateway was not reached, or did not answer \
                           what came before the payment. It may be tried again.";
                return new(Code::TemporaryFailure, why, true, None);
            }
            Ending::NotSupported => {
                let why = "The gateway does not offer this operation.";
                return new(Code::NotImplemented, why, false, None);
            }
            Ending::Reported(report) => report,
        };
        match report.outcome {
            Outcome::Approved => new(Code::Success, success(self.kind), false, report.state),
            Outcome::Pending => {
                let why = "The gateway accepted the request and will process it later.";
                new(Code::Accepted, why, false, report.state.or(Some(State::Pending)))
            }
            Outcome::Declined(decline) => {
                let state = report.state.or(Some(State::Declined));
                new(Code::Rejected, "The card was declined.", decline.is_retryable(), state)
            }
            Outcome::Rejected(Rejected::RateLimited | Rejected::Unavailable) => {
                let why =
                    "The gateway is busy and did not process the request; it may be tried again.";
                new(Code::TemporaryFailure, why, true, report.state)
            }
            Outcome::Rejected(rejected) => {
                new(Code::Rejected, refusal(rejected), false, report.state)
            }
            // To ask moves no money, so that not to know the answer is only a failure to ask.
            Outcome::Unknown(_) if self.kind == Kind::Status => {
                let why = "The gateway gave no usable answer; it may be asked again.";
                new(Code::TemporaryFailure, why, true, None)
            }
            Outcome::Unknown(_) => {
                let why = "It is not known whether the gateway did it. Do not repeat it: ask for its status.";
                new(Code::Accepted, why, false, Some(State::Unknown))
            }
        }
    }
}

/// The API's word for a kind; an authorization is called `PreAuth`.
fn operation_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Authorize => "PreAuth",
        Kind::Capture => "Capture",
        Kind::Charge => "Charge",
        Kind::Refund => "Refund",
        Kind::Status => "Status",
        Kind::Void => "Void",
    }
}

fn success(kind: Kind) -> &'static str {
    match kind {
        Kind::Authorize => "The amount was authorized.",
        Kind::Capture => "The amount was captured.",
        Kind::Charge => "The card was charged.",
        Kind::Refund => "The amount was refunded.",
        Kind::Status => "Transaction found.",
        Kind::Void => "The transaction was voided.",
    }
}

fn refusal(rejected: Rejected) -> &'static str {
    match rejected {
        Rejected::Configuration => "The gateway account is not set up for this request.",
        Rejected::Credentials => "The gateway refused the account's credentials.",
        Rejected::Duplicate => "The gateway has or had the same request already.",
        Rejected::Malformed => "The gateway did not accept the request's data.",
        Rejected::NotFound => "The gateway knows no such transaction.",
        Rejected::RateLimited => "The gateway is busy.",
        Rejected::State => "The transaction is not in a state that allows this.",
        Rejected::Unavailable => "The gateway is out of order.",
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
    use super::{Ending, Finished};
    use crate::upstream::Tally;
    use model::{Amount, Currency, Decline, Kind, Outcome, Rejected, Report, State, Unknown};

    fn finished(kind: Kind, ending: Ending) -> Finished {
        Finished {
            account: None,
            amount: Some(Amount::new(1050, Currency::USD).unwrap()),
            ending,
            gateway: "Stripe",
            key: "0123".into(),
            kind,
            provider: "stripe",
            tally: Tally::default(),
        }
    }

    fn reported(outcome: Outcome) -> Ending {
        Ending::Reported(Report::bare(outcome))
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
            r#""attempts":[{"account":null,"gateway":"Stripe","result":"Success"}]}"#,
        );
        assert_eq!(std::str::from_utf8(&reply.body).unwrap(), expected);
    }
}
