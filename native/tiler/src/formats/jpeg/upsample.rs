//! Owns bringing subsampled rows to full size: libjpeg's triangle filter where it has one, repetition elsewhere.
//!
//! Rows have one readable sample before the first and one after the last, equal to their neighbours; with these the
//! filter needs no special case at the edges.

use crate::vector::{self as v, V};

/// Twice the width: samples 3/4 of the nearer and 1/4 of the further one, rounded down and up in turn.
///
/// # Safety
/// `row` is readable from one before to `width` rounded up to 8 and 17 more, `out` writable to twice that.
pub unsafe fn twice_wide(row: *const u8, width: usize, out: *mut u8) {
    for x in (0..width).step_by(8) {
        // SAFETY: as the caller promises.
        unsafe {
            let at = row.add(x);
            let (left, this, right) = (v::load_u8(at.sub(1)), v::load_u8(at), v::load_u8(at.add(1)));
            let this = v::add16(v::add16(this, this), this);
            let even = v::shr16::<2>(v::add16(v::add16(this, left), v::splat16(1)));
            let odd = v::shr16::<2>(v::add16(v::add16(this, right), v::splat16(2)));
            store_zipped(out.add(x * 2), even, odd);
        }
    }
}

/// Twice the width of a row that lies between `near` and `far`, a quarter of the way.
///
/// # Safety
/// As for `twice_wide`.
pub unsafe fn twice_wide_between(near: *const u8, far: *const u8, width: usize, out: *mut u8) {
    // SAFETY: as the caller promises.
    let sum = |x: usize| unsafe {
        let near = v::load_u8(near.wrapping_add(x));
        v::add16(v::add16(v::add16(near, near), near), v::load_u8(far.wrapping_add(x)))
    };
    // Lane 7 is the sample before the first.
    let mut left = sum(0usize.wrapping_sub(8));
    let mut this = sum(0);
    for x in (0..width).step_by(8) {
        let right = sum(x + 8);
        let three = v::add16(v::add16(this, this), this);
        let even = v::shr16::<4>(v::add16(v::add16(three, v::before(left, this)), v::splat16(8)));
        let odd = v::shr16::<4>(v::add16(v::add16(three, v::after(this, right)), v::splat16(7)));
        // SAFETY: as the caller promises.
        unsafe { store_zipped(out.add(x * 2), even, odd) };
        (left, this) = (this, right);
    }
}

/// # Safety
/// Sixteen bytes are writable.
#[inline(always)]
unsafe fn store_zipped(out: *mut u8, even: V, odd: V) {
    // Both are below 256: the odd ones go into the upper bytes.
    unsafe { v::store(out, v::or(even, v::shl16::<8>(odd))) }
}

/// A row between `near` and `far`, a quarter of the way. `bias` is 1 for the upper of two rows, 2 for the lower.
///
/// # Safety
/// Rows are readable, and `out` is writable, to `width` rounded up to 8.
pub unsafe fn between(near: *const u8, far: *const u8, bias: i16, width: usize, out: *mut u8) {
    for x in (0..width).step_by(8) {
        // SAFETY: as the caller promises.
        unsafe {
            let (near, far) = (v::load_u8(near.add(x)), v::load_u8(far.add(x)));
            let three = v::add16(v::add16(near, near), near);
            let sum = v::shr16::<2>(v::add16(v::add16(three, far), v::splat16(bias)));
            v::store_low(out.add(x), v::narrow16(sum, sum));
        }
    }
}

/// Each sample `times` times.
pub fn repeated(row: &[u8], times: usize, out: &mut [u8]) {
    for (samples, &value) in out.chunks_exact_mut(times).zip(row) {
        samples.fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with the samples at both edges repeated.
    fn padded(row: &[u8]) -> Vec<u8> {
        let mut out = vec![77; 16];
        out[15] = row[0];
        out.extend(row);
        out.push(row[row.len() - 1]);
        out.extend([99; 40]);
        out
    }

    /// libjpeg's formulas as they stand in jdsample.c, edges apart.
    fn plain(near: &[u8], far: Option<&[u8]>) -> Vec<u8> {
        let (weight, biases, shift) = if far.is_some() { (3, [8, 7], 4) } else { (1, [1, 2], 2) };
        let sums: Vec<i32> =
            (0..near.len()).map(|x| weight * i32::from(near[x]) + far.map_or(0, |far| i32::from(far[x]))).collect();
        let at = |x: isize| sums[x.clamp(0, sums.len() as isize - 1) as usize];
        (0..2 * near.len() as isize)
            .map(|x| {
                let other = if x % 2 == 0 { x / 2 - 1 } else { x / 2 + 1 };
                ((3 * at(x / 2) + at(other) + biases[(x % 2) as usize]) >> shift) as u8
            })
            .collect()
    }

    #[test]
    fn triangles_are_those_of_libjpeg() {
        for width in [1, 2, 3, 7, 8, 9, 15, 16, 17, 40] {
            let near: Vec<u8> = (0..width).map(|x| (x * 89 + 3) as u8).collect();
            let far: Vec<u8> = (0..width).map(|x| (x * 53 + 200) as u8).collect();
            let mut out = vec![0; 2 * width + 32];
            let (padded_near, padded_far) = (padded(&near), padded(&far));
            // SAFETY: sixteen bytes lie before the rows, forty behind them.
            unsafe {
                let (near_at, far_at) = (padded_near.as_ptr().add(16), padded_far.as_ptr().add(16));
                twice_wide(near_at, width, out.as_mut_ptr());
                assert_eq!(out[..2 * width], plain(&near, None));
                twice_wide_between(near_at, far_at, width, out.as_mut_ptr());
                assert_eq!(out[..2 * width], plain(&near, Some(&far)));
                between(near_at, far_at, 1, width, out.as_mut_ptr());
            }
            for x in 0..width {
                assert_eq!(u32::from(out[x]), (3 * u32::from(near[x]) + u32::from(far[x]) + 1) >> 2);
            }
        }
    }
}
