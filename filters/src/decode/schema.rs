//! The fields of every body, as tables. This file is long because it is tables.
//!
//! The tables drive the reading, and tests compare them with `openapi.json` line by line: there is
//! no second place that says what a field may be.

use model::{Credentials, Kind};
use std::net::IpAddr;

/// The fields of an object, in the order in which they are checked and documented.
#[derive(Debug)]
pub struct Schema {
    /// What `openapi.json` calls it.
    pub name: &'static str,
    pub fields: &'static [Field],
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    /// A field that is not required may also be null.
    pub required: bool,
    pub form: Form,
}

/// What a field may hold.
#[derive(Debug)]
pub enum Form {
    /// A decimal number of major units, greater than zero.
    Amount,
    /// An ISO 4217 code.
    Currency,
    Flag,
    List {
        of: &'static Schema,
        items_max: usize,
    },
    Object(&'static Schema),
    /// A name of the API for what is not there yet: nothing but null, and the text says why.
    Reserved(&'static str),
    Text(Text),
    /// A list of such texts.
    Texts {
        of: Text,
        items_max: usize,
    },
    Whole {
        min: u32,
        max: u32,
    },
    /// One of these words, in any case.
    Word(&'static [&'static str]),
}

/// A string: how many characters, and of which shape.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pub chars_min: usize,
    pub chars_max: usize,
    pub shape: Shape,
}

/// What the characters of a string may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The name of an account.
    AccountName,
    /// Anything at all: it is stored, never looked at.
    Anything,
    /// Base64 of either alphabet.
    Base64,
    /// The digits of a card number, or `@` and a token.
    CardNumber,
    Country,
    /// A word that names a credential, or the words that a gateway's own pages have for it.
    CredentialName,
    /// The digits of a card verification value, or `@` and a token.
    Cvv,
    Digits,
    /// A word that names a gateway, or a word of the merchant's own.
    Identifier,
    IpAddress,
    /// Everything but control characters.
    Printable,
    /// ASCII from space to tilde, as fits in a header.
    PrintableAscii,
    /// Visible ASCII that does not begin with a mark, so that it cannot be a dot segment of a path.
    Reference,
    /// The name of a payment of ours.
    TransactionId,
    /// The version of 3-D Secure.
    Version,
    /// ASCII without space.
    VisibleAscii,
}

/// How many fields an object may have at most.
pub const FIELDS_MAX: usize = 16;
/// How deep objects and arrays may stand in one another.
pub const DEPTH_MAX: usize = 16;

pub const ADDRESS_LINE_CHARS_MAX: usize = 100;
pub const CITY_CHARS_MAX: usize = 64;
/// How many accounts may be tried after the first.
pub const FALLBACKS_MAX: usize = model::Payment::ATTEMPTS_MAX - 1;
pub const HOLDER_CHARS_MAX: usize = 128;
pub const METADATA_KEY_CHARS_MAX: usize = 40;
pub const METADATA_PAIRS_MAX: usize = 16;
pub const METADATA_VALUE_CHARS_MAX: usize = 256;
pub const MY_REF_CHARS_MAX: usize = 80;
pub const NETWORK_TRANSACTION_CHARS_MAX: usize = 64;
pub const ORDER_DESCRIPTION_CHARS_MAX: usize = 255;
pub const OWNER_ID_CHARS_MAX: usize = 64;
pub const PAYLOAD_CHARS_MAX: usize = 16_384;
pub const PERCENT_MAX: u32 = 100;
pub const POST_CODE_CHARS_MAX: usize = 16;
pub const REFERENCE_CHARS_MAX: usize = 255;
pub const STATE_CHARS_MAX: usize = 64;
/// Ten years.
pub const TIME_TO_LIVE_S_MAX: u32 = 315_360_000;
pub const TOKEN_BINDINGS_MAX: usize = 8;
pub const USER_TOKEN_CHARS_MAX: usize = model::Means::<model::CardRef>::TOKEN_CHARS_MAX;

