//! Which members each request may have, in the order of the schema: those of card payments.

use crate::sandbox::shape::{Field, Shape, optional, required};

const LONG: Shape = Shape::Text(255);

const MERCHANT: &[Field] =
    &[required("name", Shape::Text(25)), required("transactionKey", Shape::Text(16))];

const CARD: &[Field] = &[
    required("cardNumber", Shape::Text(16)),
    required("expirationDate", Shape::Text(7)),
    optional("cardCode", Shape::Text(4)),
];

const ORDER: &[Field] =
    &[optional("invoiceNumber", Shape::Text(20)), optional("description", LONG)];

const BILL_TO: &[Field] = &[
    optional("firstName", Shape::Text(50)),
    optional("lastName", Shape::Text(50)),
    optional("company", Shape::Text(50)),
    optional("address", Shape::Text(60)),
    optional("city", Shape::Text(40)),
    optional("state", Shape::Text(40)),
    optional("zip", Shape::Text(20)),
    optional("country", Shape::Text(60)),
    optional("phoneNumber", Shape::Text(25)),
    optional("faxNumber", Shape::Text(25)),
    optional("email", LONG),
];

const TRANSACTION: &[Field] = &[
    required(
        "transactionType",
        Shape::Word(&[
            "authCaptureTransaction",
            "authOnlyTransaction",
            "priorAuthCaptureTransaction",
            "refundTransaction",
            "voidTransaction",
        ]),
    ),
    optional("amount", Shape::Text(15)),
    optional("currencyCode", Shape::Text(3)),
    optional("payment", Shape::Object(&[required("creditCard", Shape::Object(CARD))])),
    optional(
        "profile",
        Shape::Object(&[
            optional("createProfile", Shape::Boolean),
            optional("customerProfileId", Shape::Text(20)),
            optional(
                "paymentProfile",
                Shape::Object(&[
                    required("paymentProfileId", Shape::Text(20)),
                    optional("cardCode", Shape::Text(4)),
                ]),
            ),
            optional("shippingProfileId", Shape::Text(20)),
        ]),
    ),
    optional("solution", Shape::Map),
    optional("authCode", Shape::Text(6)),
    optional("refTransId", Shape::Text(20)),
    optional("order", Shape::Object(ORDER)),
    optional("lineItems", Shape::Map),
    optional("tax", Shape::Map),
    optional("duty", Shape::Map),
    optional("shipping", Shape::Map),
    optional("taxExempt", Shape::Boolean),
    optional("poNumber", Shape::Text(25)),
    optional(
        "customer",
        Shape::Object(&[
            optional("type", Shape::Word(&["individual", "business"])),
            optional("id", Shape::Text(20)),
            optional("email", LONG),
        ]),
    ),
    optional("billTo", Shape::Object(BILL_TO)),
    optional("shipTo", Shape::Map),
    optional("customerIP", Shape::Text(45)),
    optional(
        "cardholderAuthentication",
        Shape::Object(&[
            required("authenticationIndicator", Shape::Text(1)),
            required("cardholderAuthenticationValue", Shape::Text(40)),
        ]),
    ),
    optional("retail", Shape::Map),
    optional(
        "transactionSettings",
        Shape::Object(&[required("setting", Shape::List)]),
    ),
    optional("userFields", Shape::Object(&[required("userField", Shape::List)])),
    optional(
        "processingOptions",
        Shape::Object(&[
            optional("isFirstRecurringPayment", Shape::Text(5)),
            optional("isFirstSubsequentAuth", Shape::Text(5)),
            optional("isSubsequentAuth", Shape::Text(5)),
            optional("isStoredCredentials", Shape::Text(5)),
        ]),
    ),
    optional(
        "subsequentAuthInformation",
        Shape::Object(&[
            optional("originalNetworkTransId", LONG),
            optional("originalAuthAmount", Shape::Text(15)),
            optional("reason", LONG),
        ]),
    ),
];

/// `createTransactionRequest`
pub(super) const CREATE: &[Field] = &[
    required("merchantAuthentication", Shape::Object(MERCHANT)),
    optional("clientId", Shape::Text(30)),
    optional("refId", Shape::Text(20)),
    required("transactionRequest", Shape::Object(TRANSACTION)),
];

/// A card to be kept, of which no verification value is.
const KEPT_CARD: &[Field] = &[
    required("cardNumber", Shape::Text(16)),
    required("expirationDate", Shape::Text(7)),
];

/// `createCustomerProfileRequest`
pub(super) const KEEP: &[Field] = &[
    required("merchantAuthentication", Shape::Object(MERCHANT)),
    optional("clientId", Shape::Text(30)),
    optional("refId", Shape::Text(20)),
    required(
        "profile",
        Shape::Object(&[
            required("merchantCustomerId", Shape::Text(20)),
            optional("description", LONG),
            optional("email", LONG),
            required(
                "paymentProfiles",
                Shape::Object(&[
                    optional("customerType", Shape::Word(&["individual", "business"])),
                    optional("billTo", Shape::Object(BILL_TO)),
                    required(
                        "payment",
                        Shape::Object(&[required("creditCard", Shape::Object(KEPT_CARD))]),
                    ),
                ]),
            ),
        ]),
    ),
    required("validationMode", Shape::Word(&["none"])),
];

/// `getTransactionDetailsRequest`
pub(super) const DETAILS: &[Field] = &[
    required("merchantAuthentication", Shape::Object(MERCHANT)),
    optional("clientId", Shape::Text(30)),
    optional("refId", Shape::Text(20)),
    required("transId", Shape::Text(20)),
];

/// `getSettledBatchListRequest`
pub(super) const BATCHES: &[Field] = &[
    required("merchantAuthentication", Shape::Object(MERCHANT)),
    optional("clientId", Shape::Text(30)),
    optional("refId", Shape::Text(20)),
    optional("includeStatistics", Shape::Boolean),
    optional("firstSettlementDate", Shape::Text(30)),
    optional("lastSettlementDate", Shape::Text(30)),
];

/// `getTransactionListRequest`
pub(super) const SETTLED: &[Field] = &[
    required("merchantAuthentication", Shape::Object(MERCHANT)),
    optional("clientId", Shape::Text(30)),
    optional("refId", Shape::Text(20)),
    required("batchId", Shape::Text(20)),
    SORTING,
    PAGING,
];

/// `getUnsettledTransactionListRequest`
pub(super) const UNSETTLED: &[Field] = &[
    required("merchantAuthentication", Shape::Object(MERCHANT)),
    optional("clientId", Shape::Text(30)),
    optional("refId", Shape::Text(20)),
    optional("status", Shape::Word(&["any", "pendingApproval"])),
    SORTING,
    PAGING,
];

const SORTING: Field = optional(
    "sorting",
    Shape::Object(&[
        required("orderBy", Shape::Word(&["id", "submitTimeUTC"])),
        required("orderDescending", Shape::Boolean),
    ]),
);

const PAGING: Field = optional(
    "paging",
    Shape::Object(&[required("limit", Shape::Text(4)), required("offset", Shape::Text(6))]),
);
