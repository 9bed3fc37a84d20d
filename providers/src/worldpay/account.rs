//! What an account at Worldpay consists of.

use crate::credentials::{CredentialSpec, Form, Identity};

pub(super) const USERNAME: CredentialSpec = CredentialSpec {
    aliases: &["User Name"],
    required: true,
    ..CredentialSpec::optional(
        "Username",
        Form::Visible { min: 1, max: 128 },
        "must be 1 to 128 visible characters without blanks",
    )
};

pub(super) const PASSWORD: CredentialSpec = CredentialSpec {
    required: true,
    secret: true,
    ..CredentialSpec::optional(
        "Password",
        Form::Visible { min: 8, max: 128 },
        "must be 8 to 128 visible characters without blanks",
    )
};

/// The part of the merchant's business that is paid, such as `default`.
pub(super) const ENTITY: CredentialSpec = CredentialSpec {
    aliases: &["Merchant Entity"],
    required: true,
    identity: Identity::Whole,
    ..CredentialSpec::optional(
        "Entity",
        Form::Name { max: 32 },
        "must be 1 to 32 printable characters, without blanks at its ends",
    )
};

/// What the cardholder reads in the statement. Every payment must say it.
pub(super) const NARRATIVE: CredentialSpec = CredentialSpec {
    required: true,
    ..CredentialSpec::optional(
        "Narrative",
        Form::Name { max: 24 },
        "must be 1 to 24 printable characters, without blanks at its ends",
    )
};

/// What events are signed with, where the merchant has switched that on.
pub(super) const EVENT_SECRET: CredentialSpec = CredentialSpec {
    secret: true,
    ..CredentialSpec::optional(
        "EventSecret",
        Form::Visible { min: 8, max: 255 },
        "must be 8 to 255 visible characters without blanks",
    )
};