/// How many digits the number of a card may have (ISO/IEC 7812-1).
const PAN_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// How many characters stand for a value of the vault: `@` and the token.
const TOKEN_CHARS: usize = model::CardToken::LEN + 1;
/// The longest text of an IPv6 address.
const IP_CHARS_MAX: usize = 45;

/// The brands of cards.
pub const CARD_TYPES: &[&str] = &[
    "Unspecified",
    "AMEX",
    "BC",
    "CartaSi",
    "Dankort",
    "Delta",
    "DinersClub",
    "Discover",
    "Electron",
    "Elo",
    "enRoute",
    "Hipercard",
    "JCB",
    "Maestro",
    "MasterCard",
    "MC_Alaska",
    "MC_Canada",
    "Switch",
    "Troy",
    "UATP",
    "UnionPay",
    "Visa",
];

/// Which payment with a kept card it is, and who makes it.
pub const STORED_USAGES: &[&str] = &["First", "Cardholder", "Merchant"];
/// What a card is kept for.
pub const STORED_PURPOSES: &[&str] = &["Installment", "Recurring", "Unscheduled"];

/// The schemes whose network tokens are known.
pub const NETWORK_TOKEN_BRANDS: &[&str] = &["Visa", "MasterCard", "Amex"];

/// Every schema.
pub const SCHEMAS: &[&Schema] = &[
    &ACCOUNT,
    &AUTHORIZATION,
    &CAPTURE_OR_VOID,
    &CARD,
    &CREDENTIAL,
    &FALLBACK,
    &INLINE_ACCOUNT,
    &PAYER,
    &REFUND,
    &STAGED,
    &STATUS,
    &STORED,
    &STRING_TOKEN,
    &SWITCH,
    &THREE_DS,
    &TOKENIZE,
    &TOKEN_BINDING,
    &TOKEN_METADATA,
];

const CURRENCY: Field = required("currency", Form::Currency);
const AMOUNT: Field = required("amount", Form::Amount);
const REFERENCE: Field = optional("refTransId", text(1, REFERENCE_CHARS_MAX, Shape::Reference));
const TRANSACTION: Field = optional(
    "transactionId",
    text(model::TransactionId::LEN, model::TransactionId::LEN, Shape::TransactionId),
);
const OPTIONAL_CARD: Field = optional("card", Form::Object(&CARD));
const PAYER_DETAILS: Field = optional("payerDetails", Form::Object(&PAYER));
const NETWORK_TOKEN_BRAND: Field = optional("networkTokenBrand", Form::Word(NETWORK_TOKEN_BRANDS));
const ACCOUNT_NAME_TEXT: Text = Text { chars_min: 3, chars_max: 64, shape: Shape::AccountName };
const ACCOUNT_NAME: Field = optional("paymentGatewayAccountName", Form::Text(ACCOUNT_NAME_TEXT));
const ACCOUNT_INLINE: Field = optional("paymentGatewayAccount", Form::Object(&INLINE_ACCOUNT));
const ACCOUNT_NAMES: Field = optional(
    "paymentGatewayAccountNames",
    Form::Texts { of: ACCOUNT_NAME_TEXT, items_max: FALLBACKS_MAX + 1 },
);
const FALLBACK_ACCOUNTS: Field =
    optional("fallbackUpgs", Form::List { of: &FALLBACK, items_max: FALLBACKS_MAX });
const MY_REF: Field = optional("myRef", text(1, MY_REF_CHARS_MAX, Shape::Printable));
const CERTIFICATE: Field =
    optional("certificateName", Form::Reserved("client certificates are not supported"));
const GATEWAY_NAME: Field = required("paymentGatewayName", text(1, 64, Shape::Identifier));
const PAIRS: Form = Form::List { of: &CREDENTIAL, items_max: Credentials::PAIRS_MAX };
const CREDENTIALS: Field = optional("credentials", PAIRS);

