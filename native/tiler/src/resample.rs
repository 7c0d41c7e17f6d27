//! Owns resizing: Pillow 13's bicubic for 8-bit RGB, bit for bit, fed strip by strip.
//!
//! Two passes of weighted sums, each rounded and clamped to u8. The order of the passes is part of the result and
//! follows Pillow 13. Between the passes only as many rows are kept as one target row needs.

mod axis;
mod passes;

use crate::error::{Result, zeroed};
use crate::strip::{ROWS, Strip};
use crate::vector::SLACK;
use axis::{Axis, WINDOW_BYTES};
use passes::{ROW_PAIRS, Ring, row_pair_bytes};

/// What is to be made of a source of `width` x `height` pixels, both in the orientation in which it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub width: usize,
    pub height: usize,
    pub to_width: usize,
    pub to_height: usize,
    /// Exif orientation 1..8 of the stored picture. The result stays as it is stored, yet equals what comes of turning
    /// first and resizing then.
    pub orientation: u8,
    pub channels: usize,
}

impl Shape {
    /// Whether the stored columns are summed up before the stored rows.
    fn rows_first(&self) -> bool {
        let &Shape { width, height, to_width, to_height, .. } = self;
        let (narrower, lower) = (width as i64 - to_width as i64, height as i64 - to_height as i64);
        // Pillow 13's rule holds for the upright picture; a pass that changes no size changes no sample.
        if self.orientation >= 5 {
            let vertical_first = narrower > 0 && narrower > 2 * lower;
            !vertical_first
        } else {
            lower > 0 && lower > 2 * narrower
        }
    }

    /// Whether the upright picture shows the stored columns and rows backwards.
    fn mirrored(&self) -> (bool, bool) {
        (matches!(self.orientation, 2 | 3 | 7 | 8), matches!(self.orientation, 3 | 4 | 6 | 7))
    }

    /// Pixels of a row between the passes.
    fn width_between(&self) -> usize {
        if self.rows_first() { self.width } else { self.to_width }
    }
}

/// Bytes a resizer of this shape takes at most, told without making one.
pub fn bytes(shape: &Shape) -> u64 {
    let axis = |source: usize, target: usize| 8 * axis::max_pairs(source, target) + WINDOW_BYTES * target;
    let span = 2 * shape.height.div_ceil(shape.to_height) + 4;
    let ring = shape.channels * (span + ROW_PAIRS + 1) * row_pair_bytes(shape.width_between());
    let between = if shape.rows_first() {
        crate::strip::bytes(shape.width, shape.channels) + passes::columns_bytes(shape.width)
    } else {
        0
    };
    let line = shape.to_width + 16;
    let pieces = ring + between + 3 * line + (line + ROW_PAIRS * 2 * line * shape.channels) + ROWS * line;
    (axis(shape.width, shape.to_width) + axis(shape.height, shape.to_height) + pieces) as u64
}

/// Bytes `Columns` takes for a source of this width.
pub fn columns_bytes(width: usize) -> u64 {
    passes::columns_bytes(width) as u64
}

/// Room for one channel of a strip as columns, shared by the resizers of one picture.
pub struct Columns(Vec<u8>);

impl Columns {
    pub fn new(width: usize) -> Result<Self> {
        Ok(Self(zeroed(passes::columns_bytes(width))?))
    }

    fn of(&mut self, strip: &Strip, channel: usize) -> &[u8] {
        let (plane, stride) = strip.plane(channel);
        passes::to_columns(plane, stride, strip.width, &mut self.0);
        &self.0
    }
}

/// Takes a finished row: its number, and its three planes of `to_width` samples and more.
trait Target: FnMut(usize, [&[u8]; 3]) {}

impl<F: FnMut(usize, [&[u8]; 3])> Target for F {}

pub struct Resizer {
    shape: Shape,
    x: Axis,
    y: Axis,
    /// Row pairs between the passes, channel after channel.
    ring: Vec<u8>,
    stride: usize,
    slots: usize,
    /// Target columns of one channel of a strip.
    columns: Vec<u8>,
    /// Rows first: the rows that wait for the second pass, and that pass's row pairs.
    between: Option<Between>,
    /// A target row, channel after channel.
    line: Vec<u8>,
    /// Target rows that are finished or wait in `between`.
    next: usize,
}

struct Between {
    strip: Strip,
    columns: Columns,
    row_pairs: Vec<u8>,
}

