//! Owns a strip of decoded rows, plane by plane: what decoders fill and the resampler takes, so that no picture has to
//! be there as a whole. Also the change between planes and interleaved RGB.

use crate::error::{Result, zeroed};
use crate::vector::{self, SLACK, V};

/// Rows of a strip. Every strip of a picture but its last one has as many.
pub const ROWS: usize = 16;

pub struct Strip {
    /// Pixels of a row.
    pub width: usize,
    /// The picture's row that is the strip's first.
    pub first: usize,
    /// Rows that count; those after them may hold anything.
    pub rows: usize,
    /// One for grey, three for RGB.
    pub channels: usize,
    stride: usize,
    bytes: Vec<u8>,
}

impl Strip {
    pub fn new(width: usize, channels: usize) -> Result<Self> {
        let stride = stride(width);
        Ok(Self { width, first: 0, rows: 0, channels, stride, bytes: zeroed(bytes(width, channels))? })
    }

    /// Row `row` of a channel: `width` samples, then some that may hold anything, to a multiple of sixteen.
    pub fn row(&self, channel: usize, row: usize) -> &[u8] {
        let at = (channel * ROWS + row) * self.stride;
        &self.bytes[at..at + self.stride]
    }

    /// All rows of a channel, and the bytes from one to the next.
    pub fn plane(&self, channel: usize) -> (&[u8], usize) {
        let size = ROWS * self.stride;
        (&self.bytes[channel * size..(channel + 1) * size], self.stride)
    }

    pub fn row_mut(&mut self, channel: usize, row: usize) -> &mut [u8] {
        let at = (channel * ROWS + row) * self.stride;
        &mut self.bytes[at..at + self.stride]
    }

    /// Row `row` of all three channels.
    pub fn rgb_rows_mut(&mut self, row: usize) -> [&mut [u8]; 3] {
        let (red, rest) = self.bytes.split_at_mut(ROWS * self.stride);
        let (green, blue) = rest.split_at_mut(ROWS * self.stride);
        let range = row * self.stride..(row + 1) * self.stride;
        [&mut red[range.clone()], &mut green[range.clone()], &mut blue[range]]
    }

    /// Takes row `row` from interleaved RGB.
    pub fn set_rgb(&mut self, row: usize, rgb: &[u8]) {
        let pixels = self.width.min(rgb.len() / 3);
        let [red, green, blue] = self.rgb_rows_mut(row);
        let mut last = [0; 48];
        for x in (0..pixels).step_by(16) {
            let from = match rgb.get(x * 3..x * 3 + 48) {
                Some(whole) => whole.as_ptr(),
                None => {
                    last[..(pixels - x) * 3].copy_from_slice(&rgb[x * 3..pixels * 3]);
                    last.as_ptr()
                }
            };
            // SAFETY: 48 bytes are there; rows are multiples of sixteen long.
            unsafe {
                let planes = unzip3([vector::load(from), vector::load(from.add(16)), vector::load(from.add(32))]);
                vector::store(red.as_mut_ptr().add(x), planes[0]);
                vector::store(green.as_mut_ptr().add(x), planes[1]);
                vector::store(blue.as_mut_ptr().add(x), planes[2]);
            }
        }
    }
}

/// Bytes a strip of this kind takes.
pub fn bytes(width: usize, channels: usize) -> usize {
    stride(width) * ROWS * channels + SLACK
}

fn stride(width: usize) -> usize {
    width.next_multiple_of(16)
}

const NONE: u8 = 255;

/// For each third of 48 interleaved bytes and each channel, where the channel's bytes go.
const UNZIP: [[[u8; 16]; 3]; 3] = {
    let mut tables = [[[NONE; 16]; 3]; 3];
    let mut pixel = 0;
    while pixel < 16 {
        let mut channel = 0;
        while channel < 3 {
            let at = pixel * 3 + channel;
            tables[channel][at / 16][pixel] = (at % 16) as u8;
            channel += 1;
        }
        pixel += 1;
    }
    tables
};

/// The other way round.
const ZIP: [[[u8; 16]; 3]; 3] = {
    let mut tables = [[[NONE; 16]; 3]; 3];
    let mut at = 0;
    while at < 48 {
        tables[at / 16][at % 3][at % 16] = (at / 3) as u8;
        at += 1;
    }
    tables
};

#[inline(always)]
fn by_tables(from: [V; 3], tables: &[[[u8; 16]; 3]; 3]) -> [V; 3] {
    let part = |to: usize, of: usize| vector::pick(from[of], vector::bytes16(tables[to][of]));
    [0, 1, 2].map(|to| vector::or(vector::or(part(to, 0), part(to, 1)), part(to, 2)))
}

#[inline(always)]
fn unzip3(rgb: [V; 3]) -> [V; 3] {
    by_tables(rgb, &UNZIP)
}

/// Writes planes as interleaved RGB. Planes may be read to a multiple of sixteen.
pub fn interleave(planes: [&[u8]; 3], rgb: &mut [u8]) {
    let pixels = rgb.len() / 3;
    let whole = pixels / 16 * 16;
    assert!(planes.iter().all(|plane| plane.len() >= pixels));
    for x in (0..whole).step_by(16) {
        // SAFETY: sixteen samples of each plane and 48 bytes of the target are there.
        unsafe {
            let out = by_tables(planes.map(|plane| vector::load(plane.as_ptr().add(x))), &ZIP);
            let to = rgb.as_mut_ptr().add(x * 3);
            vector::store(to, out[0]);
            vector::store(to.add(16), out[1]);
            vector::store(to.add(32), out[2]);
        }
    }
    for x in whole..pixels {
        for (channel, plane) in planes.iter().enumerate() {
            rgb[x * 3 + channel] = plane[x];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_and_back() {
        for width in [1, 5, 15, 16, 17, 47, 64] {
            let rgb: Vec<u8> = (0..width * 3).map(|i| (i * 7 % 251) as u8).collect();
            let mut strip = Strip::new(width, 3).unwrap();
            strip.set_rgb(3, &rgb);
            for (x, pixel) in rgb.chunks(3).enumerate() {
                assert_eq!([0, 1, 2].map(|c| strip.row(c, 3)[x]), pixel);
            }
            let mut back = vec![0; width * 3];
            interleave([0, 1, 2].map(|c| strip.row(c, 3)), &mut back);
            assert_eq!(back, rgb);
        }
    }
}
