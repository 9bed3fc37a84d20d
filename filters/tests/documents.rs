//! What the project says of itself is what it does: `openapi.json` and `docs/reference/errors.md`
//! against the tables that drive the code.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use filters::decode::schema::{Form, SCHEMAS, Schema, Shape};
use filters::decode::{self, YearMonth};
use filters::reject::{Reject, TYPE_PREFIX};
use filters::route::{ROUTES, Verb, route};
use filters::{FieldError, OPENAPI};
use jsonschema::Validator;
use model::{Currency, Decline, Kind, Scope, State};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const TODAY: YearMonth = YearMonth { year: 2026, month: 11 };
const TOKEN: &str = "nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO";
const ID: &str = "019a0000000000000000000000000001";

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// What a field should look like in the document.
fn described(form: &Form, required: bool) -> Value {
    let nullable = |kind: &str| if required { json!(kind) } else { json!([kind, "null"]) };
    let refer = |name: &str| {
        let refer = json!({ "$ref": format!("#/components/schemas/{name}") });
        if required { refer } else { json!({ "oneOf": [refer, { "type": "null" }] }) }
    };
    match form {
        Form::Amount => {
            json!({ "type": "number", "exclusiveMinimum": 0, "maximum": model::Amount::MINOR_MAX })
        }
        Form::Currency => refer("CurrencyCode"),
        Form::Flag => json!({ "type": nullable("boolean") }),
        Form::List { of, items_max } => json!({
            "type": nullable("array"),
            "maxItems": items_max,
            "items": { "$ref": format!("#/components/schemas/{}", of.name) },
        }),
        Form::Object(of) => refer(of.name),
        Form::Reserved(_) => json!({ "type": "null" }),
        Form::Text(text) => {
            let mut said = json!({
                "type": nullable("string"),
                "minLength": text.chars_min,
                "maxLength": text.chars_max,
            });
            if let Some(pattern) = text.shape.pattern() {
                said["pattern"] = json!(pattern);
            }
            if text.shape == Shape::IpAddress {
                said["anyOf"] = json!([{ "format": "ipv4" }, { "format": "ipv6" }]);
            }
            if text.shape == Shape::CardNumber {
                said["format"] = json!("card-number");
            }
            said
        }
        Form::Texts { of, items_max } => json!({
            "type": nullable("array"),
            "maxItems": items_max,
            "items": described(&Form::Text(*of), true),
        }),
        Form::Whole { min, max } => {
            json!({ "type": nullable("integer"), "minimum": min, "maximum": max })
        }
        Form::Word(words) => refer(enum_of(words)),
    }
}

/// What `openapi.json` calls a list of words.
fn enum_of(words: &[&str]) -> &'static str {
    let all = [
        ("CardTypes", decode::schema::CARD_TYPES),
        ("NetworkTokenSchemes", decode::schema::NETWORK_TOKEN_BRANDS),
        ("StoredCredentialPurposes", decode::schema::STORED_PURPOSES),
        ("StoredCredentialUsages", decode::schema::STORED_USAGES),
    ];
    all.into_iter().find(|(_, list)| *list == words).map(|(name, _)| name).unwrap()
}

