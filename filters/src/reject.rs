//! Why a request goes no further.
//!
//! Each reject has a stable code, and a row in `docs/reference/errors.md`; its texts are fixed and
//! hold nothing of the request. The proxy answers with the problem document of RFC 9457 that
//! [`Reject::problem`] writes. What is wrong in a body is not here: see
//! [`FieldError`](crate::FieldError).

use model::Scope;
use serde::Serialize;
use std::borrow::Cow;

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.title())]
pub enum Reject {
    AmbiguousFraming,
    BodyTooLarge,
    DuplicateHeader,
    ExpectationFailed,
    Flood,
    Forbidden { scope: Scope },
    HeadTooLarge,
    IdempotencyInFlight,
    IdempotencyInvalid,
    IdempotencyMismatch { field: &'static str },
    IdempotencyMissing,
    Internal,
    LengthRequired,
    MalformedHead,
    MalformedPath,
    MethodNotAllowed { allow: &'static str },
    NoSuchAccount,
    NoSuchToken,
    NoSuchTransaction,
    NotFound,
    NotSwitched,
    NotValidated,
    NothingStaged,
    Overloaded,
    PathTooLong,
    QuotaExceeded { retry_after_s: u64 },
    SlowBody,
    TransferCodingRefused,
    Unauthorized,
    UnexpectedBody,
    UnsupportedEncoding,
    UnsupportedMediaType,
    UpgradeRefused,
    VaultUnavailable,
    WebhookRefused,
}

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What `type` of a problem document begins with; the code follows.
pub const TYPE_PREFIX: &str = "urn:problem-type:orchestra:";

/// How long a client that flooded us, or came when we were full, is asked to wait.
const WAIT_S: u64 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    request_id: &'a str,
}

// === impl Reject ===

impl Reject {
    /// Every reject, in the order of their codes. Where one holds a value, that is an example.
    pub const ALL: [Self; 35] = [
        Self::AmbiguousFraming,
        Self::BodyTooLarge,
        Self::DuplicateHeader,
        Self::ExpectationFailed,
        Self::Flood,
        Self::Forbidden { scope: Scope::Payments },
        Self::HeadTooLarge,
        Self::IdempotencyInFlight,
        Self::IdempotencyInvalid,
        Self::IdempotencyMismatch { field: "amount" },
        Self::IdempotencyMissing,
        Self::Internal,
        Self::LengthRequired,
        Self::MalformedHead,
        Self::MalformedPath,
        Self::MethodNotAllowed { allow: "GET, HEAD" },
        Self::NoSuchAccount,
        Self::NoSuchToken,
        Self::NoSuchTransaction,
        Self::NotFound,
        Self::NotSwitched,
        Self::NotValidated,
        Self::NothingStaged,
        Self::Overloaded,
        Self::PathTooLong,
        Self::QuotaExceeded { retry_after_s: WAIT_S },
        Self::SlowBody,
        Self::TransferCodingRefused,
        Self::Unauthorized,
        Self::UnexpectedBody,
        Self::UnsupportedEncoding,
        Self::UnsupportedMediaType,
        Self::UpgradeRefused,
        Self::VaultUnavailable,
        Self::WebhookRefused,
    ];

