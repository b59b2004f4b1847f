//! Signatures of requests that other programs push ([Standard Webhooks](https://www.standardwebhooks.com/), "Signature scheme").
//!
//! Signed is `ID.TIMESTAMP.BODY` with HMAC-SHA256; `webhook-signature` holds `v1,` and the signature in base64, or several
//! with spaces between them, so that a secret can be changed without a gap.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use riacho_core::time::Millis;
use sha2::Sha256;
use std::fmt::{self, Debug, Display, Formatter};

/// What signs requests. Nothing prints it.
#[derive(Clone)]
pub struct WebhookSecret(Box<[u8]>);

/// The three headers of a signed request.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `webhook-id`: the same for all attempts to send one thing.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signatures: &'a str,
}

/// Why a request is not taken for what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadSignature {
    /// The timestamp is no number of seconds.
    Timestamp,
    /// It was signed too long ago, or in the future.
    Window,
    /// No signature is of this secret.
    Signature,
}

/// A secret that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSecret;

impl WebhookSecret {
    /// Takes `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(BadSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| BadSecret)?;
        if SECRET_BYTES.contains(&bytes.len()) { Ok(Self(bytes.into())) } else { Err(BadSecret) }
    }

    /// The signature of `body`, with its `v1,`.
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("{VERSION}{}", STANDARD.encode(self.mac(id, timestamp, body).finalize().into_bytes()))
    }

    /// Whether `body` was signed with this secret within five minutes of `now`.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn verify(&self, signed: Signed<'_>, body: &[u8], now: Millis) -> Result<(), BadSignature> {
        let seconds: u64 = signed.timestamp.parse().map_err(|_| BadSignature::Timestamp)?;
        if seconds.abs_diff(now / 1000) > WINDOW_SECONDS {
            return Err(BadSignature::Window);
        }
        let mac = self.mac(signed.id, signed.timestamp, body);
        let ours = |signature: &str| {
            let bytes = signature.strip_prefix(VERSION).and_then(|text| STANDARD.decode(text).ok());
            // Takes as long for every signature.
            bytes.is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
        };
        let signatures = signed.signatures.split(' ').take(SIGNATURES_MAX);
        if signatures.map(ours).fold(false, |any, ours| any | ours) {
            Ok(())
        } else {
            Err(BadSignature::Signature)
        }
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

impl Debug for WebhookSecret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Display for BadSignature {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp => f.write_str("webhook-timestamp is no number of seconds since 1970"),
            Self::Window => {
                write!(f, "it was signed more than {WINDOW_SECONDS} seconds ago, or in the future")
            }
            Self::Signature => f.write_str("webhook-signature holds no signature of this source's secret"),
        }
    }
}

impl std::error::Error for BadSignature {}

/// What a secret begins with.
pub const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
// For so long a request may be under way, and so far clocks may differ.
const WINDOW_SECONDS: u64 = 300;
const SIGNATURES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    // The vector of the specification's own libraries.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const TIMESTAMP: &str = "1614265330";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signed(signatures: &str) -> Signed<'_> {
        Signed { id: ID, timestamp: TIMESTAMP, signatures }
    }

    #[test]
    fn the_specifications_vector() {
        let secret = WebhookSecret::parse(SECRET).unwrap();
        assert_eq!(secret.sign(ID, TIMESTAMP, BODY), SIGNATURE);
        let at = 1_614_265_330_000;
        assert_eq!(secret.verify(signed(SIGNATURE), BODY, at), Ok(()));
        let several = format!("v1a,AAAA v1,AAAA {SIGNATURE}");
        assert_eq!(secret.verify(signed(&several), BODY, at + 300_000), Ok(()));
        assert_eq!(secret.verify(signed(SIGNATURE), b"{}", at), Err(BadSignature::Signature));
        assert_eq!(secret.verify(signed("v1,AAAA"), BODY, at), Err(BadSignature::Signature));
        assert_eq!(secret.verify(signed(SIGNATURE), BODY, at + 301_000), Err(BadSignature::Window));
        assert_eq!(secret.verify(signed(SIGNATURE), BODY, at - 301_000), Err(BadSignature::Window));
        let later = Signed { timestamp: "1614265331", ..signed(SIGNATURE) };
        assert_eq!(secret.verify(later, BODY, at), Err(BadSignature::Signature));
    }

    #[test]
    fn what_is_no_secret() {
        for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"] {
            assert_eq!(WebhookSecret::parse(text).err(), Some(BadSecret), "{text}");
        }
        assert_eq!(format!("{:?}", WebhookSecret::parse(SECRET).unwrap()), "***");
    }
}
