//! Which fields each request may have: those of card payments.

use crate::sandbox::shape::{Field, Shape, optional, required};

const LONG: Shape = Shape::Text(255);

const REFERENCE: &[Field] = &[
    optional("applicationName", LONG),
    optional("applicationVersion", LONG),
    required("code", Shape::Text(50)),
    optional("comments", LONG),
    optional("partner", Shape::Map),
    optional("reconciliationId", LONG),
    optional("transactionId", Shape::Text(30)),
];

const PROCESSING: &[Field] = &[
    optional("actionList", Shape::Words(&["TOKEN_CREATE"])),
    optional("actionTokenTypes", Shape::Words(&["paymentInstrument"])),
    optional("authorizationOptions", Shape::Map),
    optional("capture", Shape::Boolean),
    optional("captureOptions", Shape::Map),
    optional(
        "commerceIndicator",
        Shape::Word(&[
            "aesk",
            "aesk_attempted",
            "dipb",
            "dipb_attempted",
            "install",
            "internet",
            "js",
            "js_attempted",
            "moto",
            "pb",
            "pb_attempted",
            "recurring",
            "spa",
            "vbv",
            "vbv_attempted",
        ]),
    ),
    optional("reconciliationId", LONG),
];

const CARD: &[Field] = &[
    required("expirationMonth", Shape::Text(2)),
    required("expirationYear", Shape::Text(4)),
    required("number", Shape::Text(20)),
    optional("securityCode", Shape::Text(4)),
    optional("securityCodeIndicator", LONG),
    optional("type", Shape::Word(&["001", "002", "003", "004", "005", "007", "062"])),
];

const DETAILS: &[Field] =
    &[required("currency", Shape::Text(3)), required("totalAmount", Shape::Text(19))];

const BILL_TO: &[Field] = &[
    optional("address1", Shape::Text(60)),
    optional("address2", Shape::Text(60)),
    optional("administrativeArea", Shape::Text(20)),
    optional("country", Shape::Text(2)),
    optional("email", LONG),
    required("firstName", Shape::Text(60)),
    required("lastName", Shape::Text(60)),
    optional("locality", Shape::Text(50)),
    optional("phoneNumber", Shape::Text(15)),
    optional("postalCode", Shape::Text(14)),
];

const AUTHENTICATION: &[Field] = &[
    optional("cavv", Shape::Text(40)),
    optional("directoryServerTransactionId", Shape::Text(36)),
    optional("eciRaw", Shape::Text(2)),
    optional("paSpecificationVersion", Shape::Text(10)),
    optional("paresStatus", Shape::Text(1)),
    optional("ucafAuthenticationData", Shape::Text(40)),
    optional("ucafCollectionIndicator", Shape::Word(&["0", "1", "2"])),
    optional("veresEnrolled", Shape::Text(1)),
    optional("xid", Shape::Text(40)),
];

const ORDER: &[Field] = &[
    required("amountDetails", Shape::Object(DETAILS)),
    optional("billTo", Shape::Object(BILL_TO)),
    optional("lineItems", Shape::List),
    optional("shipTo", Shape::Map),
];

/// `POST /pts/v2/payments`
pub(super) const PAYMENT: &[Field] = &[
    required("clientReferenceInformation", Shape::Object(REFERENCE)),
    optional("consumerAuthenticationInformation", Shape::Object(AUTHENTICATION)),
    optional("deviceInformation", Shape::Object(&[optional("ipAddress", Shape::Text(45))])),
    optional("merchantDefinedInformation", Shape::List),
    required("orderInformation", Shape::Object(ORDER)),
    required(
        "paymentInformation",
        Shape::Object(&[
            optional("card", Shape::Object(CARD)),
            optional("paymentInstrument", Shape::Object(&[required("id", Shape::Text(32))])),
        ]),
    ),
    required("processingInformation", Shape::Object(PROCESSING)),
];

/// `POST /pts/v2/payments/{id}/captures`, and refunds.
pub(super) const CHANGE: &[Field] = &[
    required("clientReferenceInformation", Shape::Object(REFERENCE)),
    required(
        "orderInformation",
        Shape::Object(&[required("amountDetails", Shape::Object(DETAILS))]),
    ),
];

/// `POST /pts/v2/payments/{id}/reversals`
pub(super) const REVERSAL: &[Field] = &[
    required("clientReferenceInformation", Shape::Object(REFERENCE)),
    required(
        "reversalInformation",
        Shape::Object(&[
            required("amountDetails", Shape::Object(DETAILS)),
            optional("reason", LONG),
        ]),
    ),
];

/// `POST /pts/v2/payments/{id}/voids`, and those of captures.
pub(super) const VOID: &[Field] =
    &[required("clientReferenceInformation", Shape::Object(REFERENCE))];

/// `POST /tss/v2/searches`
pub(super) const SEARCH: &[Field] = &[
    optional("limit", Shape::Integer),
    optional("name", LONG),
    optional("offset", Shape::Integer),
    required("query", Shape::Text(2_048)),
    optional("save", Shape::Boolean),
    optional("sort", LONG),
    optional("timezone", LONG),
];
