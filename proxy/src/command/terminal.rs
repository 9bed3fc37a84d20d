//! The person, or the script, at the terminal.
//!
//! This is the only place that writes to the standard output and error, apart from the logs.

use crate::admin::{AccountLine, Answer, KeyLine, MerchantLine, NewKey, NewMerchant, Status};
use anyhow::Result;
use serde::Serialize;
use std::io::{self, Write};

/// Prints `text`, which is what the command was run for.
pub(super) fn say(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", text.trim_end_matches('\n'))?;
    Ok(output.flush()?)
}

/// Prints a line beside the output: an error, or a hint.
pub(super) fn complain(text: &str) {
    // There is nobody left to tell when this fails.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints an answer for a script, or for a person.
pub(super) fn show(answer: &Answer, json: bool) -> Result<()> {
    if json {
        return say(&as_json(answer)?);
    }
    if matches!(answer, Answer::Key(_)) {
        complain("Keep this key now: it is not shown again, and nothing can bring it back.");
    }
    say(&as_text(answer))
}

/// What was asked for, without the name of its kind: whoever asked knows that.
fn as_json(answer: &Answer) -> Result<String> {
    Ok(match answer {
        Answer::Account(account) => json(account)?,
        Answer::Accounts(accounts) => json(accounts)?,
        Answer::Gone => json(&serde_json::json!({}))?,
        Answer::Key(key) => json(key)?,
        Answer::Keys(keys) => json(keys)?,
        Answer::Merchant(merchant) => json(merchant)?,
        Answer::Merchants(merchants) => json(merchants)?,
        Answer::Status(status) => json(status)?,
    })
}

/// `value` as JSON that people can read as well.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

fn as_text(answer: &Answer) -> String {
    match answer {
        Answer::Account(AccountLine { name, gateway, .. }) => {
            format!("The account {name} at {gateway} is kept.")
        }
        Answer::Accounts(accounts) => {
            let row = |line: &AccountLine| [&*line.name, &line.gateway, &line.created].map(from);
            table(["NAME", "GATEWAY", "CREATED"], accounts.iter().map(row))
        }
        Answer::Gone => "It is gone.".to_owned(),
        // Exposed because it was asked for, and is shown this one time.
        Answer::Key(NewKey { key, .. }) => key.expose().to_owned(),
        Answer::Keys(keys) => {
            let head = ["ID", "NAME", "FOR", "SCOPES", "CREATED", "EXPIRES"];
            table(head, keys.iter().map(key_row))
        }
        Answer::Merchant(NewMerchant { id, is_new: true }) => {
            format!("The merchant {id} is there.")
        }
        Answer::Merchant(NewMerchant { id, is_new: false }) => {
            format!("The merchant {id} was there already.")
        }
        Answer::Merchants(merchants) => {
            let row = |line: &MerchantLine| [&*line.id, &line.created].map(from);
            table(["ID", "CREATED"], merchants.iter().map(row))
        }
        Answer::Status(status) => status_text(status),
    }
}

fn key_row(line: &KeyLine) -> [String; 6] {
    let purpose = if line.is_sandbox { "test" } else { "live" };
    let scopes = line.scopes.join(",");
    let expires = line.expires.as_deref().unwrap_or("never");
    [&line.id, &line.name, purpose, &scopes, &line.created, expires].map(from)
}

fn status_text(status: &Status) -> String {
    let word = |works: bool| from(if works { "works" } else { "FAILS" });
    let rows = [
        [from("store"), word(status.store)],
        [from("security module"), word(status.hsm)],
        [from("merchants"), status.merchants.to_string()],
        [from("API keys"), status.keys.to_string()],
        [from("accounts"), status.accounts.to_string()],
    ];
    table(["PART", "STATE"], rows)
}

fn from(text: &str) -> String {
    text.to_owned()
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = [head.map(from)].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{as_json, as_text};
    use crate::admin::{AccountLine, Answer, KeyLine, NewKey, Status};
    use model::Secret;

    #[test]
    fn lists_are_tables() {
        let line = |name: &str, gateway: &str| AccountLine {
            name: name.into(),
            gateway: gateway.into(),
            created: "2026-11-22T12:00:00.000Z".into(),
        };
        let accounts = vec![line("stripe-primary", "Stripe"), line("null", "NULLSuccess")];
        assert_eq!(
            as_text(&Answer::Accounts(accounts)),
            "NAME            GATEWAY      CREATED\n\
             stripe-primary  Stripe       2026-11-22T12:00:00.000Z\n\
             null            NULLSuccess  2026-11-22T12:00:00.000Z"
        );
        assert_eq!(as_text(&Answer::Merchants(vec![])), "ID  CREATED");
    }

    #[test]
    fn a_list_of_keys_says_what_they_are_for() {
        let key = KeyLine {
            id: "id".into(),
            name: "till".into(),
            is_sandbox: true,
            scopes: vec!["payments".into(), "tokens".into()],
            created: "then".into(),
            expires: None,
        };
        let text = as_text(&Answer::Keys(vec![key]));
        assert!(text.ends_with("id  till  test  payments,tokens  then     never"), "{text}");
    }

    #[test]
    fn a_new_key_is_the_whole_output_for_scripts() {
        let key = NewKey { id: "abc".into(), key: Secret::new("ork_test_abc") };
        let answer = Answer::Key(key);
        assert_eq!(as_text(&answer), "ork_test_abc");
        let json: serde_json::Value = serde_json::from_str(&as_json(&answer).unwrap()).unwrap();
        assert_eq!(json, serde_json::json!({"id": "abc", "key": "ork_test_abc"}));
    }

    #[test]
    fn json_has_the_names_of_the_api() {
        let status = Status { store: true, hsm: false, merchants: 1, keys: 2, accounts: 3 };
        assert!(as_text(&Answer::Status(status)).contains("FAILS"));
        let json = as_json(&Answer::Gone).unwrap();
        assert_eq!(json, "{}");
    }
}
