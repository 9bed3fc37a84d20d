//! Which fields each request may have.
//!
//! What the sandbox does not act on is in the tables all the same, so that only what Adyen does
//! not know is unknown. `sandbox/specs.rs` compares them with the published description.

use crate::sandbox::shape::{Field, Shape, optional, required};

const LONG: Shape = Shape::Text(15_000);
const REFERENCE: Shape = Shape::Text(80);

const AMOUNT: Shape =
    Shape::Object(&[required("currency", Shape::Text(3)), required("value", Shape::Integer)]);

const BILLING: &[Field] = &[
    required("city", Shape::Text(3_000)),
    required("country", Shape::Text(2)),
    required("houseNumberOrName", Shape::Text(3_000)),
    required("postalCode", Shape::Text(10)),
    optional("stateOrProvince", Shape::Text(1_000)),
    required("street", Shape::Text(3_000)),
];

const CARD: &[Field] = &[
    optional("billingSequenceNumber", LONG),
    optional("brand", LONG),
    optional("checkoutAttemptId", LONG),
    optional("cvc", LONG),
    // Required where no card is named that is kept.
    optional("expiryMonth", LONG),
    optional("expiryYear", LONG),
    optional("fundingSource", Shape::Word(&["credit", "debit", "prepaid"])),
    optional("holderName", LONG),
    optional("networkPaymentReference", LONG),
    optional("number", LONG),
    optional("shopperNotificationReference", LONG),
    optional("srcCorrelationId", LONG),
    optional("srcDigitalCardId", LONG),
    optional("srcScheme", LONG),
    optional("srcTokenReference", LONG),
    optional("storedPaymentMethodId", Shape::Text(64)),
    optional("threeDS2SdkVersion", Shape::Text(12)),
    // The real one knows more types; the sandbox plays cards in the clear.
    required("type", Shape::Word(&["scheme", "networkToken"])),
];

const MPI: &[Field] = &[
    optional("authenticationResponse", Shape::Word(&["Y", "N", "U", "A"])),
    optional("cavv", LONG),
    optional("cavvAlgorithm", LONG),
    optional("challengeCancel", Shape::Word(&["01", "02", "03", "04", "05", "06", "07"])),
    optional("directoryResponse", Shape::Word(&["A", "C", "D", "I", "N", "R", "U", "Y"])),
    optional("dsTransID", LONG),
    optional("eci", LONG),
    optional("riskScore", LONG),
    optional("threeDSVersion", LONG),
    optional("tokenAuthenticationVerificationValue", LONG),
    optional("transStatusReason", LONG),
    optional("xid", LONG),
];

const AUTHENTICATION: &[Field] = &[
    optional("attemptAuthentication", Shape::Word(&["always", "never"])),
    optional("authenticationOnly", Shape::Boolean),
    optional("threeDSRequestData", Shape::Map),
];

/// `POST /paymentMethods`
pub(in crate::sandbox) const PAYMENT_METHODS: &[Field] = &[
    optional("additionalData", Shape::Pairs(100, 200, 15_000)),
    optional("allowedPaymentMethods", Shape::List),
    optional("amount", AMOUNT),
    optional("blockedPaymentMethods", Shape::List),
    optional("browserInfo", Shape::Map),
    optional("channel", Shape::Word(&["iOS", "Android", "Web"])),
    optional("countryCode", Shape::Text(100)),
    required("merchantAccount", LONG),
    optional("order", Shape::Map),
    optional("shopperConversionId", Shape::Text(256)),
    optional("shopperEmail", LONG),
    optional("shopperIP", LONG),
    optional("shopperLocale", LONG),
    optional("shopperReference", LONG),
    optional("splitCardFundingSources", Shape::Boolean),
    optional("store", Shape::Text(16)),
    optional("storeFiltrationMode", Shape::Word(&["exclusive", "inclusive", "skipFilter"])),
    optional("telephoneNumber", LONG),
];

/// `POST /storedPaymentMethods`
pub(in crate::sandbox) const STORE: &[Field] = &[
    required("merchantAccount", LONG),
    required(
        "paymentMethod",
        Shape::Object(&[
            optional("brand", LONG),
            optional("cvc", LONG),
            required("expiryMonth", LONG),
            required("expiryYear", LONG),
            optional("holderName", LONG),
            required("number", LONG),
            required("type", Shape::Word(&["scheme"])),
        ]),
    ),
    required(
        "recurringProcessingModel",
        Shape::Word(&["CardOnFile", "Subscription", "UnscheduledCardOnFile"]),
    ),
    optional("shopperEmail", LONG),
    optional("shopperIP", LONG),
    required("shopperReference", Shape::Text(256)),
];

