//! The rows of the journal, as bytes.

use crate::frame::{Fields, Framer};
use model::{
    AccountName, AddressCheck, Amount, Attempt, Capture, Change, ChangeKind, Currency, CvvCheck,
    Decline, Evidence, Outcome, Payment, Rejected, Standing, TransactionId, Unknown,
};

/// The first field of a payment, which is its form.
const FORM: &[u8] = b"payment/2";
/// What most payments have room in.
const ROOM_BYTES: usize = 768;
/// What the evidence of most attempts has room in.
const EVIDENCE_ROOM_BYTES: usize = 256;

/// Writes a payment, all but its name, which is the row's.
pub(super) fn write(payment: &Payment) -> Vec<u8> {
    let mut out = Framer::with_capacity(ROOM_BYTES);
    out.put(FORM);
    out.put(match payment.capture {
        Capture::Later => b"later",
        Capture::Now => b"now",
    });
    out.put(&[u8::from(payment.adopted)]);
    write_amount(&mut out, payment.amount);
    out.text(payment.merchant_reference.as_deref());
    out.text(payment.last_four.as_deref());
    out.text(payment.memo.as_deref());
    out.number(u64::try_from(payment.attempts.len()).unwrap_or(u64::MAX));
    for attempt in &payment.attempts {
        out.text(attempt.account.as_ref().map(AccountName::as_str));
        out.put(attempt.provider.as_bytes());
        out.number(attempt.began);
        write_standing(&mut out, attempt.standing);
        write_evidence(&mut out, &attempt.evidence);
    }
    for change in &payment.changes {
        out.put(change.id.as_str().as_bytes());
        write_change_word(&mut out, change, payment.amount);
        out.number(change.amount.minor());
        out.text(change.account.as_ref().map(AccountName::as_str));
        out.text(change.merchant_reference.as_deref());
        write_standing(&mut out, change.standing);
        write_evidence(&mut out, &change.evidence);
    }
    out.done()
}

/// Reads a payment of this name. None: the bytes are not one.
pub(super) fn read(id: TransactionId, bytes: &[u8]) -> Option<Payment> {
    let mut fields = Fields::new(bytes);
    (fields.bytes()? == FORM).then_some(())?;
    let capture = match fields.bytes()? {
        b"later" => Capture::Later,
        b"now" => Capture::Now,
        _ => return None,
    };
    let adopted = match fields.bytes()? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let amount = read_amount(&mut fields)?;
    let merchant_reference = fields.optional()?.map(Into::into);
    let last_four = fields.optional()?.map(Into::into);
    let memo = fields.optional()?.map(Into::into);
    let attempts = usize::try_from(fields.number()?).ok()?;
    (attempts <= Payment::ATTEMPTS_MAX).then_some(())?;
    let attempts = (0..attempts).map(|_| read_attempt(&mut fields)).collect::<Option<_>>()?;
    let mut changes = Vec::new();
    while fields.end().is_none() {
        (changes.len() < Payment::CHANGES_MAX).then_some(())?;
        changes.push(read_change(&mut fields, amount)?);
    }
    Some(Payment {
        id,
        capture,
        amount,
        merchant_reference,
        adopted,
        last_four,
        memo,
        attempts,
        changes,
    })
}

fn read_attempt(fields: &mut Fields<'_>) -> Option<Attempt> {
    let account = read_account(fields)?;
    let (provider, began) = (fields.text()?.into(), fields.number()?);
    let (standing, evidence) = (read_standing(fields)?, read_evidence(fields)?);
    Some(Attempt { account, provider, began, standing, evidence })
}

fn read_account(fields: &mut Fields<'_>) -> Option<Option<AccountName>> {
    fields.optional()?.map(AccountName::parse).transpose().ok()
}

fn read_change(fields: &mut Fields<'_>, of: Amount) -> Option<Change> {
    let id = TransactionId::parse(fields.text()?).ok()?;
    let word = fields.text()?;
    let (word, currency) = match word.split_once(' ') {
        Some((word, code)) => (word, read_currency(code).filter(|told| *told != of.currency())?),
        None => (word, of.currency()),
    };
    let kind = CHANGES.into_iter().find(|kind| change_word(*kind) == word)?;
    let amount = Amount::new(fields.number()?, currency).ok()?;
    let account = read_account(fields)?;
    let merchant_reference = fields.optional()?.map(Into::into);
    let (standing, evidence) = (read_standing(fields)?, read_evidence(fields)?);
    Some(Change { id, kind, amount, account, merchant_reference, standing, evidence })
}

