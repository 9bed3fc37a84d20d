//! The token that each request is authenticated with: a JWT over its digest, signed with the
//! secret that the merchant shares with CyberSource.
//! <https://developer.cybersource.com/docs/cybs/en-us/platform/developer/all/rest/rest-getting-started/restgs-jwt-message-intro.html>

use super::{KEY_ID, MERCHANT_ID, SHARED_SECRET, refuse};
use crate::wire::HeaderText;
use crate::{CREDENTIALS, Cx, Refusal};
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// How long a token is good for; CyberSource takes no longer.
const LIFE_SECS: u64 = 120;

/// What a token speaks for.
pub(super) struct Speech<'a> {
    pub(super) method: &'static str,
    pub(super) host: &'a str,
    /// Without its query.
    pub(super) path: &'a str,
    /// Empty where there is none.
    pub(super) body: &'a [u8],
}

#[derive(Serialize)]
struct Head<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

/// In the order of the documentation. The official libraries do not agree on the name of
/// `digestAlgorithm` and the case of `request-method`; these are as documented.
#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(rename = "digestAlgorithm", skip_serializing_if = "Option::is_none")]
    digest_algorithm: Option<&'static str>,
    iat: u64,
    exp: u64,
    #[serde(rename = "request-host")]
    request_host: &'a str,
    #[serde(rename = "request-method")]
    request_method: &'static str,
    #[serde(rename = "request-resource-path")]
    request_resource_path: &'a str,
    iss: &'a str,
    jti: String,
    #[serde(rename = "v-c-jwt-version")]
    version: &'static str,
    #[serde(rename = "v-c-merchant-id")]
    merchant_id: &'a str,
}

/// The value of the header `authorization`.
pub(super) fn bearer(speech: &Speech<'_>, cx: &Cx<'_>) -> Result<HeaderText, Refusal> {
    let merchant = cx.need(&MERCHANT_ID, "MerchantId is missing")?;
    let key_id = cx.need(&KEY_ID, "KeyId is missing")?;
    let secret = cx.need(&SHARED_SECRET, "SharedSecret is missing")?;
    // The ids are exposed because the token names them; they are not secret.
    let (merchant, key_id) = (merchant.expose(), key_id.expose());
    let claims = Claims::of(speech, merchant, cx);
    let head = Head { alg: "HS256", typ: "JWT", kid: key_id };
    let signed = format!("{}.{}", part(&head), part(&claims));
    // The secret is exposed to sign with; the token holds no part of it.
    let signature = sign(secret.expose(), signed.as_bytes())?;
    HeaderText::new(&["Bearer ", &signed, ".", &signature])
        .map_err(|_| refuse(CREDENTIALS, "KeyId is not a key of CyberSource"))
}

fn part<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_vec(value).expect("texts and numbers can be written");
    Base64UrlUnpadded::encode_string(&json)
}

fn sign(secret: &str, message: &[u8]) -> Result<String, Refusal> {
    let wrong = refuse(CREDENTIALS, "SharedSecret is not base64");
    let key = Zeroizing::new(Base64::decode_vec(secret).map_err(|_| wrong)?);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| wrong)?;
    mac.update(message);
    Ok(Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

/// A name that no other token has (UUID version 4).
fn unique(nonce: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0x3 << 62;
    let id = (nonce & !VERSION & !VARIANT) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{id:032x}");
    let group = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)].join("-")
}

// === impl Claims ===

impl<'a> Claims<'a> {
    fn of(speech: &Speech<'a>, merchant: &'a str, cx: &Cx<'_>) -> Self {
        let digest = || Base64::encode_string(&Sha256::digest(speech.body));
        let has_body = !speech.body.is_empty();
        Self {
            digest: has_body.then(digest),
            digest_algorithm: has_body.then_some("SHA-256"),
            iat: cx.now,
            exp: cx.now.saturating_add(LIFE_SECS),
            request_host: speech.host,
            request_method: speech.method,
            request_resource_path: speech.path,
            iss: merchant,
            jti: unique(cx.nonce),
            version: "2",
            merchant_id: merchant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Speech, bearer, unique};
    use crate::Cx;
    use model::{Credentials, Secret};

    /// Computed apart from this program, from the documentation.
    const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjA4Yzk0MzMwLWY2MTgtNDJhMy1iMDlkLWUxZTQzYmU1ZWZkYSJ9.eyJkaWdlc3QiOiJ4T2FqK3lvODZPdjNMYjRJa09uSDhtOHZNN0lPcEVjMER3aDd5UExMUTRrPSIsImRpZ2VzdEFsZ29yaXRobSI6IlNIQS0yNTYiLCJpYXQiOjE3NTAwMDAwMDAsImV4cCI6MTc1MDAwMDEyMCwicmVxdWVzdC1ob3N0IjoiYXBpdGVzdC5jeWJlcnNvdXJjZS5jb20iLCJyZXF1ZXN0LW1ldGhvZCI6InBvc3QiLCJyZXF1ZXN0LXJlc291cmNlLXBhdGgiOiIvcHRzL3YyL3BheW1lbnRzIiwiaXNzIjoidGVzdHJlc3QiLCJqdGkiOiI2NjQzZmI5YS04MDkzLTQ3YzYtOTVkMy04ZDY5Nzg1YjVlNjIiLCJ2LWMtand0LXZlcnNpb24iOiIyIiwidi1jLW1lcmNoYW50LWlkIjoidGVzdHJlc3QifQ.2cEDbFnK4BBO2BIIZUp7gwkpnFeOx5RyRckp9rX7cDc";
    const NONCE: u128 = 0x6643_fb9a_8093_47c6_95d3_8d69_785b_5e62;

    fn credentials(secret: &str) -> Credentials {
        let pairs = [
            ("MerchantId", "testrest"),
            ("KeyId", "08c94330-f618-42a3-b09d-e1e43be5efda"),
            ("SharedSecret", secret),
        ];
        Credentials::new(pairs.map(|(name, value)| (name.into(), Secret::new(value))).into())
    }

    fn speech(body: &[u8]) -> Speech<'_> {
        let (host, path) = ("apitest.cybersource.com", "/pts/v2/payments");
        Speech { method: "post", host, path, body }
    }

    #[test]
    fn a_token_is_as_the_vector_says() {
        let credentials = credentials("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        let cx = Cx { credentials: &credentials, now: 1_750_000_000, nonce: NONCE };
        let body = br#"{"clientReferenceInformation":{"code":"ORD-1001"}}"#;
        let token = bearer(&speech(body), &cx).unwrap();
        // Exposed to be compared with the vector, whose secret is published.
        assert_eq!(token.expose(), TOKEN);
        let other = bearer(&speech(b"{}"), &cx).unwrap();
        // Exposed to be compared, as above.
        assert_ne!(other.expose(), TOKEN);
    }

    #[test]
    fn a_secret_that_is_no_base64_is_refused() {
        for secret in ["not base64!", "MDEyMzQ1Njc4OWFiY2Rl Zg=="] {
            let credentials = credentials(secret);
            assert!(bearer(&speech(b""), &Cx::timeless(&credentials)).is_err());
        }
    }

    #[test]
    fn every_token_has_a_name_of_its_own_of_version_4() {
        assert_eq!(unique(NONCE), "6643fb9a-8093-47c6-95d3-8d69785b5e62");
        assert_eq!(unique(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(unique(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
