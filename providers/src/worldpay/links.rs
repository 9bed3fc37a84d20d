//! Where a payment can go from here.
//!
//! Worldpay answers with a link for each thing that may be done next. They hold the state of the
//! payment, are long, and change with every step. What we take of them is their paths: the host is
//! the account's, whatever a link says.

use super::HOSTS;
use model::Report;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// What a payment may be asked to do, in the order of the words.
const KEPT: [&str; 5] = ["cancel", "partialRefund", "partialSettle", "reverse", "settle"];

/// What stands before the name of a relation, in this version and in those before it.
const PREFIXES: [&str; 2] = ["cardPayments:", "payments:"];

/// What every path begins with that changes a payment.
const ROOT: &str = "/payments/";

/// What stands for the last segment where it is that of the memo's beginning.
const SAME: &str = "*";

/// The links of an answer. Some are objects and some are texts; `curies` is neither.
#[derive(Deserialize)]
pub(super) struct Links(BTreeMap<String, Link>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Link {
    Object { href: String },
    Text(String),
    Other(IgnoredAny),
}

/// The path behind a relation that is in a memo.
pub(super) fn in_memo(memo: &str, relation: &str) -> Option<String> {
    let (last, rest) = memo.split_once(' ')?;
    let (_, path) = rest
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == relation)?;
    let path = match path.strip_suffix(SAME) {
        Some(before) => [before, last].concat(),
        None => path.to_owned(),
    };
    is_path(&path).then_some(path)
}

/// Whether a text is the path of a link: it leads nowhere but to payments, and climbs nowhere.
fn is_path(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()+,;=:@".contains(&b);
    text.starts_with(ROOT)
        && text.bytes().all(allowed)
        && text.split('/').skip(1).all(|part| !part.is_empty() && part.bytes().any(|b| b != b'.'))
}

// === impl Links ===

impl Links {
    /// The path behind a relation, where there is one and it is at Worldpay.
    pub(super) fn find(&self, relation: &str) -> Option<&str> {
        let named = |prefix: &&str| self.0.get(&[prefix, relation].concat());
        PREFIXES.iter().find_map(named)?.path()
    }

    /// What is to be kept of the links: the last segment, which is long and mostly the same, and
    /// each path with `*` in its place. None, where there is nothing to keep or too much.
    pub(super) fn memo(&self) -> Option<Box<str>> {
        let mut memo = String::new();
        for relation in KEPT {
            let Some(path) = self.find(relation) else { continue };
            let (before, last) = path.rsplit_once('/')?;
            if memo.is_empty() {
                memo.push_str(last);
            }
            let same = memo.split(' ').next() == Some(last);
            let last = if same { SAME } else { last };
            memo.extend([" ", relation, "=", before, "/", last]);
        }
        let fits = !memo.is_empty() && memo.len() <= Report::MEMO_BYTES_MAX;
        fits.then(|| memo.into())
    }
}

// === impl Link ===

impl Link {
    /// Links are complete in answers and mere paths in queries.
    fn path(&self) -> Option<&str> {
        let href = match self {
            Self::Object { href } | Self::Text(href) => href.as_str(),
            Self::Other(_) => return None,
        };
        let path = match href.strip_prefix("https://") {
            Some(rest) => {
                let hosts = [HOSTS.test, HOSTS.live];
                hosts.iter().find_map(|host| rest.strip_prefix(host))?
            }
            None => href,
        };
        is_path(path).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::{Links, in_memo, is_path};
    use model::Report;
    use serde_json::json;

    const HOST: &str = "try.access.worldpay.com";

    fn links(value: serde_json::Value) -> Links {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn links_lead_to_worldpay_or_nowhere() {
        for (href, expected) in [
            ("https://try.access.worldpay.com/payments/a/eyJrIn0=.s:g+b", Some("/payments/a/eyJrIn0=.s:g+b")),
            ("/payments/a/L", Some("/payments/a/L")),
            ("https://evil.example/payments/a/L", None),
            ("https://try.access.worldpay.com.evil.example/payments/a/L", None),
            ("https://try.access.worldpay.com@evil.example/payments/a/L", None),
            ("http://try.access.worldpay.com/payments/a/L", None),
            ("//evil.example/payments/a/L", None),
            ("/payments/../tokens/L", None),
            ("/payments/a//L", None),
            ("/payments/a/L?x=y", None),
            ("/payments/a/L#x", None),
            ("/payments/a/L L", None),
            ("/payments/a/L\r\nx: y", None),
            ("/payments/", None),
            ("/tokens/a", None),
            ("", None),
        ] {
            for value in [json!(href), json!({ "href": href })] {
                let links = links(json!({"cardPayments:settle": value, "curies": [{"name": "x"}]}));
                assert_eq!(links.find("settle"), expected, "{href}");
            }
        }
        assert!(!is_path("/payments/%2e%2e/ä"));
    }

    #[test]
    fn a_memo_gives_back_every_path_and_holds_the_long_part_once() {
        let long = "L".repeat(1_500);
        let href = |path: &str| json!({"href": format!("https://{HOST}/payments/{path}/{long}")});
        let links = links(json!({
            "cardPayments:cancel": href("authorizations/cancellations"),
            "cardPayments:settle": href("settlements/full"),
            "payments:partialSettle": "/payments/settlements/partials/other",
            "cardPayments:events": href("events"),
        }));
        let memo = links.memo().unwrap();
        assert!(memo.len() < 1_800 && memo.len() <= Report::MEMO_BYTES_MAX, "{}", memo.len());
        for (relation, expected) in [
            ("settle", Some(format!("/payments/settlements/full/{long}"))),
            ("cancel", Some(format!("/payments/authorizations/cancellations/{long}"))),
            ("partialSettle", Some("/payments/settlements/partials/other".to_owned())),
            ("events", None),
            ("refund", None),
        ] {
            assert_eq!(in_memo(&memo, relation), expected, "{relation}");
        }
    }

    #[test]
    fn a_memo_that_is_not_ours_leads_nowhere() {
        for memo in ["", "x", "x settle=/tokens/*", "../x settle=/payments/*", "x settle=//evil/*"] {
            assert_eq!(in_memo(memo, "settle"), None, "{memo}");
        }
        let href = format!("/payments/a/{}", "L".repeat(Report::MEMO_BYTES_MAX));
        assert_eq!(links(json!({"cardPayments:settle": href})).memo(), None);
    }
}
