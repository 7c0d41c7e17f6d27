//! Owns the two passes in 128-bit vectors, equal to plain.rs.
//!
//! The fast product is i16 x i16 summed in pairs to i32 (`i32x4_dot_i16x8`), but weights have 23 bits. So each is split:
//! `weight = high * 2^SPLIT + low`, both halves fit i16, two dot products replace one, and `sum(high) * 2^SPLIT +
//! sum(low)` is the exact sum (modulo 2^32, like the plain one). Two taps are taken at a time; windows have even weights.

use super::{Axis, PRECISION_BITS, Window};
use crate::picture::{Picture, SLACK};
use core::arch::wasm32::*;

const SPLIT: u32 = 11;
const HALF: i32 = 1 << (PRECISION_BITS - 1);
/// Rows that share the loads of the weights in the horizontal pass.
const BLOCK: usize = 4;

/// Two taps as i16 pairs: the high halves, then the low ones.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pair {
    high: [i16; 2],
    low: [i16; 2],
}

fn split(weights: &[i32]) -> Vec<Pair> {
    let low = |weight: i32| (weight & ((1 << SPLIT) - 1)) as i16;
    weights
        .chunks_exact(2)
        .map(|pair| Pair {
            high: [(pair[0] >> SPLIT) as i16, (pair[1] >> SPLIT) as i16],
            low: [low(pair[0]), low(pair[1])],
        })
        .collect()
}

/// Both halves of a pair, each in every 32-bit lane.
///
/// # Safety
/// `pair` points to a `Pair`.
#[inline(always)]
unsafe fn splat(pair: *const Pair) -> (v128, v128) {
    // SAFETY: a Pair is eight bytes.
    unsafe { (v128_load32_splat(pair.cast()), v128_load32_splat(pair.cast::<u32>().add(1))) }
}

/// The finished sums of four lanes, not yet clamped.
#[inline(always)]
fn finish(high: v128, low: v128) -> v128 {
    let sum = i32x4_add(i32x4_add(i32x4_shl(high, SPLIT), low), i32x4_splat(HALF));
    i32x4_shr(sum, PRECISION_BITS)
}

pub fn horizontal(source: &Picture, columns: &Axis, out: &mut Picture) {
    let pairs = split(&columns.weights);
    let (from_stride, to_stride) = (source.width * 3, out.width * 3);
    let mut row = 0;
    // SAFETY: rows lie inside both buffers; a window's last pair may read up to five bytes after the source's last
    // pixel, which SLACK covers.
    unsafe {
        while row + BLOCK <= source.height {
            let (from, to) = (source.rgb.as_ptr().add(row * from_stride), out.rgb.as_mut_ptr().add(row * to_stride));
            horizontal_rows::<BLOCK>(from, from_stride, to, to_stride, &columns.windows, &pairs);
            row += BLOCK;
        }
        while row < source.height {
            let (from, to) = (source.rgb.as_ptr().add(row * from_stride), out.rgb.as_mut_ptr().add(row * to_stride));
            horizontal_rows::<1>(from, from_stride, to, to_stride, &columns.windows, &pairs);
            row += 1;
        }
    }
}

