//! Which fields each request may have.

use crate::sandbox::shape::{Field, Shape, optional, required};

pub(super) const NOTHING: &[Field] = &[];

const REFERENCE: Shape = Shape::Text(128);
const VALUE: Shape =
    Shape::Object(&[required("currency", Shape::Text(3)), required("amount", Shape::Integer)]);
const SEQUENCE: Shape =
    Shape::Object(&[required("number", Shape::Integer), required("total", Shape::Integer)]);

const ADDRESS: Shape = Shape::Object(&[
    optional("address1", Shape::Text(255)),
    optional("address2", Shape::Text(255)),
    optional("address3", Shape::Text(255)),
    optional("city", Shape::Text(255)),
    required("countryCode", Shape::Text(2)),
    required("postalCode", Shape::Text(255)),
    optional("state", Shape::Text(3)),
    optional("phoneNumber", Shape::Text(20)),
]);

const DATE: Shape =
    Shape::Object(&[required("month", Shape::Integer), required("year", Shape::Integer)]);
const INSTRUMENTS: Shape = Shape::Word(&["card/plain", "card/token"]);

/// A card, or the link of one that is kept: which of them must be there goes by the type.
const INSTRUMENT: Shape = Shape::Object(&[
    optional("billingAddress", ADDRESS),
    optional("cardHolderName", Shape::Text(255)),
    optional("cardNumber", Shape::Text(19)),
    optional("cvc", Shape::Text(4)),
    optional("expiryDate", DATE),
    optional("href", Shape::Text(2_048)),
    required("type", INSTRUMENTS),
]);

const AGREEMENT: &[Field] = &[
    optional("installmentType", Shape::Word(&["merchant"])),
    optional("schemeReference", Shape::Text(56)),
    optional("storedCardUsage", Shape::Word(&["first", "subsequent"])),
    required("type", Shape::Word(&["cardOnFile", "installment", "subscription", "unscheduled"])),
];

/// Nobody is there to be asked for a verification value.
const AGREED_INSTRUMENT: Shape = Shape::Object(&[
    optional("billingAddress", ADDRESS),
    optional("cardHolderName", Shape::Text(255)),
    optional("cardNumber", Shape::Text(19)),
    optional("expiryDate", DATE),
    optional("href", Shape::Text(2_048)),
    required("type", INSTRUMENTS),
]);

const AGREED_INSTRUCTION: Shape = Shape::Object(&[
    required("customerAgreement", Shape::Object(AGREEMENT)),
    required(
        "narrative",
        Shape::Object(&[required("line1", Shape::Text(24)), optional("line2", Shape::Text(24))]),
    ),
    required("paymentInstrument", AGREED_INSTRUMENT),
    required("requestAutoSettlement", Shape::Object(&[optional("enabled", Shape::Boolean)])),
    required("value", VALUE),
]);

const INSTRUCTION: Shape = Shape::Object(&[
    optional("customerAgreement", Shape::Object(AGREEMENT)),
    required(
        "narrative",
        Shape::Object(&[required("line1", Shape::Text(24)), optional("line2", Shape::Text(24))]),
    ),
    required("paymentInstrument", INSTRUMENT),
    required("requestAutoSettlement", Shape::Object(&[optional("enabled", Shape::Boolean)])),
    required("value", VALUE),
]);

const THREE_DS: Shape = Shape::Object(&[
    optional("authenticationFlow", Shape::Text(30)),
    optional("authenticationValue", Shape::Text(40)),
    required("eci", Shape::Text(2)),
    optional("status", Shape::Text(1)),
    optional("transactionId", Shape::Text(36)),
    required("version", Shape::Text(10)),
]);

/// A card payment. What the sandbox does not play (wallets, facilitators) is not known.
pub(super) const PAYMENT: &[Field] = &[
    optional("authentication", Shape::Object(&[optional("threeDS", THREE_DS)])),
    required("channel", Shape::Word(&["ecom", "moto"])),
    required("instruction", INSTRUCTION),
    required("merchant", Shape::Object(&[required("entity", Shape::Text(32))])),
    optional("orderReference", Shape::Text(64)),
    required("transactionReference", Shape::Text(64)),
];

pub(super) const AGREED: &[Field] = &[
    required("instruction", AGREED_INSTRUCTION),
    required("merchant", Shape::Object(&[required("entity", Shape::Text(32))])),
    optional("orderReference", Shape::Text(64)),
    required("transactionReference", Shape::Text(64)),
];

/// An address as it is kept: whole.
const WHOLE_ADDRESS: Shape = Shape::Object(&[
    required("address1", Shape::Text(80)),
    optional("address2", Shape::Text(80)),
    optional("address3", Shape::Text(80)),
    required("city", Shape::Text(50)),
    required("countryCode", Shape::Text(2)),
    required("postalCode", Shape::Text(15)),
    optional("state", Shape::Text(30)),
]);

/// A card to be kept.
pub(super) const TOKEN: &[Field] = &[
    optional("description", Shape::Text(255)),
    required("merchant", Shape::Object(&[required("entity", Shape::Text(32))])),
    optional("namespace", Shape::Text(64)),
    required(
        "paymentInstrument",
        Shape::Object(&[
            optional("billingAddress", WHOLE_ADDRESS),
            required("cardExpiryDate", DATE),
            required("cardHolderName", Shape::Text(255)),
            required("cardNumber", Shape::Text(19)),
            required("type", Shape::Word(&["card/front"])),
        ]),
    ),
    optional("tokenExpiryDateTime", Shape::Text(40)),
];

pub(super) const SETTLE: &[Field] = &[optional("reference", REFERENCE)];
pub(super) const PARTIAL_SETTLE: &[Field] =
    &[required("reference", REFERENCE), optional("sequence", SEQUENCE), required("value", VALUE)];
pub(super) const PARTIAL_REFUND: &[Field] =
    &[required("reference", REFERENCE), required("value", VALUE)];

pub(super) const EVENT: &[Field] =
    &[required("entity", Shape::Text(32)), required("transactionRef", Shape::Text(64))];
pub(super) const QUERY: &[Field] = &[required("transactionReference", Shape::Text(64))];
