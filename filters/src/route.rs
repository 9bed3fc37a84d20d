//! Which operation a method and a path ask for.
//!
//! The words of a path are matched in any case, names and tokens in it exactly. Nothing is
//! decoded: no path of this API needs a percent sign, so a name that holds one is a bad name.

use crate::decode::FieldError;
use crate::reject::Reject;
use model::{AccountName, CardToken, Kind, MerchantId, Scope, TransactionId};

/// The operations of the API; with a [`Verb`], what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Gateways,
    Charge,
    Authorize,
    /// Which accounts a charge would ask.
    Explain,
    Capture,
    Refund,
    Void,
    Status,
    Tokenize,
    Accounts,
    Account(AccountName),
    /// The question whether an account's credentials are good.
    AccountValidate(AccountName),
    /// What was done at an account, and what it holds.
    AccountBalance(AccountName),
    /// Credentials that are to follow those of an account.
    Staged(AccountName),
    StagedRetire(AccountName),
    StagedSwitch(AccountName),
    StagedValidate(AccountName),
    StringTokens,
    StringToken(CardToken),
    StringTokenMeta(CardToken),
    ApiKey,
    OpenApi,
    /// Payments that the journal has.
    Transactions,
    Transaction(TransactionId),
    /// What the gateway of an account sends of its own accord, and the proof that it may ask for before.
    Webhook(MerchantId, AccountName),
}

/// The methods that some route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Delete,
    /// Also for HEAD, whose answer has no body.
    Get,
    Post,
    Put,
}

/// A route and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    pub route: Route,
    pub method: Verb,
}

/// Why a method and a path ask for nothing that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The name or token in the path is not of the documented form.
    BadName(FieldError),
    /// There is such a path, but not with this method.
    MethodNotAllowed {
        allow: &'static str,
    },
    NotFound,
}

/// One line of the table of routes.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The documented path, with `{name}` or the like where a parameter stands.
    pub path: &'static str,
    pub verbs: &'static [Verb],
    /// The value of the `Allow` header.
    pub allow: &'static str,
    place: Place,
}

/// A route before the name in its path is read.
#[derive(Clone, Copy, Debug)]
enum Place {
    Plain(fn() -> Route),
    Account(fn(AccountName) -> Route),
    Token(fn(CardToken) -> Route),
    Transaction(fn(TransactionId) -> Route),
    Webhook(fn(MerchantId, AccountName) -> Route),
}

/// The parameters in a path, the last at the end; empty where it has none.
type Parameters<'a> = [&'a str; 2];

const GET: (&[Verb], &str) = (&[Verb::Get], "GET, HEAD");
const POST: (&[Verb], &str) = (&[Verb::Post], "POST");
const PUT: (&[Verb], &str) = (&[Verb::Put], "PUT");
const DELETE: (&[Verb], &str) = (&[Verb::Delete], "DELETE");
const PUT_DELETE: (&[Verb], &str) = (&[Verb::Put, Verb::Delete], "PUT, DELETE");
const GET_POST: (&[Verb], &str) = (&[Verb::Get, Verb::Post], "GET, HEAD, POST");
const GET_DELETE: (&[Verb], &str) = (&[Verb::Get, Verb::Delete], "GET, HEAD, DELETE");
const GET_PUT_DELETE: (&[Verb], &str) =
    (&[Verb::Get, Verb::Put, Verb::Delete], "GET, HEAD, PUT, DELETE");