    /// The stable word for it, which clients may compare.
    pub fn code(self) -> &'static str {
        match self {
            Self::AmbiguousFraming => "ambiguous-framing",
            Self::BodyTooLarge => "body-too-large",
            Self::DuplicateHeader => "duplicate-header",
            Self::ExpectationFailed => "expectation-failed",
            Self::Flood => "flood",
            Self::Forbidden { .. } => "forbidden",
            Self::HeadTooLarge => "head-too-large",
            Self::IdempotencyInFlight => "idempotency-in-flight",
            Self::IdempotencyInvalid => "idempotency-invalid",
            Self::IdempotencyMismatch { .. } => "idempotency-mismatch",
            Self::IdempotencyMissing => "idempotency-missing",
            Self::Internal => "internal",
            Self::LengthRequired => "length-required",
            Self::MalformedHead => "malformed-head",
            Self::MalformedPath => "malformed-path",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::NoSuchAccount => "no-such-account",
            Self::NoSuchToken => "no-such-token",
            Self::NoSuchTransaction => "no-such-transaction",
            Self::NotFound => "not-found",
            Self::NotSwitched => "not-switched",
            Self::NotValidated => "not-validated",
            Self::NothingStaged => "nothing-staged",
            Self::Overloaded => "overloaded",
            Self::PathTooLong => "path-too-long",
            Self::QuotaExceeded { .. } => "quota-exceeded",
            Self::SlowBody => "slow-body",
            Self::TransferCodingRefused => "transfer-coding-refused",
            Self::Unauthorized => "unauthorized",
            Self::UnexpectedBody => "unexpected-body",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::UpgradeRefused => "upgrade-refused",
            Self::VaultUnavailable => "vault-unavailable",
            Self::WebhookRefused => "webhook-refused",
        }
    }

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::AmbiguousFraming
            | Self::DuplicateHeader
            | Self::IdempotencyInvalid
            | Self::IdempotencyMissing
            | Self::MalformedHead
            | Self::MalformedPath
            | Self::TransferCodingRefused
            | Self::UnexpectedBody
            | Self::UpgradeRefused
            | Self::WebhookRefused => 400,
            Self::Unauthorized => 401,
            Self::Forbidden { .. } => 403,
            Self::NoSuchAccount
            | Self::NoSuchToken
            | Self::NoSuchTransaction
            | Self::NotFound
            | Self::NothingStaged => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::SlowBody => 408,
            Self::IdempotencyInFlight | Self::NotSwitched | Self::NotValidated => 409,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::PathTooLong => 414,
            Self::UnsupportedEncoding | Self::UnsupportedMediaType => 415,
            Self::ExpectationFailed => 417,
            Self::IdempotencyMismatch { .. } => 422,
            Self::Flood | Self::QuotaExceeded { .. } => 429,
            Self::HeadTooLarge => 431,
            Self::Internal => 500,
            Self::Overloaded | Self::VaultUnavailable => 503,
        }
    }

    /// What is wrong, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::AmbiguousFraming => "The length of the body is ambiguous",
            Self::BodyTooLarge => "The body is too large",
            Self::DuplicateHeader => "A header is given more than once",
            Self::ExpectationFailed => "The expectation cannot be met",
            Self::Flood => "Too many requests from this address",
            Self::Forbidden { .. } => "The API key may not do this",
            Self::HeadTooLarge => "The request head is too large",
            Self::IdempotencyInFlight => "The request of this idempotency key is being answered",
            Self::IdempotencyInvalid => "The idempotency key is not valid",
            Self::IdempotencyMismatch { .. } => "The idempotency key was used for another request",
            Self::IdempotencyMissing => "An idempotency key is required",
            Self::Internal => "Something went wrong on our side",
            Self::LengthRequired => "A body is required",
            Self::MalformedHead => "The request head is malformed",
            Self::MalformedPath => "The path is malformed",
            Self::MethodNotAllowed { .. } => "The method is not allowed here",
            Self::NoSuchAccount => "There is no such account",
            Self::NoSuchToken => "There is no such token",
            Self::NoSuchTransaction => "There is no such transaction",
            Self::NotFound => "There is nothing at this path",
            Self::NotSwitched => "The staged credentials do not get all payments",
            Self::NotValidated => "The staged credentials were not found to be good",
            Self::NothingStaged => "Nothing is staged for this account",
            Self::Overloaded => "The service is at its limit",
            Self::PathTooLong => "The path is too long",
            Self::QuotaExceeded { .. } => "The API key has used up its quota",
            Self::SlowBody => "The body did not arrive in time",
            Self::TransferCodingRefused => "The transfer coding is not accepted",
            Self::Unauthorized => "The API key is missing or not valid",
            Self::UnexpectedBody => "No body belongs to this request",
            Self::UnsupportedEncoding => "The content coding is not supported",
            Self::UnsupportedMediaType => "The media type is not supported",
            Self::UpgradeRefused => "The protocol cannot be changed",
            Self::VaultUnavailable => "The vault is not available",
            Self::WebhookRefused => "The webhook is not believed",
        }
    }

    /// What to do about it.
    pub fn detail(self) -> &'static str {
        match self {
            Self::AmbiguousFraming => {
                "Send either one Content-Length of digits only, or Transfer-Encoding: chunked."
            }
            Self::BodyTooLarge => "Send a smaller body; the limit is part of the documentation.",
            Self::DuplicateHeader => "Send each header that decides about the request once.",
            Self::ExpectationFailed => "The only expectation that can be met is 100-continue.",
            Self::Flood => "Wait as long as Retry-After says, then send fewer requests a second.",
            Self::Forbidden { scope } => match scope {
                Scope::Accounts => "The key lacks the scope: accounts.",
                Scope::Payments => "The key lacks the scope: payments.",
                Scope::Reveal => "The key lacks the scope: reveal.",
                Scope::Tokens => "The key lacks the scope: tokens.",
            },
            Self::HeadTooLarge => "Send fewer or shorter headers.",
            Self::IdempotencyInFlight => "Wait a moment, then send the same request again.",
            Self::IdempotencyInvalid => {
                "Send Idempotency-Key with 1 to 255 visible ASCII characters."
            }
            Self::IdempotencyMismatch { .. } => {
                "Send a new key for a new request; the member field names what differs."
            }
            Self::IdempotencyMissing => {
                "Send Idempotency-Key with every request that moves money or has a card kept."
            }
            Self::Internal => {
                "Before a payment is sent again, ask for its status. Tell support the request id."
            }
            Self::LengthRequired => "Send a JSON body with its Content-Length.",
            Self::MalformedHead => {
                "Send one Host, a valid method, and headers without control characters."
            }
            Self::MalformedPath => {
                "Send the path as documented: no percent-encoding, no empty or dot segments."
            }
            Self::MethodNotAllowed { .. } => "Use one of the methods that Allow names.",
            Self::NoSuchAccount => "List the accounts, or store this one first.",
            Self::NoSuchToken => "It was never made for this merchant, or it was deleted.",
            Self::NoSuchTransaction => {
                "It was never made for this merchant; see GET /Transactions."
            }
            Self::NotFound => "The paths are listed in /openapi.json.",
            Self::NotSwitched => "Switch all payments to them first: percent 100.",
            Self::NotValidated => "Validate them first, or switch with force: true.",
            Self::NothingStaged => {
                "Stage credentials first; what was staged may be retired, dropped or replaced."
            }
            Self::Overloaded => "Wait as long as Retry-After says, then try again.",
            Self::PathTooLong => "Send a shorter path and query.",
            Self::QuotaExceeded { .. } => "Wait as long as Retry-After says, then try again.",
            Self::SlowBody => "Send the whole body within the time limit.",
            Self::TransferCodingRefused => {
                "The only transfer coding is chunked, and only in HTTP/1.1."
            }
            Self::Unauthorized => "Send a valid key in the header X-Api-Key.",
            Self::UnexpectedBody => "Send this request without a body.",
            Self::UnsupportedEncoding => "Send the body without a content coding.",
            Self::UnsupportedMediaType => "Send the body as application/json in UTF-8.",
            Self::UpgradeRefused => "Send the request without Upgrade.",
            Self::VaultUnavailable => "Nothing was sent to a provider. Try again in a moment.",
            Self::WebhookRefused => {
                "It is not signed with this account's secret, is too old, or is not understood."
            }
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Flood
            | Self::IdempotencyInFlight
            | Self::Overloaded
            | Self::QuotaExceeded { .. }
            | Self::SlowBody
            | Self::VaultUnavailable => true,
            Self::AmbiguousFraming
            | Self::BodyTooLarge
            | Self::DuplicateHeader
            | Self::ExpectationFailed
            | Self::Forbidden { .. }
            | Self::HeadTooLarge
            | Self::IdempotencyInvalid
            | Self::IdempotencyMismatch { .. }
            | Self::IdempotencyMissing
            | Self::Internal
            | Self::LengthRequired
            | Self::MalformedHead
            | Self::MalformedPath
            | Self::MethodNotAllowed { .. }
            | Self::NoSuchAccount
            | Self::NoSuchToken
            | Self::NoSuchTransaction
            | Self::NotFound
            | Self::NotSwitched
            | Self::NotValidated
            | Self::NothingStaged
            | Self::PathTooLong
            | Self::TransferCodingRefused
            | Self::Unauthorized
            | Self::UnexpectedBody
            | Self::UnsupportedEncoding
            | Self::UnsupportedMediaType
            | Self::UpgradeRefused
            | Self::WebhookRefused => false,
        }
    }

    /// The header that belongs to the answer, where there is one.
    pub fn header(self) -> Option<(&'static str, Cow<'static, str>)> {
        if let Self::MethodNotAllowed { allow } = self {
            return Some(("Allow", allow.into()));
        }
        if self == Self::Unauthorized {
            return Some(("WWW-Authenticate", "ApiKey header=\"X-Api-Key\"".into()));
        }
        self.retry_after_s().map(|wait| ("Retry-After", wait.to_string().into()))
    }

    /// Whether the connection must be closed, because what follows on it cannot be trusted or
    /// would have to be read first.
    pub fn closes(self) -> bool {
        matches!(
            self,
            Self::AmbiguousFraming
                | Self::BodyTooLarge
                | Self::DuplicateHeader
                | Self::ExpectationFailed
                | Self::HeadTooLarge
                | Self::MalformedHead
                | Self::MalformedPath
                | Self::PathTooLong
                | Self::SlowBody
                | Self::TransferCodingRefused
                | Self::UnexpectedBody
                | Self::UpgradeRefused
        )
    }

    /// The problem document (RFC 9457) that the client gets.
    pub fn problem(self, request_id: &str) -> String {
        let problem = Problem {
            r#type: format!("{TYPE_PREFIX}{}", self.code()),
            title: self.title(),
            status: self.status(),
            detail: self.detail(),
            code: self.code(),
            retryable: self.is_retryable(),
            field: self.field(),
            request_id,
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }

    /// The field that differs, where that is what is wrong.
    fn field(self) -> Option<&'static str> {
        if let Self::IdempotencyMismatch { field } = self { Some(field) } else { None }
    }

    fn retry_after_s(self) -> Option<u64> {
        if let Self::QuotaExceeded { retry_after_s } = self {
            return Some(retry_after_s);
        }
        matches!(self.status(), 429 | 503).then_some(WAIT_S)
    }
}

