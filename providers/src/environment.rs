//! Whether an account is a live one, where it says so itself, and the host that it is at then.

use crate::credentials::{CredentialSpec, Form, Identity};
use crate::{CREDENTIALS, Cx, Refusal};

const LIVE: &str = "Live";
const TEST: &str = "Test";

/// Required where neither word is a safe guess: the one charges cards in a trial, and the other
/// approves payments that move no money.
pub(crate) const REQUIRED: CredentialSpec = CredentialSpec { required: true, ..OPTIONAL };

/// [`TEST`] where nothing is said.
pub(crate) const OPTIONAL: CredentialSpec = CredentialSpec {
    name: "Environment",
    aliases: &[],
    required: false,
    secret: false,
    form: Form::Word(&[LIVE, TEST]),
    form_text: "must be Live or Test",
    identity: Identity::Whole,
};

/// The hosts of a provider.
pub(crate) struct Hosts {
    pub(crate) live: &'static str,
    pub(crate) test: &'static str,
}

// === impl Hosts ===

impl Hosts {
    /// The host of an account whose environment is [`REQUIRED`].
    pub(crate) fn required(&self, cx: &Cx<'_>) -> Result<&'static str, Refusal> {
        cx.need(&REQUIRED, "Environment is missing")?;
        self.optional(cx)
    }

    /// The host of an account whose environment is [`OPTIONAL`].
    pub(crate) fn optional(&self, cx: &Cx<'_>) -> Result<&'static str, Refusal> {
        let Some(environment) = cx.find(&OPTIONAL) else { return Ok(self.test) };
        // The environment is exposed to be compared with the words; it is not a secret.
        match environment.expose() {
            word if word.eq_ignore_ascii_case(LIVE) => Ok(self.live),
            word if word.eq_ignore_ascii_case(TEST) => Ok(self.test),
            _ => {
                let problem = "Environment is neither Live nor Test";
                Err(Refusal::Field { name: CREDENTIALS, problem })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Hosts;
    use crate::Cx;
    use model::{Credentials, Secret};

    const HOSTS: Hosts = Hosts { live: "live.example", test: "test.example" };

    #[test]
    fn an_account_is_live_only_where_it_says_so() {
        for (word, required, optional) in [
            (Some("Live"), Some("live.example"), Some("live.example")),
            (Some("tEST"), Some("test.example"), Some("test.example")),
            (Some("production"), None, None),
            (Some("Live "), None, None),
            (None, None, Some("test.example")),
        ] {
            let pairs = word.map(|word| ("Environment".into(), Secret::new(word)));
            let credentials = Credentials::new(pairs.into_iter().collect());
            let cx = Cx::timeless(&credentials);
            assert_eq!(HOSTS.required(&cx).ok(), required, "{word:?}");
            assert_eq!(HOSTS.optional(&cx).ok(), optional, "{word:?}");
        }
    }
}
