//! Which fields each request may have.

use crate::sandbox::shape::{Field, Shape, optional, required};

const LONG: Shape = Shape::Text(255);

const ADDRESS: &[Field] = &[
    optional("address_line1", Shape::Text(200)),
    optional("address_line2", Shape::Text(200)),
    optional("city", Shape::Text(50)),
    optional("country", Shape::Text(2)),
    optional("state", Shape::Text(50)),
    optional("zip", Shape::Text(50)),
];

const SOURCE: &[Field] = &[
    optional("billing_address", Shape::Object(ADDRESS)),
    optional("cvv", Shape::Text(4)),
    // A card has these three, and an instrument has an id.
    optional("expiry_month", Shape::Integer),
    optional("expiry_year", Shape::Integer),
    optional("id", LONG),
    optional("name", LONG),
    optional("number", LONG),
    optional("stored", Shape::Boolean),
    // The real one knows more types; the sandbox plays cards in the clear, and what it keeps of them.
    required("type", Shape::Word(&["card", "id"])),
];

/// `POST /tokens`
pub(super) const TOKEN: &[Field] = &[
    optional("billing_address", Shape::Object(ADDRESS)),
    optional("cvv", Shape::Text(4)),
    required("expiry_month", Shape::Integer),
    required("expiry_year", Shape::Integer),
    optional("name", LONG),
    required("number", LONG),
    optional("phone", Shape::Map),
    required("type", Shape::Word(&["card"])),
];

/// `POST /instruments`
pub(super) const INSTRUMENT: &[Field] = &[
    optional("account_holder", Shape::Map),
    optional("customer", Shape::Map),
    required("token", LONG),
    required("type", Shape::Word(&["token"])),
];

const THREE_DS: &[Field] = &[
    optional("attempt_n3d", Shape::Boolean),
    optional("cryptogram", Shape::Text(50)),
    optional("eci", Shape::Text(2)),
    required("enabled", Shape::Boolean),
    optional("exemption", LONG),
    optional("status", Shape::Word(&["A", "Y", "U", "N", "C", "R", "I"])),
    optional("version", LONG),
    optional("xid", Shape::Text(100)),
];

/// `POST /payments`
pub(super) const PAYMENT: &[Field] = &[
    optional("3ds", Shape::Object(THREE_DS)),
    required("amount", Shape::Integer),
    optional("authorization_type", Shape::Word(&["Estimated", "Final"])),
    optional("billing_descriptor", Shape::Map),
    optional("capture", Shape::Boolean),
    optional("capture_on", LONG),
    required("currency", Shape::Text(3)),
    optional("customer", Shape::Map),
    optional("description", Shape::Text(100)),
    optional("failure_url", LONG),
    optional("merchant_initiated", Shape::Boolean),
    optional("metadata", Shape::Pairs(10, 100, 500)),
    optional("payment_ip", Shape::Text(45)),
    optional(
        "payment_type",
        Shape::Word(&["Installment", "MOTO", "Recurring", "Regular", "Unscheduled"]),
    ),
    optional("previous_payment_id", LONG),
    optional("processing_channel_id", LONG),
    optional("reference", Shape::Text(50)),
    optional("risk", Shape::Map),
    required("source", Shape::Object(SOURCE)),
    optional("success_url", LONG),
];

/// `POST /payments/{id}/captures`
pub(super) const CAPTURE: &[Field] = &[
    optional("amount", Shape::Integer),
    optional("capture_type", Shape::Word(&["Final", "NonFinal"])),
    optional("metadata", Shape::Pairs(10, 100, 500)),
    optional("reference", Shape::Text(80)),
];

/// `POST /payments/{id}/refunds`
pub(super) const REFUND: &[Field] = &[
    optional("amount", Shape::Integer),
    optional("metadata", Shape::Pairs(10, 100, 500)),
    optional("reference", Shape::Text(80)),
];

/// `POST /payments/{id}/voids`
pub(super) const VOID: &[Field] = &[
    optional("metadata", Shape::Pairs(10, 100, 500)),
    optional("reference", Shape::Text(80)),
];
