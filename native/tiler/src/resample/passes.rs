//! Owns the two passes in 128-bit vectors, and the layouts they want.
//!
//! The fast product is i16 x i16 summed in pairs to i32, but weights have 23 bits: so each is split, two dot products
//! replace one, and `sum(high) * 2^SPLIT + sum(low)` is the exact sum. Both passes therefore want the two samples of a
//! pair side by side, and sixteen lanes of other samples beside them that share the weights:
//!
//! - columns: for each pair of columns, sixteen rows of two samples (32 bytes). Made from a strip by `to_columns`;
//!   `horizontal` makes of it sixteen rows of one sample for each target column.
//! - row pairs: two rows, sample by sample. Made by `to_row_pairs` from a strip, or by `columns_to_row_pairs` from
//!   what `horizontal` left; `vertical` makes rows of it.

use super::axis::{Axis, PRECISION_BITS, Pair, SPLIT, Window};
use crate::strip::ROWS;
use crate::vector::{self as v, V};

/// Pairs of rows in a strip.
pub const ROW_PAIRS: usize = ROWS / 2;
/// Bytes of a pair of columns.
const COLUMN_PAIR: usize = ROWS * 2;

/// Bytes `to_columns` writes for a plane of this width.
pub fn columns_bytes(width: usize) -> usize {
    width.div_ceil(16) * 8 * COLUMN_PAIR
}

/// Bytes of a pair of rows of this width.
pub fn row_pair_bytes(width: usize) -> usize {
    width.next_multiple_of(16) * 2
}

/// The sixteen rows at `plane`, `stride` apart and readable to a multiple of sixteen.
pub fn to_columns(plane: &[u8], stride: usize, width: usize, columns: &mut [u8]) {
    assert!(stride >= width.next_multiple_of(16) && plane.len() >= stride * ROWS);
    assert!(columns.len() >= columns_bytes(width));
    for half in 0..2 {
        for x in (0..width).step_by(16) {
            // SAFETY: rows and columns are as long as asserted.
            unsafe {
                let from = plane.as_ptr().add(half * 8 * stride + x);
                let rows = std::array::from_fn(|row| v::load(from.add(row * stride)));
                let to = columns.as_mut_ptr().add(x / 2 * COLUMN_PAIR + half * 16);
                for (pair, lanes) in v::transpose16(rows).into_iter().enumerate() {
                    v::store(to.add(pair * COLUMN_PAIR), lanes);
                }
            }
        }
    }
}

/// One target column after another, sixteen rows each.
pub fn horizontal(columns: &[u8], axis: &Axis, out: &mut [u8]) {
    assert!(out.len() >= axis.windows.len() * ROWS);
    for (window, to) in axis.windows.iter().zip(out.chunks_exact_mut(ROWS)) {
        let Window { first, count, pairs_at, .. } = *window;
        let (first, count) = (first as usize, count as usize);
        let weights = &axis.pairs[pairs_at as usize..pairs_at as usize + count];
        let from = &columns[first * COLUMN_PAIR..(first + count) * COLUMN_PAIR];
        let mut sums = Sums::new();
        for (pair, at) in weights.iter().zip(from.chunks_exact(COLUMN_PAIR)) {
            // SAFETY: a pair of columns has 32 bytes.
            unsafe { sums.add(pair, at.as_ptr()) };
        }
        // SAFETY: sixteen bytes are there.
        unsafe { v::store(to.as_mut_ptr(), sums.finish()) };
    }
}

