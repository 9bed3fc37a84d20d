//! Authorize.Net: cards that are kept, and what may stand beside them.

use super::talk::Talk;
use serde_json::Value;
use tests::net::client::Http;

const WHO: &str = r#""merchantAuthentication":{"name":"shop","transactionKey":"0123456789"}"#;
const CARD: &str = r#"{"creditCard":{"cardNumber":"4111111111111111","expirationDate":"2030-12"}}"#;

/// Members stand in the order of the schema, so that requests are written as texts.
async fn ask(talk: &Talk, name: &str, rest: &str) -> Value {
    let body = format!(r#"{{"{name}":{{{WHO},{rest}}}}}"#);
    let path = "/authorize_net/xml/v1/request.api";
    let client = talk.client(Http::One).with_header("content-type", "application/json");
    let text = client.send_bytes("POST", path, body).await.unwrap().text();
    serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap()
}

async fn keep(talk: &Talk, profile: &str) -> Value {
    let rest = format!(r#""profile":{{{profile}}},"validationMode":"none""#);
    ask(talk, "createCustomerProfileRequest", &rest).await
}

async fn pay(talk: &Talk, means: &str) -> Value {
    let rest = format!(
        r#""transactionRequest":{{"transactionType":"authOnlyTransaction","amount":"10.99",{means}}}"#
    );
    ask(talk, "createTransactionRequest", &rest).await
}

fn code(answer: &Value) -> &str {
    answer["messages"]["message"][0]["code"].as_str().unwrap()
}

#[tokio::test]
async fn what_is_settled_leaves_the_list_and_is_in_a_batch() {
    let talk = Talk::start();
    let list = async |name: &str, rest: &str| ask(&talk, name, rest).await;
    let page =
        |limit: u32, offset: u32| format!(r#""paging":{{"limit":"{limit}","offset":"{offset}"}}"#);
    let unsettled = async |rest: &str| list("getUnsettledTransactionListRequest", rest).await;
    for number in 1..=3 {
        let charge = format!(
            r#""transactionRequest":{{"transactionType":"authCaptureTransaction","amount":"10.99",
               "payment":{CARD},"order":{{"invoiceNumber":"n-{number}"}}}}"#
        );
        assert_eq!(code(&ask(&talk, "createTransactionRequest", &charge).await), "I00001");
    }
    pay(&talk, &format!(r#""payment":{CARD}"#)).await;
    let numbers = |told: &Value| {
        let all = told["transactions"].as_array().cloned().unwrap_or_default();
        let number = |one: &Value| one["invoiceNumber"].as_str().unwrap_or_default().to_owned();
        all.iter().map(number).collect::<Vec<_>>()
    };
    let batches = r#""firstSettlementDate":"2026-01-01T00:00:00Z","lastSettlementDate":"2026-03-01T00:00:00Z""#;
    assert_eq!(code(&list("getSettledBatchListRequest", batches).await), "E00003");
    let none = list("getSettledBatchListRequest", r#""includeStatistics":false"#).await;
    assert_eq!(code(&none), "I00004");
    assert_eq!(numbers(&unsettled(&page(2, 2)).await), ["n-2", "n-1"]);
    talk.sandbox.settle();
    talk.sandbox.settle();
    // What is only held stays.
    assert_eq!(numbers(&unsettled(&page(9, 1)).await), [""]);
    let told = list("getSettledBatchListRequest", r#""includeStatistics":false"#).await;
    let [batch] = &told["batchList"].as_array().unwrap()[..] else { panic!("{told}") };
    let of = |page: &str| format!(r#""batchId":{},{page}"#, batch["batchId"]);
    let settled = async |page: String| list("getTransactionListRequest", &of(&page)).await;
    let told = settled(page(2, 1)).await;
    assert_eq!(numbers(&told), ["n-3", "n-2"]);
    assert_eq!(told["transactions"][0]["transactionStatus"], "settledSuccessfully");
    assert_eq!(numbers(&settled(page(2, 2)).await), ["n-1"]);
    assert_eq!(code(&settled(page(2, 3)).await), "I00004");
    let unknown = format!(r#""batchId":"1",{}"#, page(1, 1));
    assert_eq!(code(&list("getTransactionListRequest", &unknown).await), "E00040");
}

#[tokio::test]
async fn a_card_is_kept_for_a_customer_and_charged_by_both_names() {
    let talk = Talk::start();
    let profile = format!(r#""merchantCustomerId":"m-1","paymentProfiles":{{"payment":{CARD}}}"#);
    for (from, to) in [
        ("4111111111111111", "4111111111111112"),
        ("2030-12\"", "2030-12\",\"cardCode\":\"123\""),
        ("\"payment\"", "\"customerType\":\"nobody\",\"payment\""),
    ] {
        assert_eq!(code(&keep(&talk, &profile.replace(from, to)).await), "E00003", "{to}");
    }
    let kept = keep(&talk, &profile).await;
    assert_eq!(code(&kept), "I00001", "{kept}");
    assert_eq!(code(&keep(&talk, &profile).await), "E00039");
    let (customer, card) = (&kept["customerProfileId"], &kept["customerPaymentProfileIdList"][0]);
    let by = |customer: &Value| {
        format!(
            r#""profile":{{"customerProfileId":{customer},"paymentProfile":{{"paymentProfileId":{card}}}}}"#
        )
    };
    for (means, expected) in [
        (by(customer), "I00001"),
        (by(card), "E00040"),
        (format!(r#"{},"billTo":{{"firstName":"Ann"}}"#, by(customer)), "E00095"),
        (format!(r#""payment":{CARD},{}"#, by(customer)), "E00095"),
    ] {
        assert_eq!(code(&pay(&talk, &means).await), expected, "{means}");
    }
    assert_eq!(talk.lines(), ["authorize Approved 1099 USD"]);
}