/// The body of a charge and of an authorization.
pub static AUTHORIZATION: Schema = Schema {
    name: "AuthRequestModel",
    fields: &[
        CURRENCY,
        AMOUNT,
        OPTIONAL_CARD,
        PAYER_DETAILS,
        optional("isDigital", Form::Flag),
        optional("orderDesc", text(1, ORDER_DESCRIPTION_CHARS_MAX, Shape::Printable)),
        NETWORK_TOKEN_BRAND,
        optional("storedCredential", Form::Object(&STORED)),
        optional("userToken", text(1, USER_TOKEN_CHARS_MAX, Shape::VisibleAscii)),
        optional("generateToken", Form::Flag),
        ACCOUNT_NAMES,
        ACCOUNT_NAME,
        ACCOUNT_INLINE,
        FALLBACK_ACCOUNTS,
        MY_REF,
        CERTIFICATE,
    ],
};

/// The body of a tokenization.
pub static TOKENIZE: Schema = Schema {
    name: "TokenizeRequestModel",
    fields: &[
        required("card", Form::Object(&CARD)),
        PAYER_DETAILS,
        NETWORK_TOKEN_BRAND,
        ACCOUNT_NAMES,
        ACCOUNT_NAME,
        ACCOUNT_INLINE,
        FALLBACK_ACCOUNTS,
        CERTIFICATE,
    ],
};

/// A payment with a card that is kept for later ones.
pub static STORED: Schema = Schema {
    name: "StoredCredentialModel",
    fields: &[
        required("usage", Form::Word(STORED_USAGES)),
        optional("purpose", Form::Word(STORED_PURPOSES)),
        optional(
            "networkTransactionId",
            text(1, NETWORK_TRANSACTION_CHARS_MAX, Shape::PrintableAscii),
        ),
    ],
};

/// An account that is tried when the one before it did certainly nothing.
pub static FALLBACK: Schema = Schema {
    name: "FallbackUpg",
    fields: &[
        required("paymentGatewayAccountName", text(3, 64, Shape::AccountName)),
        optional("pass3DSData", Form::Flag),
        optional("paymentGatewayCertName", Form::Reserved("client certificates are not supported")),
    ],
};

/// The body of a capture and of a void.
pub static CAPTURE_OR_VOID: Schema = Schema {
    name: "CaptureVoidRequestModel",
    fields: &[
        CURRENCY,
        AMOUNT,
        REFERENCE,
        TRANSACTION,
        OPTIONAL_CARD,
        NETWORK_TOKEN_BRAND,
        ACCOUNT_NAME,
        ACCOUNT_INLINE,
        MY_REF,
        CERTIFICATE,
    ],
};

/// The body of a refund.
pub static REFUND: Schema = Schema {
    name: "RefundRequestModel",
    fields: &[
        CURRENCY,
        AMOUNT,
        REFERENCE,
        TRANSACTION,
        OPTIONAL_CARD,
        PAYER_DETAILS,
        NETWORK_TOKEN_BRAND,
        ACCOUNT_NAME,
        ACCOUNT_INLINE,
        MY_REF,
        CERTIFICATE,
    ],
};

/// The body of a question for a payment's status.
pub static STATUS: Schema = Schema {
    name: "StatusRequestModel",
    fields: &[
        optional("refTransId", text(1, REFERENCE_CHARS_MAX, Shape::Reference)),
        MY_REF,
        NETWORK_TOKEN_BRAND,
        ACCOUNT_NAME,
        ACCOUNT_INLINE,
        CERTIFICATE,
    ],
};

pub static CARD: Schema = Schema {
    name: "CardInputModel",
    fields: &[
        required("cardHolderName", text(1, HOLDER_CHARS_MAX, Shape::Printable)),
        required("cardNumber", text(*PAN_DIGITS.start(), TOKEN_CHARS, Shape::CardNumber)),
        required("expirationMonth", Form::Whole { min: 1, max: 12 }),
        required("expirationYear", Form::Whole { min: 2000, max: 2099 }),
        optional("cvv", text(3, TOKEN_CHARS, Shape::Cvv)),
        optional("ownerID", text(1, OWNER_ID_CHARS_MAX, Shape::Printable)),
        optional("issueNumber", text(1, 2, Shape::Digits)),
        optional("cardType", Form::Word(CARD_TYPES)),
        optional("threeDSAuthentication", Form::Object(&THREE_DS)),
    ],
};

