//! Owns decoded pixels: the RGB buffer, transparency over white, turning by orientation.

use crate::error::{Result, zeroed};

/// Bytes after the last pixel that may be read, so that the resampler can load whole vectors. Never written.
pub const SLACK: usize = 32;

/// RGB, row-major, `width * height * 3` bytes and `SLACK` more.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

impl Picture {
    pub fn new(width: u32, height: u32) -> Result<Self> {
        let (width, height) = (width as usize, height as usize);
        Ok(Self { width, height, rgb: zeroed(width * height * 3 + SLACK)? })
    }

    pub fn pixels_mut(&mut self) -> &mut [u8] {
        let len = self.width * self.height * 3;
        &mut self.rgb[..len]
    }

    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let stride = self.width * 3;
        self.pixels_mut().chunks_exact_mut(stride)
    }

    /// The picture as Exif orientation 2..8 wants it shown; 1 is the picture itself.
    pub fn turned(self, orientation: u8) -> Result<Self> {
        if !(2..=8).contains(&orientation) {
            return Ok(self);
        }
        let (w, h) = (self.width, self.height);
        let (out_w, out_h) = if orientation >= 5 { (h, w) } else { (w, h) };
        let mut out = Self::new(out_w as u32, out_h as u32)?;
        for (y, row) in out.rows_mut().enumerate() {
            // Source of the row's first pixel, and the step from one pixel to the next, in pixels.
            let (start, step) = match orientation {
                2 => (y * w + w - 1, -1),
                3 => ((h - 1 - y) * w + w - 1, -1),
                4 => ((h - 1 - y) * w, 1),
                5 => (y, w as isize),
                6 => ((h - 1) * w + y, -(w as isize)),
                7 => ((h - 1) * w + w - 1 - y, -(w as isize)),
                _ => (w - 1 - y, w as isize),
            };
            let mut at = start as isize * 3;
            for pixel in row.chunks_exact_mut(3) {
                pixel.copy_from_slice(&self.rgb[at as usize..at as usize + 3]);
                at += step * 3;
            }
        }
        Ok(out)
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