#[cfg(test)]
mod tests {
    use super::Reject;

    #[test]
    fn codes_are_sorted_words_that_come_once() {
        let codes = Reject::ALL.map(Reject::code);
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        let plain = |code: &str| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(codes.iter().all(|code| plain(code)));
    }

    #[test]
    fn texts_are_there_and_end_as_they_should() {
        for reject in Reject::ALL {
            assert!(!reject.title().is_empty() && !reject.title().ends_with('.'), "{reject:?}");
            assert!(reject.detail().ends_with('.'), "{reject:?}");
            assert_eq!(reject.to_string(), reject.title());
        }
    }

    #[test]
    fn the_headers_that_http_asks_for_are_there() {
        for reject in Reject::ALL {
            let expected = match reject.status() {
                401 => Some("WWW-Authenticate"),
                405 => Some("Allow"),
                429 | 503 => Some("Retry-After"),
                _ => None,
            };
            assert_eq!(reject.header().map(|(name, _)| name), expected, "{reject:?}");
        }
        let waited = Reject::QuotaExceeded { retry_after_s: 7 }.header().unwrap();
        assert_eq!(waited, ("Retry-After", "7".into()));
    }

    #[test]
    fn a_connection_whose_next_request_is_in_doubt_is_closed() {
        for reject in [Reject::AmbiguousFraming, Reject::BodyTooLarge, Reject::SlowBody] {
            assert!(reject.closes());
        }
        for reject in [Reject::NotFound, Reject::Unauthorized, Reject::Flood] {
            assert!(!reject.closes());
        }
    }
}