pub static THREE_DS: Schema = Schema {
    name: "ThreeDSAuthenticationInputModel",
    fields: &[
        required("authenticationValue", text(1, 64, Shape::Base64)),
        required("eci", text(1, 2, Shape::Digits)),
        required("xid", text(1, 40, Shape::VisibleAscii)),
        required("version", text(1, 5, Shape::Version)),
        required("merchantName", text(1, 40, Shape::Printable)),
        optional("sli", text(1, 3, Shape::Digits)),
    ],
};

pub static PAYER: Schema = Schema {
    name: "PayerDetails",
    fields: &[
        required("clientIPAddress", text(2, IP_CHARS_MAX, Shape::IpAddress)),
        required("countryCode", text(2, 2, Shape::Country)),
        optional("address1", text(1, ADDRESS_LINE_CHARS_MAX, Shape::Printable)),
        optional("address2", text(1, ADDRESS_LINE_CHARS_MAX, Shape::Printable)),
        optional("address3", text(1, ADDRESS_LINE_CHARS_MAX, Shape::Printable)),
        optional("postCode", text(1, POST_CODE_CHARS_MAX, Shape::Printable)),
        optional("city", text(1, CITY_CHARS_MAX, Shape::Printable)),
        optional("stateProvince", text(1, STATE_CHARS_MAX, Shape::Printable)),
    ],
};

/// An account inside a payment request.
pub static INLINE_ACCOUNT: Schema =
    Schema { name: "PaymentGatewayAccount", fields: &[GATEWAY_NAME, CREDENTIALS] };

/// An account that is to be stored.
pub static ACCOUNT: Schema = Schema {
    name: "PaymentGatewayAccountInputModel",
    fields: &[GATEWAY_NAME, CREDENTIALS, optional("enabled", Form::Flag)],
};

/// Credentials that are to follow those of an account.
pub static STAGED: Schema =
    Schema { name: "StagedCredentialsInputModel", fields: &[required("credentials", PAIRS)] };

/// How many payments the staged credentials get.
pub static SWITCH: Schema = Schema {
    name: "SwitchInputModel",
    fields: &[
        required("percent", Form::Whole { min: 0, max: PERCENT_MAX }),
        optional("force", Form::Flag),
    ],
};

pub static CREDENTIAL: Schema = Schema {
    name: "KeyValue",
    fields: &[
        required("key", text(1, Credentials::NAME_BYTES_MAX, Shape::CredentialName)),
        required("value", text(1, Credentials::VALUE_BYTES_MAX, Shape::PrintableAscii)),
    ],
};

pub static STRING_TOKEN: Schema = Schema {
    name: "StringTokenInputModel",
    fields: &[
        required("payload", text(1, PAYLOAD_CHARS_MAX, Shape::Anything)),
        optional("timeToLiveSeconds", Form::Whole { min: 1, max: TIME_TO_LIVE_S_MAX }),
        optional("bindings", Form::List { of: &TOKEN_BINDING, items_max: TOKEN_BINDINGS_MAX }),
        optional("metadata", Form::List { of: &TOKEN_METADATA, items_max: METADATA_PAIRS_MAX }),
    ],
};

/// A place where a token may be used.
pub static TOKEN_BINDING: Schema =
    Schema { name: "StringTokenBinding", fields: &[GATEWAY_NAME, ACCOUNT_NAME] };

/// A word of the merchant's own beside a token.
pub static TOKEN_METADATA: Schema = Schema {
    name: "StringTokenMetadata",
    fields: &[
        required("key", text(1, METADATA_KEY_CHARS_MAX, Shape::Identifier)),
        required("value", text(1, METADATA_VALUE_CHARS_MAX, Shape::Printable)),
    ],
};

