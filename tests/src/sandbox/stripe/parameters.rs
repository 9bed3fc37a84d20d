//! Which parameters each request may have.
//!
//! What the sandbox does not act on is in the tables all the same, so that only what Stripe does
//! not know is unknown. `sandbox/specs.rs` compares them with the published description.

use crate::sandbox::shape::{Field, Shape, optional, required};

const METADATA: Shape = Shape::Pairs(50, 40, 500);
const LONG: Shape = Shape::Text(5_000);
/// What can be expanded in an intent.
const IN_INTENT: Shape = Shape::Words(&["latest_charge", "payment_method"]);

const ADDRESS: &[Field] = &[
    optional("city", LONG),
    optional("country", Shape::Text(2)),
    optional("line1", LONG),
    optional("line2", LONG),
    optional("postal_code", LONG),
    optional("state", LONG),
];

const BILLING: &[Field] = &[
    optional("address", Shape::Object(ADDRESS)),
    optional("email", Shape::Text(800)),
    optional("name", LONG),
    optional("phone", LONG),
];

const CARD: &[Field] = &[
    optional("cvc", LONG),
    required("exp_month", Shape::Integer),
    required("exp_year", Shape::Integer),
    required("number", LONG),
];

/// `POST /v1/payment_methods`
pub(in crate::sandbox) const METHOD: &[Field] = &[
    optional("billing_details", Shape::Object(BILLING)),
    required("card", Shape::Object(CARD)),
    optional("expand", Shape::Words(&[])),
    optional("metadata", METADATA),
    optional("radar_options", Shape::Map),
    // The real one knows more types; the sandbox plays cards.
    required("type", Shape::Word(&["card"])),
];

/// `POST /v1/customers`
pub(in crate::sandbox) const CUSTOMER: &[Field] = &[
    optional("address", Shape::Object(ADDRESS)),
    optional("balance", Shape::Integer),
    optional("cash_balance", Shape::Map),
    optional("coupon", LONG),
    optional("description", LONG),
    optional("email", Shape::Text(512)),
    optional("expand", Shape::Words(&[])),
    optional("invoice_prefix", LONG),
    optional(
        "invoice_settings",
        Shape::Object(&[
            optional("custom_fields", Shape::List),
            optional("default_payment_method", LONG),
            optional("footer", LONG),
            optional("rendering_options", Shape::Map),
        ]),
    ),
    optional("metadata", METADATA),
    optional("name", Shape::Text(256)),
    optional("next_invoice_sequence", Shape::Integer),
    optional("payment_method", LONG),
    optional("phone", Shape::Text(20)),
    optional("preferred_locales", Shape::List),
    optional("promotion_code", LONG),
    optional("shipping", Shape::Map),
    optional("source", LONG),
    optional("tax", Shape::Map),
    optional("tax_exempt", Shape::Word(&["exempt", "none", "reverse"])),
    optional("tax_id_data", Shape::List),
    optional("test_clock", LONG),
];

const THREE_D_SECURE: &[Field] = &[
    optional("ares_trans_status", Shape::Word(&["A", "C", "I", "N", "R", "U", "Y"])),
    required("cryptogram", Shape::Text(128)),
    optional("electronic_commerce_indicator", Shape::Word(&["01", "02", "05", "06", "07"])),
    optional("exemption_indicator", Shape::Word(&["low_risk", "none"])),
    optional("network_options", Shape::Map),
    optional("requestor_challenge_indicator", Shape::Text(2)),
    required("transaction_id", Shape::Text(128)),
    required("version", Shape::Word(&["1.0.2", "2.1.0", "2.2.0", "2.3.0", "2.3.1"])),
];

const CARD_OPTIONS: &[Field] = &[
    optional("capture_method", Shape::Word(&["manual"])),
    optional("cvc_token", LONG),
    optional("installments", Shape::Map),
    optional("mandate_options", Shape::Map),
    optional("moto", Shape::Boolean),
    optional(
        "network",
        Shape::Word(&[
            "amex",
            "cartes_bancaires",
            "diners",
            "discover",
            "eftpos_au",
            "interac",
            "jcb",
            "mastercard",
            "unionpay",
            "unknown",
            "visa",
        ]),
    ),
    optional("request_three_d_secure", Shape::Word(&["any", "automatic"])),
    optional("setup_future_usage", Shape::Word(&["none", "off_session", "on_session"])),
    optional("three_d_secure", Shape::Object(THREE_D_SECURE)),
];

