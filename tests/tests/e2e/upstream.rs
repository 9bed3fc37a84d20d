//! The program tells a provider nothing before it knows who that is.

use super::order::{Order, verdict};
use tests::net::{Net, Options};
use tests::sandbox::Tls;

async fn is_not_told(options: Options) {
    let net = Net::with(options).await.unwrap();
    for account in ["stripe-primary", "adyen-backup"] {
        let answer = Order::new(account, "10.50", "USD").charge(&net).await;
        assert_eq!(verdict(&answer), "503 TemporaryFailure null null true", "{}", answer.text());
        let provider = account.split('-').next().unwrap();
        let metric = format!(
            "orchestra_operations_total{{operation=\"charge\",outcome=\"not_sent\",provider=\"{provider}\"}}"
        );
        assert_eq!(net.metric(&metric).await.unwrap(), 1);
    }
    assert_eq!((net.sandbox.requests(), net.sandbox.ledger().len()), (0, 0));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    is_not_told(Options { sandbox_trusted: false, ..Options::default() }).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let sandbox_names = vec!["api.stripe.com.example", "localhost"];
    is_not_told(Options { sandbox_names, ..Options::default() }).await;
}

#[tokio::test]
async fn a_provider_that_speaks_only_tls_1_1_is_refused() {
    is_not_told(Options { sandbox_tls: Tls::Outdated, ..Options::default() }).await;
}