/// The schema of the body that asks for an operation of this kind.
pub fn of(kind: Kind) -> &'static Schema {
    match kind {
        Kind::Authorize | Kind::Charge => &AUTHORIZATION,
        Kind::Capture | Kind::Void => &CAPTURE_OR_VOID,
        Kind::Refund => &REFUND,
        Kind::Status => &STATUS,
        Kind::Tokenize => &TOKENIZE,
    }
}

const fn required(name: &'static str, form: Form) -> Field {
    Field { name, required: true, form }
}

const fn optional(name: &'static str, form: Form) -> Field {
    Field { name, required: false, form }
}

const fn text(chars_min: usize, chars_max: usize, shape: Shape) -> Form {
    Form::Text(Text { chars_min, chars_max, shape })
}

// === impl Text ===

impl Text {
    /// What is wrong with `text`, if anything is: its length first, then its shape.
    pub(super) fn problem(&self, text: &str) -> Option<&'static str> {
        let chars = text.chars().count();
        if chars < self.chars_min {
            Some(if chars == 0 { "must not be empty" } else { "is shorter than documented" })
        } else if chars > self.chars_max {
            Some("is longer than documented")
        } else {
            (!self.shape.holds(text)).then(|| self.shape.problem())
        }
    }
}

// === impl Shape ===