impl Resizer {
    pub fn new(shape: Shape) -> Result<Self> {
        let Shape { width, height, to_width, to_height, channels, .. } = shape;
        let (mirrored_x, mirrored_y) = shape.mirrored();
        let x = Axis::new(width, to_width, mirrored_x)?;
        let y = Axis::new(height, to_height, mirrored_y)?;
        let stride = row_pair_bytes(shape.width_between());
        let slots = y.span + ROW_PAIRS + 1;
        let between = if shape.rows_first() {
            Some(Between {
                strip: Strip::new(width, channels)?,
                columns: Columns::new(width)?,
                row_pairs: zeroed(row_pair_bytes(to_width) * ROW_PAIRS * channels)?,
            })
        } else {
            None
        };
        Ok(Self {
            ring: zeroed(slots * stride * channels)?,
            columns: zeroed(to_width.next_multiple_of(8) * ROWS)?,
            line: zeroed(to_width.next_multiple_of(16) * channels + SLACK)?,
            shape,
            x,
            y,
            stride,
            slots,
            between,
            next: 0,
        })
    }

    fn take(&mut self, strip: &Strip, channel: usize, columns: &[u8]) {
        let Self { stride, slots, .. } = *self;
        let ring = &mut self.ring[channel * slots * stride..(channel + 1) * slots * stride];
        let first = strip.first / 2;
        let slot = |pair: usize| (first + pair) % slots;
        if self.between.is_some() {
            for pair in 0..ROW_PAIRS {
                let out = &mut ring[slot(pair) * stride..(slot(pair) + 1) * stride];
                passes::to_row_pair(strip.row(channel, pair * 2), strip.row(channel, pair * 2 + 1), out);
            }
        } else {
            passes::horizontal(columns, &self.x, &mut self.columns);
            passes::columns_to_row_pairs(&self.columns, self.shape.to_width, ring, stride, slot);
        }
    }

    /// Finishes the target rows for which the source's first `available` rows are enough.
    fn put(&mut self, available: usize, target: &mut impl Target) {
        while let Some(window) = self.y.windows.get(self.next) {
            if window.end as usize > available {
                break;
            }
            let size = self.slots * self.stride;
            let line = self.shape.to_width.next_multiple_of(16);
            for channel in 0..self.shape.channels {
                let bytes = &self.ring[channel * size..(channel + 1) * size];
                let ring = Ring { bytes, stride: self.stride, slots: self.slots };
                let out = match &mut self.between {
                    Some(between) => between.strip.row_mut(channel, self.next % ROWS),
                    None => &mut self.line[channel * line..(channel + 1) * line],
                };
                passes::vertical(&ring, &self.y, window, out);
            }
            if self.between.is_none() {
                target(self.next, planes(&self.line, line, self.shape.channels));
            } else if self.next % ROWS == ROWS - 1 || self.next + 1 == self.shape.to_height {
                self.put_between(target);
            }
            self.next += 1;
        }
    }

    /// The second pass over the rows that wait, the last of which is `next`.
    fn put_between(&mut self, target: &mut impl Target) {
        let Some(Between { strip, columns, row_pairs }) = &mut self.between else { return };
        let Shape { to_width, channels, .. } = self.shape;
        let stride = row_pair_bytes(to_width);
        let size = stride * ROW_PAIRS;
        for channel in 0..channels {
            passes::horizontal(columns.of(strip, channel), &self.x, &mut self.columns);
            let pairs = &mut row_pairs[channel * size..(channel + 1) * size];
            passes::columns_to_row_pairs(&self.columns, to_width, pairs, stride, |pair| pair);
        }
        let line = to_width.next_multiple_of(16);
        let first = self.next / ROWS * ROWS;
        for y in first..=self.next {
            let row = y % ROWS;
            for channel in 0..channels {
                let pair = &row_pairs[channel * size + row / 2 * stride..][..stride];
                let out = &mut self.line[channel * line..(channel + 1) * line];
                for (sample, both) in out.iter_mut().zip(pair.chunks_exact(2)) {
                    *sample = both[row % 2];
                }
            }
            target(y, planes(&self.line, line, channels));
        }
    }
}

fn planes(line: &[u8], stride: usize, channels: usize) -> [&[u8]; 3] {
    [0, 1, 2].map(|channel| &line[channel.min(channels - 1) * stride..])
}

/// Gives a strip to all resizers of one picture. `target` is told which of them finished which row, and the row's
/// three planes of `to_width` samples and more.
pub fn feed(
    strip: &Strip,
    columns: &mut Columns,
    resizers: &mut [Resizer],
    mut target: impl FnMut(usize, usize, [&[u8]; 3]),
) {
    let any_columns = resizers.iter().any(|resizer| resizer.between.is_none());
    for channel in 0..strip.channels {
        let columns = if any_columns { columns.of(strip, channel) } else { &[] };
        for resizer in resizers.iter_mut() {
            resizer.take(strip, channel, columns);
        }
    }
    for (index, resizer) in resizers.iter_mut().enumerate() {
        resizer.put(strip.first + strip.rows, &mut |y, planes| target(index, y, planes));
    }
}

#[cfg(test)]
mod tests;
