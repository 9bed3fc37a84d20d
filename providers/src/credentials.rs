//! What an account at a provider consists of: one description of each credential, and the check
//! that reads it.
//!
//! The same description decides what is stored, what an inline account may hold, what is masked,
//! and what `GET /PaymentGateway` and the documentation say.

use crate::Gateway;
use model::{Credentials, Secret};

/// A credential or an option that an account at a provider has.
#[derive(Debug)]
pub struct CredentialSpec {
    pub name: &'static str,
    /// Other names under which it is found, in any case.
    pub aliases: &'static [&'static str],
    pub required: bool,
    /// Whether its value must be masked where it is shown.
    pub secret: bool,
    pub form: Form,
    /// What a value that has not this form is told, and what the documentation says of the form.
    pub form_text: &'static str,
    pub identity: Identity,
}

/// What the value of a credential looks like. Lengths are bytes, which are characters here: every
/// form is ASCII.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A name as a provider gives it: printable, without blanks at its ends.
    Name { max: usize },
    /// A part of a host's name: letters, digits and `-`, which it does not begin with.
    HostLabel { max: usize },
    /// Letters, digits and `_` behind one of these beginnings.
    Prefixed { prefixes: &'static [&'static str], rest_min: usize, max: usize },
    /// Visible characters behind one of these beginnings.
    Marked { prefixes: &'static [&'static str], rest_min: usize, max: usize },
    /// Visible characters, none of them blank.
    Visible { min: usize, max: usize },
    /// Hexadecimal digits, so many.
    Hex { digits: usize },
    /// A scheme, `://`, and visible characters.
    Url { max: usize },
    /// One of these words, in any case.
    Word(&'static [&'static str]),
}

/// What a value tells of which account at the provider this is. Credentials that take the place of
/// others must be for the same one, since earlier payments can be found nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: it may differ.
    None,
    /// All of it does.
    Whole,
    /// Whether it begins so.
    Begins(&'static str),
    /// What stands between the first two `_`, such as `test` in `sk_test_...`.
    Mode,
}

/// What is wrong with the credentials of an account. It holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    pub problem: &'static str,
}

/// Which credential is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The name of the pair at this position, counted from 0. It is not ours, and not repeated.
    Key(usize),
    /// The credential that we call so.
    Credential(&'static str),
}

/// What is said of a name that no description has.
const UNKNOWN: &str = "is not a credential of this gateway; see GET /PaymentGateway";
/// What is said of the second value of one credential.
const TWICE: &str = "is given already, perhaps under another name";
/// What is said of a secret that is not the secret, but what is shown of it.
const MASKED: &str = "is masked, as answers show it: send the credential itself";
/// What stands in the place of the secret part.
const MASK: &str = "****";
/// How many characters of a long secret are shown at its end.
const SHOWN: usize = 4;
/// How long a secret must be for any of it to be shown.
const SHOWN_FROM: usize = 16;
/// What is said of staged credentials for another account.
const ANOTHER_ACCOUNT: &str =
    "must be as in the account: staged credentials are for the same account at the gateway";

/// Stars, and the last characters of what is long enough to stay secret all the same.
pub fn masked(value: &Secret) -> String {
    // The end of a long secret is exposed so that a merchant can tell which one is stored.
    let text = value.expose();
    let end = text.char_indices().rev().nth(SHOWN.saturating_sub(1)).map(|(at, _)| at);
    let shown = end.filter(|_| text.len() >= SHOWN_FROM).and_then(|at| text.get(at..));
    format!("{MASK}{}", shown.unwrap_or_default())
}

/// Whether a value has the form of what [`masked`] makes: who reads an account, changes something and
/// sends it back must not store that as the secret.
fn is_masked(value: &str) -> bool {
    value.strip_prefix(MASK).is_some_and(|end| matches!(end.chars().count(), 0 | SHOWN))
}

// === impl Gateway ===

