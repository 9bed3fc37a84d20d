//! What an account at Adyen consists of.

use crate::credentials::{CredentialSpec, Form, Identity};

/// A label of a host name has at most 63 characters; `-checkout-live` takes 14 of them.
pub(super) const LIVE_PREFIX_BYTES_MAX: usize = 49;
const RETURN_URL_BYTES_MAX: usize = 1024;

pub(super) const API_KEY: CredentialSpec = CredentialSpec {
    aliases: &["API Key"],
    required: true,
    secret: true,
    ..CredentialSpec::optional(
        "ApiKey",
        Form::Visible { min: 20, max: 512 },
        "must be 20 to 512 visible characters without blanks",
    )
};

pub(super) const MERCHANT_ACCOUNT: CredentialSpec = CredentialSpec {
    aliases: &["Merchant Account"],
    required: true,
    identity: Identity::Whole,
    ..CredentialSpec::optional(
        "MerchantAccount",
        Form::Name { max: 128 },
        "must be 1 to 128 printable characters, without blanks at its ends",
    )
};

/// The company's prefix of the live endpoint. Without it the account is a test account.
pub(super) const LIVE_URL_PREFIX: CredentialSpec = CredentialSpec {
    identity: Identity::Whole,
    ..CredentialSpec::optional(
        "LiveUrlPrefix",
        Form::HostLabel { max: LIVE_PREFIX_BYTES_MAX },
        "must be 1 to 49 letters, digits and -, and not begin with -",
    )
};

/// How the shopper gave the card, [`INTERACTIONS`]; the first where nothing is said.
pub(super) const SHOPPER_INTERACTION: CredentialSpec = CredentialSpec::optional(
    "ShopperInteraction",
    Form::Word(&INTERACTIONS),
    "must be Ecommerce, ContAuth, Moto or POS",
);

/// What a stored card is used for, one of [`RECURRING_MODELS`]; `ContAuth` asks for it.
pub(super) const RECURRING_PROCESSING_MODEL: CredentialSpec = CredentialSpec::optional(
    "RecurringProcessingModel",
    Form::Word(&RECURRING_MODELS),
    "must be CardOnFile, Subscription or UnscheduledCardOnFile",
);

/// Where a shopper would be sent back to; [`RETURN_URL_DEFAULT`](super::RETURN_URL_DEFAULT) where nothing is said.
pub(super) const RETURN_URL: CredentialSpec = CredentialSpec::optional(
    "ReturnUrl",
    Form::Url { max: RETURN_URL_BYTES_MAX },
    "must be a URL with its scheme, at most 1024 visible characters",
);

/// What webhooks are signed with, as Adyen's website shows it.
pub(super) const HMAC_KEY: CredentialSpec = CredentialSpec {
    secret: true,
    ..CredentialSpec::optional("HmacKey", Form::Hex { digits: 64 }, "must be 64 hexadecimal digits")
};

pub(super) const INTERACTIONS: [&str; 4] = ["Ecommerce", "ContAuth", "Moto", "POS"];
pub(super) const RECURRING_MODELS: [&str; 3] = ["CardOnFile", "Subscription", "UnscheduledCardOnFile"];
