//! The person, or the script, at the terminal.
//!
//! This is the only place that writes to the standard output and error, apart from the logs.

use crate::admin::{
    AccountLine, Agreed, Answer, AuditHead, CustodianLine, KeyLine, MerchantLine, NewKey,
    NewMerchant, Rotation, Status, TransactionLine, TransactionLines, ValidityLine, VaultKeyLine,
    Verified,
};
use anyhow::{Context, Result, ensure};
use model::Secret;
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};
use zeroize::Zeroizing;

/// Prints `text`, which is what the command was run for. A reader who has seen enough is no error.
pub(super) fn say(text: &str) -> Result<()> {
    match print(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("the output cannot be written"),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", text.trim_end_matches('\n')).and_then(|()| output.flush())
}

/// Prints a line beside the output: an error, or a hint.
pub(super) fn complain(text: &str) {
    // There is nobody left to tell when this fails.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// How long an answer of a person may be, in bytes.
const ANSWER_BYTES_MAX: usize = 256;
/// How long the end of a line may be.
const LINE_END_BYTES_MAX: usize = 2;

/// Asks the person at the terminal, who answers with a line.
pub(super) fn ask(question: &str) -> Result<String> {
    complain(&format!("{question}:"));
    Ok(line(io::stdin().lock())?.trim().to_owned())
}

/// Asks for a secret that is known already.
pub(super) fn ask_secret(question: &str) -> Result<Secret> {
    Ok(Secret::new(hidden(question)?.as_str()))
}

/// Asks for a secret that begins to count: twice, because nobody sees what is typed.
pub(super) fn ask_new_secret(question: &str) -> Result<Secret> {
    agreed(&hidden(question)?, &hidden(&format!("{question}, once more"))?)
}

/// The secret, where both are the same. Who types them learns nothing from how long that takes.
fn agreed(first: &str, again: &str) -> Result<Secret> {
    ensure!(first == again, "the two are not the same: nothing was done");
    Ok(Secret::new(first))
}

/// Asks for a line that is not shown while it is typed.
fn hidden(question: &str) -> Result<Zeroizing<String>> {
    let input = io::stdin();
    ensure!(input.is_terminal(), "there is no terminal to type a secret at: say --secret");
    complain(&format!("{question} (it is not shown):"));
    let shown = Echo::off()?;
    let typed = line(input.lock());
    drop(shown);
    typed
}

/// A line without its end, in allocations that are wiped. A longer one is refused whole: a part of a
/// secret is another secret.
fn line(from: impl BufRead) -> Result<Zeroizing<String>> {
    let room = ANSWER_BYTES_MAX.saturating_add(LINE_END_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let mut limited = from.take(u64::try_from(room).unwrap_or(u64::MAX));
    limited.read_until(b'\n', &mut bytes).context("the terminal cannot be read")?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    ensure!(
        line.len() <= ANSWER_BYTES_MAX,
        "no answer may be longer than {ANSWER_BYTES_MAX} bytes"
    );
    let text = std::str::from_utf8(line).ok().context("what was typed is not text")?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Shows on one line how far a rotation is.
pub(super) fn progress(rotation: &Rotation) {
    let Rotation { what, owner, purpose, keys, keys_done, records, waits_for, .. } = rotation;
    let what = what.as_deref().unwrap_or_default();
    let waits = waits_for.as_deref().map(|why| format!("; waits for {why}")).unwrap_or_default();
    complain(&format!(
        "{what}: {keys_done} of {keys} keys, {records} records; at {owner} {purpose}{waits}"
    ));
}

/// A terminal that shows nothing of what is typed, as long as this lives.
struct Echo;

/// Tells the terminal whether to show what is typed. `stty` is a part of every system.
fn stty(mode: &str) -> Result<()> {
    let done =
        std::process::Command::new("stty").arg(mode).stdin(std::process::Stdio::inherit()).status();
    ensure!(done.is_ok_and(|status| status.success()), "the terminal cannot hide what is typed");
    Ok(())
}

// === impl Echo ===

impl Echo {
    fn off() -> Result<Self> {
        stty("-echo").map(|()| Self)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if stty("echo").is_err() {
            complain("type `stty echo` to see again what you type");
        }
    }
}

/// Prints an answer for a script, or for a person.
pub(super) fn show(answer: &Answer, json: bool) -> Result<()> {
    let text = if json { as_json(answer)? } else { as_text(answer) };
    if let Answer::Key(key) = answer {
        return show_once(&key.id, &text, json);
    }
    say(&text)
}

/// Shows a new key. A reader who is gone has not seen it, and it counts all the same.
fn show_once(id: &str, text: &str, json: bool) -> Result<()> {
    print(text).with_context(|| {
        format!("the key {id} was made, and could not be shown: revoke it with `orchestra keys revoke {id}`")
    })?;
    if !json {
        complain("Keep this key now: it is not shown again, and nothing can bring it back.");
    }
    Ok(())
}

/// What was asked for, without the name of its kind: whoever asked knows that.
fn as_json(answer: &Answer) -> Result<String> {
    Ok(match answer {
        Answer::Account(account) => json(account)?,
        Answer::AccountWhole(account) => json(&account.0)?,
        Answer::Accounts(accounts) => json(accounts)?,
        Answer::Agreed(agreed) => json(agreed)?,
        Answer::AuditHead(head) => json(head)?,
        Answer::Custodians(custodians) => json(custodians)?,
        Answer::Follows | Answer::Gone => json(&serde_json::json!({}))?,
        Answer::Key(key) => json(key)?,
        Answer::Keys(keys) => json(keys)?,
        Answer::Merchant(merchant) => json(merchant)?,
        Answer::Merchants(merchants) => json(merchants)?,
        Answer::Rotation(rotation) => json(rotation)?,
        Answer::Status(status) => json(status)?,
        Answer::Transaction(transaction) => json(&transaction.0)?,
        Answer::Transactions(lines) => json(lines)?,
        Answer::Validity(validity) => json(validity)?,
        Answer::VaultKeys(keys) => json(keys)?,
        Answer::Verified(verified) => json(verified)?,
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
        // It has parts within parts, which JSON shows best to people too.
        Answer::AccountWhole(account) => json(&account.0).unwrap_or_default(),
        Answer::Accounts(accounts) => {
            let row = |line: &AccountLine| {
                let enabled = if line.enabled { "yes" } else { "no" };
                [&*line.name, &line.gateway, enabled, &line.created].map(from)
            };
            table(["NAME", "GATEWAY", "ENABLED", "CREATED"], accounts.iter().map(row))
        }
        Answer::Agreed(agreed) => agreed_text(agreed),
        Answer::AuditHead(AuditHead { head, .. }) => {
            format!("The audit log goes to line {}.", head.sequence)
        }
        Answer::Custodians(custodians) => {
            let head = ["NAME", "ACCEPTED", "COUNTS FROM", "APPROVED BY"];
            let row = |line: &CustodianLine| {
                let by = line.approved_by.as_deref().unwrap_or("-");
                [&*line.name, &line.accepted, &line.counts_from, by].map(from)
            };
            table(head, custodians.iter().map(row))
        }
        Answer::Follows => String::new(),
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
        Answer::Rotation(rotation) => rotation_text(rotation),
        Answer::Status(status) => status_text(status),
        Answer::Transaction(transaction) => json(&transaction.0).unwrap_or_default(),
        Answer::Transactions(lines) => transactions_text(lines),
        Answer::Validity(ValidityLine { result, advice }) => format!("{result}: {advice}"),
        Answer::VaultKeys(keys) => {
            let head =
                ["ID", "OWNER", "PURPOSE", "VERSION", "STATE", "SEALS", "CREATED", "CHANGED", "BY"];
            table(head, keys.iter().map(vault_key_row))
        }
        Answer::Verified(verified) => verified_text(verified),
    }
}

fn key_row(line: &KeyLine) -> [String; 6] {
    let purpose = if line.is_sandbox { "test" } else { "live" };
    let scopes = line.scopes.join(",");
    let expires = line.expires.as_deref().unwrap_or("never");
    [&line.id, &line.name, purpose, &scopes, &line.created, expires].map(from)
}

fn rotation_text(rotation: &Rotation) -> String {
    match (&rotation.approval_until, &rotation.what) {
        (Some(until), _) => format!("Approved. Another custodian has until {until} to do so too."),
        (None, Some(_)) => "The rotation is under way.".to_owned(),
        (None, None) => "No rotation is under way; see `orchestra vault keys`.".to_owned(),
    }
}

fn transactions_text(lines: &TransactionLines) -> String {
    let head = ["ID", "MERCHANT", "ACCOUNT", "OPERATION", "AMOUNT", "STATE", "AGE", "ASKED", "WHY"];
    let mut text = table(head, lines.transactions.iter().map(transaction_row));
    if let Some(next) = &lines.next {
        text.push_str(&format!("\nThere is more: --after {next}"));
    }
    text
}

fn transaction_row(line: &TransactionLine) -> [String; 9] {
    let TransactionLine { id, merchant, account, operation, amount, state, age_s, doubt } = line;
    let id = doubt.as_ref().map_or(id, |doubt| &doubt.id);
    let asked = doubt.as_ref().map(|doubt| doubt.asked.to_string()).unwrap_or_default();
    let why = doubt.as_ref().and_then(|doubt| doubt.why.as_deref()).unwrap_or_default();
    let account = account.as_deref().unwrap_or_default();
    let age = format!("{age_s} s");
    [id, merchant, account, operation, amount, state, &age, &asked, why].map(from)
}

fn vault_key_row(line: &VaultKeyLine) -> [String; 9] {
    let seals = line.seals.map(|seals| seals.to_string()).unwrap_or_default();
    let version = line.version.to_string();
    let VaultKeyLine { id, owner, purpose, state, created, changed, by, .. } = line;
    [id, owner, purpose, &*version, state, &seals, created, changed, by].map(from)
}

fn agreed_text(agreed: &Agreed) -> String {
    match (&agreed.by, &agreed.approval_until) {
        (Some(by), _) => format!("Done, on the word of {by}."),
        (None, until) => {
            let until = until.as_deref().unwrap_or("then");
            format!("Another custodian must say the same by {until}.")
        }
    }
}

fn status_text(status: &Status) -> String {
    let word = |works: bool| from(if works { "works" } else { "FAILS" });
    let rows = [
        [from("store"), word(status.store)],
        [from("security module"), word(status.hsm)],
        [from("audit log"), word(status.audit)],
        [from("merchants"), status.merchants.to_string()],
        [from("API keys"), status.keys.to_string()],
        [from("accounts"), status.accounts.to_string()],
        [from("deletions"), deletions(status.deletion_age_s)],
        [from("oldest key in the token"), format!("{} days", days(status.kek_age_max_s))],
    ];
    table(["PART", "STATE"], rows)
}

fn deletions(oldest_s: u64) -> String {
    match oldest_s {
        0 => from("all final"),
        age => format!("not final for {} days", days(age)),
    }
}

/// Whole days, begun ones among them.
fn days(seconds: u64) -> u64 {
    const DAY_S: u64 = 86_400;
    seconds.div_ceil(DAY_S)
}

fn verified_text(verified: &Verified) -> String {
    let Verified { is_whole, rows, apart, refused, findings, counter: _ } = verified;
    let state = |name: &str| {
        let own = findings.iter().filter(|found| &*found.collection == name).count();
        match (apart.iter().any(|apart| &**apart == name), own) {
            (false, 0) => from("as it was written"),
            (false, own) => format!("{own} do not open"),
            (true, 0) => from("CHANGED"),
            (true, own) => format!("CHANGED, {own} do not open"),
        }
    };
    let lines = rows
        .iter()
        .map(|one| [from(&one.collection), one.rows.to_string(), state(&one.collection)]);
    let missing = apart.iter().filter(|name| !rows.iter().any(|one| one.collection == **name));
    let lines = lines.chain(missing.map(|name| [from(name), from("0"), state(name)]));
    let mut text = table(["COLLECTION", "ROWS", "STATE"], lines);
    for found in findings {
        text.push_str(&format!("\n{}: {} does not open", found.collection, found.row));
    }
    if *refused > findings.len().try_into().unwrap_or(u64::MAX) {
        text.push_str(&format!("\n{refused} rows do not open in all"));
    }
    text.push_str(if *is_whole { "\nThe vault is whole." } else { "\nThe vault is NOT whole." });
    text
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
    use super::{agreed, as_json, as_text, line};
    use crate::admin::{AccountLine, Answer, KeyLine, NewKey, Status};
    use model::Secret;

    #[test]
    fn a_line_that_is_too_long_is_refused_and_not_cut() {
        let a = |count: usize| "a".repeat(count);
        for (typed, expected) in [
            (format!("{}\n", a(256)), Ok(a(256))),
            (format!("{}\r\n", a(256)), Ok(a(256))),
            (a(256), Ok(a(256))),
            ("I accept\nand more".to_owned(), Ok("I accept".to_owned())),
            (String::new(), Ok(String::new())),
            (format!("{}\n", a(257)), Err("no answer may be longer than 256 bytes")),
            (a(1_000), Err("no answer may be longer than 256 bytes")),
            // The maximum is in the midst of a character.
            (format!("a{}\n", "ä".repeat(200)), Err("no answer may be longer than 256 bytes")),
        ] {
            let line = line(typed.as_bytes()).map(|line| line.to_string());
            let said = line.map_err(|error| error.to_string());
            assert_eq!(said, expected.map_err(str::to_owned), "{} bytes", typed.len());
        }
        assert!(
            line(&b"canary\xff\n"[..]).is_err_and(|error| !format!("{error:?}").contains("canary"))
        );
    }

    #[test]
    fn a_secret_that_is_chosen_is_typed_twice_the_same() {
        // Exposed to compare it with what was typed.
        assert_eq!(agreed("canary", "canary").unwrap().expose(), "canary");
        for again in ["canari", "canary ", ""] {
            let error = agreed("canary", again).unwrap_err();
            assert!(
                error.to_string().contains("not the same")
                    && !format!("{error:?}").contains("canary")
            );
        }
    }

    #[test]
    fn lists_are_tables() {
        let line = |name: &str, gateway: &str| AccountLine {
            name: name.into(),
            gateway: gateway.into(),
            created: "2026-11-22T12:00:00.000Z".into(),
            enabled: name != "null",
        };
        let accounts = vec![line("stripe-primary", "Stripe"), line("null", "NULLSuccess")];
        assert_eq!(
            as_text(&Answer::Accounts(accounts)),
            "NAME            GATEWAY      ENABLED  CREATED\n\
             stripe-primary  Stripe       yes      2026-11-22T12:00:00.000Z\n\
             null            NULLSuccess  no       2026-11-22T12:00:00.000Z"
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
        let status = |deletion_age_s| Status {
            audit: true,
            store: true,
            hsm: false,
            merchants: 1,
            keys: 2,
            accounts: 3,
            deletion_age_s,
            kek_age_max_s: 86_401,
        };
        let text = |deletion_age_s| as_text(&Answer::Status(status(deletion_age_s)));
        assert!(text(0).contains("FAILS") && text(0).contains("all final"));
        assert!(text(1).contains("not final for 1 days") && text(1).contains("2 days"));
        let json = as_json(&Answer::Gone).unwrap();
        assert_eq!(json, "{}");
    }
}
