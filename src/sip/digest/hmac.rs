//! HMAC-SHA-256 (RFC 2104) with the key absorbed once, for nonces that the server need not remember.

use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

#[derive(Clone)]
pub(super) struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    /// From a key of at most one block.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut block = [0; BLOCK];
        block[..key.len()].copy_from_slice(key);
        let absorbed = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: absorbed(0x36), outer: absorbed(0x5c) }
    }

    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        for part in parts {
            inner.update(part);
        }
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_test_case_1() {
        // The key is 20 bytes 0x0b; HMAC pads a short key with zeros, so 32 bytes with 12 zeros are the same key.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hex = super::super::hex(&Hmac::new(&key).sign(&[b"Hi ", b"There"]));
        assert_eq!(&hex[..], b"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
