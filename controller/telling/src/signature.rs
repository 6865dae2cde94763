//! The signature of a delivery, in the form of Standard Webhooks: HMAC-SHA256 over id, time and body, so that neither a changed
//! body nor an old delivery passes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Before a key that is written in base64, as Standard Webhooks has it.
const ENCODED: &str = "whsec_";
/// Fewest bytes of a key. Shorter ones are guessed.
pub const KEY_MIN: usize = 16;

/// A secret that sink and controller share. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey(Vec<u8>);

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

impl HmacKey {
    /// Reads the content of a file or of a Secret: the bytes themselves without blanks at the end, or base64 after `whsec_`.
    ///
    /// # Errors
    /// When it is too short or not base64; the text does not show the key.
    pub fn read(content: &[u8]) -> Result<HmacKey, &'static str> {
        let content = content.trim_ascii();
        let bytes = match content.strip_prefix(ENCODED.as_bytes()) {
            Some(text) => STANDARD.decode(text).map_err(|_| "what follows whsec_ is not base64")?,
            None => content.to_vec(),
        };
        if bytes.len() < KEY_MIN { Err("it has fewer than 16 bytes") } else { Ok(HmacKey(bytes)) }
    }

    /// The header `webhook-signature` for a delivery at `seconds` since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let head = format!("{id}.{seconds}.");
        format!("v1,{}", STANDARD.encode(hmac_sha256(&self.0, &[head.as_bytes(), body])))
    }
}

/// HMAC-SHA256 of the parts one after the other (RFC 2104).
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases 1 to 4, 6 and 7 of RFC 4231.
    #[test]
    fn hmac_is_that_of_the_standard() {
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let longer = b"This is a test using a larger than block-size key and a larger than block-size data. The key needs \
                       to be hashed before being used by the HMAC algorithm.";
        let counted: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 6] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (&counted, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (&[0xaa; 131], long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
            (&[0xaa; 131], longer, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ];
        for (key, data, expected) in cases {
            assert_eq!(hex::encode(hmac_sha256(key, &[data])), expected);
            let (one, two) = data.split_at(data.len() / 2);
            assert_eq!(hex::encode(hmac_sha256(key, &[one, two])), expected, "in two parts");
        }
    }

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn a_delivery_is_signed_as_the_standard_says() {
        let key = HmacKey::read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_is_read_and_never_shown() {
        assert_eq!(HmacKey::read(b"0123456789abcdef\n"), HmacKey::read(b"whsec_MDEyMzQ1Njc4OWFiY2RlZg=="));
        for bad in [&b"short"[..], b"whsec_???", b""] {
            assert!(HmacKey::read(bad).is_err());
        }
        assert_eq!(format!("{:?}", HmacKey::read(b"0123456789abcdef").unwrap()), "HmacKey(..)");
    }
}
