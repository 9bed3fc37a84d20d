//! How Stripe says no.

use crate::sandbox::shape::{Fault, Problem};
use crate::sandbox::{Answer, Received};
use serde_json::{Value, json};

/// A refusal with all that Stripe may say of it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) error: Value,
}

// === impl Refused ===

impl Refused {
    /// A request that is wrong in itself, or comes at the wrong time.
    pub(super) fn invalid(code: Option<&str>, param: Option<&str>, message: &str) -> Self {
        Self { status: 400, error: body("invalid_request_error", code, param, message) }
    }

    /// A card that is wrong in itself.
    pub(super) fn card(code: &str, param: &str, message: &str) -> Self {
        Self { status: 402, error: body("card_error", Some(code), Some(param), message) }
    }

    /// No object has this id.
    pub(super) fn missing(kind: &str, param: &str, id: &str) -> Self {
        let message = format!("No such {kind}: '{id}'");
        let error = body("invalid_request_error", Some("resource_missing"), Some(param), &message);
        Self { status: 404, error }
    }

    /// The same with one more member.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        if let Some(error) = self.error.as_object_mut() {
            error.insert(name.to_owned(), value);
        }
        self
    }

    pub(super) fn into_answer(self) -> Answer {
        Answer::json(self.status, &json!({ "error": self.error }))
    }
}

fn body(kind: &str, code: Option<&str>, param: Option<&str>, message: &str) -> Value {
    let mut error = json!({ "type": kind, "message": message });
    if let Some(object) = error.as_object_mut() {
        if let Some(code) = code {
            let page = code.replace('_', "-");
            object.insert("code".into(), code.into());
            object.insert(
                "doc_url".into(),
                format!("https://stripe.com/docs/error-codes/{page}").into(),
            );
        }
        if let Some(param) = param {
            object.insert("param".into(), param.into());
        }
    }
    error
}

/// 400 for a request that was not understood.
pub(super) fn invalid(code: Option<&str>, param: Option<&str>, message: &str) -> Answer {
    Refused::invalid(code, param, message).into_answer()
}

/// 400 for a parameter that the endpoint does not know.
pub(super) fn unknown(param: &str) -> Answer {
    let message = format!("Received unknown parameter: {param}");
    invalid(Some("parameter_unknown"), Some(param), &message)
}

/// 400 for a parameter that is not as the tables say.
pub(super) fn parameter(problem: &Problem) -> Answer {
    let param = problem.bracketed();
    let (code, message) = match problem.fault {
        Fault::Unknown => return unknown(&param),
        Fault::Missing => ("parameter_missing", format!("Missing required param: {param}.")),
        Fault::NotAnInteger => ("parameter_invalid_integer", format!("Invalid integer: {param}")),
        Fault::TooLong(max) => {
            return invalid(
                None,
                Some(&param),
                &format!("Invalid string: at most {max} characters"),
            );
        }
        Fault::TooMany(max) => {
            return invalid(None, Some(&param), &format!("Too many keys: at most {max}"));
        }
        Fault::NotAWord(words) => {
            let message = format!("Invalid {param}: must be one of {}", words.join(", "));
            return invalid(None, Some(&param), &message);
        }
        Fault::NotABoolean => return invalid(None, Some(&param), "Invalid boolean"),
        Fault::NotAList => return invalid(None, Some(&param), "Invalid array"),
        Fault::NotAnObject => return invalid(None, Some(&param), "Invalid object"),
        Fault::NotText => return invalid(None, Some(&param), "Invalid string"),
    };
    invalid(Some(code), Some(&param), &message)
}

/// 401.
pub(super) fn unauthorized(message: &str) -> Answer {
    let error = body("invalid_request_error", None, None, message);
    Refused { status: 401, error }.into_answer()
}

/// 401 for a key that was good once. The real one quotes a part of it.
pub(super) fn expired() -> Answer {
    let message = "Expired API Key provided: sk_test_****.";
    let error = body("invalid_request_error", Some("api_key_expired"), None, message);
    Refused { status: 401, error }.into_answer()
}

/// 403 for a connected account that the key may not act for.
pub(super) fn no_account(account: &str) -> Answer {
    let message = format!(
        "The provided key does not have access to account '{account}' (or that account does not \
         exist)."
    );
    let error = body("invalid_request_error", Some("account_invalid"), None, &message);
    Refused { status: 403, error }.into_answer()
}

/// 403.
pub(in crate::sandbox) fn forbidden() -> Answer {
    let message = "The provided key does not have the required permissions for this endpoint.";
    Refused { status: 403, error: body("invalid_request_error", None, None, message) }.into_answer()
}

/// 404 for an address that does not exist.
pub(super) fn unrecognized(received: &Received) -> Answer {
    let message = format!("Unrecognized request URL ({}: {}).", received.method, received.path);
    Refused { status: 404, error: body("invalid_request_error", None, None, &message) }
        .into_answer()
}

/// 400 for a key that stands for another request.
pub(super) fn mismatch(key: &str) -> Answer {
    let message = format!(
        "Keys for idempotent requests can only be used with the same parameters they were first \
         used with. Try using a key other than '{key}'."
    );
    Refused { status: 400, error: body("idempotency_error", None, None, &message) }.into_answer()
}

/// 409 for a key whose first request still runs.
pub(super) fn conflict(key: &str) -> Answer {
    let message = format!("There is another in-progress request using the key '{key}'.");
    let error = body("idempotency_error", Some("idempotency_key_in_use"), None, &message);
    Refused { status: 409, error }.into_answer().header("stripe-should-retry", "true")
}

/// What Stripe answers with a status that has no reason of its own.
pub(in crate::sandbox) fn failure(status: u16) -> Answer {
    let error = match status {
        429 => body("invalid_request_error", Some("rate_limit"), None, "Too many requests."),
        413 => body("invalid_request_error", None, None, "The request is too large."),
        _ => body("api_error", None, None, "An error occurred on our side."),
    };
    let again = if status == 413 { "false" } else { "true" };
    Refused { status, error }.into_answer().header("stripe-should-retry", again)
}