/// Every path of the API.
pub const ROUTES: [Entry; 25] = [
    entry("/PaymentGateway", GET, Place::Plain(|| Route::Gateways)),
    entry("/PaymentGateway/charge", POST, Place::Plain(|| Route::Charge)),
    entry("/PaymentGateway/authorize", POST, Place::Plain(|| Route::Authorize)),
    entry("/PaymentGateway/explain", POST, Place::Plain(|| Route::Explain)),
    entry("/PaymentGateway/capture", PUT, Place::Plain(|| Route::Capture)),
    entry("/PaymentGateway/refund", PUT, Place::Plain(|| Route::Refund)),
    entry("/PaymentGateway/void", DELETE, Place::Plain(|| Route::Void)),
    entry("/PaymentGateway/status", POST, Place::Plain(|| Route::Status)),
    entry("/PaymentGateway/tokenize", POST, Place::Plain(|| Route::Tokenize)),
    entry("/PaymentGatewayAccounts", GET, Place::Plain(|| Route::Accounts)),
    entry("/PaymentGatewayAccounts/{name}", GET_PUT_DELETE, Place::Account(Route::Account)),
    entry("/PaymentGatewayAccounts/{name}/balance", GET, Place::Account(Route::AccountBalance)),
    entry("/PaymentGatewayAccounts/{name}/validate", POST, Place::Account(Route::AccountValidate)),
    entry("/PaymentGatewayAccounts/{name}/staged", PUT_DELETE, Place::Account(Route::Staged)),
    entry(
        "/PaymentGatewayAccounts/{name}/staged/validate",
        POST,
        Place::Account(Route::StagedValidate),
    ),
    entry(
        "/PaymentGatewayAccounts/{name}/staged/switch",
        POST,
        Place::Account(Route::StagedSwitch),
    ),
    entry(
        "/PaymentGatewayAccounts/{name}/staged/retire",
        POST,
        Place::Account(Route::StagedRetire),
    ),
    entry("/StringTokens", POST, Place::Plain(|| Route::StringTokens)),
    entry("/StringTokens/{token}", GET_DELETE, Place::Token(Route::StringToken)),
    entry("/StringTokens/{token}/meta", GET, Place::Token(Route::StringTokenMeta)),
    entry("/Transactions", GET, Place::Plain(|| Route::Transactions)),
    entry("/Transactions/{id}", GET, Place::Transaction(Route::Transaction)),
    entry("/Webhooks/{merchant}/{name}", GET_POST, Place::Webhook(Route::Webhook)),
    entry("/Utils/apiKey", GET, Place::Plain(|| Route::ApiKey)),
    entry("/openapi.json", GET, Place::Plain(|| Route::OpenApi)),
];

/// Finds what `method` on `path` (without its query) asks for.
///
/// The method is judged before the name in the path, so that a method which is not taken is always
/// answered in the same way.
///
/// # Errors
/// When there is no such path, or not with this method, or its name is not of the documented form.
pub fn route(method: &str, path: &str) -> Result<Matched, RouteError> {
    let (entry, parameters) = ROUTES
        .iter()
        .find_map(|entry| Some((entry, matches(entry.path, path)?)))
        .ok_or(RouteError::NotFound)?;
    let verb = Verb::read(method)
        .filter(|verb| entry.verbs.contains(verb))
        .ok_or(RouteError::MethodNotAllowed { allow: entry.allow })?;
    Ok(Matched { route: entry.place.route(parameters)?, method: verb })
}

const fn entry(
    path: &'static str,
    allowed: (&'static [Verb], &'static str),
    place: Place,
) -> Entry {
    Entry { path, verbs: allowed.0, allow: allowed.1, place }
}

/// The parameters in `path` if it has the form of `pattern`.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Parameters<'a>> {
    let mut parameters = [""; 2];
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            parameters = [parameters[1], segment];
        } else if !segment.eq_ignore_ascii_case(expected) {
            return None;
        }
    }
    segments.next().is_none().then_some(parameters)
}

// === impl Route ===