/// `POST /v1/payment_intents`
pub(in crate::sandbox) const INTENT: &[Field] = &[
    optional("allowed_payment_method_types", Shape::Words(&["card"])),
    required("amount", Shape::Integer),
    optional("application_fee_amount", Shape::Integer),
    optional("automatic_payment_methods", Shape::Map),
    optional("capture_method", Shape::Word(&["automatic", "automatic_async", "manual"])),
    optional("confirm", Shape::Boolean),
    optional("confirmation_method", Shape::Word(&["automatic", "manual"])),
    required("currency", Shape::Text(3)),
    optional("customer", LONG),
    optional("description", Shape::Text(1_000)),
    optional("error_on_requires_action", Shape::Boolean),
    optional("expand", IN_INTENT),
    optional("metadata", METADATA),
    optional("off_session", Shape::Boolean),
    optional("on_behalf_of", LONG),
    optional("payment_method", LONG),
    optional(
        "payment_method_options",
        Shape::Object(&[optional("card", Shape::Object(CARD_OPTIONS))]),
    ),
    optional("payment_method_types", Shape::Words(&["card"])),
    optional("radar_options", Shape::Map),
    optional("receipt_email", Shape::Text(800)),
    optional("return_url", LONG),
    optional("setup_future_usage", Shape::Word(&["off_session", "on_session"])),
    optional("shipping", Shape::Map),
    optional("statement_descriptor", Shape::Text(22)),
    optional("statement_descriptor_suffix", Shape::Text(22)),
    optional("transfer_data", Shape::Map),
    optional("transfer_group", LONG),
    optional("use_stripe_sdk", Shape::Boolean),
];

/// `POST /v1/payment_intents/{id}/capture`
pub(in crate::sandbox) const CAPTURE: &[Field] = &[
    optional("amount_to_capture", Shape::Integer),
    optional("application_fee_amount", Shape::Integer),
    optional("expand", IN_INTENT),
    optional("metadata", METADATA),
    optional("statement_descriptor", Shape::Text(22)),
    optional("statement_descriptor_suffix", Shape::Text(22)),
    optional("transfer_data", Shape::Map),
];

const CANCELLATION_REASONS: Shape =
    Shape::Word(&["abandoned", "duplicate", "fraudulent", "requested_by_customer"]);

/// `POST /v1/payment_intents/{id}/cancel`
pub(in crate::sandbox) const CANCEL: &[Field] =
    &[optional("cancellation_reason", CANCELLATION_REASONS), optional("expand", IN_INTENT)];

/// `POST /v1/refunds`
pub(in crate::sandbox) const REFUND: &[Field] = &[
    optional("amount", Shape::Integer),
    optional("charge", LONG),
    optional("currency", Shape::Text(3)),
    optional("expand", Shape::Words(&[])),
    optional("metadata", METADATA),
    optional("payment_intent", LONG),
    optional("reason", Shape::Word(&["duplicate", "fraudulent", "requested_by_customer"])),
    optional("refund_application_fee", Shape::Boolean),
    optional("reverse_transfer", Shape::Boolean),
];

/// `GET` of an object without parts.
pub(super) const GET: &[Field] = &[optional("expand", Shape::Words(&[]))];

/// `GET /v1/payment_intents/{id}`
pub(super) const GET_INTENT: &[Field] =
    &[optional("client_secret", LONG), optional("expand", IN_INTENT)];

/// `GET /v1/refunds`
const RANGE: &[Field] = &[
    optional("gt", Shape::Integer),
    optional("gte", Shape::Integer),
    optional("lt", Shape::Integer),
    optional("lte", Shape::Integer),
];

/// `GET /v1/payment_intents`
pub(in crate::sandbox) const LIST_INTENTS: &[Field] = &[
    optional("created", Shape::Object(RANGE)),
    optional("customer", LONG),
    optional("ending_before", LONG),
    optional("expand", Shape::Words(&["data.latest_charge", "data.payment_method"])),
    optional("limit", Shape::Integer),
    optional("starting_after", LONG),
];

pub(super) const LIST_REFUNDS: &[Field] = &[
    optional("charge", LONG),
    optional("ending_before", LONG),
    optional("expand", Shape::Words(&[])),
    optional("limit", Shape::Integer),
    optional("payment_intent", LONG),
    optional("starting_after", LONG),
];

/// `GET /v1/payment_intents/search`
pub(super) const SEARCH: &[Field] = &[
    optional("expand", Shape::Words(&["data.latest_charge", "data.payment_method"])),
    optional("limit", Shape::Integer),
    optional("page", LONG),
    required("query", LONG),
];