const CHANGES: [ChangeKind; 3] = [ChangeKind::Capture, ChangeKind::Refund, ChangeKind::Void];

fn change_word(kind: ChangeKind) -> &'static str {
    kind.kind().word()
}

/// A change of a payment that was made elsewhere may be in another currency than the first one was.
fn write_change_word(out: &mut Framer, change: &Change, of: Amount) {
    let (word, currency) = (change_word(change.kind), change.amount.currency());
    if currency == of.currency() {
        out.put(word.as_bytes());
    } else {
        out.put([word, " ", currency.code()].concat().as_bytes());
    }
}

fn write_amount(out: &mut Framer, amount: Amount) {
    out.number(amount.minor());
    out.put(amount.currency().code().as_bytes());
}

fn read_amount(fields: &mut Fields<'_>) -> Option<Amount> {
    let minor = fields.number()?;
    Amount::new(minor, read_currency(fields.text()?)?).ok()
}

/// It is read in any case, and written in one.
fn read_currency(code: &str) -> Option<Currency> {
    Currency::parse(code).ok().filter(|currency| currency.code() == code)
}

/// How it stands, as two words.
fn standing_words(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Sending => ("sending", ""),
        Standing::NotDone => ("not-done", ""),
        Standing::Ended(outcome) => match outcome {
            Outcome::Approved | Outcome::Pending => (outcome.word(), ""),
            Outcome::Declined(why) => (outcome.word(), why.word()),
            Outcome::Rejected(why) => (outcome.word(), why.word()),
            Outcome::Unknown(why) => (outcome.word(), why.word()),
        },
    }
}

fn write_standing(out: &mut Framer, standing: Standing) {
    let (word, why) = standing_words(standing);
    out.put(word.as_bytes());
    out.put(why.as_bytes());
}

fn read_standing(fields: &mut Fields<'_>) -> Option<Standing> {
    let (word, why) = (fields.text()?, fields.text()?);
    let ended = match word {
        "sending" => return Some(Standing::Sending),
        "not-done" => return Some(Standing::NotDone),
        "approved" => Outcome::Approved,
        "pending" => Outcome::Pending,
        "declined" => Outcome::Declined(Decline::ALL.into_iter().find(|w| w.word() == why)?),
        "rejected" => Outcome::Rejected(Rejected::ALL.into_iter().find(|w| w.word() == why)?),
        "unknown" => Outcome::Unknown(Unknown::ALL.into_iter().find(|w| w.word() == why)?),
        _ => return None,
    };
    Some(Standing::Ended(ended))
}

fn write_evidence(out: &mut Framer, evidence: &Evidence) {
    if *evidence == Evidence::default() {
        return out.put(b"");
    }
    let mut inner = Framer::with_capacity(EVIDENCE_ROOM_BYTES);
    for text in texts(evidence) {
        inner.text(text);
    }
    inner.text(evidence.address_check.map(AddressCheck::word));
    inner.text(evidence.cvv_check.map(CvvCheck::word));
    out.put(&inner.done());
}

fn texts(evidence: &Evidence) -> [Option<&str>; 7] {
    [
        &evidence.reference,
        &evidence.authorization_code,
        &evidence.code,
        &evidence.description,
        &evidence.sub_code,
        &evidence.sub_description,
        &evidence.network_transaction_id,
    ]
    .map(|text| text.as_deref())
}

