//! How long keys serve while the token is away. The time that is allowed is changed and not waited for.

use super::*;
use crate::stage::{NOW, NOW_MS, issued, kept, merchant, on_stage, revealed};
use model::Secret;
use std::task::{Context, Waker};

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

/// How many seals of a key the store knows to be spoken for.
fn counted(vault: &Vault, dek: &Dek) -> u64 {
    let row = vault.store.get(Collection::Meta, &keyring::seals_row(dek.id())).unwrap();
    row.map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()))
}

on_stage!(1 nothing_is_sealed_before_it_is_durable_that_it_counts(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let dek = vault.keyring.active(Some(&shop), Purpose::Card).unwrap();
    let claim = |seals| Box::pin(vault.claim(Some(&shop), Purpose::Card, seals));
    for seals in [1, SEALS_BLOCK, 1, 3 * SEALS_BLOCK, 1] {
        let _claim = wait(claim(seals)).unwrap();
        let range = dek.seals()..=dek.seals().saturating_add(SEALS_BLOCK);
        assert!(range.contains(&counted(&vault, &dek)), "{seals}");
    }
    // Who comes while another is counted waits for that, or counts too.
    let (mut first, mut second) = (claim(2 * SEALS_BLOCK), claim(1));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut nobody).is_pending());
    assert!(second.as_mut().poll(&mut nobody).is_pending());
});

on_stage!(1 what_a_shredded_merchant_leaves_is_the_names_of_its_keys(stage) {
    let (vault, shop, other) = stage.make_with_merchants();
    let token = kept(&vault, &shop, "text");
    let dek = vault.keyring.active(Some(&shop), Purpose::Card).unwrap();
    issued(&vault, &shop, "till");
    issued(&vault, &other, "till");
    let api_keys = || vault.store.page(Collection::ApiKeys, None, b"", 10).unwrap().len();
    assert_eq!((api_keys(), counted(&vault, &dek) > 0), (2, true));
    wait(vault.shred(&shop, "alice", &Who::system(), NOW)).unwrap();
    assert_eq!((api_keys(), counted(&vault, &dek)), (1, 0));
    assert!(Claim::new(dek, 1).is_none(), "nobody seals with what is gone");
    assert_eq!(vault.token(&shop, &token, NOW_MS).map(drop), Err(VaultError::Shredded));
    let again = wait(vault.shred(&shop, "alice", &Who::system(), NOW + 1));
    assert_eq!(again, Err(VaultError::Shredded));
    let lines = vault.key_lines();
    let of_shop = || lines.iter().filter(|line| &*line.owner == shop.as_str());
    assert_eq!(of_shop().count(), Purpose::OF_MERCHANT.len());
    for line in of_shop() {
        assert_eq!((line.state, line.changed, line.seals), (KeyState::Destroyed, NOW, None));
    }
});

on_stage!(1 the_figures_of_keys_tell_those_of_the_token_from_the_others(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    let figures = |vault: &Vault| {
        let found = vault.figures();
        [found.keys_pre_active, found.keys_active, found.keys_decrypt_only, found.keys_destroyed]
    };
    // That in the token is new.
    let born = 1_000_000;
    wait(vault.create_merchant(&merchant("old"), born)).unwrap();
    let (found, age) = (vault.figures(), now().saturating_sub(born).saturating_sub(1_000));
    assert!(found.key_age_max_s >= age && found.kek_age_s < age, "{found:?}");
    assert!(found.kek_age_max_s < age, "{found:?}");
    assert_eq!(found.key_seals_limit, vault.settings.seals_max);
    let all = u64::try_from(vault.key_lines().len()).unwrap();
    assert_eq!(figures(&vault), [0, all, 0, 0]);
    let claim = wait(vault.claim(Some(&shop), Purpose::Card, 7)).unwrap();
    assert!(vault.figures().key_seals_max >= 7);
    drop(claim);
    wait(vault.shred(&shop, "alice", &Who::system(), NOW)).unwrap();
    let gone = u64::try_from(Purpose::OF_MERCHANT.len()).unwrap();
    assert_eq!(figures(&vault), [0, all.saturating_sub(gone), 0, gone]);
});

on_stage!(1 the_audit_log_says_when_keys_were_locked_up_and_when_they_came_back(stage) {
    let mut vault = stage.make();
    let allowed = vault.settings.hsm_outage_max;
    stage.token_is_there(false);
    vault.settings.hsm_outage_max = Duration::ZERO;
    vault.tend(NOW);
    vault.tend(NOW);
    stage.token_is_there(true);
    vault.settings.hsm_outage_max = allowed;
    assert_eq!(vault.hsm.anchor(vec![0; 8]), Ok(None));
    vault.tend(NOW);
    vault.tend(NOW);
    vault.close();
    drop(vault);
    let told = stage.audited("vault-key.lock").into_iter().map(|[_, what, _]| what);
    assert_eq!(told.collect::<Vec<_>>(), ["locked up", "back in memory"]);
});
