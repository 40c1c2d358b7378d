//! Sixteen octets at a time: which of them belong to a class, as a bit mask.
//!
//! `wide` brings the vectors of the processor every build is made for (SSE2, NEON) behind safe functions, without detection at
//! run time. `core::arch` is no choice in a pure room: its functions are safe to call only from others that name the same
//! target feature, up to a caller that must be unsafe; and what the compiler makes of plain loops over sixteen octets is four
//! times as long. A scalar twin is held equal in the tests.

use wide::u8x16;

/// Sixteen octets and the questions the parser asks about them. Bit `n` of an answer is octet `n`.
pub(super) trait Classify: Copy {
    /// Takes the octets in.
    fn new(octets: [u8; 16]) -> Self;
    /// Octets equal to this one.
    fn equal(self, octet: u8) -> u32;
    /// Controls but DEL: up to 0x1F. CR and LF are among them.
    fn controls(self) -> u32;
    /// Controls and SP: up to 0x20, and DEL.
    fn blanks(self) -> u32;
    /// `"` or `\`.
    fn quotes(self) -> u32;
    /// Where a URI in brackets ends, well or badly: blanks, `"`, `<`, `>`.
    fn brackets(self) -> u32;
    /// `"`, `<`, `>`, `;` and `,`.
    fn breaks(self) -> u32;
    /// Where a parameter's value ends, well or badly: blanks and breaks.
    fn separators(self) -> u32;
    /// Octets of no host name: all but letters, digits, `-`, `.` and `_`.
    fn foreign_to_host(self) -> u32;
}

/// The octets in a vector register.
#[derive(Clone, Copy)]
pub(super) struct Lanes(u8x16);

impl Lanes {
    #[inline(always)]
    fn is(self, octet: u8) -> u8x16 {
        self.0.simd_eq(u8x16::splat(octet))
    }

    #[inline(always)]
    fn up_to(self, last: u8) -> u8x16 {
        self.0.min(u8x16::splat(last)).simd_eq(self.0)
    }

    /// `first..=last`, by moving the range to start at zero.
    #[inline(always)]
    fn within(self, first: u8, last: u8) -> u8x16 {
        Self(self.0 - u8x16::splat(first)).up_to(last - first)
    }

    #[inline(always)]
    fn blank(self) -> u8x16 {
        self.up_to(b' ') | self.is(0x7f)
    }

    /// `<` and `>` differ in one bit.
    #[inline(always)]
    fn bracket(self) -> u8x16 {
        Self(self.0 | u8x16::splat(b'<' ^ b'>')).is(b'>') | self.is(b'"')
    }

    #[inline(always)]
    fn break_(self) -> u8x16 {
        self.bracket() | self.is(b';') | self.is(b',')
    }
}

impl Classify for Lanes {
    #[inline(always)]
    fn new(octets: [u8; 16]) -> Self {
        Self(u8x16::new(octets))
    }

    #[inline(always)]
    fn equal(self, octet: u8) -> u32 {
        self.is(octet).to_bitmask()
    }

    #[inline(always)]
    fn controls(self) -> u32 {
        self.up_to(0x1f).to_bitmask()
    }

    #[inline(always)]
    fn blanks(self) -> u32 {
        self.blank().to_bitmask()
    }

    #[inline(always)]
    fn quotes(self) -> u32 {
        (self.is(b'"') | self.is(b'\\')).to_bitmask()
    }

    #[inline(always)]
    fn brackets(self) -> u32 {
        (self.blank() | self.bracket()).to_bitmask()
    }

    #[inline(always)]
    fn breaks(self) -> u32 {
        self.break_().to_bitmask()
    }

    #[inline(always)]
    fn separators(self) -> u32 {
        (self.blank() | self.break_()).to_bitmask()
    }

    #[inline(always)]
    fn foreign_to_host(self) -> u32 {
        let letters = Self(self.0 | u8x16::splat(0x20)).within(b'a', b'z');
        let others = self.within(b'0', b'9') | self.within(b'-', b'.') | self.is(b'_');
        !(letters | others).to_bitmask() & 0xffff
    }
}

#[cfg(test)]
mod scalar {
    #[derive(Clone, Copy)]
    pub struct Scalar([u8; 16]);

    impl Scalar {
        fn bits(self, class: impl Fn(u8) -> bool) -> u32 {
            self.0.iter().enumerate().fold(0, |bits, (at, octet)| bits | u32::from(class(*octet)) << at)
        }
    }

    impl super::Classify for Scalar {
        fn new(octets: [u8; 16]) -> Self {
            Self(octets)
        }

        fn equal(self, octet: u8) -> u32 {
            self.bits(|found| found == octet)
        }

        fn controls(self) -> u32 {
            self.bits(|octet| octet < b' ')
        }

        fn blanks(self) -> u32 {
            self.bits(|octet| octet <= b' ' || octet == 0x7f)
        }

        fn quotes(self) -> u32 {
            self.bits(|octet| matches!(octet, b'"' | b'\\'))
        }

        fn brackets(self) -> u32 {
            self.bits(|octet| matches!(octet, 0..=b' ' | 0x7f | b'"' | b'<' | b'>'))
        }

        fn breaks(self) -> u32 {
            self.bits(|octet| matches!(octet, b'"' | b'<' | b'>' | b';' | b','))
        }

        fn separators(self) -> u32 {
            self.blanks() | self.breaks()
        }

        fn foreign_to_host(self) -> u32 {
            self.bits(|octet| !octet.is_ascii_alphanumeric() && !matches!(octet, b'-' | b'.' | b'_'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scalar::Scalar;
    use super::*;
    use proptest::prelude::*;

    /// All answers of one implementation.
    fn answers<L: Classify>(octets: [u8; 16]) -> [u32; 9] {
        let lanes = L::new(octets);
        [
            lanes.equal(octets[3]),
            lanes.equal(b':'),
            lanes.controls(),
            lanes.blanks(),
            lanes.quotes(),
            lanes.brackets(),
            lanes.breaks(),
            lanes.separators(),
            lanes.foreign_to_host(),
        ]
    }

    #[test]
    fn the_twins_agree_on_every_octet() {
        for octet in 0..=255 {
            let mut octets = [b'a'; 16];
            octets[usize::from(octet) % 16] = octet;
            assert_eq!(answers::<Lanes>(octets), answers::<Scalar>(octets), "{octet}");
        }
    }

    proptest! {
        #[test]
        fn the_twins_agree(octets: [u8; 16]) {
            prop_assert_eq!(answers::<Lanes>(octets), answers::<Scalar>(octets));
        }
    }
}
