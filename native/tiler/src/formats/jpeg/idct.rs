//! Owns the inverse DCT: libjpeg's accurate integer method, to the bit, also where damaged coefficients overflow.
//!
//! Sums are those of jidctint.c; the widths are those of libjpeg-turbo's vector code, which Pillow runs: dequantised
//! coefficients and sums of two inputs wrap at 16 bits, each pass saturates to 16 bits.

use crate::vector::{self as v, V};

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;
const FIRST_SHIFT: u32 = CONST_BITS - PASS1_BITS;
const SECOND_SHIFT: u32 = CONST_BITS + PASS1_BITS + 3;

const F_0_298: i16 = 2_446;
const F_0_390: i16 = 3_196;
const F_0_541: i16 = 4_433;
const F_0_765: i16 = 6_270;
const F_0_899: i16 = 7_373;
const F_1_175: i16 = 9_633;
const F_1_501: i16 = 12_299;
const F_1_847: i16 = 15_137;
const F_1_961: i16 = 16_069;
const F_2_053: i16 = 16_819;
const F_2_562: i16 = 20_995;
const F_3_072: i16 = 25_172;

/// 64 numbers in rows.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Block(pub [i16; 64]);

impl Block {
    pub const ZERO: Self = Self([0; 64]);

    #[inline(always)]
    fn row(&self, row: usize) -> V {
        // SAFETY: eight numbers of 16 bits are there.
        unsafe { v::load(self.0[row * 8..][..8].as_ptr().cast()) }
    }
}

/// Eight rows of eight samples to `out`, `stride` apart.
///
/// # Safety
/// They are writable.
pub unsafe fn inverse(block: &Block, quant: &Block, out: *mut u8, stride: usize) {
    let row = |i: usize| block.row(i);
    let or4 = |a: V, b: V, c: V, d: V| v::or(v::or(a, b), v::or(c, d));
    let lower = or4(row(4), row(5), row(6), row(7));
    let upper = v::or(v::or(row(1), row(2)), row(3));
    let dequantised = |i: usize| v::mul16(row(i), quant.row(i));
    let columns = if v::any(lower) {
        pass::<FIRST_SHIFT, false>(std::array::from_fn(dequantised))
    } else if v::any(upper) {
        pass::<FIRST_SHIFT, true>(std::array::from_fn(|i| if i < 4 { dequantised(i) } else { v::splat16(0) }))
    } else {
        [v::shl16::<PASS1_BITS>(dequantised(0)); 8]
    };
    let rows = v::transpose16(columns);
    let right = or4(rows[4], rows[5], rows[6], rows[7]);
    let samples = if v::any(right) { pass::<SECOND_SHIFT, false>(rows) } else { pass::<SECOND_SHIFT, true>(rows) };
    let samples = v::transpose16(samples);
    for pair in 0..4 {
        let bytes = v::xor(v::narrow16_signed(samples[pair * 2], samples[pair * 2 + 1]), v::splat8(128));
        // SAFETY: as the caller promises.
        unsafe {
            let at = out.add(pair * 2 * stride);
            v::store_low(at, bytes);
            v::store_high(at.add(stride), bytes);
        }
    }
}

/// The same for a block whose only coefficient is its first.
///
/// # Safety
/// They are writable.
pub unsafe fn inverse_flat(dc: i16, quant: &Block, out: *mut u8, stride: usize) {
    let first = dc.wrapping_mul(quant.0[0]).wrapping_shl(PASS1_BITS);
    let sample = ((i32::from(first) + (1 << (PASS1_BITS + 2))) >> (PASS1_BITS + 3)).clamp(-128, 127) + 128;
    let row = v::splat8(sample as u8);
    for y in 0..8 {
        // SAFETY: as the caller promises.
        unsafe { v::store_low(out.add(y * stride), row) };
    }
}