fn read_evidence(fields: &mut Fields<'_>) -> Option<Evidence> {
    let mut fields = Fields::new(fields.bytes()?);
    if fields.end().is_some() {
        return Some(Evidence::default());
    }
    let mut text = || fields.optional().map(|text| text.map(Box::from));
    let mut evidence = Evidence {
        reference: text()?,
        authorization_code: text()?,
        code: text()?,
        description: text()?,
        sub_code: text()?,
        sub_description: text()?,
        network_transaction_id: text()?,
        address_check: None,
        cvv_check: None,
    };
    if let Some(word) = fields.optional()? {
        evidence.address_check = Some(AddressCheck::ALL.into_iter().find(|w| w.word() == word)?);
    }
    if let Some(word) = fields.optional()? {
        evidence.cvv_check = Some(CvvCheck::ALL.into_iter().find(|w| w.word() == word)?);
    }
    fields.end()?;
    Some(evidence)
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use model::{
        AccountName, AddressCheck, Amount, Attempt, Capture, Change, ChangeKind, Currency,
        CvvCheck, Decline, Evidence, Outcome, Payment, Rejected, Standing, TransactionId, Unknown,
    };
    use proptest::prelude::*;

    fn standings() -> Vec<Standing> {
        let declined = Decline::ALL.map(Outcome::Declined);
        let rejected = Rejected::ALL.map(Outcome::Rejected);
        let unknown = Unknown::ALL.map(Outcome::Unknown);
        let plain = [Outcome::Approved, Outcome::Pending];
        let ended = declined.into_iter().chain(rejected).chain(unknown).chain(plain);
        ended.map(Standing::Ended).chain([Standing::Sending, Standing::NotDone]).collect()
    }

    fn evidence() -> Evidence {
        Evidence {
            reference: Some("pi_1".into()),
            code: Some("ok".into()),
            address_check: Some(AddressCheck::PostCodeOnly),
            cvv_check: Some(CvvCheck::Match),
            ..Evidence::default()
        }
    }

    fn full() -> Payment {
        let attempt = |standing| Attempt {
            account: Some(AccountName::parse("stripe-primary").unwrap()),
            provider: "stripe".into(),
            began: 5,
            standing,
            evidence: evidence(),
        };
        let change = |standing| Change {
            id: TransactionId::new(9, 9),
            kind: ChangeKind::Refund,
            amount: Amount::new(77, Currency::EUR).unwrap(),
            account: Some(AccountName::parse("stripe-primary").unwrap()),
            merchant_reference: Some("refund 1".into()),
            standing,
            evidence: Evidence::default(),
        };
        let all = standings();
        let mut changes: Vec<_> =
            all.iter().take(Payment::CHANGES_MAX).copied().map(change).collect();
        changes[1].amount = Amount::new(78, Currency::parse("JPY").unwrap()).unwrap();
        Payment {
            id: TransactionId::new(1, 2),
            capture: Capture::Later,
            amount: Amount::new(1_050, Currency::EUR).unwrap(),
            merchant_reference: Some("order 1".into()),
            adopted: true,
            last_four: Some("4242".into()),
            memo: Some("a".repeat(1_024).into()),
            attempts: all.iter().take(Payment::ATTEMPTS_MAX).copied().map(attempt).collect(),
            changes,
        }
    }

    #[test]
    fn a_payment_is_read_as_it_was_written() {
        let payment = full();
        assert_eq!(read(payment.id.clone(), &write(&payment)), Some(payment.clone()));
        let bare = Payment {
            capture: Capture::Now,
            merchant_reference: None,
            adopted: false,
            last_four: None,
            memo: None,
            attempts: vec![],
            changes: vec![],
            ..payment
        };
        assert_eq!(read(bare.id.clone(), &write(&bare)), Some(bare));
    }

    #[test]
    fn the_largest_payment_fits_into_a_row() {
        let long = |bytes: usize| Some(Box::from("x".repeat(bytes)));
        let evidence = Evidence {
            reference: long(255),
            authorization_code: long(255),
            code: long(255),
            description: long(255),
            sub_code: long(255),
            sub_description: long(255),
            network_transaction_id: long(255),
            ..Evidence::default()
        };
        let mut payment = full();
        payment.attempts.iter_mut().for_each(|attempt| attempt.evidence = evidence.clone());
        let change = payment.changes.first().cloned().unwrap();
        payment.memo = long(model::Report::MEMO_BYTES_MAX);
        payment.merchant_reference = long(80 * 4);
        // As `Evidence::brief` keeps it.
        let brief = Evidence { reference: long(255), code: long(64), ..Evidence::default() };
        let merchant_reference = long(80 * 4);
        let longest = Change { evidence: brief, merchant_reference, ..change };
        payment.changes = vec![longest; Payment::CHANGES_MAX];
        assert!(write(&payment).len() < crate::store::VALUE_BYTES_MAX - 256);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _any = read(TransactionId::new(0, 0), &bytes);
        }

        #[test]
        fn what_was_cut_or_changed_is_no_payment_or_another(at in 0_usize..600, bit in 0_u8..8) {
            let payment = full();
            let mut bytes = write(&payment);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
                prop_assert_ne!(read(payment.id.clone(), &bytes), Some(payment.clone()));
            }
            bytes.truncate(at);
            prop_assert_ne!(read(payment.id.clone(), &bytes), Some(payment));
        }
    }
}
