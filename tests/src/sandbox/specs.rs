//! The tables of parameters against the providers' published descriptions.
//!
//! The descriptions lie beside the project; where they are absent, the tests say so and pass.

use super::shape::{Field, Shape};
use super::{adyen, stripe};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The description in a file, or `None` with a word about it.
fn description(name: &str) -> Option<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/specs");
    let Ok(text) = std::fs::read(folder.join(name)) else {
        println!("skipped: there is no {name} beside the project");
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

fn names(fields: &[Field]) -> BTreeSet<&str> {
    fields.iter().map(|field| field.name).collect()
}

fn required(fields: &[Field]) -> BTreeSet<&str> {
    fields.iter().filter(|field| field.required).map(|field| field.name).collect()
}

fn members(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The words of a table are some of those that the description lists, where it lists any.
fn words_are_known(what: &str, fields: &[Field], schema: &Value) {
    for field in fields {
        let Shape::Word(words) = field.shape else { continue };
        let listed = texts(&schema["properties"][field.name]["enum"]);
        if listed.is_empty() {
            continue;
        }
        for word in words {
            assert!(listed.contains(word), "{what}.{} does not know {word}", field.name);
        }
    }
}

/// The object behind the field of a table.
fn inside(fields: &'static [Field], name: &str) -> &'static [Field] {
    let field = fields.iter().find(|field| field.name == name).unwrap();
    let Shape::Object(inner) = field.shape else { panic!("{name} is no object") };
    inner
}

#[test]
fn adyen_knows_what_its_description_names_and_nothing_else() {
    let Some(document) = description("adyen/CheckoutService-v71.json") else { return };
    let payment = adyen::parameters::PAYMENT;
    for (schema, fields) in [
        ("PaymentRequest", payment),
        ("Amount", inside(payment, "amount")),
        ("BillingAddress", inside(payment, "billingAddress")),
        ("ThreeDSecureData", inside(payment, "mpiData")),
        ("AuthenticationData", inside(payment, "authenticationData")),
        ("PaymentMethodsRequest", adyen::parameters::PAYMENT_METHODS),
        ("PaymentCaptureRequest", adyen::parameters::CAPTURE),
        ("PaymentCancelRequest", adyen::parameters::CANCEL),
        ("StandalonePaymentCancelRequest", adyen::parameters::CANCEL_BY_REFERENCE),
        ("PaymentRefundRequest", adyen::parameters::REFUND),
        ("StoredPaymentMethodRequest", adyen::parameters::STORE),
    ] {
        let described = &document["components"]["schemas"][schema];
        assert_eq!(names(fields), members(described), "{schema}");
        assert_eq!(required(fields), texts(&described["required"]), "{schema}");
        words_are_known(schema, fields, described);
    }
    let card = inside(payment, "paymentMethod");
    let described = &document["components"]["schemas"]["CardDetails"];
    let unknown: Vec<_> = names(card).difference(&members(described)).copied().collect();
    assert_eq!(unknown, Vec::<&str>::new());
    words_are_known("CardDetails", card, described);
    let card = inside(adyen::parameters::STORE, "paymentMethod");
    let described = &document["components"]["schemas"]["PaymentMethodToStore"];
    let unknown: Vec<_> = names(card).difference(&members(described)).copied().collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

/// Parameters that came after the description of 2023, each found in that of 2026.
const NEWER: [&str; 1] = ["allowed_payment_method_types"];
/// Parameters that the sandbox leaves out: what is not a card, and what nobody here sends.
const LEFT_OUT: [&str; 4] =
    ["instructions_email", "mandate", "mandate_data", "payment_method_data"];

#[test]
fn stripe_knows_what_its_description_names_and_nothing_else() {
    let Some(document) = description("stripe/spec3-2023-09-12.trimmed.json") else { return };
    let form = |path: &str| {
        let post = &document["paths"][path]["post"]["requestBody"]["content"];
        post["application/x-www-form-urlencoded"]["schema"].clone()
    };
    for (path, fields) in [
        ("/v1/customers", stripe::parameters::CUSTOMER),
        ("/v1/payment_intents", stripe::parameters::INTENT),
        ("/v1/payment_intents/{intent}/capture", stripe::parameters::CAPTURE),
        ("/v1/payment_intents/{intent}/cancel", stripe::parameters::CANCEL),
        ("/v1/refunds", stripe::parameters::REFUND),
    ] {
        let described = form(path);
        let mut known = members(&described);
        known.extend(NEWER.iter().filter(|_| path == "/v1/payment_intents"));
        for name in LEFT_OUT.iter().chain(&["customer", "origin"]) {
            if !names(fields).contains(name) {
                known.remove(name);
            }
        }
        assert_eq!(names(fields), known, "{path}");
        assert_eq!(required(fields), texts(&described["required"]), "{path}");
    }
    let list = &document["paths"]["/v1/payment_intents"]["get"]["parameters"];
    let described: BTreeSet<_> =
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names(stripe::parameters::LIST_INTENTS), described);
    let method = form("/v1/payment_methods");
    let unknown = names(stripe::parameters::METHOD);
    let unknown: Vec<_> = unknown.difference(&members(&method)).copied().collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn stripe_takes_a_result_of_3ds_as_its_newer_description_says() {
    let name = "stripe/stripe-2026-10-28-payments.schema.json";
    let Some(document) = description(name) else { return };
    let definitions = document["definitions"].as_object().unwrap();
    let schema = |name: &str| definitions.get(name).unwrap();
    assert!(members(schema("PaymentIntentCreateParams")).contains(NEWER[0]));
    let card = inside(inside(stripe::parameters::INTENT, "payment_method_options"), "card");
    let fields = inside(card, "three_d_secure");
    let described = schema("PaymentIntentCreateParams.PaymentMethodOptions.Card.ThreeDSecure");
    assert_eq!(names(fields), members(described));
    assert_eq!(required(fields), texts(&described["required"]));
}
