//! What an account at Worldpay WPG consists of.

use crate::credentials::{CredentialSpec, Form, Identity};

pub(super) const LIVE: &str = "Live";
pub(super) const TEST: &str = "Test";

/// The XML user, which is not the one of the website.
pub(super) const USERNAME: CredentialSpec = CredentialSpec {
    aliases: &["XML Username"],
    required: true,
    ..option(
        "Username",
        Form::Visible { min: 1, max: 128 },
        "must be 1 to 128 visible characters without blanks",
    )
};

pub(super) const PASSWORD: CredentialSpec = CredentialSpec {
    aliases: &["XML Password"],
    required: true,
    secret: true,
    ..option(
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
    ..option(
        "MerchantCode",
        Form::Visible { min: 1, max: 64 },
        "must be 1 to 64 visible characters without blanks",
    )
};

/// [`TEST`] where nothing is said.
pub(super) const ENVIRONMENT: CredentialSpec = CredentialSpec {
    identity: Identity::Whole,
    ..option("Environment", Form::Word(&[LIVE, TEST]), "must be Live or Test")
};

const fn option(name: &'static str, form: Form, form_text: &'static str) -> CredentialSpec {
    let (aliases, identity) = (&[], Identity::None);
    CredentialSpec { name, aliases, required: false, secret: false, form, form_text, identity }
}
