//! Owns block smoothing: where a progressive file left coefficients inaccurate, libjpeg guesses them from the means of
//! the 5 x 5 blocks around (jdcoefct.c), and so does Pillow.

use super::frame::{Frame, Scan};
use super::idct::Block;
use super::plane::Plane;

/// How well the coefficients of a component are known, in the order of storage: -1 not at all, else the number of
/// lower bits that are missing.
#[derive(Clone, Copy)]
pub struct Accuracy {
    bits: [i8; 64],
    /// Before the component's last scan.
    previous: [i8; 64],
}

impl Accuracy {
    pub const NONE: Self = Self { bits: [-1; 64], previous: [-1; 64] };

    /// A scan brings its band to `scan.low`; `number` counts scans from 1.
    pub fn note(&mut self, scan: &Scan, number: usize) {
        for index in scan.first.min(1)..=scan.last.max(9) {
            self.previous[index] = if number > 1 { self.bits[index] } else { 0 };
        }
        self.bits[scan.first..=scan.last].fill(scan.low as i8);
    }
}

/// A coefficient that is guessed: its place in storage and in the block, and the weights of the 25 means, with those that
/// are used if nothing but the means is known at all. Weights are scaled by 256.
struct Guess {
    stored: usize,
    place: usize,
    known: Option<[i16; 25]>,
    alone: [i16; 25],
}

#[rustfmt::skip]
const GUESSES: [Guess; 9] = [
    Guess { stored: 1, place: 1,
        known: Some([0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -7, 50, 0, -50, 7,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0]),
        alone: [-1, -1, 0, 1, 1,  -3, 13, 0, -13, 3,  -3, 38, 0, -38, 3,  -3, 13, 0, -13, 3,  -1, -1, 0, 1, 1] },
    Guess { stored: 2, place: 8,
        known: Some([0, 0, -7, 0, 0,  0, 0, 50, 0, 0,  0, 0, 0, 0, 0,  0, 0, -50, 0, 0,  0, 0, 7, 0, 0]),
        alone: [-1, -3, -3, -3, -1,  -1, 13, 38, 13, -1,  0, 0, 0, 0, 0,  1, -13, -38, -13, 1,  1, 3, 3, 3, 1] },
    Guess { stored: 3, place: 16,
        known: Some([0, 0, -1, 0, 0,  0, 0, 13, 0, 0,  0, 0, -24, 0, 0,  0, 0, 13, 0, 0,  0, 0, -1, 0, 0]),
        alone: [0, 0, 1, 0, 0,  0, 2, 7, 2, 0,  0, -5, -14, -5, 0,  0, 2, 7, 2, 0,  0, 0, 1, 0, 0] },
    Guess { stored: 4, place: 9,
        known: Some([0, -1, 0, 1, 0,  -1, 10, 0, -10, 1,  0, 0, 0, 0, 0,  1, -10, 0, 10, -1,  0, 1, 0, -1, 0]),
        alone: [-1, 0, 0, 0, 1,  0, 9, 0, -9, 0,  0, 0, 0, 0, 0,  0, -9, 0, 9, 0,  1, 0, 0, 0, -1] },
    Guess { stored: 5, place: 2,
        known: Some([0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -1, 13, -24, 13, -1,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0]),
        alone: [0, 0, 0, 0, 0,  0, 2, -5, 2, 0,  1, 7, -14, 7, 1,  0, 2, -5, 2, 0,  0, 0, 0, 0, 0] },
    Guess { stored: 6, place: 3, known: None,
        alone: [0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, 2, 0, -2, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0] },
    Guess { stored: 7, place: 10, known: None,
        alone: [0, 0, 0, 0, 0,  0, 1, -3, 1, 0,  0, 0, 0, 0, 0,  0, -1, 3, -1, 0,  0, 0, 0, 0, 0] },
    Guess { stored: 8, place: 17, known: None,
        alone: [0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, -3, 0, 3, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0] },
    Guess { stored: 9, place: 24, known: None,
        alone: [0, 0, 0, 0, 0,  0, 1, 2, 1, 0,  0, 0, 0, 0, 0,  0, -1, -2, -1, 0,  0, 0, 0, 0, 0] },
];

