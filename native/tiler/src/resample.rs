//! Owns resizing: Pillow 13's bicubic for 8-bit RGB, bit for bit.
//!
//! Two passes of weighted sums. Weights are normalised in f64 and rounded to 22-bit fixed point; each pass starts at
//! one half, and its result is clamped to u8. The order of the passes is part of the result and follows Pillow 13.

use crate::error::{Reason, Result, fail};
use crate::picture::Picture;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "resample/simd.rs"]
mod kernel;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "resample/plain.rs"]
mod kernel;

pub(crate) const PRECISION_BITS: u32 = 22;
/// Radius of the bicubic filter, in source pixels at scale 1.
const SUPPORT: f64 = 2.0;

/// The source window of each output position along one axis.
pub(crate) struct Axis {
    pub windows: Vec<Window>,
    /// Weights of all windows, one after another, each padded with a zero to an even count.
    pub weights: Vec<i32>,
}

#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// First source position.
    pub start: usize,
    /// Number of source positions, never 0.
    pub taps: usize,
    /// Where the window's weights begin in `Axis::weights`.
    pub weights_at: usize,
}

impl Axis {
    fn new(source: usize, target: usize) -> Result<Self> {
        let scale = source as f64 / target as f64;
        let filter_scale = scale.max(1.0);
        let support = SUPPORT * filter_scale;
        let inverse = 1.0 / filter_scale;
        let mut windows = Vec::with_capacity(target);
        let mut weights = Vec::new();
        let mut window_weights = Vec::new();
        for position in 0..target {
            let centre = (position as f64 + 0.5) * scale;
            // `as usize` truncates and takes negative numbers to 0, which is what Pillow does in two steps.
            let start = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            window_weights.clear();
            window_weights.extend((start..end).map(|x| bicubic((x as f64 - centre + 0.5) * inverse)));
            let sum = window_weights.iter().fold(0.0, |sum, weight| sum + weight);
            windows.push(Window { start, taps: window_weights.len(), weights_at: weights.len() });
            if weights.try_reserve(window_weights.len() + 1).is_err() {
                return fail(Reason::OutOfMemory, "no memory for the weights");
            }
            weights
                .extend(window_weights.iter().map(|weight| to_fixed(if sum == 0.0 { *weight } else { weight / sum })));
            if weights.len() % 2 == 1 {
                weights.push(0);
            }
        }
        Ok(Self { windows, weights })
    }
}

/// Keys' cubic with a = -0.5, in Pillow's order of operations.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// To the nearest 22-bit fixed point, halves away from zero.
fn to_fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

pub fn resize(source: &Picture, width: usize, height: usize) -> Result<Picture> {
    let (columns, rows) = (Axis::new(source.width, width)?, Axis::new(source.height, height)?);
    let (narrower, lower) = (source.width as i64 - width as i64, source.height as i64 - height as i64);
    let vertical_first = lower > 0 && lower > 2 * narrower;
    match (source.width != width, source.height != height) {
        (true, true) if vertical_first => horizontal(&vertical(source, &rows)?, &columns),
        (true, true) => vertical(&horizontal(source, &columns)?, &rows),
        (true, false) => horizontal(source, &columns),
        (false, _) => vertical(source, &rows),
    }
}

fn horizontal(source: &Picture, columns: &Axis) -> Result<Picture> {
    let mut out = Picture::new(columns.windows.len() as u32, source.height as u32)?;
    kernel::horizontal(source, columns, &mut out);
    Ok(out)
}

fn vertical(source: &Picture, rows: &Axis) -> Result<Picture> {
    let mut out = Picture::new(source.width as u32, rows.windows.len() as u32)?;
    kernel::vertical(source, rows, &mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: u32, height: u32) -> Picture {
        let mut picture = Picture::new(width, height).unwrap();
        let mut state = 1u32;
        for byte in picture.pixels_mut() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        picture
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let picture = noise(7, 5);
        let same = resize(&picture, 7, 5).unwrap();
        assert_eq!(same.rgb[..7 * 5 * 3], picture.rgb[..7 * 5 * 3]);
    }

    /// Made by Pillow 13.0.0 on the same noise: smaller and larger, each order of the passes, one pass alone.
    #[test]
    fn pixels_are_those_of_pillow() {
        let cases: [([u32; 2], [usize; 2], u64); 6] = [
            ([61, 47], [28, 28], 0x9dbe_2770_40e4_1daa),
            ([20, 300], [28, 14], 0x47e6_e1a8_1dbf_a3b6),
            ([300, 20], [14, 28], 0xc433_578a_a887_72b0),
            ([9, 7], [112, 56], 0xf540_7857_52bc_6e3b),
            ([33, 33], [33, 10], 0x6956_d8b5_1328_3390),
            ([33, 33], [10, 33], 0xad8f_b1a0_7675_cfe1),
        ];
        for (from, [width, height], expected) in cases {
            let out = resize(&noise(from[0], from[1]), width, height).unwrap();
            let hash = |hash: u64, &byte: &u8| hash.wrapping_mul(31).wrapping_add(byte.into());
            assert_eq!(out.rgb[..width * height * 3].iter().fold(0, hash), expected, "{from:?} to {width}x{height}");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let mut picture = Picture::new(33, 57).unwrap();
        picture.pixels_mut().fill(201);
        for (width, height) in [(1, 1), (5, 90), (448, 3), (16, 16)] {
            let out = resize(&picture, width, height).unwrap();
            assert!(out.rgb[..width * height * 3].iter().all(|&byte| byte == 201));
        }
    }

    #[test]
    fn weights_of_a_window_sum_to_one() {
        for (source, target) in [(1920, 448), (3, 448), (1, 7), (1000, 1)] {
            let axis = Axis::new(source, target).unwrap();
            for window in &axis.windows {
                let sum: i32 = axis.weights[window.weights_at..window.weights_at + window.taps].iter().sum();
                assert!((sum - (1 << PRECISION_BITS)).abs() <= window.taps as i32);
                assert!(window.taps > 0 && window.start + window.taps <= source);
            }
        }
    }
}
