//! What an event can be about: a word for each act, and the paragraph of PCI DSS that asks for it.

use std::fmt;

/// What is done. Each has a word of its own, and stands for a line of PCI DSS 10.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    AccountDelete,
    /// No new payments go to an account any more.
    AccountDisable,
    /// New payments may go to an account again.
    AccountEnable,
    AccountList,
    AccountPut,
    AccountRead,
    /// Staged credentials took the place of those in use.
    AccountRetire,
    /// Staged credentials get no payments any more, because the provider refused some.
    AccountRollBack,
    /// Credentials were put beside those in use.
    AccountStage,
    /// Staged credentials get another share of the payments.
    AccountSwitch,
    /// What was staged was dropped.
    AccountUnstage,
    /// The provider was asked about credentials.
    AccountValidate,
    /// Somebody presented no good key. Counted, with one line a minute for each kind and source.
    Authenticate,
    /// A card was taken out of the vault, for a provider.
    CardOpen,
    /// A card that a merchant sent along went to a provider.
    CardPass,
    /// Somebody became a key custodian, and accepted what that means.
    CustodianAdd,
    /// A custodian agreed to what takes two of them.
    CustodianAgree,
    /// A custodian approved a new one.
    CustodianApprove,
    CustodianRemove,
    /// A custodian agreed to a new key in the token.
    KekApprove,
    /// A key in the token was destroyed.
    KekDestroy,
    KeyCreate,
    KeyList,
    KeyRevoke,
    LogHead,
    LogRead,
    LogRepair,
    LogStart,
    LogStop,
    MerchantCreate,
    MerchantList,
    /// The keys of a merchant were destroyed.
    MerchantShred,
    TokenCreate,
    TokenDelete,
    /// Mask, fingerprint and times of a token were told.
    TokenDescribe,
    /// A token was deleted because its time was over.
    TokenExpire,
    /// The text behind a token was shown.
    TokenReveal,
    /// Payments were shown to an operator.
    TransactionRead,
    /// An operator asked what became of a payment, or said so.
    TransactionResolve,
    /// What was left of a damaged store was taken for the whole of it.
    VaultAcceptLoss,
    /// A vault that is older than the token remembers was taken for the newest.
    VaultAcceptRestored,
    /// Everything in the vault was copied, sealed as it is.
    VaultBackup,
    VaultCreate,
    /// A key took the place of another.
    VaultKeyActivate,
    /// A data key that was exchanged was destroyed.
    VaultKeyDestroy,
    VaultKeyList,
    /// The keys went out of memory, or came back.
    VaultKeysLock,
    /// A rotation of keys began.
    VaultKeysRotate,
    /// A vault was made of a backup.
    VaultRestore,
    VaultStatus,
    /// Everything in the vault was read and checked.
    VaultVerify,
}

// === impl Action ===

impl Action {
    /// Every action, in the order of their words.
    pub const ALL: [Self; 51] = [
        Self::AccountDelete,
        Self::AccountDisable,
        Self::AccountEnable,
        Self::AccountList,
        Self::AccountPut,
        Self::AccountRead,
        Self::AccountRetire,
        Self::AccountRollBack,
        Self::AccountStage,
        Self::AccountSwitch,
        Self::AccountUnstage,
        Self::AccountValidate,
        Self::Authenticate,
        Self::CardOpen,
        Self::CardPass,
        Self::CustodianAdd,
        Self::CustodianAgree,
        Self::CustodianApprove,
        Self::CustodianRemove,
        Self::KekApprove,
        Self::KekDestroy,
        Self::KeyCreate,
        Self::KeyList,
        Self::KeyRevoke,
        Self::LogHead,
        Self::LogRead,
        Self::LogRepair,
        Self::LogStart,
        Self::LogStop,
        Self::MerchantCreate,
        Self::MerchantList,
        Self::MerchantShred,
        Self::TokenCreate,
        Self::TokenDelete,
        Self::TokenDescribe,
        Self::TokenExpire,
        Self::TokenReveal,
        Self::TransactionRead,
        Self::TransactionResolve,
        Self::VaultAcceptLoss,
        Self::VaultAcceptRestored,
        Self::VaultBackup,
        Self::VaultCreate,
        Self::VaultKeyActivate,
        Self::VaultKeyDestroy,
        Self::VaultKeyList,
        Self::VaultKeysLock,
        Self::VaultKeysRotate,
        Self::VaultRestore,
        Self::VaultStatus,
        Self::VaultVerify,
    ];

