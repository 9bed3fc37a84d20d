//! Queries of paths, read as strictly as bodies.

use crate::decode::FieldError;
use crate::decode::schema::MY_REF_CHARS_MAX;
use jiff::Timestamp;
use model::{AccountName, State, TransactionId};
use percent_encoding::percent_decode_str;

/// The query of `GET /Transactions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionsQuery {
    pub my_ref: Option<Box<str>>,
    pub account: Option<AccountName>,
    pub state: Option<State>,
    /// In milliseconds since 1970.
    pub from: Option<u64>,
    pub until: Option<u64>,
    pub after: Option<TransactionId>,
}

/// The query of `GET /PaymentGatewayAccounts/{name}/balance`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceQuery {
    /// In milliseconds since 1970.
    pub from: Option<u64>,
    pub until: Option<u64>,
    pub after: Option<TransactionId>,
}

/// The latest time that a query may name: that of the largest name of a transaction.
const MILLIS_MAX: u64 = (1 << 48) - 1;
/// How many members a query may have.
const MEMBERS_MAX: usize = 16;

/// Reads the query of `GET /Transactions`.
///
/// # Errors
/// The first member that is wrong.
pub fn transactions(query: &str) -> Result<TransactionsQuery, FieldError> {
    read(query, &["account", "after", "from", "myRef", "state", "until"])
}

/// Reads the query of `GET /PaymentGatewayAccounts/{name}/balance`.
///
/// # Errors
/// The first member that is wrong.
pub fn balance(query: &str) -> Result<BalanceQuery, FieldError> {
    let TransactionsQuery { from, until, after, .. } = read(query, &["after", "from", "until"])?;
    Ok(BalanceQuery { from, until, after })
}

fn read(query: &str, members: &[&'static str]) -> Result<TransactionsQuery, FieldError> {
    let mut read = TransactionsQuery::default();
    let mut seen = Vec::new();
    for (nth, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if nth >= MEMBERS_MAX {
            return Err(FieldError::new("", "has too many members in its query"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Most clients write a blank as a plus, and a plus with a percent sign.
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8();
        let name = members.iter().copied().find(|known| *known == name);
        let name = name.ok_or(FieldError::new("", "has a member that is not documented"))?;
        if seen.contains(&name) {
            return Err(FieldError::new(name, "is given more than once"));
        }
        seen.push(name);
        let value = value.map_err(|_| FieldError::new(name, "is not UTF-8"))?;
        set(&mut read, name, &value).map_err(|problem| FieldError::new(name, problem))?;
    }
    Ok(read)
}

fn set(read: &mut TransactionsQuery, name: &str, value: &str) -> Result<(), &'static str> {
    match name {
        "account" => read.account = Some(account(value)?),
        "after" => read.after = Some(transaction(value)?),
        "from" => read.from = Some(millis(value)?),
        "myRef" => read.my_ref = Some(reference(value)?),
        "state" => read.state = Some(state(value)?),
        // "until"
        _ => read.until = Some(millis(value)?),
    }
    Ok(())
}

fn account(value: &str) -> Result<AccountName, &'static str> {
    AccountName::parse(value).map_err(|_| "must be 3 to 64 characters A-Z, a-z, 0-9, '_' or '-'")
}

fn transaction(value: &str) -> Result<TransactionId, &'static str> {
    TransactionId::parse(value).map_err(|_| "must be 32 digits 0-9 and a-f")
}

/// A time as answers show it (RFC 3339), or in milliseconds. Nothing was paid before 1970.
fn millis(value: &str) -> Result<u64, &'static str> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number = || value.parse().ok().filter(|millis| *millis <= MILLIS_MAX);
    let written = || value.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let read = if digits { number() } else { written().map(|time| time.try_into().unwrap_or(0)) };
    read.ok_or("must be a time as in 2026-01-31T12:00:00Z, or in milliseconds since 1970")
}

fn reference(value: &str) -> Result<Box<str>, &'static str> {
    let fits = (1..=MY_REF_CHARS_MAX).contains(&value.chars().count());
    let plain = !value.chars().any(char::is_control);
    if fits && plain { Ok(value.into()) } else { Err("must be 1 to 80 printable characters") }
}

