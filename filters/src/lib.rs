//! What is checked of a request before anything is spent on it.
//!
//! What belongs here: checks that look at a request, or count it, and say yes or [`Reject`]; and
//! the reading of bodies into the words of `model`. What does not: waiting, sockets, Pingora, the
//! vault, providers. No card is seen here but through `model`'s own types.
//!
//! The order in which the proxy asks, and the reason for each place, stands in its `admission`:
//! [`Flood::allow`], [`raw_head::check`] and [`head::check`], [`route::route`], the key,
//! [`Quota::check`], the scope, [`head::check_body_head`] or [`head::check_no_body`], and last
//! [`decode`].

pub mod decode;
pub mod flood;
pub mod head;
pub mod query;
pub mod quota;
pub mod raw_head;
pub mod reject;
pub mod route;

pub use decode::{AccountChoice, AccountInput, FieldError, PaymentRequest, YearMonth};
pub use flood::Flood;
pub use quota::{Quota, QuotaVerdict};
pub use reject::Reject;
pub use route::{Matched, Route, RouteError, Verb};

/// The description of the API that is served as `/openapi.json` (OpenAPI 3.1).
pub const OPENAPI: &str = include_str!("../openapi.json");
