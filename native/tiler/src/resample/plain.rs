//! Owns the two passes in plain Rust: the truth that the vector kernel must equal, and what native builds run.

use super::{Axis, PRECISION_BITS, Window};
use crate::picture::Picture;

const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn clamp(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

pub fn horizontal(source: &Picture, columns: &Axis, out: &mut Picture) {
    let stride = source.width * 3;
    for (line, row) in out.rows_mut().zip(source.rgb.chunks_exact(stride)) {
        for (pixel, window) in line.chunks_exact_mut(3).zip(&columns.windows) {
            let Window { start, taps, weights_at } = *window;
            let mut sums = [HALF; 3];
            let weights = &columns.weights[weights_at..weights_at + taps];
            for (stored, &weight) in row[start * 3..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(stored) {
                    *sum = sum.wrapping_add(i32::from(value) * weight);
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = clamp(sum);
            }
        }
    }
}

pub fn vertical(source: &Picture, rows: &Axis, out: &mut Picture) {
    let stride = source.width * 3;
    let mut sums = vec![0; stride];
    for (line, window) in out.rows_mut().zip(&rows.windows) {
        let Window { start, taps, weights_at } = *window;
        sums.fill(HALF);
        let weights = &rows.weights[weights_at..weights_at + taps];
        for (row, &weight) in source.rgb[start * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(value) * weight);
            }
        }
        for (value, &sum) in line.iter_mut().zip(&sums) {
            *value = clamp(sum);
        }
    }
}
