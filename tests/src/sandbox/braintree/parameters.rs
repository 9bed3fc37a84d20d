//! Which variables each question may have: those of card payments.

use crate::sandbox::shape::{Field, Shape, optional, required};

const LONG: Shape = Shape::Text(255);

const ADDRESS: &[Field] = &[
    optional("company", LONG),
    optional("countryCode", Shape::Text(2)),
    optional("extendedAddress", LONG),
    optional("firstName", LONG),
    optional("lastName", LONG),
    optional("locality", LONG),
    optional("postalCode", Shape::Text(9)),
    optional("region", LONG),
    optional("streetAddress", LONG),
];

const CARD: &[Field] = &[
    optional("billingAddress", Shape::Object(ADDRESS)),
    optional("cardholderName", LONG),
    optional("cvv", Shape::Text(4)),
    required("expirationMonth", Shape::Text(2)),
    required("expirationYear", Shape::Text(4)),
    required("number", Shape::Text(19)),
];

/// `tokenizeCreditCard`
pub(super) const TOKENIZE: &[Field] = &[required(
    "input",
    Shape::Object(&[
        optional("clientMutationId", LONG),
        required("creditCard", Shape::Object(CARD)),
        optional("options", Shape::Object(&[optional("validate", Shape::Boolean)])),
    ]),
)];

/// `vaultPaymentMethod`
pub(super) const VAULT: &[Field] = &[required(
    "input",
    Shape::Object(&[
        optional("clientMutationId", LONG),
        optional("customerId", LONG),
        required("paymentMethodId", LONG),
    ]),
)];

const TRANSACTION: &[Field] = &[
    required("amount", Shape::Text(20)),
    optional("channel", LONG),
    optional("customerId", LONG),
    optional("descriptor", Shape::Map),
    optional("merchantAccountId", Shape::Text(64)),
    optional("orderId", LONG),
    optional(
        "paymentInitiator",
        Shape::Word(&[
            "ESTIMATED",
            "INSTALLMENT",
            "INSTALLMENT_FIRST",
            "MOTO",
            "RECURRING",
            "RECURRING_FIRST",
            "UNSCHEDULED",
        ]),
    ),
    optional("purchaseOrderNumber", LONG),
    optional(
        "riskData",
        Shape::Object(&[
            optional("customerBrowser", LONG),
            optional("customerIp", Shape::Text(45)),
            optional("deviceData", LONG),
        ]),
    ),
];

const PASS_THROUGH: &[Field] = &[
    optional("authenticationResponse", Shape::Text(1)),
    optional("cavv", Shape::Text(40)),
    optional("directoryServerResponse", Shape::Text(1)),
    optional("directoryServerTransactionId", Shape::Text(36)),
    required("eciFlag", Shape::Text(2)),
    optional("version", Shape::Text(10)),
    optional("xId", Shape::Text(40)),
];

const OPTIONS: &[Field] = &[
    optional(
        "externalVault",
        Shape::Object(&[
            required("status", Shape::Word(&["VAULTED", "WILL_VAULT"])),
            optional("verifyingNetworkTransactionId", LONG),
        ]),
    ),
    optional(
        "threeDSecureAuthentication",
        Shape::Object(&[optional("passThrough", Shape::Object(PASS_THROUGH))]),
    ),
];

/// `authorizeCreditCard`, `chargeCreditCard`
pub(super) const PAYMENT: &[Field] = &[required(
    "input",
    Shape::Object(&[
        optional("clientMutationId", LONG),
        optional("options", Shape::Object(OPTIONS)),
        required("paymentMethodId", LONG),
        required("transaction", Shape::Object(TRANSACTION)),
    ]),
)];

/// `captureTransaction`
pub(super) const CAPTURE: &[Field] = &[required(
    "input",
    Shape::Object(&[
        optional("clientMutationId", LONG),
        optional(
            "transaction",
            Shape::Object(&[optional("amount", Shape::Text(20)), optional("orderId", LONG)]),
        ),
        required("transactionId", LONG),
    ]),
)];

/// `refundTransaction`
pub(super) const REFUND: &[Field] = &[required(
    "input",
    Shape::Object(&[
        optional("clientMutationId", LONG),
        optional(
            "refund",
            Shape::Object(&[optional("amount", Shape::Text(20)), optional("orderId", LONG)]),
        ),
        required("transactionId", LONG),
    ]),
)];

/// `reverseTransaction`
pub(super) const REVERSE: &[Field] = &[required(
    "input",
    Shape::Object(&[optional("clientMutationId", LONG), required("transactionId", LONG)]),
)];

/// `node`
pub(super) const NODE: &[Field] = &[required("id", LONG)];

/// `search`, of transactions and of refunds
pub(super) const SEARCH: &[Field] = &[required(
    "orderId",
    Shape::Object(&[
        optional("contains", LONG),
        optional("endsWith", LONG),
        optional("is", LONG),
        optional("isNot", LONG),
        optional("startsWith", LONG),
    ]),
)];