impl Route {
    /// What a key must have been given for this; none where every key will do, or none is asked.
    pub fn scope(&self, verb: Verb) -> Option<Scope> {
        match (self, verb) {
            (Self::Gateways | Self::ApiKey | Self::OpenApi | Self::Webhook(..), _) => None,
            (
                Self::Accounts
                | Self::Account(_)
                | Self::AccountValidate(_)
                | Self::Staged(_)
                | Self::StagedRetire(_)
                | Self::StagedSwitch(_)
                | Self::StagedValidate(_),
                _,
            ) => Some(Scope::Accounts),
            (Self::StringToken(_), Verb::Get) => Some(Scope::Reveal),
            (Self::StringTokens | Self::StringToken(_) | Self::StringTokenMeta(_), _) => {
                Some(Scope::Tokens)
            }
            (
                Self::Charge
                | Self::Authorize
                | Self::Explain
                | Self::Capture
                | Self::Refund
                | Self::Void
                | Self::Status
                | Self::Tokenize
                | Self::AccountBalance(_)
                | Self::Transactions
                | Self::Transaction(_),
                _,
            ) => Some(Scope::Payments),
        }
    }

    /// Whether an API key must be presented at all. A webhook is authenticated by its signature.
    pub fn needs_key(&self) -> bool {
        !matches!(self, Self::OpenApi | Self::Webhook(..))
    }

    /// The documented path, for metrics and logs: it never holds a name or a token.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Gateways => "/PaymentGateway",
            Self::Charge => "/PaymentGateway/charge",
            Self::Authorize => "/PaymentGateway/authorize",
            Self::Explain => "/PaymentGateway/explain",
            Self::Capture => "/PaymentGateway/capture",
            Self::Refund => "/PaymentGateway/refund",
            Self::Void => "/PaymentGateway/void",
            Self::Status => "/PaymentGateway/status",
            Self::Tokenize => "/PaymentGateway/tokenize",
            Self::Accounts => "/PaymentGatewayAccounts",
            Self::Account(_) => "/PaymentGatewayAccounts/{name}",
            Self::AccountBalance(_) => "/PaymentGatewayAccounts/{name}/balance",
            Self::AccountValidate(_) => "/PaymentGatewayAccounts/{name}/validate",
            Self::Staged(_) => "/PaymentGatewayAccounts/{name}/staged",
            Self::StagedRetire(_) => "/PaymentGatewayAccounts/{name}/staged/retire",
            Self::StagedSwitch(_) => "/PaymentGatewayAccounts/{name}/staged/switch",
            Self::StagedValidate(_) => "/PaymentGatewayAccounts/{name}/staged/validate",
            Self::StringTokens => "/StringTokens",
            Self::StringToken(_) => "/StringTokens/{token}",
            Self::StringTokenMeta(_) => "/StringTokens/{token}/meta",
            Self::ApiKey => "/Utils/apiKey",
            Self::OpenApi => "/openapi.json",
            Self::Transactions => "/Transactions",
            Self::Transaction(_) => "/Transactions/{id}",
            Self::Webhook(..) => "/Webhooks/{merchant}/{name}",
        }
    }

    /// Whether a body belongs to it.
    pub fn takes_body(&self, verb: Verb) -> bool {
        match self {
            Self::StringTokens | Self::StagedSwitch(_) => true,
            Self::Account(_) | Self::Staged(_) => verb == Verb::Put,
            Self::Webhook(..) => verb == Verb::Post,
            Self::Gateways
            | Self::Accounts
            | Self::AccountBalance(_)
            | Self::AccountValidate(_)
            | Self::StagedRetire(_)
            | Self::StagedValidate(_)
            | Self::StringToken(_)
            | Self::StringTokenMeta(_)
            | Self::ApiKey
            | Self::OpenApi
            | Self::Transactions
            | Self::Transaction(_) => false,
            Self::Charge
            | Self::Authorize
            | Self::Explain
            | Self::Capture
            | Self::Refund
            | Self::Void
            | Self::Status
            | Self::Tokenize => true,
        }
    }

    /// The payment operation that it is, where it is one.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Charge => Some(Kind::Charge),
            Self::Authorize => Some(Kind::Authorize),
            Self::Capture => Some(Kind::Capture),
            Self::Refund => Some(Kind::Refund),
            Self::Void => Some(Kind::Void),
            Self::Status => Some(Kind::Status),
            Self::Tokenize => Some(Kind::Tokenize),
            Self::Gateways
            | Self::Explain
            | Self::Accounts
            | Self::Account(_)
            | Self::AccountBalance(_)
            | Self::AccountValidate(_)
            | Self::Staged(_)
            | Self::StagedRetire(_)
            | Self::StagedSwitch(_)
            | Self::StagedValidate(_)
            | Self::StringTokens
            | Self::StringToken(_)
            | Self::StringTokenMeta(_)
            | Self::ApiKey
            | Self::OpenApi
            | Self::Transactions
            | Self::Transaction(_)
            | Self::Webhook(..) => None,
        }
    }
}