    /// The word for it in the log.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The paragraph of PCI DSS 4.0 that asks for it.
    pub fn requirement(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::AccountDelete => ("account.delete", "10.2.1.5"),
            Self::AccountDisable => ("account.disable", "10.2.1.5"),
            Self::AccountEnable => ("account.enable", "10.2.1.5"),
            Self::AccountList => ("account.list", "10.2.1.2"),
            Self::AccountPut => ("account.put", "10.2.1.5"),
            Self::AccountRead => ("account.read", "10.2.1.2"),
            Self::AccountRetire => ("account.retire", "10.2.1.5"),
            Self::AccountRollBack => ("account.roll-back", "10.2.1.5"),
            Self::AccountStage => ("account.stage", "10.2.1.5"),
            Self::AccountSwitch => ("account.switch", "10.2.1.5"),
            Self::AccountUnstage => ("account.unstage", "10.2.1.5"),
            Self::AccountValidate => ("account.validate", "10.2.1.2"),
            Self::Authenticate => ("authenticate", "10.2.1.4"),
            Self::CardOpen => ("card.open", "10.2.1.1"),
            Self::CardPass => ("card.pass", "10.2.1.1"),
            Self::CustodianAdd => ("custodian.add", "10.2.1.5"),
            Self::CustodianAgree => ("custodian.agree", "10.2.1.2"),
            Self::CustodianApprove => ("custodian.approve", "10.2.1.5"),
            Self::CustodianRemove => ("custodian.remove", "10.2.1.5"),
            Self::KekApprove => ("kek.approve", "10.2.1.2"),
            Self::KekDestroy => ("kek.destroy", "10.2.1.7"),
            Self::KeyCreate => ("key.create", "10.2.1.5"),
            Self::KeyList => ("key.list", "10.2.1.2"),
            Self::KeyRevoke => ("key.revoke", "10.2.1.5"),
            Self::LogHead => ("log.head", "10.3.4"),
            Self::LogRead => ("log.read", "10.2.1.3"),
            Self::LogRepair => ("log.repair", "10.2.1.6"),
            Self::LogStart => ("log.start", "10.2.1.6"),
            Self::LogStop => ("log.stop", "10.2.1.6"),
            Self::MerchantCreate => ("merchant.create", "10.2.1.7"),
            Self::MerchantList => ("merchant.list", "10.2.1.2"),
            Self::MerchantShred => ("merchant.shred", "10.2.1.7"),
            Self::TokenCreate => ("token.create", "10.2.1.7"),
            Self::TokenDelete => ("token.delete", "10.2.1.7"),
            Self::TokenDescribe => ("token.describe", "10.2.1.1"),
            Self::TokenExpire => ("token.expire", "10.2.1.7"),
            Self::TokenReveal => ("token.reveal", "10.2.1.1"),
            Self::TransactionRead => ("transaction.read", "10.2.1.2"),
            Self::TransactionResolve => ("transaction.resolve", "10.2.1.2"),
            Self::VaultAcceptLoss => ("vault.accept-loss", "10.2.1.7"),
            Self::VaultAcceptRestored => ("vault.accept-restored", "10.2.1.7"),
            Self::VaultBackup => ("vault.backup", "10.2.1.2"),
            Self::VaultCreate => ("vault.create", "10.2.1.7"),
            Self::VaultKeyActivate => ("vault-key.activate", "10.2.1.7"),
            Self::VaultKeyDestroy => ("vault-key.destroy", "10.2.1.7"),
            Self::VaultKeyList => ("vault-key.list", "10.2.1.2"),
            Self::VaultKeysLock => ("vault-key.lock", "10.2.1.2"),
            Self::VaultKeysRotate => ("vault-key.rotate", "10.2.1.2"),
            Self::VaultRestore => ("vault.restore", "10.2.1.7"),
            Self::VaultStatus => ("vault.status", "10.2.1.2"),
            Self::VaultVerify => ("vault.verify", "10.2.1.2"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