impl Gateway {
    /// The first credential that an account must have and `credentials` lacks.
    pub fn missing(&self, credentials: &Credentials) -> Option<&'static CredentialSpec> {
        self.credentials.iter().find(|spec| spec.required && spec.of(credentials).is_none())
    }

    /// Checks the credentials of an account: names first, in their order, and then each credential
    /// in the order of its description.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self, credentials: &Credentials) -> Result<(), Fault> {
        let mut seen = Vec::with_capacity(credentials.len());
        for (nth, (name, _)) in credentials.iter().enumerate() {
            let wrong = |problem| Fault { place: Place::Key(nth), problem };
            let spec = self.spec(name).ok_or(wrong(UNKNOWN))?;
            if seen.contains(&spec.name) {
                return Err(wrong(TWICE));
            }
            seen.push(spec.name);
        }
        self.credentials.iter().try_for_each(|spec| spec.check(credentials))
    }

    /// Checks that `staged` is for the same account at the provider as `current`.
    ///
    /// # Errors
    /// The first credential that tells of another one.
    pub fn check_same(&self, current: &Credentials, staged: &Credentials) -> Result<(), Fault> {
        let tells = |spec: &CredentialSpec, found: Option<&Secret>| {
            // Exposed to be compared; nothing of it is kept.
            found.map(|value| spec.identity.of(value.expose()).to_owned())
        };
        let differs = |spec: &&CredentialSpec| {
            spec.identity != Identity::None
                && tells(spec, spec.of(current)) != tells(spec, spec.of(staged))
        };
        match self.credentials.iter().find(differs) {
            Some(spec) => Err(spec.wrong(ANOTHER_ACCOUNT)),
            None => Ok(()),
        }
    }

    /// The description of the credential that is called so, in any case; none where there is none.
    pub fn spec(&self, name: &str) -> Option<&'static CredentialSpec> {
        let is = |word: &&str| word.eq_ignore_ascii_case(name);
        self.credentials.iter().find(|spec| is(&spec.name) || spec.aliases.iter().any(&is))
    }
}

// === impl CredentialSpec ===

impl CredentialSpec {
    /// One that is shown, need not be there, and says nothing of which account it is.
    pub(crate) const fn optional(name: &'static str, form: Form, form_text: &'static str) -> Self {
        let (aliases, identity) = (&[], Identity::None);
        Self { name, aliases, required: false, secret: false, form, form_text, identity }
    }

    /// The credential that this describes, where there is one that is not empty.
    pub(crate) fn of<'a>(&self, credentials: &'a Credentials) -> Option<&'a Secret> {
        let found = credentials.find(&[self.name]).or_else(|| credentials.find(self.aliases));
        found.filter(|value| !value.is_empty())
    }

    fn check(&'static self, credentials: &Credentials) -> Result<(), Fault> {
        match (self.of(credentials), self.required) {
            // Exposed to be looked at; a fault does not hold it.
            (Some(value), _) if self.secret && is_masked(value.expose()) => Err(self.wrong(MASKED)),
            // The same.
            (Some(value), _) if self.form.holds(value.expose()) => Ok(()),
            (Some(_), _) => Err(self.wrong(self.form_text)),
            (None, true) => Err(self.wrong("is required")),
            (None, false) => Ok(()),
        }
    }

    fn wrong(&self, problem: &'static str) -> Fault {
        Fault { place: Place::Credential(self.name), problem }
    }
}

// === impl Form ===