fn without_prose(value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let kept = members.iter().filter(|(name, _)| *name != "description" && *name != "examples");
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[test]
fn every_field_is_described_as_it_is_read() {
    let document = document();
    for schema in SCHEMAS {
        let said = &document["components"]["schemas"][schema.name];
        assert_eq!(said["type"], "object", "{}", schema.name);
        assert_eq!(said["additionalProperties"], false, "{}", schema.name);
        let properties = said["properties"].as_object().expect(schema.name);
        assert_eq!(properties.len(), schema.fields.len(), "{}", schema.name);
        for field in schema.fields {
            let described = described(&field.form, field.required);
            let at = format!("{}.{}", schema.name, field.name);
            assert_eq!(without_prose(&properties[field.name]), described, "{at}");
        }
        let required = schema.fields.iter().filter(|field| field.required);
        let required: Vec<&str> = required.map(|field| field.name).collect();
        assert_eq!(words(&said["required"]), required, "{}", schema.name);
    }
}

/// The text keeps the order of the tables too, because that is the order of precedence.
#[test]
fn fields_are_described_in_the_order_in_which_they_are_checked() {
    for schema in SCHEMAS {
        let name = format!("\n      \"{}\": {{", schema.name);
        let (_, mut rest) = OPENAPI.split_once(&name).expect(schema.name);
        for field in schema.fields {
            let name = format!("\n          \"{}\": {{", field.name);
            rest = rest.split_once(&name).expect(field.name).1;
        }
    }
}

#[test]
fn every_list_of_words_is_complete() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let currencies: Vec<String> = Currency::all().iter().map(|c| c.code().to_owned()).collect();
    assert_eq!(words(&schemas["CurrencyCode"]["enum"]), currencies);
    assert_eq!(words(&schemas["CardTypes"]["enum"]), decode::schema::CARD_TYPES);
    assert_eq!(
        words(&schemas["NetworkTokenSchemes"]["enum"]),
        decode::schema::NETWORK_TOKEN_BRANDS
    );
    let result = &schemas["OperationResult"]["properties"];
    let declines = Decline::ALL.map(Decline::word);
    assert_eq!(words(&result["declineReason"]["oneOf"][0]["enum"]), declines);
    assert_eq!(words(&result["state"]["oneOf"][0]["enum"]), State::ALL.map(State::word));
    assert_eq!(
        words(&schemas["Problem"]["properties"]["code"]["enum"]),
        Reject::ALL.map(Reject::code)
    );
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, of)| {
            let methods = of.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(|method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let routed: BTreeSet<(String, String)> = ROUTES
        .iter()
        .flat_map(|entry| {
            entry.verbs.iter().map(|verb| (entry.path.to_owned(), verb.word().to_owned()))
        })
        .collect();
    assert_eq!(described, routed);
}

/// Every operation of the document with its route.
fn operations(document: &Value) -> Vec<(String, Verb, filters::Route, &Map<String, Value>)> {
    let mut found = Vec::new();
    for entry in ROUTES {
        for verb in entry.verbs {
            let path =
                entry.path.replace("{name}", "abc").replace("{token}", TOKEN).replace("{id}", ID);
            let path = path.replace("{merchant}", "acme");
            let matched = route(verb.word(), &path).unwrap();
            let said = &document["paths"][entry.path][verb.word().to_lowercase()];
            let at = format!("{} {}", verb.word(), entry.path);
            found.push((at, *verb, matched.route, said.as_object().unwrap()));
        }
    }
    found
}

#[test]
fn keys_scopes_bodies_and_statuses_are_those_of_the_route() {
    let document = document();
    for (at, verb, route, said) in operations(&document) {
        let status = |status: &str| said["responses"].get(status).is_some();
        assert_eq!(said.contains_key("security"), !route.needs_key(), "{at}");
        assert_eq!(status("401"), route.needs_key(), "{at}");
        let scope = route.scope(verb).map(|scope| format!("Scope: `{}`.", scope.word()));
        let description = said.get("description").and_then(Value::as_str).unwrap_or_default();
        assert_eq!(status("403"), scope.is_some(), "{at}");
        assert!(description.ends_with(&scope.unwrap_or_default()), "{at}: {description}");
        let takes_body = route.takes_body(verb);
        assert_eq!(said.contains_key("requestBody"), takes_body, "{at}");
        for of_bodies in ["411", "413", "415"] {
            assert_eq!(status(of_bodies), takes_body, "{at} {of_bodies}");
        }
        for of_all in ["400", "408", "414", "417", "429", "431", "500", "503"] {
            assert!(status(of_all), "{at} {of_all}");
        }
        // What is kept by a gateway is kept at once, or not known to be.
        let later = route.kind().is_some_and(|kind| kind != Kind::Tokenize);
        assert_eq!(status("202") && status("409"), later, "{at}");
        assert!(route.kind().is_none() || status("200") && status("409"), "{at}");
        if let Some(kind) = route.kind() {
            let schema = &said["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let name = decode::schema::of(kind).name;
            assert_eq!(schema, &format!("#/components/schemas/{name}"), "{at}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn follow(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(pointer)) = members.get("$ref") {
                    let at = pointer.strip_prefix('#').expect(pointer);
                    assert!(document.pointer(at).is_some(), "{pointer}");
                }
                members.values().for_each(|value| follow(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| follow(value, document)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = document();
    follow(&document, &document);
}

fn validator(name: &str) -> Validator {
    let document = document();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

#[test]
fn every_example_is_valid_and_is_read() {
    let document = document();
    for (at, _, route, said) in operations(&document) {
        // What providers send is their own.
        let Some(body) = said.get("requestBody").filter(|_| route.needs_key()) else { continue };
        let body = &body["content"]["application/json"];
        let name = body["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        for (example, of) in body["examples"].as_object().expect(&at) {
            let text = of["value"].to_string();
            assert!(validator(name).is_valid(&of["value"]), "{at} {example}");
            let read = read_as(name, route.kind(), &text);
            assert_eq!(read, Ok(()), "{at} {example}");
        }
    }
}

fn read_as(name: &str, kind: Option<Kind>, body: &str) -> Result<(), FieldError> {
    let body = body.as_bytes();
    match (kind, name) {
        (Some(kind), _) => decode::payment(kind, body, TODAY).map(|_| ()),
        // To be explained, and read as a charge.
        (None, "AuthRequestModel") => decode::payment(Kind::Charge, body, TODAY).map(|_| ()),
        (None, "StagedCredentialsInputModel") => decode::staged(body).map(|_| ()),
        (None, "StringTokenInputModel") => decode::string_token(body).map(|_| ()),
        (None, "SwitchInputModel") => decode::switch(body).map(|_| ()),
        (None, _) => decode::account(body).map(|_| ()),
    }
}

/// The bodies that are no payments.
const OTHERS: [&Schema; 4] = [
    &decode::schema::ACCOUNT,
    &decode::schema::STAGED,
    &decode::schema::STRING_TOKEN,
    &decode::schema::SWITCH,
];

/// Values of every type, right and wrong, for any field.
fn some_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,40}",
        "\\PC{0,6}",
        "[\\x00-\\x20\\x7f-\\u{a0}a]{0,3}",
        "[0-9]{0,20}",
        "[0-9.]{1,6}",
        "@[A-Za-z0-9]{31,33}",
        "[A-Za-z]{2,3}",
        "[0-9a-f]{0,4}:[0-9a-f:]{0,30}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        "x{60,66}|x{78,82}|x{99,102}|x{126,130}|x{253,258}|x{1022,1026}",
        proptest::sample::select(vec!["USD", "Visa", "JPY", "XXX", "2.2.0", "..", "5", "a b"])
            .prop_map(str::to_owned),
    ];
    prop_oneof![
        8 => text.prop_map(Value::String),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => (-3i64..2105).prop_map(|number| json!(number)),
        1 => Just(json!([])),
        1 => Just(json!([{ "key": "a", "value": "b" }])),
        1 => Just(json!({})),
        1 => Just(json!({ "x": 1 })),
    ]
}

/// A body that the API takes, and where in it each schema stands.
fn sample(name: &str) -> Value {
    let card = json!({
        "cardHolderName": "Ada", "cardNumber": "4111111111111111", "expirationMonth": 12,
        "expirationYear": 2039, "cvv": "737", "threeDSAuthentication": {
            "authenticationValue": "AAA=", "eci": "05", "xid": "x", "version": "2.2.0",
            "merchantName": "Shop",
        },
    });
    let account = json!({
        "paymentGatewayName": "Stripe", "credentials": [{ "key": "a", "value": "b" }],
    });
    match name {
        "PaymentGatewayAccountInputModel" => account,
        "StagedCredentialsInputModel" => json!({ "credentials": [{ "key": "a", "value": "b" }] }),
        "SwitchInputModel" => json!({ "percent": 50, "force": false }),
        "StringTokenInputModel" => json!({
            "payload": "x", "timeToLiveSeconds": 60, "bindings": [{ "paymentGatewayName": "Adyen" }],
            "metadata": [{ "key": "a", "value": "b" }],
        }),
        "StatusRequestModel" => json!({ "refTransId": "a", "paymentGatewayAccount": account }),
        "AuthRequestModel" => json!({
            "currency": "USD", "amount": 10, "card": card, "paymentGatewayAccount": account,
            "payerDetails": { "clientIPAddress": "192.0.2.1", "countryCode": "NL" },
        }),
        "TokenizeRequestModel" => json!({
            "card": card, "paymentGatewayAccount": account,
            "payerDetails": { "clientIPAddress": "192.0.2.1", "countryCode": "NL" },
        }),
        _ => json!({
            "currency": "USD", "amount": 10, "card": card, "paymentGatewayAccountName": "abc",
            "refTransId": "a",
        }),
    }
}

/// Where the objects of a body stand, with their schemas.
fn places(of: &'static Schema, at: String) -> Vec<(String, &'static Schema)> {
    let mut found = vec![(at.clone(), of)];
    for field in of.fields {
        match field.form {
            Form::Object(inner) => found.extend(places(inner, format!("{at}/{}", field.name))),
            Form::List { of: inner, .. } => {
                found.extend(places(inner, format!("{at}/{}/0", field.name)));
            }
            Form::Amount
            | Form::Currency
            | Form::Flag
            | Form::Reserved(_)
            | Form::Text(_)
            | Form::Texts { .. }
            | Form::Whole { .. }
            | Form::Word(_) => {}
        }
    }
    found
}

/// Whether it is a word of an enum in another case, which is read although no schema can say so.
fn is_word_in_other_case(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let currencies = Currency::all();
    let words = currencies.iter().map(Currency::code);
    let words = words.chain(decode::schema::CARD_TYPES.iter().copied());
    let words = words.chain(decode::schema::NETWORK_TOKEN_BRANDS.iter().copied());
    let words = words.chain(decode::schema::STORED_PURPOSES.iter().copied());
    let mut words = words.chain(decode::schema::STORED_USAGES.iter().copied());
    words.any(|word| word != text && word.eq_ignore_ascii_case(text))
}

/// What a schema cannot say: the check digit, the calendar, and the decimal places of a currency.
fn is_beyond_a_schema(error: &FieldError) -> bool {
    let problem = error.errors[0];
    [
        "is not a card number: its check digit does not fit",
        "is in the past: the card has expired",
        "has more decimal places than the currency",
        "is given more than once",
        "must not be empty",
        "stands beside another choice of an account",
    ]
    .contains(&problem)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// One field of a good body is changed: what the document allows is read, and what it does not
    /// allow is refused.
    #[test]
    fn the_document_and_the_reader_agree(
        kind in proptest::sample::select(Kind::ALL.to_vec()),
        which in any::<proptest::sample::Index>(),
        field in any::<proptest::sample::Index>(),
        value in proptest::option::weighted(0.9, some_value()),
    ) {
        let schema = decode::schema::of(kind);
        check(schema, Some(kind), which, field, value)?;
    }

    #[test]
    fn the_document_and_the_reader_agree_about_accounts_and_tokens(
        schema in proptest::sample::select(OTHERS.to_vec()),
        which in any::<proptest::sample::Index>(),
        field in any::<proptest::sample::Index>(),
        value in proptest::option::weighted(0.9, some_value()),
    ) {
        check(schema, None, which, field, value)?;
    }
}

fn check(
    schema: &'static Schema,
    kind: Option<Kind>,
    which: proptest::sample::Index,
    field: proptest::sample::Index,
    value: Option<Value>,
) -> Result<(), TestCaseError> {
    thread_local! {
        static VALIDATORS: std::cell::RefCell<std::collections::BTreeMap<&'static str, Validator>> =
            const { std::cell::RefCell::new(std::collections::BTreeMap::new()) };
    }
    prop_assume!(!value.as_ref().is_some_and(is_word_in_other_case));
    let mut body = sample(schema.name);
    let places = places(schema, String::new());
    let present: Vec<_> = places.iter().filter(|(at, _)| body.pointer(at).is_some()).collect();
    let (at, inner) = which.get(&present);
    let name = inner.fields[field.index(inner.fields.len())].name;
    let members = body.pointer_mut(at).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    let allowed = VALIDATORS.with_borrow_mut(|validators| {
        validators.entry(schema.name).or_insert_with(|| validator(schema.name)).is_valid(&body)
    });
    let text = body.to_string();
    match read_as(schema.name, kind, &text) {
        Err(error) if is_beyond_a_schema(&error) => {}
        read => prop_assert_eq!(read.is_ok(), allowed, "{:?} of {}", read, text),
    }
    Ok(())
}

#[test]
fn every_reject_has_its_row_and_every_row_its_reject() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let said: Vec<(String, String, &str)> = rows
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].to_owned(), row[4]))
        .collect();
    let meant: Vec<(String, String, &str)> = Reject::ALL
        .iter()
        .map(|reject| {
            let retry = if reject.is_retryable() { "yes" } else { "no" };
            (reject.code().to_owned(), reject.status().to_string(), retry)
        })
        .collect();
    assert_eq!(said, meant);
    assert!(rows.iter().all(|row| row.len() == 6 && row.iter().all(|cell| !cell.is_empty())));
}