#[rustfmt::skip]
const MEAN: [i16; 25] = [
    -2, -6, -8, -6, -2,  -6, 6, 42, 6, -6,  -8, 42, 152, 42, -8,  -6, 6, 42, 6, -6,  -2, -6, -8, -6, -2,
];

/// How the blocks of a picture are to be smoothed.
pub struct Smoothing {
    accuracy: Vec<Accuracy>,
    /// The last row of MCUs that the last scan reached; below it counts what was known before.
    last_good: usize,
}

impl Smoothing {
    /// `None` where libjpeg smooths nothing: everything is known, or too little.
    pub fn of(accuracy: Vec<Accuracy>, planes: &[Plane], last_good: usize) -> Option<Self> {
        let divides = |plane: &Plane| {
            let places = GUESSES.iter().map(|guess| guess.place).chain([0]);
            plane.quant.is_some_and(|quant| places.into_iter().all(|place| quant.0[place] != 0))
        };
        let possible = planes.iter().all(divides) && accuracy.iter().all(|known| known.bits[0] >= 0);
        let useful = accuracy.iter().any(|known| known.bits[1..10].iter().any(|&bits| bits != 0));
        (possible && useful).then_some(Self { accuracy, last_good })
    }

    /// The block of a component at these coordinates with what is guessed.
    pub fn block(&self, frame: &Frame, plane: &Plane, component: usize, x: usize, y: usize) -> Block {
        let mut block = plane.blocks[y * plane.stored_x + x];
        let Accuracy { bits, previous } = &self.accuracy[component];
        let v = plane.component.v;
        let bits = if y / v > self.last_good { previous } else { bits };
        let means_only = bits[1..10].iter().all(|&bits| bits == -1);
        let means = means_around(frame, plane, x, y);
        let quant = |place: usize| i64::from(plane.quant.map_or(1, |quant| quant.0[place]) as u16);
        let guessed = |weights: &[i16; 25], place: usize| {
            let sum: i64 = weights.iter().zip(means).map(|(&weight, mean)| i64::from(weight) * i64::from(mean)).sum();
            let (num, quant) = (sum * quant(0), quant(place));
            let size = ((quant << 7) + num.abs()) / (quant << 8);
            (num.signum(), size)
        };
        for guess in &GUESSES {
            let missing = bits[guess.stored];
            let weights = if means_only { Some(&guess.alone) } else { guess.known.as_ref() };
            let Some(weights) = weights.filter(|_| missing != 0 && block.0[guess.place] == 0) else { continue };
            let (sign, size) = guessed(weights, guess.place);
            let size = if missing > 0 { size.min((1 << missing) - 1) } else { size };
            block.0[guess.place] = (sign * size) as i16;
        }
        if means_only {
            let (sign, size) = guessed(&MEAN, 0);
            block.0[0] = (sign * size) as i16;
        }
        block
    }
}

/// The first coefficients of the blocks around, row by row. Which rows count as the picture's is libjpeg's arithmetic.
fn means_around(frame: &Frame, plane: &Plane, x: usize, y: usize) -> [i16; 25] {
    let c = &plane.component;
    let (mcu_row, last_row) = (y / c.v, frame.mcus_y - 1);
    let block_rows = if mcu_row < last_row { c.v } else { c.blocks_y - last_row * c.v };
    let row = mcu_row * block_rows + y % c.v;
    let rows = block_rows * frame.mcus_y;
    let above = if row > 0 { y - 1 } else { y };
    let two_above = if row > 1 { y - 2 } else { above };
    let below = if row + 1 < rows { y + 1 } else { y };
    let two_below = if row + 2 < rows { y + 2 } else { below };
    let last = c.blocks_x - 1;
    let columns = [x.saturating_sub(2), x.saturating_sub(1), x, (x + 1).min(last), (x + 2).min(last)];
    let mut means = [0; 25];
    for (index, y) in [two_above, above, y, below, two_below].into_iter().enumerate() {
        for (mean, x) in means[index * 5..].iter_mut().zip(columns) {
            *mean = plane.blocks[y * plane.stored_x + x].0[0];
        }
    }
    means
}
