//! `/_sandbox/`: look at the ledger, order faults, start over.

use super::fault::{BY_AMOUNT, Fault};
use super::server::BODY_BYTES_MAX;
use super::webhook::{self, Moment};
use super::{Answer, Provider, World, form, lock};
use http::Method;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What every path of the control interface begins with.
pub(super) const PREFIX: &str = "/_sandbox";

/// Answers a request to the control interface.
pub(super) async fn answer(world: &Arc<World>, request: http::Request<Incoming>) -> Answer {
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    match (request.method().clone(), path.as_str()) {
        (Method::GET, "/ledger") => ledger(world, request.uri().query().unwrap_or_default()),
        (Method::GET, "/faults") => Answer::json(200, &by_amount()),
        (Method::POST, "/faults") => order(world, request).await,
        (Method::POST, "/keys") => stand(world, request).await,
        (Method::GET, "/webhooks") => {
            let hooks = lock(&world.hooks);
            Answer::json(200, &json!({"told": hooks.told(), "tally": hooks.tally()}))
        }
        (Method::POST, "/webhooks") => hook(world, request).await,
        (Method::POST, "/webhooks/send") => {
            for provider in Provider::ALL {
                webhook::tell(world, *provider, Moment::Asked).await;
            }
            Answer::json(200, &json!({}))
        }
        (Method::POST, "/settle") => {
            world.settle();
            Answer::json(200, &json!({}))
        }
        (Method::POST, "/reset") => {
            world.reset();
            Answer::json(200, &json!({}))
        }
        (Method::GET, "/ready") => Answer::json(200, &json!({})),
        _ => problem(
            404,
            "GET ledger, GET or POST faults, POST keys, GET or POST webhooks, POST webhooks/send, POST settle, POST reset, GET ready",
        ),
    }
}

fn problem(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({ "error": text }))
}

fn ledger(world: &World, query: &str) -> Answer {
    let Ok(query) = form::parse(query.as_bytes()) else {
        return problem(400, "the query is not well formed");
    };
    let after = query.get("after").and_then(Value::as_str).unwrap_or("0").parse();
    let Ok(after) = after else { return problem(400, "`after` is the number of an entry") };
    let ledger = lock(&world.books.ledger);
    let body = json!({
        "entries": ledger.after(after),
        "written": ledger.written(),
        "requests": world.books.requests.load(Ordering::SeqCst),
        "connections": world.books.connections.load(Ordering::SeqCst),
    });
    drop(ledger);
    Answer::json(200, &body)
}

fn by_amount() -> Value {
    let row = |(amount, when, effect)| json!({"amount": amount, "when": when, "effect": effect});
    json!({ "byAmount": BY_AMOUNT.map(row) })
}

async fn stand(world: &World, request: http::Request<Incoming>) -> Answer {
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
        return problem(413, "the body is too large");
    };
    // As with faults: the parser may quote what the sandbox's own user writes.
    let order = match serde_json::from_slice(&body.to_bytes()) {
        Ok(order) => order,
        Err(error) => return problem(400, &error.to_string()),
    };
    if lock(&world.standings).order(order) {
        Answer::json(201, &json!({}))
    } else {
        problem(400, "too many keys are out of order already")
    }
}

async fn hook(world: &World, request: http::Request<Incoming>) -> Answer {
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
        return problem(413, "the body is too large");
    };
    // As with faults: the parser may quote what the sandbox's own user writes.
    let hook = serde_json::from_slice(&body.to_bytes()).map_err(|e| e.to_string());
    match hook.and_then(|hook| lock(&world.hooks).add(hook).map_err(|e| e.to_string())) {
        Ok(()) => Answer::json(201, &json!({})),
        Err(text) => problem(400, &text),
    }
}

async fn order(world: &World, request: http::Request<Incoming>) -> Answer {
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
        return problem(413, "the body is too large");
    };
    // What comes here is written by the sandbox's own user: the parser may quote it.
    let fault = serde_json::from_slice::<Fault>(&body.to_bytes()).map_err(|e| e.to_string());
    match fault.and_then(|fault| world.fault(fault).map_err(str::to_owned)) {
        Ok(()) => Answer::json(201, &json!({})),
        Err(text) => problem(400, &text),
    }
}