fn state(value: &str) -> Result<State, &'static str> {
    let is = |state: &State| state.word().eq_ignore_ascii_case(value);
    State::ALL.into_iter().find(is).ok_or("is not a state of a payment")
}

#[cfg(test)]
mod tests {
    use super::{BalanceQuery, TransactionsQuery, balance, transactions};
    use model::{AccountName, State, TransactionId};

    #[test]
    fn a_query_with_everything_is_read() {
        let id = TransactionId::new(7, 7);
        let query = format!("myRef=order%201&account=abc&state=Captured&from=1&until=2&after={id}");
        let expected = TransactionsQuery {
            my_ref: Some("order 1".into()),
            account: Some(AccountName::parse("abc").unwrap()),
            state: Some(State::Captured),
            from: Some(1),
            until: Some(2),
            after: Some(id),
        };
        assert_eq!(transactions(&query), Ok(expected));
        assert_eq!(transactions(""), Ok(TransactionsQuery::default()));
    }

    #[test]
    fn a_blank_and_a_plus_are_read_as_clients_write_them() {
        for (query, expected) in [
            ("myRef=order%201", "order 1"),
            ("myRef=order+1", "order 1"),
            ("myRef=order%2B1", "order+1"),
            ("myRef=%E2%82%AC+%2B%25", "\u{20ac} +%"),
        ] {
            assert_eq!(transactions(query).unwrap().my_ref.as_deref(), Some(expected), "{query}");
        }
    }

    #[test]
    fn a_time_is_read_as_answers_show_it() {
        for (query, expected) in [
            ("from=1970-01-01T00:00:01.5Z", 1_500),
            ("from=1970-01-01T02:00:00%2B01:00", 3_600_000),
            ("from=1970-01-01t00:00:01z", 1_000),
            ("from=0001-01-01T00:00:00Z", 0),
            ("from=281474976710655", (1 << 48) - 1),
        ] {
            assert_eq!(transactions(query).unwrap().from, Some(expected), "{query}");
        }
        // Without a zone nobody knows when.
        for query in ["from=1970-01-01", "from=1970-01-01T00:00:00", "from=1e3", "from=now"] {
            assert_eq!(transactions(query).unwrap_err().field, "from", "{query}");
        }
    }

    #[test]
    fn a_state_has_any_case_as_every_word_of_the_api() {
        for word in ["Captured", "captured", "CAPTURED"] {
            let read = transactions(&format!("state={word}")).unwrap();
            assert_eq!(read.state, Some(State::Captured), "{word}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name_and_not_repeated() {
        for (query, field) in [
            ("limit=4111111111111111", ""),
            ("MYREF=a", ""),
            ("from=1&from=1", "from"),
            ("from=-1", "from"),
            ("from=", "from"),
            ("until=281474976710656", "until"),
            ("state=taken", "state"),
            ("account=a", "account"),
            ("after=1", "after"),
            ("myRef=", "myRef"),
            ("myRef=%00", "myRef"),
            ("myRef=%ff", "myRef"),
        ] {
            let error = transactions(query).unwrap_err();
            assert_eq!(error.field, field, "{query}");
            assert!(!error.to_string().contains("4111"));
        }
        assert!(transactions(&"&from=1".repeat(20)).is_err());
    }

    #[test]
    fn a_balance_is_of_a_time_and_of_nothing_else() {
        let id = TransactionId::new(7, 7);
        let expected = BalanceQuery { from: Some(1), until: Some(2), after: Some(id.clone()) };
        assert_eq!(balance(&format!("from=1&until=2&after={id}")), Ok(expected));
        assert_eq!(balance(""), Ok(BalanceQuery::default()));
        for query in ["state=Captured", "account=abc", "myRef=a"] {
            assert_eq!(balance(query).unwrap_err().field, "", "{query}");
        }
        assert_eq!(balance("until=x").unwrap_err().field, "until");
    }
}
