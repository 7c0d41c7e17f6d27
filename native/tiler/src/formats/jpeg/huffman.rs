//! Owns the Huffman tables: what the file defines, and the lookups that decode a code and the bits behind it at once.

use super::bits::Bits;
use crate::error::{Reason, Result, fail};

/// Bits a lookup looks at.
const LOOK: u32 = 10;

/// A table as the file stores it.
#[derive(Clone)]
pub struct Definition {
    /// Number of codes of each length, 1 to 16.
    pub counts: [u8; 16],
    pub values: [u8; 256],
}

pub struct Table {
    /// By the next LOOK bits: the code's length and its symbol; length 0: the code is longer.
    symbols: [u16; 1 << LOOK],
    /// The same with the coefficient behind the code, if it fits in too: the value, the steps to it (zeros and itself)
    /// and the bits all takes, from the top. Value 0: it is not that simple, and the rest is as in `symbols`.
    values: [u32; 1 << LOOK],
    /// By length: the last code, -1 without one, and what to add to a code to find its symbol.
    last: [i32; 17],
    offset: [i32; 17],
    by_rank: [u8; 256],
}

/// What comes next in a block.
pub enum Step {
    /// A coefficient `1..=16` places on.
    Coefficient { steps: usize, value: i32 },
    /// A symbol without one: its upper four bits.
    Run(u32),
}

impl Table {
    pub fn new(definition: &Definition, is_dc: bool) -> Result<Box<Self>> {
        let mut table = Box::new(Self {
            symbols: [0; 1 << LOOK],
            values: [0; 1 << LOOK],
            last: [-1; 17],
            offset: [0; 17],
            by_rank: definition.values,
        });
        let (mut code, mut rank) = (0i32, 0i32);
        for (len, &count) in (1u32..).zip(&definition.counts) {
            table.offset[len as usize] = rank - code;
            for _ in 0..count {
                table.enter(code, len, definition.values[rank as usize & 255]);
                (code, rank) = (code + 1, rank + 1);
            }
            if count > 0 {
                table.last[len as usize] = code - 1;
            }
            if rank > 256 || code >= 1 << len && count > 0 {
                return fail(Reason::Corrupt, "a Huffman table has too many codes");
            }
            code <<= 1;
        }
        if is_dc && definition.values[..rank as usize].iter().any(|&value| value > 15) {
            return fail(Reason::Corrupt, "a Huffman table for DC has symbols above 15");
        }
        Ok(table)
    }

    fn enter(&mut self, code: i32, len: u32, symbol: u8) {
        if len > LOOK || code >= 1 << len {
            return;
        }
        let shift = LOOK - len;
        let size = u32::from(symbol & 15);
        for rest in 0..1u32 << shift {
            let index = ((code as u32) << shift | rest) as usize;
            self.symbols[index] = (len as u16) << 8 | u16::from(symbol);
            self.values[index] = if size > 0 && size <= shift {
                let bits = (rest >> (shift - size)) as i32;
                let value = if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits };
                (value as u32) << 16 | (u32::from(symbol >> 4) + 1) << 8 | (len + size)
            } else {
                u32::from(symbol) << 8 | len
            };
        }
    }

    /// Takes at most 17 bits of at least 32 that count.
    #[inline(always)]
    pub fn symbol(&self, bits: &mut Bits) -> u32 {
        let entry = self.symbols[bits.peek(LOOK) as usize];
        if entry == 0 {
            return self.long_symbol(bits);
        }
        bits.skip(u32::from(entry >> 8));
        u32::from(entry & 255)
    }

    /// A code of more than LOOK bits. One that there is not counts as symbol 0 and takes 17 bits, as in libjpeg.
    #[cold]
    fn long_symbol(&self, bits: &mut Bits) -> u32 {
        for len in LOOK + 1..=16 {
            let code = bits.peek(len) as i32;
            if code <= self.last[len as usize] {
                bits.skip(len);
                return self.by_rank[(code + self.offset[len as usize]) as usize & 255].into();
            }
        }
        bits.skip(17);
        0
    }

    /// A symbol of an AC table and the coefficient behind it. Takes at most 32 bits of at least 32 that count.
    #[inline(always)]
    pub fn step(&self, bits: &mut Bits) -> Step {
        let entry = self.values[bits.peek(LOOK) as usize];
        if entry >= 1 << 16 {
            bits.skip(entry & 255);
            return Step::Coefficient { steps: (entry >> 8 & 255) as usize, value: entry as i32 >> 16 };
        }
        let symbol = if entry == 0 {
            self.long_symbol(bits)
        } else {
            bits.skip(entry & 255);
            entry >> 8
        };
        match symbol & 15 {
            0 => Step::Run(symbol >> 4),
            size => Step::Coefficient { steps: (symbol >> 4) as usize + 1, value: bits.take_signed(size) },
        }
    }
}

impl Definition {
    /// The tables of the standard's Annex K.3, which motion JPEGs leave out: by class (DC, AC), then luminance and chrominance.
    pub fn standard() -> [[Self; 2]; 2] {
        let make = |counts: [u8; 16], values: &[u8]| {
            let mut all = [0; 256];
            all[..values.len()].copy_from_slice(values);
            Self { counts, values: all }
        };
        let dc_values: [u8; 12] = std::array::from_fn(|i| i as u8);
        [
            [
                make([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &dc_values),
                make([0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &dc_values),
            ],
            [
                make([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d], &AC_LUMINANCE),
                make([0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77], &AC_CHROMINANCE),
            ],
        ]
    }
}

#[rustfmt::skip]
const AC_LUMINANCE: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[rustfmt::skip]
const AC_CHROMINANCE: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];
