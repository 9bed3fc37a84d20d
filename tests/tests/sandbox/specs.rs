//! What the sandbox answers, against the providers' published descriptions.
//!
//! The descriptions lie beside the project; where they are absent, the tests say so and pass.

use super::talk::Talk;
use serde_json::{Value, json};
use std::path::Path;

/// A description whose schemas can be asked.
struct Description(Value);

// === impl Description ===

impl Description {
    fn read(name: &str) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/specs");
        let Ok(text) = std::fs::read(folder.join(name)) else {
            println!("skipped: there is no {name} beside the project");
            return None;
        };
        let mut document: Value = serde_json::from_slice(&text).unwrap();
        translate(&mut document);
        Some(Self(document))
    }

    /// Fails when `value` is not what `schema` says, or has a member that it does not name.
    fn holds(&self, schema: &str, value: &Value) {
        let components = &self.0["components"];
        let root =
            json!({"$ref": format!("#/components/schemas/{schema}"), "components": components});
        let validator = jsonschema::validator_for(&root).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(value).map(|e| format!("{} {e}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{schema}: {errors:#?}\n{value:#}");
        let named = components["schemas"][schema]["properties"].as_object().unwrap();
        let unnamed: Vec<&String> =
            value.as_object().unwrap().keys().filter(|name| !named.contains_key(*name)).collect();
        assert!(unnamed.is_empty(), "{schema} names no {unnamed:?}");
    }
}

/// `nullable` and `expandable` of OpenAPI 3.0 in the words of JSON Schema.
fn translate(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Object(members) => {
            members.values_mut().for_each(translate);
            if members.remove("nullable") == Some(Value::Bool(true)) {
                let inner = schema.take();
                *schema = json!({"anyOf": [inner, {"type": "null"}]});
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes out what came to the objects after the description of 2023.
fn without_newer(value: &mut Value, newer: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| without_newer(item, newer)),
        Value::Object(members) => {
            members.retain(|name, _| !newer.contains(&name.as_str()));
            members.values_mut().for_each(|member| without_newer(member, newer));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_objects_of_stripe_are_as_described() {
    let Some(description) = Description::read("stripe/spec3-2023-09-12.trimmed.json") else {
        return;
    };
    let holds = |schema: &str, value: &Value| {
        let mut value = value.clone();
        let newer = [
            "advice_code",
            "authorization_code",
            "network_advice_code",
            "network_decline_code",
            "network_transaction_id",
            "amount_authorized",
        ];
        without_newer(&mut value, &newer);
        description.holds(schema, &value);
    };
    let talk = Talk::start();
    let form = "type=card&card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2035&\
                billing_details[name]=Ann&billing_details[address][line1]=1%20High%20St";
    holds("payment_method", &talk.ask_stripe("POST", "/v1/payment_methods", form).await.1);
    let kept = talk.method("4242424242424242").await;
    let form =
        format!("payment_method={kept}&invoice_settings[default_payment_method]={kept}&name=Ann");
    let (status, customer) = talk.ask_stripe("POST", "/v1/customers", &form).await;
    assert_eq!(status, 200, "{customer}");
    holds("customer", &customer);
    let expand = "capture_method=manual&expand[]=latest_charge&metadata[order_id]=1";
    let (_, held) = talk.intent("4242424242424242", "amount=1099&currency=usd", expand).await;
    holds("payment_intent", &held);
    holds("charge", &held["latest_charge"]);
    let id = held["id"].as_str().unwrap();
    let path = format!("/v1/payment_intents/{id}/capture");
    holds("payment_intent", &talk.ask_stripe("POST", &path, "amount_to_capture=500").await.1);
    let form = format!("payment_intent={id}&amount=100");
    holds("refund", &talk.ask_stripe("POST", "/v1/refunds", &form).await.1);
    let (_, declined) = talk.intent("4000000000009995", "amount=1099&currency=usd", "").await;
    holds("error", &declined);
    holds("payment_intent", &declined["error"]["payment_intent"]);
    holds("error", &talk.ask_stripe("POST", "/v1/refunds", "x=1").await.1);
}

#[tokio::test]
async fn the_objects_of_adyen_are_as_described() {
    let Some(description) = Description::read("adyen/CheckoutService-v71.json") else { return };
    let talk = Talk::start();
    let mut body = json!({
        "amount": {"currency": "EUR", "value": 1099}, "merchantAccount": "ExampleMerchantECOM",
        "reference": "ORD-1", "returnUrl": "https://shop.example",
        "additionalData": {"manualCapture": "true"},
        "paymentMethod": {"type": "scheme", "number": "4111111111111111", "expiryMonth": "03",
                          "expiryYear": "2030", "cvc": "737", "holderName": "Ann Example"},
    });
    let (_, held) = talk.ask_adyen("/payments", &body).await;
    description.holds("PaymentResponse", &held);
    let psp = held["pspReference"].as_str().unwrap();
    let change = json!({"merchantAccount": "ExampleMerchantECOM", "reference": "M-1",
                        "amount": {"currency": "EUR", "value": 100}});
    for (what, schema) in
        [("captures", "PaymentCaptureResponse"), ("refunds", "PaymentRefundResponse")]
    {
        let (_, answer) = talk.ask_adyen(&format!("/payments/{psp}/{what}"), &change).await;
        description.holds(schema, &answer);
    }
    let change = json!({"merchantAccount": "ExampleMerchantECOM"});
    let (_, answer) = talk.ask_adyen(&format!("/payments/{psp}/cancels"), &change).await;
    description.holds("PaymentCancelResponse", &answer);
    let keep = json!({"merchantAccount": "ExampleMerchantECOM", "shopperReference": "cust-77",
                      "recurringProcessingModel": "CardOnFile",
                      "paymentMethod": body["paymentMethod"].clone()});
    let (status, kept) = talk.ask_adyen("/storedPaymentMethods", &keep).await;
    assert_eq!(status, 201, "{kept}");
    description.holds("StoredPaymentMethodResource", &kept);
    body["paymentMethod"]["holderName"] = "DECLINED".into();
    description.holds("PaymentResponse", &talk.ask_adyen("/payments", &body).await.1);
    body["paymentMethod"]["holderName"] = "Ann Example".into();
    for number in ["4212345678901237", "4917610000000000"] {
        body["paymentMethod"]["number"] = number.into();
        description.holds("PaymentResponse", &talk.ask_adyen("/payments", &body).await.1);
    }
    body["amount"]["value"] = (-1).into();
    description.holds("ServiceError", &talk.ask_adyen("/payments", &body).await.1);
}
