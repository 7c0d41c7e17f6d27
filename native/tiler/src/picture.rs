//! Owns decoded pixels: a whole RGB picture where a decoder needs one, transparency over white, turning by orientation.

use crate::error::{Result, zeroed};

/// RGB, row-major, `width * height * 3` bytes.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    pub fn new(width: u32, height: u32) -> Result<Self> {
        let (width, height) = (width as usize, height as usize);
        Ok(Self { width, height, rgb: zeroed(width * height * 3)? })
    }

    pub fn pixels(&self) -> &[u8] {
        &self.rgb
    }

    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    pub fn row(&self, y: usize) -> &[u8] {
        &self.rgb[y * self.width * 3..(y + 1) * self.width * 3]
    }

    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        &mut self.rgb[y * self.width * 3..(y + 1) * self.width * 3]
    }

    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.rgb.chunks_exact_mut(self.width * 3)
    }
}

/// Where Exif orientation 1..8 takes row `y` of the upright picture from, of a stored one of `w` x `h`: the place of
/// its first item, and the step to the next.
pub fn upright_row(orientation: u8, w: usize, h: usize, y: usize) -> (usize, isize) {
    let down = w as isize;
    match orientation {
        2 => (y * w + w - 1, -1),
        3 => ((h - 1 - y) * w + w - 1, -1),
        4 => ((h - 1 - y) * w, 1),
        5 => (y, down),
        6 => ((h - 1) * w + y, -down),
        7 => ((h - 1) * w + w - 1 - y, -down),
        8 => (w - 1 - y, down),
        _ => (y * w, 1),
    }
}

/// Whether the orientation swaps width and height.
pub fn is_transposed(orientation: u8) -> bool {
    orientation >= 5
}

/// Writes stored RGB pixels of `w` x `h` as Exif orientation 1..8 wants them shown.
pub fn turn(stored: &[u8], w: usize, h: usize, orientation: u8, upright: &mut [u8]) {
    let line = if is_transposed(orientation) { h } else { w };
    for (y, row) in upright.chunks_exact_mut(line * 3).enumerate() {
        let (start, step) = upright_row(orientation, w, h, y);
        let mut at = start as isize * 3;
        for pixel in row.chunks_exact_mut(3) {
            pixel.copy_from_slice(&stored[at as usize..at as usize + 3]);
            at += step * 3;
        }
    }
}

/// What becomes of an alpha channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpha {
    /// Forgotten, as Pillow's `convert("RGB")` does.
    Drop,
    /// The picture is laid over white.
    OverWhite,
}

impl Alpha {
    /// One sample of a pixel with this alpha. The rounding is that of Pillow's `paste` with a mask.
    #[inline(always)]
    pub fn apply(self, sample: u8, alpha: u8) -> u8 {
        match self {
            Alpha::Drop => sample,
            Alpha::OverWhite => {
                let (sample, alpha) = (u32::from(sample), u32::from(alpha));
                div255(255 * (255 - alpha) + sample * alpha)
            }
        }
    }
}

/// Pillow's DIV255: `value / 255` to the nearest, for `value` up to 255 * 255.
#[inline(always)]
pub fn div255(value: u32) -> u8 {
    let value = value + 128;
    (((value >> 8) + value) >> 8) as u8
}

/// A full palette as Pillow makes one of a GIF's or BMP's: if the file only says that index is grey level, all indices
/// are; else indices past the file's entries are black.
pub fn palette(stored: impl ExactSizeIterator<Item = [u8; 3]> + Clone) -> [[u8; 3]; 256] {
    let mut colours: [[u8; 3]; 256] = std::array::from_fn(|index| [index as u8; 3]);
    if stored.clone().zip(&colours).any(|(entry, grey)| entry != *grey) {
        colours = [[0; 3]; 256];
        for (colour, entry) in colours.iter_mut().zip(stored) {
            *colour = entry;
        }
    }
    colours
}
