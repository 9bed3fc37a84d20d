//! The texts of the questions and orders. They never change: what they are about is in the variables.

macro_rules! processor {
    () => {
        "processorResponse { legacyCode message authorizationId cvvResponse avsPostalCodeResponse avsStreetAddressResponse }"
    };
}

/// What the scheme advises: on a payment that was not approved, and nowhere else.
macro_rules! advice {
    () => {
        " merchantAdviceCodeResponse { code }"
    };
}

macro_rules! history {
    () => {
        concat!(
            "statusHistory { status ... on AuthorizedEvent { ",
            processor!(),
            " } ... on ProcessorDeclinedEvent { declineType ",
            processor!(),
            " networkResponse { code message }",
            advice!(),
            " } ... on GatewayRejectedEvent { gatewayRejectionReason ",
            processor!(),
            advice!(),
            " } ... on FailedEvent { ",
            processor!(),
            advice!(),
            " } }"
        )
    };
}

macro_rules! transaction {
    () => {
        concat!(
            "id status amount { value currencyCode } orderId ",
            history!(),
            " paymentMethodSnapshot { ... on CreditCardTransactionDetails { networkTransactionId } }"
        )
    };
}

macro_rules! refund {
    () => {
        concat!(
            "id status amount { value currencyCode } orderId ",
            history!(),
            " refundedTransaction { id }"
        )
    };
}

pub(super) const TOKENIZE: &str = "mutation Tokenize($input: TokenizeCreditCardInput!) { tokenizeCreditCard(input: $input) { paymentMethod { id } } }";

pub(super) const VAULT: &str = "mutation Vault($input: VaultPaymentMethodInput!) { vaultPaymentMethod(input: $input) { paymentMethod { id } } }";

pub(super) const AUTHORIZE: &str = concat!(
    "mutation Authorize($input: AuthorizeCreditCardInput!) { authorizeCreditCard(input: $input) { transaction { ",
    transaction!(),
    " } } }"
);

pub(super) const CHARGE: &str = concat!(
    "mutation Charge($input: ChargeCreditCardInput!) { chargeCreditCard(input: $input) { transaction { ",
    transaction!(),
    " } } }"
);

pub(super) const CAPTURE: &str = concat!(
    "mutation Capture($input: CaptureTransactionInput!) { captureTransaction(input: $input) { transaction { ",
    transaction!(),
    " } } }"
);

pub(super) const REFUND: &str = concat!(
    "mutation Refund($input: RefundTransactionInput!) { refundTransaction(input: $input) { refund { ",
    refund!(),
    " } } }"
);

/// What is reversed becomes a voided transaction or, when it was settled, a refund.
pub(super) const REVERSE: &str = concat!(
    "mutation Reverse($input: ReverseTransactionInput!) { reverseTransaction(input: $input) { reversal { __typename ... on Transaction { ",
    transaction!(),
    " } ... on Refund { ",
    refund!(),
    " } } } }"
);

pub(super) const NODE: &str = concat!(
    "query Node($id: ID!) { node(id: $id) { __typename ... on Transaction { ",
    transaction!(),
    " } ... on Refund { ",
    refund!(),
    " } } }"
);

pub(super) const SEARCH: &str = concat!(
    "query Search($orderId: SearchTextInput!) { search { transactions(input: {orderId: $orderId}, first: 10) { edges { node { ",
    transaction!(),
    " } } } } }"
);

pub(super) const SEARCH_REFUNDS: &str = concat!(
    "query SearchRefunds($orderId: SearchTextInput!) { search { refunds(input: {orderId: $orderId}, first: 10) { edges { node { ",
    refund!(),
    " } } } } }"
);