/// `POST /payments`
pub(in crate::sandbox) const PAYMENT: &[Field] = &[
    optional("accountInfo", Shape::Map),
    optional("additionalAmount", AMOUNT),
    optional("additionalData", Shape::Pairs(100, 200, 15_000)),
    required("amount", AMOUNT),
    optional("applicationInfo", Shape::Map),
    optional("authenticationData", Shape::Object(AUTHENTICATION)),
    optional("bankAccount", Shape::Map),
    optional("billingAddress", Shape::Object(BILLING)),
    optional("browserInfo", Shape::Map),
    optional("captureDelayHours", Shape::Integer),
    optional("channel", Shape::Word(&["iOS", "Android", "Web"])),
    optional("checkoutAttemptId", Shape::Text(256)),
    optional("company", Shape::Map),
    optional("conversionId", LONG),
    optional("countryCode", Shape::Text(100)),
    optional("dateOfBirth", LONG),
    optional("dccQuote", Shape::Map),
    optional("deliverAt", LONG),
    optional("deliveryAddress", Shape::Map),
    optional("deliveryDate", LONG),
    optional("deviceFingerprint", Shape::Text(5_000)),
    optional("enableOneClick", Shape::Boolean),
    optional("enablePayOut", Shape::Boolean),
    optional("enableRecurring", Shape::Boolean),
    optional("enhancedSchemeData", Shape::Map),
    optional("entityType", Shape::Word(&["NaturalPerson", "CompanyName"])),
    optional("fraudOffset", Shape::Integer),
    optional("fundOrigin", Shape::Map),
    optional("fundRecipient", Shape::Map),
    optional("industryUsage", Shape::Word(&["delayedCharge", "installment", "noShow"])),
    optional("installments", Shape::Map),
    optional("lineItems", Shape::List),
    optional("localizedShopperStatement", Shape::Map),
    optional("mandate", Shape::Map),
    optional("mcc", LONG),
    required("merchantAccount", LONG),
    optional("merchantOrderReference", Shape::Text(1_000)),
    optional("merchantRiskIndicator", Shape::Map),
    optional("metadata", Shape::Pairs(20, 20, 80)),
    optional("mpiData", Shape::Object(MPI)),
    optional("order", Shape::Map),
    optional("orderReference", LONG),
    optional("origin", Shape::Text(80)),
    required("paymentMethod", Shape::Object(CARD)),
    optional("paymentValidations", Shape::Map),
    optional("platformChargebackLogic", Shape::Map),
    optional("recurringExpiry", LONG),
    optional("recurringFrequency", LONG),
    optional(
        "recurringProcessingModel",
        Shape::Word(&["CardOnFile", "Subscription", "UnscheduledCardOnFile"]),
    ),
    optional("redirectFromIssuerMethod", LONG),
    optional("redirectToIssuerMethod", LONG),
    required("reference", REFERENCE),
    required("returnUrl", Shape::Text(8_000)),
    optional("riskData", Shape::Map),
    optional("sessionValidity", LONG),
    optional("shopperConversionId", Shape::Text(256)),
    optional("shopperEmail", LONG),
    optional("shopperIP", Shape::Text(1_000)),
    optional("shopperInteraction", Shape::Word(&["Ecommerce", "ContAuth", "Moto", "POS"])),
    optional("shopperLocale", LONG),
    optional("shopperName", Shape::Map),
    optional("shopperReference", Shape::Text(256)),
    optional("shopperStatement", Shape::Text(10_000)),
    optional("shopperTaxInfo", Shape::Map),
    optional("socialSecurityNumber", LONG),
    optional("splits", Shape::List),
    optional("store", Shape::Text(64)),
    optional("storePaymentMethod", Shape::Boolean),
    optional("subMerchants", Shape::List),
    optional("surcharge", Shape::Map),
    optional("telephoneNumber", LONG),
    optional("threeDS2RequestData", Shape::Map),
    optional("threeDSAuthenticationOnly", Shape::Boolean),
    optional("trustedShopper", Shape::Boolean),
];

/// `POST /payments/{paymentPspReference}/captures`
pub(in crate::sandbox) const CAPTURE: &[Field] = &[
    required("amount", AMOUNT),
    optional("applicationInfo", Shape::Map),
    optional("enhancedSchemeData", Shape::Map),
    optional("lineItems", Shape::List),
    required("merchantAccount", LONG),
    optional("platformChargebackLogic", Shape::Map),
    optional("reference", REFERENCE),
    optional("splits", Shape::List),
    optional("subMerchants", Shape::List),
];

/// `POST /payments/{paymentPspReference}/cancels`
pub(in crate::sandbox) const CANCEL: &[Field] = &[
    optional("applicationInfo", Shape::Map),
    optional("enhancedSchemeData", Shape::Map),
    required("merchantAccount", LONG),
    optional("reference", REFERENCE),
];

/// `POST /cancels`
pub(in crate::sandbox) const CANCEL_BY_REFERENCE: &[Field] = &[
    optional("applicationInfo", Shape::Map),
    optional("enhancedSchemeData", Shape::Map),
    required("merchantAccount", LONG),
    required("paymentReference", REFERENCE),
    optional("reference", REFERENCE),
];

/// `POST /payments/{paymentPspReference}/refunds`
pub(in crate::sandbox) const REFUND: &[Field] = &[
    required("amount", AMOUNT),
    optional("applicationInfo", Shape::Map),
    optional("capturePspReference", LONG),
    optional("enhancedSchemeData", Shape::Map),
    optional("lineItems", Shape::List),
    required("merchantAccount", LONG),
    optional(
        "merchantRefundReason",
        Shape::Word(&["FRAUD", "CUSTOMER REQUEST", "RETURN", "DUPLICATE", "OTHER"]),
    ),
    optional("reference", REFERENCE),
    optional("splits", Shape::List),
    optional("store", LONG),
];