impl Form {
    /// Whether `value` has this form.
    pub fn holds(self, value: &str) -> bool {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let length = value.len();
        match self {
            Self::Name { max } => {
                matches!(length, 1..)
                    && length <= max
                    && value.bytes().all(|b| matches!(b, b' '..=b'~'))
                    && value.trim() == value
            }
            Self::HostLabel { max } => {
                matches!(length, 1..)
                    && length <= max
                    && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !value.starts_with('-')
            }
            Self::Prefixed { prefixes, rest_min, max } => {
                let rest = prefixes.iter().find_map(|prefix| value.strip_prefix(prefix));
                length <= max
                    && rest.is_some_and(|rest| rest.len() >= rest_min && rest.bytes().all(word))
            }
            Self::Marked { prefixes, rest_min, max } => {
                let rest = prefixes.iter().find_map(|prefix| value.strip_prefix(prefix));
                length <= max
                    && rest.is_some_and(|rest| rest.len() >= rest_min)
                    && value.bytes().all(|b| b.is_ascii_graphic())
            }
            Self::Visible { min, max } => {
                length >= min && length <= max && value.bytes().all(|b| b.is_ascii_graphic())
            }
            Self::Hex { digits } => {
                length == digits && value.bytes().all(|b| b.is_ascii_hexdigit())
            }
            Self::Url { max } => {
                let scheme = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
                length <= max
                    && value.bytes().all(|b| b.is_ascii_graphic())
                    && value
                        .split_once("://")
                        .is_some_and(|(s, rest)| scheme(s) && !rest.is_empty())
            }
            Self::Word(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
        }
    }

    /// How long a value may be.
    pub fn max(self) -> usize {
        match self {
            Self::Name { max }
            | Self::HostLabel { max }
            | Self::Prefixed { max, .. }
            | Self::Marked { max, .. }
            | Self::Visible { max, .. }
            | Self::Hex { digits: max }
            | Self::Url { max } => max,
            Self::Word(words) => words.iter().map(|word| word.len()).max().unwrap_or_default(),
        }
    }
}

// === impl Identity ===

impl Identity {
    fn of(self, value: &str) -> &str {
        match self {
            Self::None => "",
            Self::Begins(with) => {
                value.get(..with.len()).filter(|b| b == &with).unwrap_or_default()
            }
            Self::Whole => value,
            Self::Mode => value.split('_').nth(1).unwrap_or_default(),
        }
    }
}

// === impl Place ===

impl Place {
    /// What the API calls it, when the list of credentials is called `list`.
    pub fn field(self, list: &str) -> String {
        match self {
            Self::Key(nth) => format!("{list}[{nth}].key"),
            Self::Credential(name) => format!("{list}.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ANOTHER_ACCOUNT, Form, MASKED, Place, TWICE, UNKNOWN, masked};
    use crate::{Gateway, PROVIDERS, by_gateway};
    use model::{Credentials, Secret};

    const STRIPE: &str = "sk_test_0123456789abcdef";
    const ADYEN: &str = "AQE0123456789abcdefghijk";

    fn credentials(pairs: &[(&str, &str)]) -> Credentials {
        let pair = |(name, value): &(&str, &str)| ((*name).into(), Secret::new(*value));
        Credentials::new(pairs.iter().map(pair).collect())
    }

    fn gateway(id: &str) -> &'static Gateway {
        by_gateway(id).unwrap().gateway()
    }

    /// The field and the problem, as the API tells them.
    fn told(id: &str, pairs: &[(&str, &str)]) -> Option<(String, &'static str)> {
        let fault = gateway(id).check(&credentials(pairs)).err()?;
        Some((fault.place.field("credentials"), fault.problem))
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        let (key, long) = (("apikey", STRIPE), "x".repeat(512));
        for (id, pairs, field, problem) in [
            ("Stripe", &[][..], "credentials.SecretKey", "is required"),
            ("Stripe", &[("SecretKey", "")], "credentials.SecretKey", "is required"),
            ("Stripe", &[key, ("Secret", "x")], "credentials[1].key", UNKNOWN),
            ("Stripe", &[("x", "x"), ("y", "y")], "credentials[0].key", UNKNOWN),
            ("Stripe", &[key, ("SECRETKEY", STRIPE)], "credentials[1].key", TWICE),
            ("NULLSuccess", &[("SecretKey", "x")], "credentials[0].key", UNKNOWN),
            ("Adyen", &[("ApiKey", ADYEN)], "credentials.MerchantAccount", "is required"),
        ] {
            assert_eq!(told(id, pairs), Some((field.to_owned(), problem)), "{id} {pairs:?}");
        }
        let adyen = [("ApiKey", ADYEN), ("Merchant Account", "Shop ECOM")];
        assert_eq!(told("Stripe", &[key]), None);
        assert_eq!(told("Adyen", &adyen), None);
        for (id, name, value) in [
            ("Stripe", "SecretKey", "pk_test_0123456789abcdef"),
            ("Stripe", "SecretKey", "sk_0123456789abcdef"),
            ("Stripe", "SecretKey", "sk_test_0123"),
            ("Stripe", "SecretKey", "sk_test_0123456789abcde\u{e9}"),
            ("Stripe", "SecretKey", "sk_test_0123456789 abcdef"),
            ("Stripe", "SecretKey", "sk_test_0123456789abcdef\n"),
            ("Stripe", "StripeAccount", "12345678901234567"),
            ("Adyen", "ApiKey", "AQE short"),
            ("Adyen", "ApiKey", &format!("AQE{long}")),
            ("Adyen", "MerchantAccount", " ShopECOM"),
            ("Adyen", "MerchantAccount", &long),
            ("Adyen", "LiveUrlPrefix", "evil.example/"),
            ("Adyen", "LiveUrlPrefix", "-x"),
            ("Adyen", "HmacKey", &"0".repeat(63)),
            ("Adyen", "HmacKey", &"g".repeat(64)),
            ("Stripe", "WebhookSecret", "whsec_short"),
            ("Adyen", "ShopperInteraction", "Sometimes"),
            ("Adyen", "RecurringProcessingModel", "Never"),
            ("Adyen", "ReturnUrl", "return.example"),
        ] {
            let good = if id == "Adyen" { &adyen[..] } else { &[key][..] };
            let spec = gateway(id).spec(name).unwrap();
            let others = good.iter().filter(|(n, _)| gateway(id).spec(n).unwrap().name != name);
            let pairs: Vec<_> = others.copied().chain([(name, value)]).collect();
            let expected = (format!("credentials.{}", spec.name), spec.form_text);
            assert_eq!(told(id, &pairs), Some(expected), "{name}");
        }
    }

    #[test]
    fn short_secrets_show_nothing_and_long_ones_their_end() {
        for (text, expected) in [
            ("", "****"),
            ("secret", "****"),
            ("fifteen-letters", "****"),
            ("sk_test_0123456789abcd", "****abcd"),
            ("ein-sehr-langes-Gehéimnis", "****mnis"),
        ] {
            assert_eq!(masked(&Secret::new(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_shown_of_a_secret_is_not_taken_for_it() {
        for (gateway, spec) in PROVIDERS
            .iter()
            .map(|provider| provider.gateway())
            .flat_map(|gateway| gateway.credentials.iter().map(move |spec| (gateway, spec)))
            .filter(|(_, spec)| spec.secret)
        {
            for secret in ["short", "long-enough-to-show-its-end"] {
                let shown = masked(&Secret::new(secret));
                let sent = credentials(&[(spec.name, &shown)]);
                let fault = spec.check(&sent).unwrap_err();
                let place = Place::Credential(spec.name);
                assert_eq!((fault.place, fault.problem), (place, MASKED), "{}", gateway.id);
            }
        }
        let stars =
            [("Username", "u"), ("Password", "*****1234"), ("Entity", "e"), ("Narrative", "n")];
        assert_eq!(told("Worldpay", &stars), None, "nothing shows it so");
    }

    #[test]
    fn staged_credentials_are_for_the_same_account() {
        let live = "sk_live_0123456789abcdef";
        let restricted = "rk_test_0123456789abcdef";
        let account = ("StripeAccount", "acct_0123456789abcdef");
        let same = |id: &str, one: &[(&str, &str)], other: &[(&str, &str)]| {
            let checked = gateway(id).check_same(&credentials(one), &credentials(other));
            checked.err().map(|fault| (fault.place.field("credentials"), fault.problem))
        };
        let differs = |name: &str| Some((format!("credentials.{name}"), ANOTHER_ACCOUNT));
        for (one, other, expected) in [
            (&[("SecretKey", STRIPE)][..], &[("apiKey", restricted)][..], None),
            (&[("SecretKey", STRIPE)], &[("SecretKey", live)], differs("SecretKey")),
            (&[("SecretKey", STRIPE)], &[("SecretKey", STRIPE), account], differs("StripeAccount")),
            (&[("SecretKey", STRIPE), account], &[("SecretKey", restricted), account], None),
        ] {
            assert_eq!(same("Stripe", one, other), expected);
        }
        let adyen = |key, merchant| [("ApiKey", key), ("MerchantAccount", merchant)];
        assert_eq!(same("Adyen", &adyen(ADYEN, "A"), &adyen("other", "A")), None);
        let other = same("Adyen", &adyen(ADYEN, "A"), &adyen(ADYEN, "B"));
        assert_eq!(other, differs("MerchantAccount"));
        let live = [("ApiKey", ADYEN), ("MerchantAccount", "A"), ("LiveUrlPrefix", "p")];
        assert_eq!(same("Adyen", &adyen(ADYEN, "A"), &live), differs("LiveUrlPrefix"));
    }

    #[test]
    fn every_credential_fits_into_the_vault_and_says_its_form() {
        for spec in PROVIDERS.iter().flat_map(|provider| provider.gateway().credentials) {
            assert!(spec.form.max() <= Credentials::VALUE_BYTES_MAX, "{}", spec.name);
            assert!(spec.form_text.starts_with("must "), "{}", spec.name);
            let names = spec.aliases.iter().chain([&spec.name]);
            assert!(names.clone().all(|name| name.len() <= Credentials::NAME_BYTES_MAX));
            if let Form::Word(words) = spec.form {
                assert!(words.iter().all(|word| spec.form_text.contains(word)), "{}", spec.name);
            }
            assert!(!spec.form.holds("") && !spec.form.holds("\n"), "{}", spec.name);
        }
    }

    #[test]
    fn a_place_is_named_as_the_api_names_it() {
        assert_eq!(Place::Key(3).field("credentials"), "credentials[3].key");
        let inline = "paymentGatewayAccount.credentials";
        assert_eq!(Place::Credential("ApiKey").field(inline), format!("{inline}.ApiKey"));
    }
}
