//! The result of a 3-D Secure authentication that was done elsewhere, checked before it is sent.
//!
//! What every provider asks of it is here; what only one asks is in that provider's file.

use crate::Refusal;
use model::{Secret, ThreeDs};

/// The API's names for the fields, in refusals.
pub(crate) const ECI: &str = "card.threeDSAuthentication.eci";
pub(crate) const VALUE: &str = "card.threeDSAuthentication.authenticationValue";
pub(crate) const VERSION: &str = "card.threeDSAuthentication.version";
pub(crate) const XID: &str = "card.threeDSAuthentication.xid";

/// Twenty bytes in base64: 27 characters and one `=`.
const TWENTY_BYTES_CHARS: usize = 28;

/// An authentication whose parts have the shapes that EMVCo and the schemes give them.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    /// The CAVV or AAV: twenty bytes in base64.
    pub(crate) value: &'a Secret,
    /// Two digits, `00` to `07`.
    pub(crate) eci: &'static str,
    pub(crate) generation: Generation,
    /// The id of the transaction: at the directory server, or in the first generation the XID.
    pub(crate) transaction: &'a str,
    /// Such as `2.2.0`.
    pub(crate) version: &'a str,
}

/// The generation of the protocol, which decides what the transaction's id is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    First,
    Second,
}

/// Checks what the merchant handed in.
pub(crate) fn check(three_ds: &ThreeDs) -> Result<Checked<'_>, Refusal> {
    let (version, transaction) = (&*three_ds.version, &*three_ds.xid);
    let generation = generation(version)?;
    // The value is exposed to be measured; it stays where it is.
    if !is_twenty_bytes(three_ds.authentication_value.expose()) {
        return Err(refuse(VALUE, "must be 20 bytes in base64"));
    }
    let well_formed = match generation {
        Generation::First => is_twenty_bytes(transaction),
        Generation::Second => transaction.bytes().all(|b| b.is_ascii_graphic()),
    };
    if transaction.is_empty() || !well_formed {
        return Err(refuse(XID, "is not a transaction id of this version of 3-D Secure"));
    }
    let value = &three_ds.authentication_value;
    Ok(Checked { value, eci: eci(&three_ds.eci)?, generation, transaction, version })
}

fn generation(version: &str) -> Result<Generation, Refusal> {
    let plain = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match version.split_once('.') {
        Some(("1", _)) if plain => Ok(Generation::First),
        Some(("2", _)) if plain => Ok(Generation::Second),
        _ => Err(refuse(VERSION, "is not a version of 3-D Secure")),
    }
}

/// Schemes write it with one digit or with two.
fn eci(text: &str) -> Result<&'static str, Refusal> {
    match text {
        "0" | "00" => Ok("00"),
        "1" | "01" => Ok("01"),
        "2" | "02" => Ok("02"),
        "5" | "05" => Ok("05"),
        "6" | "06" => Ok("06"),
        "7" | "07" => Ok("07"),
        _ => Err(refuse(ECI, "is not an electronic commerce indicator")),
    }
}

fn is_twenty_bytes(text: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.len() == TWENTY_BYTES_CHARS
        && text.strip_suffix('=').is_some_and(|digits| digits.bytes().all(base64))
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

#[cfg(test)]
mod tests {
    use super::{ECI, Generation, VALUE, VERSION, XID, check};
    use crate::Refusal;
    use model::{Secret, ThreeDs};

    const TWENTY: &str = "AAABBWFlmQAAAABjRWWZEEFgFz8=";

    fn three_ds(value: &str, eci: &str, version: &str, xid: &str) -> ThreeDs {
        ThreeDs {
            authentication_value: Secret::new(value),
            eci: eci.into(),
            sli: None,
            version: version.into(),
            xid: xid.into(),
        }
    }

    #[test]
    fn what_the_schemes_would_not_take_is_refused_by_field() {
        for (value, eci, version, xid, expected) in [
            (TWENTY, "05", "2.2.0", "b8fb4ecc-7e2e-4b1c-816d-0149849776b8", None),
            (TWENTY, "5", "1.0.2", TWENTY, None),
            ("AAAB", "05", "2.2.0", "id", Some(VALUE)),
            ("AAABBWFlmQAAAABjRWWZEEFgFz8-", "05", "2.2.0", "id", Some(VALUE)),
            (TWENTY, "08", "2.2.0", "id", Some(ECI)),
            (TWENTY, "٥", "2.2.0", "id", Some(ECI)),
            (TWENTY, "05", "3.0", "id", Some(VERSION)),
            (TWENTY, "05", "2.x", "id", Some(VERSION)),
            (TWENTY, "05", "", "id", Some(VERSION)),
            (TWENTY, "05", "2.2.0", "", Some(XID)),
            (TWENTY, "05", "2.2.0", "i d", Some(XID)),
            (TWENTY, "05", "1.0.2", "id", Some(XID)),
        ] {
            let field = match check(&three_ds(value, eci, version, xid)) {
                Ok(_) => None,
                Err(Refusal::Field { name, .. }) => Some(name),
                Err(Refusal::Unsupported) => Some("unsupported"),
            };
            assert_eq!(field, expected, "{value} {eci} {version} {xid}");
        }
    }

    #[test]
    fn one_digit_becomes_two_and_the_version_names_the_generation() {
        let one = three_ds(TWENTY, "2", "1.0.2", TWENTY);
        let one = check(&one).unwrap();
        assert_eq!((one.eci, one.generation), ("02", Generation::First));
        let two = three_ds(TWENTY, "06", "2.1.0", "id");
        assert_eq!(check(&two).unwrap().generation, Generation::Second);
    }
}
