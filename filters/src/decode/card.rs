//! Cards and their 3-D Secure results.

use crate::decode::object::Object;
use crate::decode::text::Text;
use crate::decode::{FieldError, YearMonth};
use model::{CardRef, CardToken, Cvv, CvvSource, Expiry, NumberSource, Pan, ThreeDs};

/// Reads a card, and what came with it. One that is good no more in the month of `today` is refused.
pub(super) fn read(
    card: &Object<'_, '_>,
    today: Option<YearMonth>,
) -> Result<(CardRef, Option<ThreeDs>), FieldError> {
    let holder = card.required_text("cardHolderName")?.into_secret();
    let number = number(card)?;
    let expiry = expiry(card, today)?;
    let cvv = cvv(card)?;
    card.text("ownerID")?;
    card.text("issueNumber")?;
    card.word("cardType")?;
    let three_ds = three_ds(card)?;
    Ok((CardRef { number, cvv, holder, expiry }, three_ds))
}

fn number(card: &Object<'_, '_>) -> Result<NumberSource, FieldError> {
    let text = card.required_text("cardNumber")?;
    if let Some(token) = token(&text) {
        return Ok(NumberSource::Token(token));
    }
    Pan::parse(text.as_str())
        .map(NumberSource::Clear)
        .map_err(|_| card.wrong("cardNumber", "is not a card number: its check digit does not fit"))
}

fn cvv(card: &Object<'_, '_>) -> Result<Option<CvvSource>, FieldError> {
    let Some(text) = card.text("cvv")? else { return Ok(None) };
    if let Some(token) = token(&text) {
        return Ok(Some(CvvSource::Token(token)));
    }
    let cvv = Cvv::parse(text.as_str());
    cvv.map(|cvv| Some(CvvSource::Clear(cvv)))
        .map_err(|_| card.wrong("cvv", "must be 3 or 4 digits, or '@' and a token"))
}

/// The token, where a text is `@` and a token.
fn token(text: &Text<'_>) -> Option<CardToken> {
    text.as_str().strip_prefix('@').and_then(|token| CardToken::parse(token).ok())
}

fn expiry(card: &Object<'_, '_>, today: Option<YearMonth>) -> Result<Expiry, FieldError> {
    let month = card.required_whole("expirationMonth")?;
    let year = u16::try_from(card.required_whole("expirationYear")?).unwrap_or(u16::MAX);
    let expiry = u8::try_from(month).ok().and_then(|month| Expiry::new(month, year).ok());
    let expiry =
        expiry.ok_or_else(|| card.wrong("expirationMonth", "is not in the documented range"))?;
    match today {
        Some(today) if expiry.is_before(today.year, today.month) => {
            let field = if year < today.year { "expirationYear" } else { "expirationMonth" };
            Err(card.wrong(field, "is in the past: the card has expired"))
        }
        _ => Ok(expiry),
    }
}

fn three_ds(card: &Object<'_, '_>) -> Result<Option<ThreeDs>, FieldError> {
    let Some(result) = card.object("threeDSAuthentication")? else { return Ok(None) };
    let authentication_value = result.required_text("authenticationValue")?.into_secret();
    let eci = result.required_text("eci")?.to_box();
    let xid = result.required_text("xid")?.to_box();
    let version = result.required_text("version")?.to_box();
    // No provider so far takes the name under which the cardholder was authenticated.
    result.required_text("merchantName")?;
    let sli = result.boxed("sli")?;
    Ok(Some(ThreeDs { authentication_value, eci, sli, version, xid }))
}
