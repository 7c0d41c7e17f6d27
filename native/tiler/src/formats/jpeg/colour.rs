//! Owns colour: YCbCr to RGB as libjpeg rounds it, and CMYK as Pillow reads it.

use crate::picture::div255;
use crate::vector::{self as v, V};

/// Sixteen samples at a time, to `width` rounded up.
///
/// # Safety
/// Rows are readable and writable as far.
pub unsafe fn ycc_to_rgb(ycc: [*const u8; 3], rgb: [*mut u8; 3], width: usize) {
    // As libjpeg's tables in 16-bit fixed point, but of half the steps: 0.34414 and 0.71414 are even there.
    let green = v::splat32((-23_401 << 16) | 11_277u16.wrapping_neg() as i32);
    let half = v::splat32(1 << 14);
    // These give the same roundings as 1.402 and 1.772 in 16 bits for all 256 samples; a test tries them.
    let (red, blue) = (v::splat16(RED), v::splat16(BLUE));
    let centre = v::splat16(128);
    let lanes = |y: V, cb: V, cr: V| {
        let (cb, cr) = (v::sub16(cb, centre), v::sub16(cr, centre));
        let sum = |zipped: V| v::shr32::<15>(v::add32(v::dot(zipped, green), half));
        let less = v::narrow32(sum(v::zip16_low(cb, cr)), sum(v::zip16_high(cb, cr)));
        let twice = |x: V| v::add16(x, x);
        [v::add16(y, v::q15(twice(cr), red)), v::add16(y, less), v::add16(y, v::q15(twice(cb), blue))]
    };
    for x in (0..width).step_by(16) {
        // SAFETY: as the caller promises.
        unsafe {
            let [y, cb, cr] = ycc.map(|row| v::load(row.add(x)));
            let low = lanes(v::extend_low(y), v::extend_low(cb), v::extend_low(cr));
            let high = lanes(v::extend_high(y), v::extend_high(cb), v::extend_high(cr));
            for (channel, row) in rgb.iter().enumerate() {
                v::store(row.add(x), v::narrow16(low[channel], high[channel]));
            }
        }
    }
}

const RED: i16 = 22_970;
const BLUE: i16 = 29_033;

/// YCCK to CMYK: the first three are those of RGB turned over, the fourth stays.
pub fn invert(row: &mut [u8]) {
    for sample in row {
        *sample = 255 - *sample;
    }
}

/// Pillow takes every CMYK JPEG as Adobe's, whose inks are stored inverted. `samples` are three of them.
pub fn inks_to_rgb(samples: &mut [&mut [u8]; 3], black: &[u8]) {
    for plane in samples {
        for (sample, &black) in plane.iter_mut().zip(black) {
            *sample = ink_to_light(*sample, black);
        }
    }
}

/// One of the three colours of a pixel with this black.
#[inline(always)]
pub fn ink_to_light(inverted: u8, black: u8) -> u8 {
    black.saturating_sub(div255(u32::from(255 - inverted) * u32::from(black)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_colours_are_those_of_libjpeg() {
        let fix = |x: f64| (x * 65_536.0 + 0.5) as i64;
        let row: Vec<u8> = (0..=255).collect();
        let mut rgb = vec![vec![0; 256]; 3];
        for luma in [0, 1, 100, 254, 255] {
            for cr in 0..=255u8 {
                let (y, red) = (vec![luma; 256], vec![cr; 256]);
                let [r, g, b] = &mut rgb[..] else { unreachable!() };
                let to = [r.as_mut_ptr(), g.as_mut_ptr(), b.as_mut_ptr()];
                // SAFETY: all rows have 256 samples.
                unsafe { ycc_to_rgb([y.as_ptr(), row.as_ptr(), red.as_ptr()], to, 256) };
                for cb in 0..=255u8 {
                    let (b, r) = (i64::from(cb) - 128, i64::from(cr) - 128);
                    let sums = [
                        (fix(1.402) * r + 32_768) >> 16,
                        (-fix(0.34414) * b - fix(0.71414) * r + 32_768) >> 16,
                        (fix(1.772) * b + 32_768) >> 16,
                    ];
                    let expected = sums.map(|sum| (i64::from(luma) + sum).clamp(0, 255) as u8);
                    assert_eq!([0, 1, 2].map(|c| rgb[c][cb as usize]), expected, "{luma} {cb} {cr}");
                }
            }
        }
    }
}
