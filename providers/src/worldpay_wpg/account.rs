//! What an account at Worldpay WPG consists of.

use crate::credentials::{CredentialSpec, Form, Identity};

/// The XML user, which is not the one of the website.
pub(super) const USERNAME: CredentialSpec = CredentialSpec {
    aliases: &["XML Username"],
    required: true,
    ..CredentialSpec::optional(
        "Username",
        Form::Visible { min: 1, max: 128 },
        "must be 1 to 128 visible characters without blanks",
    )
};

pub(super) const PASSWORD: CredentialSpec = CredentialSpec {
    aliases: &["XML Password"],
    required: true,
    secret: true,
    ..CredentialSpec::optional(
        "Password",
        Form::Visible { min: 8, max: 128 },
        "must be 8 to 128 visible characters without blanks",
    )
};

/// Which of the merchant's accounts is paid.
pub(super) const MERCHANT_CODE: CredentialSpec = CredentialSpec {
    aliases: &["Merchant Code"],
    required: true,
    identity: Identity::Whole,
    ..CredentialSpec::optional(
        "MerchantCode",
        Form::Visible { min: 1, max: 64 },
        "must be 1 to 64 visible characters without blanks",
    )
};
