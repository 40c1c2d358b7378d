//! CRC-32C (Castagnoli), as in RFC 3720 §12.1: it finds every change of up to five bits in a record of the ledger's size.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

/// Of all parts, one after the other.
pub(super) fn crc32c(parts: [&[u8]; 2]) -> u32 {
    let octets = parts.into_iter().flatten();
    !octets.fold(u32::MAX, |crc, octet| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ octet)])
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_examples_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c([&[0; 32], &[]]), 0x8a91_36aa);
        assert_eq!(crc32c([&[0xff; 16], &[0xff; 16]]), 0x62a8_ab43);
        assert_eq!(crc32c([&ascending, &[]]), 0x46dd_794e);
    }
}
