//! Why an issuer says no, and how a test asks for it.

use crate::sandbox::shape::text;
use serde_json::Value;

/// One refusal: its code, and how Worldpay words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Refusal {
    pub(in crate::sandbox) code: &'static str,
    pub(in crate::sandbox) description: &'static str,
}

const fn refusal(code: &'static str, description: &'static str) -> Refusal {
    Refusal { code, description }
}

/// What becomes of any number that is no test card.
pub(in crate::sandbox) const NOT_A_TEST_CARD: Refusal = refusal("14", "INVALID CARD NUMBER");

/// Those that a holder's name of `REFUSED` and the code asks for.
const REFUSALS: &[Refusal] = &[
    refusal("4", "HOLD CARD"),
    refusal("5", "REFUSED"),
    refusal("8", "APPROVE AFTER IDENTIFICATION"),
    refusal("13", "INVALID AMOUNT"),
    refusal("15", "INVALID CARD ISSUER"),
    refusal("17", "ANNULATION BY CLIENT"),
    refusal("28", "ACCESS DENIED"),
    refusal("33", "CARD EXPIRED"),
    refusal("34", "FRAUD SUSPICION"),
    refusal("38", "SECURITY CODE EXPIRED"),
    refusal("41", "LOST CARD"),
    refusal("43", "STOLEN CARD, PICK UP"),
    refusal("51", "LIMIT EXCEEDED"),
    refusal("55", "INVALID SECURITY CODE"),
    refusal("56", "UNKNOWN CARD"),
    refusal("57", "ILLEGAL TRANSACTION"),
    refusal("61", "WITHDRAWAL AMOUNT EXCEEDED"),
    refusal("62", "RESTRICTED CARD"),
    refusal("63", "SECURITY RULES VIOLATED"),
    refusal("75", "SECURITY CODE INVALID"),
    refusal("76", "CARD BLOCKED"),
    refusal("85", "REJECTED BY CARD ISSUER"),
    refusal("91", "CREDITCARD ISSUER TEMPORARILY NOT REACHABLE"),
    refusal("835", "CVV2 DECLINED"),
    refusal("973", "REVOCATION OF ALL AUTHORIZATIONS"),
];

const SOFT: Refusal = refusal("65", "AUTHENTICATION REQUESTED");

/// What the holder's name asks for.
pub(super) fn asked_for(parameters: &Value) -> Option<Refusal> {
    by_holder(text(parameters, "/instruction/paymentInstrument/cardHolderName")?)
}

/// The same, by the name itself.
pub(in crate::sandbox) fn by_holder(name: &str) -> Option<Refusal> {
    match name {
        "SOFT_DECLINED" => Some(SOFT),
        "REFUSED" => find("5"),
        name => find(name.strip_prefix("REFUSED")?),
    }
}

fn find(code: &str) -> Option<Refusal> {
    REFUSALS.iter().copied().find(|refusal| refusal.code == code)
}
