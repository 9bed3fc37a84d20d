//! The fields of a payment request one by one, so that two requests can be compared.
//!
//! They are compared by what they mean: the case of a word, the zeroes of an amount and the order of
//! fields make no difference. The card verification value is left out, since nothing may be kept of
//! it, not even a hash.

use super::{AccountChoice, Fallback, PaymentRequest};
use model::{
    Action, Authorization, Capture, CardRef, Find, FollowUp, Means, NetworkTokenBrand,
    NumberSource, Payer, Stored, StoredPurpose, StoredUsage, ThreeDs, Tokenization,
};

/// What hears the fields: the API's name of each, and the parts of its value.
type Hear<'a> = dyn FnMut(&'static str, &[&[u8]]) + 'a;

/// Every name that [`fields`] tells, in alphabetical order.
const NAMES: [&str; 20] = [
    "amount",
    "card.cardHolderName",
    "card.cardNumber",
    "card.expirationMonth",
    "card.expirationYear",
    "card.threeDSAuthentication",
    "currency",
    "fallbackUpgs",
    "generateToken",
    "isDigital",
    "myRef",
    "networkTokenBrand",
    "operation",
    "orderDesc",
    "payerDetails",
    "paymentGatewayAccount",
    "paymentGatewayAccount.credentials",
    "paymentGatewayAccountName",
    "storedCredential",
    "userToken",
];
/// Those of a change of an earlier payment only.
const NAMES_OF_CHANGES: [&str; 2] = ["refTransId", "transactionId"];

/// The name of a field as it stands in this program; empty where it is none.
pub fn name_of(name: &str) -> &'static str {
    let known = NAMES.into_iter().chain(NAMES_OF_CHANGES).find(|known| *known == name);
    known.unwrap_or_default()
}

/// Tells every field that the request has.
pub fn fields(request: &PaymentRequest, hear: &mut Hear<'_>) {
    let PaymentRequest { action, merchant_reference, account, fallbacks, payment } = request;
    match action {
        Action::Authorize(authorization) => of_authorization(authorization, hear),
        Action::Capture(earlier) => of_change(b"capture", earlier, hear),
        Action::Refund(earlier) => of_change(b"refund", earlier, hear),
        Action::Void(earlier) => of_change(b"void", earlier, hear),
        Action::Status(Find::MerchantReference(text) | Find::Reference(text)) => {
            hear("refTransId", &[text.as_bytes()]);
        }
        Action::Tokenize(tokenization) => of_tokenization(tokenization, hear),
    }
    optional("myRef", merchant_reference.as_deref(), hear);
    optional("transactionId", payment.as_ref().map(|id| id.as_str()), hear);
    of_account(account, hear);
    of_fallbacks(fallbacks, hear);
}

/// Each with the one before it: in another order, others are asked first.
fn of_fallbacks(fallbacks: &[Fallback], hear: &mut Hear<'_>) {
    let mut before = None;
    for Fallback { account, pass_three_ds } in fallbacks {
        let (name, passes) = (account.as_str().as_bytes(), &[u8::from(*pass_three_ds)][..]);
        match before.replace(name) {
            None => hear("fallbackUpgs", &[name, passes]),
            Some(before) => hear("fallbackUpgs", &[name, passes, before]),
        }
    }
}

fn optional(name: &'static str, value: Option<&str>, hear: &mut Hear<'_>) {
    if let Some(value) = value {
        hear(name, &[value.as_bytes()]);
    }
}

fn of_amount(amount: model::Amount, hear: &mut Hear<'_>) {
    hear("amount", &[&amount.minor().to_be_bytes()]);
    hear("currency", &[amount.currency().code().as_bytes()]);
}

fn of_change(operation: &[u8], earlier: &FollowUp, hear: &mut Hear<'_>) {
    let FollowUp { amount, reference, known: _ } = earlier;
    hear("operation", &[operation]);
    of_amount(*amount, hear);
    hear("refTransId", &[reference.as_bytes()]);
}

fn of_authorization(authorization: &Authorization<CardRef>, hear: &mut Hear<'_>) {
    let Authorization {
        amount,
        capture,
        description,
        digital,
        generate_token,
        means,
        network_token,
        payer,
        stored,
        three_ds,
    } = authorization;
    let operation: &[u8] = match capture {
        Capture::Later => b"authorize",
        Capture::Now => b"charge",
    };
    hear("operation", &[operation]);
    of_amount(*amount, hear);
    match means {
        Means::Card(card) => of_card(card, hear),
        // The name is exposed to be hashed, as the number is.
        Means::Token(token) => hear("userToken", &[token.expose().as_bytes()]),
    }
    if *generate_token {
        hear("generateToken", &[&[1]]);
    }
    optional("orderDesc", description.as_deref(), hear);
    if let Some(digital) = digital {
        hear("isDigital", &[&[u8::from(*digital)]]);
    }
    of_brand(*network_token, hear);
    if let Some(payer) = payer {
        of_payer(payer, hear);
    }
    if let Some(stored) = stored {
        of_stored(stored, hear);
    }
    if let Some(three_ds) = three_ds {
        of_three_ds(three_ds, hear);
    }
}