// === impl Verb ===

impl Verb {
    /// Reads a method as it stands on the wire: methods have a case.
    fn read(method: &str) -> Option<Self> {
        match method {
            "DELETE" => Some(Self::Delete),
            "GET" | "HEAD" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            _ => None,
        }
    }

    /// The word for it, as on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

// === impl RouteError ===

impl RouteError {
    /// What the caller hears: a bad name is a bad field, and the rest are rejects.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn into_reject(self) -> Result<Reject, FieldError> {
        match self {
            Self::BadName(error) => Err(error),
            Self::MethodNotAllowed { allow } => Ok(Reject::MethodNotAllowed { allow }),
            Self::NotFound => Ok(Reject::NotFound),
        }
    }
}

// === impl Place ===

impl Place {
    fn route(self, [before, name]: Parameters<'_>) -> Result<Route, RouteError> {
        match self {
            Self::Plain(route) => Ok(route()),
            Self::Account(route) => account(name).map(route),
            Self::Webhook(route) => Ok(route(merchant(before)?, account(name)?)),
            Self::Token(route) => CardToken::parse(name)
                .map(route)
                .map_err(|_| bad("token", "must be 32 characters A-Z, a-z or 0-9")),
            Self::Transaction(route) => TransactionId::parse(name)
                .map(route)
                .map_err(|_| bad("id", "must be 32 digits 0-9 and a-f")),
        }
    }
}

fn account(name: &str) -> Result<AccountName, RouteError> {
    AccountName::parse(name)
        .map_err(|_| bad("name", "must be 3 to 64 characters A-Z, a-z, 0-9, '_' or '-'"))
}

fn merchant(name: &str) -> Result<MerchantId, RouteError> {
    MerchantId::parse(name)
        .map_err(|_| bad("merchant", "must be 3 to 64 characters a-z, 0-9 or '-'"))
}

fn bad(field: &'static str, problem: &'static str) -> RouteError {
    RouteError::BadName(FieldError::new(field, problem))
}

#[cfg(test)]
mod tests {
    use super::{ROUTES, Route, RouteError, Verb, route};
    use model::Scope;

    const TOKEN: &str = "nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO";
    const ID: &str = "019a0000000000000000000000000001";

    #[test]
    fn every_documented_path_is_found_by_its_own_methods_only() {
        for entry in ROUTES {
            let path = entry
                .path
                .replace("{name}", "stripe-primary")
                .replace("{merchant}", "acme")
                .replace("{token}", TOKEN)
                .replace("{id}", ID);
            for method in ["DELETE", "GET", "HEAD", "POST", "PUT", "PATCH", "TRACE", "get", ""] {
                let found = route(method, &path);
                if entry.allow.split(", ").any(|allowed| allowed == method) {
                    assert_eq!(found.unwrap().route.label(), entry.path, "{method} {path}");
                } else {
                    let allow = entry.allow;
                    assert_eq!(found, Err(RouteError::MethodNotAllowed { allow }), "{method}");
                }
            }
        }
    }

