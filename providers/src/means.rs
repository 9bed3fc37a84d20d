//! What is paid with: a card, or the provider's own name for a card that it keeps.
//!
//! Where a provider needs two of its ids to charge such a card, the name that the merchant is told
//! is both, with [`BETWEEN`] between them.

use model::Secret;

/// The API's name for the field, in refusals.
pub(crate) const TOKEN: &str = "userToken";

/// What stands between the two ids in a name. The ids that follow it never have one.
const BETWEEN: &str = "/";

/// The name that is made of two ids.
pub(crate) fn join(owner: &str, card: &str) -> Secret {
    // In one allocation of the right size, so that nothing of it stays behind.
    Secret::new([owner, BETWEEN, card].concat())
}

/// The two ids that a name is made of.
pub(crate) fn split(token: &Secret) -> Option<(&str, &str)> {
    // The name is exposed because this request is the one that is paid with it.
    token.expose().rsplit_once(BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::{join, split};
    use model::Secret;

    #[test]
    fn a_name_of_two_ids_comes_apart_as_it_was_put_together() {
        for (owner, card) in [("cus_1", "pm_1"), ("a/b", "K"), ("", "")] {
            assert_eq!(split(&join(owner, card)), Some((owner, card)));
        }
        assert_eq!(split(&Secret::new("pm_1")), None);
    }
}
