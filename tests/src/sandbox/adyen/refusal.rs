//! Why Adyen says no, and how a test asks for it.

use crate::sandbox::shape::text;
use serde_json::Value;

/// One refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `refusalReasonCode`
    pub(super) code: u8,
    /// What the holder's name must be.
    trigger: &'static str,
    /// `refusalReason`
    pub(super) reason: &'static str,
    /// `additionalData.refusalReasonRaw`: the acquirer's own words.
    pub(super) raw: &'static str,
}

const fn refusal(
    code: u8,
    trigger: &'static str,
    reason: &'static str,
    raw: &'static str,
) -> Refusal {
    Refusal { code, trigger, reason, raw }
}

/// From the pages on refusal reasons and on testing.
const REFUSALS: &[Refusal] = &[
    refusal(0, "UNKNOWN", "Unknown", "Unknown"),
    refusal(2, "DECLINED", "Refused", "05 : Do not honor"),
    refusal(3, "REFERRAL", "Referral", "01 : Refer to card issuer"),
    refusal(4, "ERROR", "Acquirer Error", "96 : System malfunction"),
    refusal(5, "BLOCK_CARD", "Blocked Card", "41 : Lost card"),
    refusal(6, "CARD_EXPIRED", "Expired Card", "54 : Expired card"),
    refusal(7, "INVALID_AMOUNT", "Invalid Amount", "13 : Invalid amount"),
    refusal(8, "INVALID_CARD", "Invalid Card Number", "14 : Invalid card number"),
    refusal(9, "ISSUER_UNAVAILABLE", "Issuer Unavailable", "91 : Issuer unavailable"),
    refusal(10, "NOT_SUPPORTED", "Not supported", "57 : Function not permitted"),
    refusal(11, "NOT_3D_AUTHENTICATED", "3D Not Authenticated", "3d-secure: not authenticated"),
    refusal(12, "NOT_ENOUGH_BALANCE", "Not enough balance", "51 : Insufficient funds"),
    refusal(14, "ACQUIRER_FRAUD", "Acquirer Fraud", "59 : Suspected fraud"),
    refusal(15, "CANCELLED", "Cancelled", "Cancelled"),
    refusal(16, "SHOPPER_CANCELLED", "Shopper Cancelled", "Shopper cancelled"),
    refusal(17, "INVALID_PIN", "Invalid Pin", "55 : Incorrect PIN"),
    refusal(18, "PIN_TRIES_EXCEEDED", "Pin tries exceeded", "75 : PIN tries exceeded"),
    refusal(
        19,
        "PIN_VALIDATION_NOT_POSSIBLE",
        "Pin validation not possible",
        "86 : PIN validation not possible",
    ),
    refusal(20, "FRAUD", "FRAUD", "FRAUD"),
    refusal(21, "NOT_SUBMITTED", "Not Submitted", "Not submitted"),
    refusal(22, "FRAUD_CANCELLED", "FRAUD-CANCELLED", "FRAUD-CANCELLED"),
    refusal(
        23,
        "TRANSACTION_NOT_PERMITTED",
        "Transaction Not Permitted",
        "57 : Transaction not permitted",
    ),
    refusal(24, "CVC_DECLINED", "CVC Declined", "N7 : CVV2 mismatch"),
    refusal(25, "RESTRICTED_CARD", "Restricted Card", "62 : Restricted card"),
    refusal(26, "REVOCATION_OF_AUTH", "Revocation Of Auth", "R1 : Revocation of authorisation"),
    refusal(27, "DECLINED_NON_GENERIC", "Declined Non Generic", "12 : Invalid transaction"),
    refusal(
        28,
        "WITHDRAWAL_AMOUNT_EXCEEDED",
        "Withdrawal amount exceeded",
        "61 : Amount limit exceeded",
    ),
    refusal(
        29,
        "WITHDRAWAL_COUNT_EXCEEDED",
        "Withdrawal count exceeded",
        "65 : Count limit exceeded",
    ),
    refusal(31, "ISSUER_SUSPECTED_FRAUD", "Issuer Suspected Fraud", "59 : Suspected fraud"),
    refusal(32, "AVS_DECLINED", "AVS Declined", "AVS declined"),
    refusal(33, "PIN_REQUIRED", "Card requires online pin", "70 : PIN required"),
    refusal(
        34,
        "NO_CHECKING_ACCOUNT_AVAILABLE_ON_CARD",
        "No checking account available on Card",
        "52 : No checking account",
    ),
    refusal(
        35,
        "NO_SAVINGS_ACCOUNT_AVAILABLE_ON_CARD",
        "No savings account available on Card",
        "53 : No savings account",
    ),
    refusal(36, "MOBILE_PIN_REQUIRED", "Mobile PIN required", "Mobile PIN required"),
    refusal(37, "CONTACTLESS_FALLBACK", "Contactless fallback", "65 : Contactless fallback"),
    refusal(
        38,
        "AUTHENTICATION_REQUIRED",
        "Authentication required",
        "1A : Additional authentication required",
    ),
    refusal(39, "RREQ_NOT_RECEIVED", "RReq not received from DS", "RReq not received"),
    refusal(40, "AID_BANNED", "Current AID is in Penalty Box.", "AID in penalty box"),
    refusal(41, "CVM_REQUIRED", "CVM Required Restart Payment", "70 : CVM required"),
    refusal(42, "3DS_AUTHENTICATION_ERROR", "3DS Authentication Error", "3DS error"),
    refusal(
        46,
        "TRANSACTION_BLOCKED",
        "Transaction blocked by Adyen to prevent excessive retry fees",
        "Blocked by Adyen",
    ),
];

/// What a card that is nobody's test card is refused with.
pub(super) const NOT_A_TEST_CARD: Refusal =
    refusal(8, "", "Invalid Card Number", "14 : Not a test card");

/// The refusal that a payment asks for, by the holder's name or by the acquirer's code.
pub(super) fn asked_for(parameters: &Value) -> Option<Refusal> {
    let by_name = text(parameters, "/paymentMethod/holderName")
        .and_then(|name| REFUSALS.iter().find(|row| row.trigger.eq_ignore_ascii_case(name)));
    let by_code = || {
        let code = text(parameters, "/additionalData/RequestedTestAcquirerResponseCode")?;
        REFUSALS.iter().find(|row| row.code.to_string() == code)
    };
    by_name.or_else(by_code).copied()
}

// === impl Refusal ===

impl Refusal {
    /// `resultCode`
    pub(super) fn result(self) -> &'static str {
        match self.code {
            0 | 4 => "Error",
            15 | 16 => "Cancelled",
            _ => "Refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{REFUSALS, asked_for};
    use serde_json::json;

    #[test]
    fn a_refusal_is_asked_for_by_name_or_by_code() {
        for row in REFUSALS {
            let by_name = json!({"paymentMethod": {"holderName": row.trigger}});
            assert_eq!(asked_for(&by_name), Some(*row));
            let code = json!({"RequestedTestAcquirerResponseCode": row.code.to_string()});
            assert_eq!(asked_for(&json!({ "additionalData": code })), Some(*row));
        }
        assert_eq!(asked_for(&json!({"paymentMethod": {"holderName": "Ann Example"}})), None);
    }
}