    #[test]
    fn a_webhook_names_its_merchant_and_its_account() {
        let found = route("POST", "/webhooks/acme/Stripe-Primary").unwrap().route;
        let Route::Webhook(merchant, account) = found else { panic!("{found:?}") };
        assert_eq!((merchant.as_str(), account.as_str()), ("acme", "Stripe-Primary"));
        for (path, field) in [("/Webhooks/ACME/abc", "merchant"), ("/Webhooks/acme/a", "name")] {
            let Err(RouteError::BadName(error)) = route("POST", path) else { panic!("{path}") };
            assert_eq!(error.field, field);
        }
        for path in ["/Webhooks/acme", "/Webhooks/acme/abc/d", "/Webhooks//abc"] {
            assert_eq!(route("POST", path), Err(RouteError::NotFound), "{path}");
        }
    }

    #[test]
    fn allow_says_the_verbs_and_head_with_get() {
        for entry in ROUTES {
            let words: Vec<&str> = entry.verbs.iter().map(|verb| verb.word()).collect();
            assert_eq!(entry.allow, words.join(", ").replace("GET", "GET, HEAD"));
        }
    }

    #[test]
    fn words_have_any_case_and_names_keep_theirs() {
        let found = route("GET", "/paymentgatewayACCOUNTS/Stripe-Primary").unwrap().route;
        assert!(matches!(found, Route::Account(name) if name.as_str() == "Stripe-Primary"));
        assert!(route("GET", "/utils/APIKEY").is_ok());
    }

    #[test]
    fn what_there_is_not_is_not_found() {
        for path in [
            "",
            "/",
            "/PaymentGateway/",
            "//PaymentGateway",
            "/PaymentGateway/token",
            "/PaymentGatewayAccounts/",
            "/PaymentGatewayAccounts/abc/meta",
            "/PaymentGatewayAccounts/abc/staged/",
            "/PaymentGatewayAccounts/abc/staged/drop",
            "/StringTokens/",
            "/StringTokens//meta",
            "/openapi.json/",
            "PaymentGateway",
            "/PaymentGateway/{name}",
        ] {
            assert_eq!(route("GET", path), Err(RouteError::NotFound), "{path}");
        }
    }

    #[test]
    fn a_bad_name_is_a_bad_field_and_is_not_repeated() {
        for (path, field) in [
            ("/PaymentGatewayAccounts/ab", "name"),
            ("/PaymentGatewayAccounts/a%20b", "name"),
            ("/StringTokens/4111111111111111", "token"),
            ("/StringTokens/4111111111111111/meta", "token"),
        ] {
            let Err(RouteError::BadName(error)) = route("GET", path) else { panic!("{path}") };
            assert_eq!(error.field, field);
            assert!(!format!("{error:?}").contains("4111"));
        }
    }

    #[test]
    fn only_reading_a_token_back_asks_for_the_scope_that_reveals() {
        let scope = |method, path: &str| {
            let found = route(method, path).unwrap();
            found.route.scope(found.method)
        };
        let token = format!("/StringTokens/{TOKEN}");
        assert_eq!(scope("GET", &token), Some(Scope::Reveal));
        assert_eq!(scope("DELETE", &token), Some(Scope::Tokens));
        assert_eq!(scope("GET", &format!("{token}/meta")), Some(Scope::Tokens));
        assert_eq!(scope("DELETE", "/PaymentGateway/void"), Some(Scope::Payments));
        assert_eq!(scope("PUT", "/PaymentGatewayAccounts/abc"), Some(Scope::Accounts));
        assert_eq!(scope("GET", "/PaymentGateway"), None);
    }

    #[test]
    fn bodies_belong_to_writes() {
        for entry in ROUTES {
            let path =
                entry.path.replace("{name}", "abc").replace("{token}", TOKEN).replace("{id}", ID);
            let path = path.replace("{merchant}", "acme");
            for verb in entry.verbs {
                let takes = route(verb.word(), &path).unwrap().route.takes_body(*verb);
                let asks = path.ends_with("/validate") || path.ends_with("/retire");
                let writes = matches!(verb, Verb::Post | Verb::Put) && !asks;
                let writes = writes || path.ends_with("/void");
                assert_eq!(takes, writes, "{} {path}", verb.word());
            }
        }
    }
}