/// One dimension, on eight columns at a time. With `SHORT` inputs 4 to 7 are zero.
#[inline(always)]
fn pass<const SHIFT: u32, const SHORT: bool>(input: [V; 8]) -> [V; 8] {
    let low = Half::<SHIFT, SHORT> { zip: v::zip16_low }.of(&input);
    let high = Half::<SHIFT, SHORT> { zip: v::zip16_high }.of(&input);
    std::array::from_fn(|i| v::narrow32(low[i], high[i]))
}

/// Four of the columns, in 32 bits.
struct Half<const SHIFT: u32, const SHORT: bool> {
    zip: fn(V, V) -> V,
}

impl<const SHIFT: u32, const SHORT: bool> Half<SHIFT, SHORT> {
    #[inline(always)]
    fn of(&self, input: &[V; 8]) -> [V; 8] {
        let [in0, in1, in2, in3, in4, in5, in6, in7] = *input;
        let zero = v::splat16(0);
        // A 16-bit sum in the upper half of 32 bits, then down to CONST_BITS.
        let scaled = |sum: V| v::shr32::<{ 16 - CONST_BITS }>((self.zip)(zero, sum));
        let rotated = |a: V, b: V, by: [i16; 2]| {
            let by = v::splat32(i32::from(by[1]) << 16 | i32::from(by[0] as u16));
            v::dot((self.zip)(a, b), by)
        };

        let (even2, even3);
        let (even0, even1);
        if SHORT {
            even2 = rotated(in2, zero, [F_0_541, 0]);
            even3 = rotated(in2, zero, [F_0_541 + F_0_765, 0]);
            even0 = scaled(in0);
            even1 = even0;
        } else {
            even2 = rotated(in2, in6, [F_0_541, F_0_541 - F_1_847]);
            even3 = rotated(in2, in6, [F_0_541 + F_0_765, F_0_541]);
            even0 = scaled(v::add16(in0, in4));
            even1 = scaled(v::sub16(in0, in4));
        }
        let (sum0, sum3) = (v::add32(even0, even3), v::sub32(even0, even3));
        let (sum1, sum2) = (v::add32(even1, even2), v::sub32(even1, even2));

        let (odd0, odd1, odd2, odd3);
        if SHORT {
            let z3 = rotated(in3, in1, [F_1_175 - F_1_961, F_1_175]);
            let z4 = rotated(in3, in1, [F_1_175, F_1_175 - F_0_390]);
            odd0 = v::add32(rotated(in1, zero, [-F_0_899, 0]), z3);
            odd1 = v::add32(rotated(in3, zero, [-F_2_562, 0]), z4);
            odd2 = v::add32(rotated(in3, zero, [F_3_072 - F_2_562, 0]), z3);
            odd3 = v::add32(rotated(in1, zero, [F_1_501 - F_0_899, 0]), z4);
        } else {
            let (a, b) = (v::add16(in7, in3), v::add16(in5, in1));
            let z3 = rotated(a, b, [F_1_175 - F_1_961, F_1_175]);
            let z4 = rotated(a, b, [F_1_175, F_1_175 - F_0_390]);
            odd0 = v::add32(rotated(in7, in1, [F_0_298 - F_0_899, -F_0_899]), z3);
            odd1 = v::add32(rotated(in5, in3, [F_2_053 - F_2_562, -F_2_562]), z4);
            odd2 = v::add32(rotated(in5, in3, [-F_2_562, F_3_072 - F_2_562]), z3);
            odd3 = v::add32(rotated(in7, in1, [-F_0_899, F_1_501 - F_0_899]), z4);
        }

        let round = v::splat32(1 << (SHIFT - 1));
        let descaled = |x: V| v::shr32::<SHIFT>(v::add32(x, round));
        [
            descaled(v::add32(sum0, odd3)),
            descaled(v::add32(sum1, odd2)),
            descaled(v::add32(sum2, odd1)),
            descaled(v::add32(sum3, odd0)),
            descaled(v::sub32(sum3, odd0)),
            descaled(v::sub32(sum2, odd1)),
            descaled(v::sub32(sum1, odd2)),
            descaled(v::sub32(sum0, odd3)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// jidctint.c for coefficients that do not overflow.
    fn plain(block: &[i64; 64]) -> [u8; 64] {
        let one = |i: [i64; 8], shift: u32| -> [i64; 8] {
            let f = |x: f64| (x * 8192.0 + 0.5).floor() as i64;
            let z1 = (i[2] + i[6]) * f(0.541196100);
            let (t2, t3) = (z1 - i[6] * f(1.847759065), z1 + i[2] * f(0.765366865));
            let (t0, t1) = ((i[0] + i[4]) << 13, (i[0] - i[4]) << 13);
            let (e0, e3, e1, e2) = (t0 + t3, t0 - t3, t1 + t2, t1 - t2);
            let (z1, z2, z3, z4) = (i[7] + i[1], i[5] + i[3], i[7] + i[3], i[5] + i[1]);
            let z5 = (z3 + z4) * f(1.175875602);
            let (z1, z2) = (-z1 * f(0.899976223), -z2 * f(2.562915447));
            let (z3, z4) = (-z3 * f(1.961570560) + z5, -z4 * f(0.390180644) + z5);
            let o0 = i[7] * f(0.298631336) + z1 + z3;
            let o1 = i[5] * f(2.053119869) + z2 + z4;
            let o2 = i[3] * f(3.072711026) + z2 + z3;
            let o3 = i[1] * f(1.501321110) + z1 + z4;
            let d = |x: i64| (x + (1 << (shift - 1))) >> shift;
            [d(e0 + o3), d(e1 + o2), d(e2 + o1), d(e3 + o0), d(e3 - o0), d(e2 - o1), d(e1 - o2), d(e0 - o3)]
        };
        let mut middle = [0; 64];
        for x in 0..8 {
            for (y, value) in one(std::array::from_fn(|y| block[y * 8 + x]), 11).into_iter().enumerate() {
                middle[y * 8 + x] = value;
            }
        }
        let mut out = [0; 64];
        for y in 0..8 {
            for (x, value) in one(std::array::from_fn(|x| middle[y * 8 + x]), 18).into_iter().enumerate() {
                out[y * 8 + x] = (value + 128).clamp(0, 255) as u8;
            }
        }
        out
    }

    #[test]
    fn samples_are_those_of_the_plain_method() {
        let mut state = 3u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for round in 0..3_000 {
            let mut block = Block::ZERO;
            // From one coefficient to all, in a corner or anywhere.
            let (corner, count) = (1 + next(8), round % 65);
            let most = 1 + 60 / (1 + count / 3);
            for _ in 0..count {
                let at = next(corner) * 8 + next(corner);
                block.0[at as usize] = (next(2 * most + 1) as i16) - most as i16;
            }
            let quant = Block(std::array::from_fn(|_| next(30) as i16 + 1));
            let mut out = [0; 64];
            // SAFETY: sixty-four bytes are there.
            unsafe { inverse(&block, &quant, out.as_mut_ptr(), 8) };
            let expected = plain(&std::array::from_fn(|i| i64::from(block.0[i]) * i64::from(quant.0[i])));
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_flat_block_is_the_whole_method_on_one_coefficient() {
        for dc in (-32_768..=32_767).step_by(97) {
            let mut block = Block::ZERO;
            block.0[0] = dc as i16;
            let quant = Block([3; 64]);
            let (mut whole, mut flat) = ([0; 64], [1; 64]);
            // SAFETY: sixty-four bytes are there.
            unsafe {
                inverse(&block, &quant, whole.as_mut_ptr(), 8);
                inverse_flat(dc as i16, &quant, flat.as_mut_ptr(), 8);
            }
            assert_eq!(whole, flat, "{dc}");
        }
    }
}