#[inline(always)]
unsafe fn horizontal_rows<const ROWS: usize>(
    from: *const u8,
    from_stride: usize,
    to: *mut u8,
    to_stride: usize,
    windows: &[Window],
    pairs: &[Pair],
) {
    const Z: i8 = -1;
    // r0 g0 b0 r1 g1 b1 -> r0 r1 g0 g1 b0 b1 as u16, the fourth lane empty.
    let interleave = i8x16(0, Z, 3, Z, 1, Z, 4, Z, 2, Z, 5, Z, Z, Z, Z, Z);
    let last = windows.len() - 1;
    for (x, window) in windows.iter().enumerate() {
        let mut high = [i32x4_splat(0); ROWS];
        let mut low = [i32x4_splat(0); ROWS];
        // SAFETY: the caller's rows; windows lie inside a row, their pairs inside `pairs`.
        unsafe {
            let mut pair = pairs.as_ptr().add(window.weights_at / 2);
            let end = pair.add(window.taps.div_ceil(2));
            let mut at = from.add(window.start * 3);
            while pair < end {
                let (weight_high, weight_low) = splat(pair);
                for row in 0..ROWS {
                    let taps = i8x16_swizzle(v128_load64_zero(at.add(row * from_stride).cast()), interleave);
                    high[row] = i32x4_add(high[row], i32x4_dot_i16x8(taps, weight_high));
                    low[row] = i32x4_add(low[row], i32x4_dot_i16x8(taps, weight_low));
                }
                pair = pair.add(1);
                at = at.add(6);
            }
            for row in 0..ROWS {
                let words = i16x8_narrow_i32x4(finish(high[row], low[row]), i32x4_splat(0));
                let pixel = i32x4_extract_lane::<0>(u8x16_narrow_i16x8(words, words)).to_le_bytes();
                let target = to.add(row * to_stride + x * 3);
                if x < last {
                    // The fourth byte is the next pixel's, written after this one.
                    target.cast::<[u8; 4]>().write_unaligned(pixel);
                } else {
                    target.cast::<[u8; 3]>().write_unaligned([pixel[0], pixel[1], pixel[2]]);
                }
            }
        }
    }
}

pub fn vertical(source: &Picture, rows: &Axis, out: &mut Picture) {
    const { assert!(SLACK >= 16) };
    let pairs = split(&rows.weights);
    let stride = source.width * 3;
    for (y, window) in rows.windows.iter().enumerate() {
        // SAFETY: windows lie inside the source; whole vectors may run past a row's end by 15 bytes, into the next row
        // (written after this one) or into SLACK.
        unsafe {
            let from = source.rgb.as_ptr().add(window.start * stride);
            let to = out.rgb.as_mut_ptr().add(y * stride);
            let mut x = 0;
            while x < stride {
                vertical_block(from.add(x), stride, to.add(x), window, &pairs);
                x += 16;
            }
        }
    }
}

/// Sixteen bytes of one output row.
///
/// # Safety
/// `from` is the place in the window's first row; sixteen bytes may be read there and in each row of the window, and
/// written at `to`.
#[inline(always)]
unsafe fn vertical_block(from: *const u8, stride: usize, to: *mut u8, window: &Window, pairs: &[Pair]) {
    let mut high = [i32x4_splat(0); 4];
    let mut low = [i32x4_splat(0); 4];
    // SAFETY: as the caller promises.
    unsafe {
        let mut pair = pairs.as_ptr().add(window.weights_at / 2);
        let mut at = from;
        for tap in (0..window.taps).step_by(2) {
            let (weight_high, weight_low) = splat(pair);
            let first: v128 = v128_load(at.cast());
            // An odd window's last weight is zero: any readable row will do.
            let second: v128 = v128_load(if tap + 1 < window.taps { at.add(stride) } else { at }.cast());
            let left = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(first, second);
            let right = i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(first, second);
            let taps = [
                u16x8_extend_low_u8x16(left),
                u16x8_extend_high_u8x16(left),
                u16x8_extend_low_u8x16(right),
                u16x8_extend_high_u8x16(right),
            ];
            for lane in 0..4 {
                high[lane] = i32x4_add(high[lane], i32x4_dot_i16x8(taps[lane], weight_high));
                low[lane] = i32x4_add(low[lane], i32x4_dot_i16x8(taps[lane], weight_low));
            }
            pair = pair.add(1);
            at = at.add(2 * stride);
        }
        let left = i16x8_narrow_i32x4(finish(high[0], low[0]), finish(high[1], low[1]));
        let right = i16x8_narrow_i32x4(finish(high[2], low[2]), finish(high[3], low[3]));
        v128_store(to.cast(), u8x16_narrow_i16x8(left, right));
    }
}
