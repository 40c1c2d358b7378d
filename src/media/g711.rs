//! G.711 mu-law, for the phones of our own (ITU-T G.711 table 2a/2b): a demo needs a voice that survives comparison.

const BIAS: i32 = 0x84;
const CLIP: i32 = 32_635;

/// One linear sample, 16 bits, to mu-law.
#[must_use]
pub const fn encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let mut magnitude = (sample as i32).abs();
    if magnitude > CLIP {
        magnitude = CLIP;
    }
    magnitude += BIAS;
    let exponent = 24 - (magnitude as u32).leading_zeros() as i32;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) | mantissa) as u8
}

const fn expand(code: u8) -> i16 {
    let code = !code as i32;
    let exponent = code >> 4 & 0x07;
    let magnitude = ((((code & 0x0f) << 3) + BIAS) << exponent) - BIAS;
    (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

static LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = expand(code as u8);
        code += 1;
    }
    table
};

/// One mu-law octet to a linear sample.
#[must_use]
pub fn decode(code: u8) -> i16 {
    LINEAR[usize::from(code)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in 0..=255u8 {
            let again = encode(decode(code));
            // Both zeros decode to 0, which encodes as the positive one.
            assert!(again == code || (decode(code) == 0 && again == 0xff), "{code:#x} became {again:#x}");
        }
        assert_eq!((encode(0), encode(i16::MAX), encode(i16::MIN)), (0xff, 0x80, 0x00));
        assert_eq!((decode(0x80), decode(0x00)), (32_124, -32_124));
    }

    #[test]
    fn the_error_stays_within_half_a_step() {
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let clipped = i32::from(sample).clamp(-32_124, 32_124);
            let error = (i32::from(decode(encode(sample))) - clipped).abs();
            assert!(error <= clipped.abs() / 16 + 8, "{sample}: {error}");
        }
    }
}