/// What `horizontal` left of `width` columns, as pairs of rows: pair `i` goes to `pairs[slot(i)]`, each `stride` bytes.
pub fn columns_to_row_pairs(
    columns: &[u8],
    width: usize,
    pairs: &mut [u8],
    stride: usize,
    slot: impl Fn(usize) -> usize,
) {
    assert!(columns.len() >= width.next_multiple_of(8) * ROWS && stride >= row_pair_bytes(width));
    let to: [*mut u8; ROW_PAIRS] = std::array::from_fn(|i| pairs[slot(i) * stride..][..stride].as_mut_ptr());
    for x in (0..width).step_by(8) {
        // SAFETY: columns and rows are as long as asserted.
        unsafe {
            let from = columns.as_ptr().add(x * ROWS);
            let lanes = v::transpose16(std::array::from_fn(|column| v::load(from.add(column * ROWS))));
            for (pair, lanes) in to.iter().zip(lanes) {
                v::store(pair.add(x * 2), lanes);
            }
        }
    }
}

/// Two rows as a pair.
pub fn to_row_pair(upper: &[u8], lower: &[u8], pair: &mut [u8]) {
    let pieces = upper.chunks_exact(16).zip(lower.chunks_exact(16)).zip(pair.chunks_exact_mut(32));
    for ((upper, lower), out) in pieces {
        // SAFETY: chunks have sixteen and 32 bytes.
        unsafe {
            let (upper, lower) = (v::load(upper.as_ptr()), v::load(lower.as_ptr()));
            v::store(out.as_mut_ptr(), v::zip8_low(upper, lower));
            v::store(out.as_mut_ptr().add(16), v::zip8_high(upper, lower));
        }
    }
}

/// A ring of row pairs, in which pair `i` lies in slot `i % slots`.
pub struct Ring<'a> {
    pub bytes: &'a [u8],
    /// Bytes of a slot.
    pub stride: usize,
    pub slots: usize,
}

/// One target row, written to a multiple of sixteen samples.
pub fn vertical(ring: &Ring, axis: &Axis, window: &Window, out: &mut [u8]) {
    let (first, count) = (window.first as usize, window.count as usize);
    let weights = &axis.pairs[window.pairs_at as usize..window.pairs_at as usize + count];
    let width = out.len() / 16 * 16;
    assert!(count <= ring.slots && ring.bytes.len() >= ring.slots * ring.stride && ring.stride >= width * 2);
    // SAFETY: slots and rows are as long as asserted.
    unsafe {
        let base = ring.bytes.as_ptr();
        let end = base.add(ring.slots * ring.stride);
        let start = base.add(first % ring.slots * ring.stride);
        for x in (0..width).step_by(16) {
            let mut sums = Sums::new();
            let mut at = start;
            for pair in weights {
                sums.add(pair, at.add(x * 2));
                at = at.add(ring.stride);
                at = if at == end { base } else { at };
            }
            v::store(out.as_mut_ptr().add(x), sums.finish());
        }
    }
}

/// The sums of sixteen lanes, high and low halves apart.
struct Sums {
    high: [V; 4],
    low: [V; 4],
}

impl Sums {
    #[inline(always)]
    fn new() -> Self {
        Self { high: [v::splat32(0); 4], low: [v::splat32(1 << (PRECISION_BITS - 1)); 4] }
    }

    /// # Safety
    /// `at` has sixteen lanes of two bytes.
    #[inline(always)]
    unsafe fn add(&mut self, pair: &Pair, at: *const u8) {
        let pair = std::ptr::from_ref(pair).cast::<u8>();
        // SAFETY: a Pair is eight bytes.
        let (high, low) = unsafe { (v::load_splat32(pair), v::load_splat32(pair.add(4))) };
        for lane in 0..4 {
            // SAFETY: as the caller promises.
            let taps = unsafe { v::load_u8(at.add(lane * 8)) };
            self.high[lane] = v::add32(self.high[lane], v::dot(taps, high));
            self.low[lane] = v::add32(self.low[lane], v::dot(taps, low));
        }
    }

    #[inline(always)]
    fn finish(self) -> V {
        let lane = |i: usize| v::shr32::<PRECISION_BITS>(v::add32(v::shl32::<SPLIT>(self.high[i]), self.low[i]));
        v::narrow16(v::narrow32(lane(0), lane(1)), v::narrow32(lane(2), lane(3)))
    }
}
