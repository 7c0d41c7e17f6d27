//! Owns one axis of a resize: which source positions make a target position, and with which weights, as in Pillow 13.
//!
//! Weights are normalised in f64 and rounded to 22-bit fixed point. For the kernels (passes.rs) a window begins at an
//! even position and has an even length, filled up with zeros, and a weight is kept as two halves.

use crate::error::{Reason, Result, fail};

pub const PRECISION_BITS: u32 = 22;
/// `weight = high * 2^SPLIT + low`; both halves fit i16.
pub const SPLIT: u32 = 11;
/// Radius of the bicubic filter, in source pixels at scale 1.
const SUPPORT: f64 = 2.0;

/// Two neighbouring weights: their high halves, then their low ones.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pair {
    pub high: [i16; 2],
    pub low: [i16; 2],
}

/// Bytes of a target position beside its pairs.
pub const WINDOW_BYTES: usize = size_of::<Window>();

#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First pair of source positions.
    pub first: u32,
    /// Number of pairs, never 0.
    pub count: u32,
    /// Where the window's weights begin in `Axis::pairs`.
    pub pairs_at: u32,
    /// The source position after the last one that counts.
    pub end: u32,
}

pub struct Axis {
    /// In the order of the source.
    pub windows: Vec<Window>,
    pub pairs: Vec<Pair>,
    /// Most pairs of a window.
    pub span: usize,
}

impl Axis {
    /// `mirrored`: the resized picture shows this axis backwards. Its windows are those of the picture as shown, which
    /// need not be symmetric to the last bit, given in the order of the stored one.
    pub fn new(source: usize, target: usize, mirrored: bool) -> Result<Self> {
        let mut axis = Self { windows: reserved(target)?, pairs: reserved(max_pairs(source, target))?, span: 0 };
        let scale = source as f64 / target as f64;
        let mut weights = Vec::new();
        for position in 0..target {
            let shown = if mirrored { target - 1 - position } else { position };
            let mut start = window_weights(shown, scale, source, &mut weights);
            if mirrored {
                weights.reverse();
                start = source - start - weights.len();
            }
            axis.push(start, &mut weights);
        }
        Ok(axis)
    }

    fn push(&mut self, start: usize, weights: &mut Vec<i32>) {
        let end = start + weights.len();
        if start % 2 == 1 {
            weights.insert(0, 0);
        }
        if weights.len() % 2 == 1 {
            weights.push(0);
        }
        let count = weights.len() / 2;
        let pairs_at = self.pairs.len() as u32;
        self.windows.push(Window { first: (start / 2) as u32, count: count as u32, pairs_at, end: end as u32 });
        let high = |weight: i32| (weight >> SPLIT) as i16;
        let low = |weight: i32| (weight & ((1 << SPLIT) - 1)) as i16;
        self.pairs.extend(
            weights
                .chunks_exact(2)
                .map(|pair| Pair { high: [high(pair[0]), high(pair[1])], low: [low(pair[0]), low(pair[1])] }),
        );
        self.span = self.span.max(count);
    }
}

/// No axis has more.
pub fn max_pairs(source: usize, target: usize) -> usize {
    // Four taps a source position when the axis shrinks, five a target position when it grows; each window is filled up.
    let taps = if source > target { 4 * source + 2 * target } else { 6 * target };
    taps / 2 + 2 * target
}

fn reserved<T>(len: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    if items.try_reserve_exact(len).is_err() {
        return fail(Reason::OutOfMemory, "no memory for the weights");
    }
    Ok(items)
}

/// The weights of one target position and the source position of the first, in Pillow's order of operations.
fn window_weights(position: usize, scale: f64, source: usize, weights: &mut Vec<i32>) -> usize {
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    let inverse = 1.0 / filter_scale;
    let centre = (position as f64 + 0.5) * scale;
    // `as usize` truncates and takes negative numbers to 0, which is what Pillow does in two steps.
    let start = (centre - support + 0.5) as usize;
    let end = ((centre + support + 0.5) as usize).min(source);
    let weight = |x: usize| bicubic((x as f64 - centre + 0.5) * inverse);
    let sum = (start..end).fold(0.0, |sum, x| sum + weight(x));
    weights.clear();
    weights.extend((start..end).map(|x| to_fixed(if sum == 0.0 { weight(x) } else { weight(x) / sum })));
    start
}

/// Keys' cubic with a = -0.5.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The weights of a window as they were before they were split.
    pub fn whole(axis: &Axis, window: &Window) -> Vec<i32> {
        let pairs = &axis.pairs[window.pairs_at as usize..(window.pairs_at + window.count) as usize];
        let join = |high: i16, low: i16| (i32::from(high) << SPLIT) + i32::from(low);
        pairs.iter().flat_map(|pair| [0, 1].map(|i| join(pair.high[i], pair.low[i]))).collect()
    }

    #[test]
    fn weights_of_a_window_sum_to_one_and_lie_inside() {
        for (source, target) in [(1920, 448), (3, 448), (1, 7), (1000, 1), (449, 448), (7, 7), (65_535, 1)] {
            for mirrored in [false, true] {
                let axis = Axis::new(source, target, mirrored).unwrap();
                assert_eq!(axis.windows.len(), target);
                assert!(axis.pairs.len() <= max_pairs(source, target));
                for window in &axis.windows {
                    let sum: i32 = whole(&axis, window).iter().sum();
                    assert!((sum - (1 << PRECISION_BITS)).abs() <= 2 * window.count as i32);
                    assert!(window.count > 0 && window.end as usize <= source);
                    assert!(window.end > (window.first + window.count - 1) * 2);
                }
                assert!(axis.windows.is_sorted_by_key(|window| (window.first, window.end)));
            }
        }
    }

    #[test]
    fn a_mirrored_axis_is_the_axis_read_from_its_end() {
        let (plain, mirrored) = (Axis::new(101, 28, false).unwrap(), Axis::new(101, 28, true).unwrap());
        for (a, b) in plain.windows.iter().zip(mirrored.windows.iter().rev()) {
            let trimmed = |axis, window| {
                let weights = whole(axis, window);
                let from = weights.iter().position(|&weight| weight != 0).unwrap();
                let to = weights.iter().rposition(|&weight| weight != 0).unwrap();
                weights[from..=to].to_vec()
            };
            let mut backwards = trimmed(&mirrored, b);
            backwards.reverse();
            assert_eq!(trimmed(&plain, a), backwards);
        }
    }
}
