//! What a provider says of an account when it is asked without a payment.

use crate::wire::Answer;

/// Whether the credentials of an account would do, as far as a question without a payment tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// The provider knows them, and they may work with payments.
    Valid,
    /// The credentials are good, but not for the account that is named beside them.
    AccountUnknown,
    /// The provider does not know them, or does not take them any more.
    CredentialsRefused,
    /// The provider answered something that it does not document.
    NotUnderstood,
    /// The provider knows them, but they may not do this.
    PermissionMissing,
    /// The provider could not be reached, or could not answer now.
    ProviderUnavailable,
}

// === impl Validity ===

impl Validity {
    /// Every word there is: good news first, then in their order.
    pub const ALL: [Self; 6] = [
        Self::Valid,
        Self::AccountUnknown,
        Self::CredentialsRefused,
        Self::NotUnderstood,
        Self::PermissionMissing,
        Self::ProviderUnavailable,
    ];

    /// What the status alone says, the same for every provider.
    pub(crate) fn by_status(answer: &Answer<'_>) -> Self {
        match answer.status {
            401 => Self::CredentialsRefused,
            403 => Self::PermissionMissing,
            429 | 500.. => Self::ProviderUnavailable,
            _ => Self::NotUnderstood,
        }
    }

    /// The word for it in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "Valid",
            Self::AccountUnknown => "AccountUnknown",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::NotUnderstood => "NotUnderstood",
            Self::PermissionMissing => "PermissionMissing",
            Self::ProviderUnavailable => "ProviderUnavailable",
        }
    }

    /// What to do about it. It is ours: the provider's own text could quote a credential.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Valid => "The gateway takes these credentials.",
            Self::AccountUnknown => {
                "The key is good, but not for the account that is named beside it: check the \
                 name of the account, and that the key belongs to it."
            }
            Self::CredentialsRefused => {
                "The gateway does not know the key, or it is revoked or expired: copy it again \
                 from the gateway's own site, for the same environment (test or live)."
            }
            Self::NotUnderstood => {
                "The gateway answered something that it does not document: check the address of \
                 the gateway in the configuration, then try again."
            }
            Self::PermissionMissing => {
                "The gateway knows the key, but the key may not work with payments: give it the \
                 permission at the gateway."
            }
            Self::ProviderUnavailable => {
                "The gateway could not be reached, or could not answer now: nothing is known of \
                 the credentials. Check credentials that are a part of its address, then try again."
            }
        }
    }
}