#[test]
fn problem_documents_are_as_described() {
    let validator = validator("Problem");
    for reject in Reject::ALL {
        let problem: Value = serde_json::from_str(&reject.problem("req-1")).unwrap();
        assert!(validator.is_valid(&problem), "{problem}");
        assert_eq!(problem["type"], format!("{TYPE_PREFIX}{}", reject.code()));
        assert_eq!(problem["status"], reject.status());
        assert_eq!(problem["requestId"], "req-1");
    }
    for scope in Scope::ALL {
        let problem = Reject::Forbidden { scope }.problem("r");
        assert!(problem.contains(&format!("scope: {}", scope.word())), "{problem}");
    }
}

#[test]
fn validation_errors_are_as_described() {
    let validator = validator("ValidationErrorMessage");
    for field in ["", "card.cvv"] {
        let said = FieldError::new(field, "is required").json();
        assert!(validator.is_valid(&serde_json::from_str(&said).unwrap()), "{said}");
    }
}

/// Every status that a reject can have stands where it can happen.
#[test]
fn every_status_of_a_reject_is_described() {
    let document = document();
    let described: BTreeSet<String> = operations(&document)
        .iter()
        .flat_map(|(_, _, _, said)| said["responses"].as_object().unwrap().keys().cloned())
        .collect();
    for reject in Reject::ALL {
        // A method that a path does not have is no operation, so that none can describe it.
        let is_method = matches!(reject, Reject::MethodNotAllowed { .. });
        assert_eq!(described.contains(&reject.status().to_string()), !is_method, "{reject:?}");
    }
}
