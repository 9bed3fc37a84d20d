//! How long keys serve while the token is away. The time that is allowed is changed and not waited for.

use super::*;
use crate::stage::{NOW, NOW_MS, issued, kept, merchant, on_stage, revealed};
use model::Secret;

on_stage!(1 keys_serve_without_the_token_for_as_long_as_is_allowed_and_no_longer(stage) {
    let (mut vault, shop, _) = stage.make_with_merchants();
    let (token, key) = (kept(&vault, &shop, "text"), issued(&vault, &shop, "till"));
    // Exposed to be presented.
    let good = |vault: &Vault| vault.authenticate(key.key.expose().as_bytes(), NOW).is_some();
    let allowed = vault.settings.hsm_outage_max;
    stage.token_is_there(false);
    let refused = wait(vault.create_merchant(&merchant("newcomer"), NOW));
    assert!(matches!(refused, Err(VaultError::Hsm(_))) && !vault.health().hsm, "{refused:?}");
    vault.tend(NOW);
    assert!(vault.health().keys && good(&vault), "it has not been away for long");
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));

    // From here on it has been.
    vault.settings.hsm_outage_max = Duration::ZERO;
    vault.tend(NOW);
    assert_eq!((vault.health().keys, vault.figures().keys_locked), (false, 1));
    assert_eq!(vault.token(&shop, &token, NOW_MS).map(drop), Err(VaultError::Locked));
    let keep = wait(vault.keep(&shop, Secret::new("text"), NOW_MS));
    assert!(keep == Err(VaultError::Locked) && !good(&vault));
    assert_eq!(wait(vault.rotate(None, &Who::system(), NOW)), Err(VaultError::Locked));

    // Only an answer of the token brings them back.
    vault.settings.hsm_outage_max = allowed;
    vault.tend(NOW);
    assert!(!vault.health().keys && !good(&vault));
    stage.token_is_there(true);
    assert!(vault.hsm.anchor(vault.keyring.vault().to_vec()).unwrap().is_some());
    vault.tend(NOW);
    assert!(vault.health().keys && good(&vault) && vault.figures().keys_locked == 0);
    assert_eq!(revealed(&vault, &shop, &token).as_deref(), Some("text"));
    assert!(wait(vault.create_merchant(&merchant("newcomer"), NOW)).is_ok());
});

on_stage!(1 a_vault_that_goes_lets_go_of_the_token_though_a_call_was_left_behind(stage) {
    let vault = stage.make();
    // As the thread of a call has it that nobody waits for any more.
    let left_behind = vault.hsm.clone();
    assert_eq!(left_behind.anchor(vec![0; 8]), Ok(None));
    drop(vault);
    assert_eq!(left_behind.anchor(vec![0; 8]), Err(HsmError::Away));
});