impl Shape {
    /// The same as a regular expression, where there is one: what `openapi.json` says.
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Self::AccountName => Some("^[A-Za-z0-9_-]+$"),
            Self::Anything | Self::IpAddress => None,
            Self::Base64 => Some("^[A-Za-z0-9+/=_-]+$"),
            Self::CardNumber => Some("^([0-9]{12,19}|@[A-Za-z0-9]{32})$"),
            Self::Country => Some("^[A-Z]{2}$"),
            Self::CredentialName => Some("^[A-Za-z0-9_. -]+$"),
            Self::Cvv => Some("^([0-9]{3,4}|@[A-Za-z0-9]{32})$"),
            Self::Digits => Some("^[0-9]+$"),
            Self::Identifier => Some("^[A-Za-z0-9_.-]+$"),
            Self::Printable => Some("^[^\\u0000-\\u001f\\u007f-\\u009f]+$"),
            Self::PrintableAscii => Some("^[ -~]+$"),
            Self::Reference => Some("^[A-Za-z0-9][!-~]*$"),
            Self::TransactionId => Some("^[0-9a-f]{32}$"),
            Self::Version => Some("^[0-9](\\.[0-9]){0,2}$"),
            Self::VisibleAscii => Some("^[!-~]+$"),
        }
    }

    fn holds(self, text: &str) -> bool {
        let all = |test: fn(u8) -> bool| text.bytes().all(test);
        match self {
            Self::AccountName => all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')),
            Self::Anything => true,
            Self::Base64 => {
                all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-'))
            }
            Self::CardNumber => {
                is_token(text) || is_digits(text) && PAN_DIGITS.contains(&text.len())
            }
            Self::Country => all(|b| b.is_ascii_uppercase()),
            Self::CredentialName => {
                all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b' ' | b'-'))
            }
            Self::Cvv => is_token(text) || model::Cvv::is_shaped(text),
            Self::Digits => is_digits(text),
            Self::Identifier => {
                all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            }
            Self::IpAddress => text.parse::<IpAddr>().is_ok(),
            Self::Printable => !text.chars().any(char::is_control),
            Self::PrintableAscii => all(|b| matches!(b, b' '..=b'~')),
            Self::Reference => {
                text.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && all(|b| b.is_ascii_graphic())
            }
            Self::TransactionId => model::TransactionId::parse(text).is_ok(),
            Self::Version => is_version(text.as_bytes()),
            Self::VisibleAscii => all(|b| b.is_ascii_graphic()),
        }
    }

    fn problem(self) -> &'static str {
        match self {
            Self::AccountName => "must hold only A-Z, a-z, 0-9, '_' and '-'",
            Self::Anything => "must be a string",
            Self::Base64 => "must be base64",
            Self::CardNumber => "must be 12 to 19 digits without spaces, or '@' and a token",
            Self::Country => "must be two capital letters (ISO 3166-1)",
            Self::CredentialName => "must hold only A-Z, a-z, 0-9, '_', '.', '-' and blanks",
            Self::Cvv => "must be 3 or 4 digits, or '@' and a token",
            Self::Digits => "must hold only digits",
            Self::Identifier => "must hold only A-Z, a-z, 0-9, '_', '.' and '-'",
            Self::IpAddress => "must be an IPv4 or IPv6 address",
            Self::Printable => "must not hold control characters",
            Self::PrintableAscii => "must hold only printable ASCII characters",
            Self::Reference => {
                "must be visible ASCII characters, of which the first is A-Z, a-z or 0-9"
            }
            Self::TransactionId => "must be 32 digits 0-9 and a-f",
            Self::Version => "must be a version such as 2.2.0",
            Self::VisibleAscii => "must hold only visible ASCII characters",
        }
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether it is `@` and what has the form of a token.
fn is_token(text: &str) -> bool {
    let token = text.strip_prefix('@').unwrap_or_default();
    token.len() == model::CardToken::LEN && token.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// One to three digits with dots between them.
fn is_version(text: &[u8]) -> bool {
    text.split(|b| *b == b'.').all(|part| matches!(part, [b'0'..=b'9'])) && text.len() <= 5
}

#[cfg(test)]
mod tests {
    use super::{FIELDS_MAX, Form, SCHEMAS, Shape};

    #[test]
    fn every_schema_fits_and_has_no_name_twice() {
        for schema in SCHEMAS {
            assert!(schema.fields.len() <= FIELDS_MAX, "{}", schema.name);
            for (nth, field) in schema.fields.iter().enumerate() {
                let same = |other: &super::Field| other.name.eq_ignore_ascii_case(field.name);
                assert_eq!(schema.fields.iter().position(same), Some(nth), "{}", field.name);
            }
        }
    }

    #[test]
    fn every_schema_that_is_used_is_on_the_list() {
        for field in SCHEMAS.iter().flat_map(|schema| schema.fields) {
            if let Form::Object(of) | Form::List { of, .. } = field.form {
                assert!(SCHEMAS.iter().any(|schema| schema.name == of.name), "{}", of.name);
            }
        }
    }

    #[test]
    fn shapes_hold_what_they_say() {
        for (shape, good, bad) in [
            (Shape::CardNumber, "4111111111111111", "4111 1111 1111 1111"),
            (
                Shape::CardNumber,
                "@nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO",
                "@nQGywsQE9gbURtrXEjTZwtWqeMdK9ns_",
            ),
            (Shape::CardNumber, "411111111111", "41111111111"),
            (Shape::Cvv, "1234", "12345"),
            (Shape::Cvv, "@nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO", "12a"),
            (Shape::Version, "2.2.0", "2.10.0"),
            (Shape::Version, "2", "2."),
            (Shape::Version, "1.0", "1.0.2.1"),
            (Shape::Reference, "pi_3Nx", ".."),
            (Shape::Reference, "8515131751004933", "a b"),
            (Shape::IpAddress, "2001:db8::1", "192.0.2.01"),
            (Shape::IpAddress, "192.0.2.1", "192.0.2.1:80"),
            (Shape::Printable, "Zoë Ångström", "a\u{9f}b"),
            (Shape::PrintableAscii, "sk test", "sk\ttest"),
            (Shape::Country, "NL", "nl"),
            (Shape::CredentialName, "API Login ID", "API\tKey"),
            (Shape::Identifier, "WorldpayWPG", "Worldpay WPG"),
        ] {
            assert!(shape.holds(good), "{shape:?} {good:?}");
            assert!(!shape.holds(bad), "{shape:?} {bad:?}");
        }
    }
}