fn of_tokenization(tokenization: &Tokenization<CardRef>, hear: &mut Hear<'_>) {
    let Tokenization { card, network_token, payer } = tokenization;
    hear("operation", &[b"tokenize"]);
    of_card(card, hear);
    of_brand(*network_token, hear);
    if let Some(payer) = payer {
        of_payer(payer, hear);
    }
}

fn of_brand(brand: Option<NetworkTokenBrand>, hear: &mut Hear<'_>) {
    let brand = brand.map(|brand| match brand {
        NetworkTokenBrand::Amex => "Amex",
        NetworkTokenBrand::MasterCard => "MasterCard",
        NetworkTokenBrand::Visa => "Visa",
    });
    optional("networkTokenBrand", brand, hear);
}

fn of_card(card: &CardRef, hear: &mut Hear<'_>) {
    let CardRef { number, cvv: _, holder, expiry } = card;
    match number {
        // The number is exposed to be hashed under a key that never leaves the vault.
        NumberSource::Clear(pan) => hear("card.cardNumber", &[b"clear", pan.expose().as_bytes()]),
        NumberSource::Token(token) => {
            hear("card.cardNumber", &[b"token", token.as_str().as_bytes()]);
        }
    }
    // The holder is exposed for the same.
    hear("card.cardHolderName", &[holder.expose().as_bytes()]);
    hear("card.expirationMonth", &[&[expiry.month()]]);
    hear("card.expirationYear", &[&expiry.year().to_be_bytes()]);
}

fn of_payer(payer: &Payer, hear: &mut Hear<'_>) {
    let Payer { address: [one, two, three], city, country, ip, post_code, state } = payer;
    let ip = ip.to_string();
    let all = [one, two, three, city, post_code, state];
    let all = all.map(|text| text.as_deref().unwrap_or_default().as_bytes());
    let [one, two, three, city, post_code, state] = all;
    let parts = [one, two, three, city, post_code, state, country.as_bytes(), ip.as_bytes()];
    hear("payerDetails", &parts);
}

fn of_stored(stored: &Stored, hear: &mut Hear<'_>) {
    let Stored { usage, purpose } = stored;
    let purpose: &[u8] = match purpose {
        None => b"",
        Some(StoredPurpose::Installment) => b"Installment",
        Some(StoredPurpose::Recurring) => b"Recurring",
        Some(StoredPurpose::Unscheduled) => b"Unscheduled",
    };
    let (usage, original): (&[u8], Option<&str>) = match usage {
        StoredUsage::First => (b"First", None),
        StoredUsage::Cardholder { original } => (b"Cardholder", original.as_deref()),
        StoredUsage::Merchant { original } => (b"Merchant", original.as_deref()),
    };
    hear("storedCredential", &[usage, purpose, original.unwrap_or_default().as_bytes()]);
}

fn of_three_ds(three_ds: &ThreeDs, hear: &mut Hear<'_>) {
    let ThreeDs { authentication_value, eci, sli, version, xid } = three_ds;
    // The value is exposed to be hashed, as the number is.
    let value = authentication_value.expose().as_bytes();
    let sli = sli.as_deref().unwrap_or_default().as_bytes();
    let parts = [value, eci.as_bytes(), sli, version.as_bytes(), xid.as_bytes()];
    hear("card.threeDSAuthentication", &parts);
}

fn of_account(account: &AccountChoice, hear: &mut Hear<'_>) {
    match account {
        AccountChoice::Inline { gateway, credentials } => {
            hear("paymentGatewayAccount", &[gateway.as_bytes()]);
            for (name, value) in credentials.iter() {
                // The value is exposed to be hashed, as the number is.
                let parts = [name.as_bytes(), value.expose().as_bytes()];
                hear("paymentGatewayAccount.credentials", &parts);
            }
        }
        AccountChoice::Named(name) => {
            hear("paymentGatewayAccountName", &[name.as_str().as_bytes()]);
        }
        AccountChoice::OfPayment => {}
    }
}
