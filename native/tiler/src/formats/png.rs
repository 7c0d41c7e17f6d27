//! Owns PNG: sizes and Exif from the chunks, pixels by the `png` crate, samples narrowed as Pillow does.

use crate::bytes::{be32, slice, u8_at};
use crate::decode::{inconsistent, io_failure};
use crate::error::{Failure, Reason, Result, fail, zeroed};
use crate::exif;
use crate::header::{Format, Header};
use crate::picture::{Alpha, Picture};
use crate::strip::Strip;
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Reader, Transformations};
use std::io::Cursor;

/// Lines the decoder holds at most while it undoes the filters.
const LINES_HELD: u64 = 8;

pub fn header(bytes: &[u8]) -> Result<Header> {
    if slice(bytes, 12, 4)? != b"IHDR" {
        return fail(Reason::Corrupt, "the first chunk is not IHDR");
    }
    let (width, height) = (be32(bytes, 16)?, be32(bytes, 20)?);
    u8_at(bytes, 32)?;
    let line = line_bytes(bytes, width)?;
    // An interlaced picture is kept whole as it is stored; of others a few lines are.
    let streamed = u8_at(bytes, 28)? == 0;
    let lines = if streamed { LINES_HELD } else { u64::from(height) + LINES_HELD };
    let working = lines * line + 3 * u64::from(width);
    Ok(Header { format: Format::Png, width, height, orientation: orientation(bytes), working, streamed })
}

/// Bytes of one stored line.
fn line_bytes(bytes: &[u8], width: u32) -> Result<u64> {
    let samples = match u8_at(bytes, 25)? {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    Ok((u64::from(width) * samples * u64::from(u8_at(bytes, 24)?)).div_ceil(8))
}

/// The eXIf chunk may stand before or after the pixels, so the chunks are walked; a cut file counts as upright.
fn orientation(bytes: &[u8]) -> u8 {
    let mut at = 8;
    while let (Ok(len), Ok(kind)) = (be32(bytes, at), slice(bytes, at.saturating_add(4), 4)) {
        if kind == b"eXIf" {
            return slice(bytes, at + 8, len as usize).map_or(1, exif::orientation);
        }
        let Some(next) = at.checked_add(12).and_then(|next| next.checked_add(len as usize)) else { break };
        at = next;
    }
    1
}

/// An interlaced picture, as a whole.
pub fn decode(bytes: &[u8], header: &Header, alpha: Alpha) -> Result<Picture> {
    let (mut reader, samples) = open(bytes, header, alpha)?;
    let mut picture = Picture::new(header.width, header.height)?;
    let stride = reader.output_line_size(header.width).unwrap_or(0);
    let mut raw = zeroed(stride * header.height as usize)?;
    reader.next_frame(&mut raw).map_err(failure)?;
    for (out, row) in picture.rows_mut().zip(raw.chunks_exact(stride)) {
        samples.write(row, out);
    }
    Ok(picture)
}

/// Any other, row by row.
pub struct PngRows {
    reader: Reader<Cursor<Vec<u8>>>,
    samples: Samples,
    /// One row in RGB.
    rgb: Vec<u8>,
}

impl PngRows {
    pub fn open(file: Vec<u8>, header: &Header, alpha: Alpha) -> Result<Self> {
        let (reader, samples) = open(file, header, alpha)?;
        Ok(Self { reader, samples, rgb: zeroed(header.width as usize * 3)? })
    }

    pub fn next(&mut self, strip: &mut Strip) -> Result<()> {
        for y in 0..strip.rows {
            let Some(row) = self.reader.next_row().map_err(failure)? else {
                return fail(Reason::Truncated, "rows are missing");
            };
            if self.samples.are_rgb() {
                strip.set_rgb(y, row.data());
            } else {
                self.samples.write(row.data(), &mut self.rgb);
                strip.set_rgb(y, &self.rgb);
            }
        }
        Ok(())
    }
}

fn open<T: AsRef<[u8]>>(file: T, header: &Header, alpha: Alpha) -> Result<(Reader<Cursor<T>>, Samples)> {
    // Enough for the metadata of any honest file; pixels are allocated here, after the pixel limit.
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: 64 << 20 });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(failure)?;
    let info = reader.info();
    if (info.width, info.height) != (header.width, header.height) || info.interlaced == header.streamed {
        return inconsistent("IHDR");
    }
    let samples = Samples::new(info, alpha);
    Ok((reader, samples))
}

/// How the stored samples become RGB.
struct Samples {
    color: ColorType,
    depth: BitDepth,
    alpha: Alpha,
    /// RGB and alpha per index; indices past the file's palette are black.
    palette: Vec<[u8; 4]>,
    /// The stored sample value (grey) or values that mean transparent.
    key: Option<[u16; 3]>,
}

impl Samples {
    fn new(info: &png::Info, alpha: Alpha) -> Self {
        let mut palette: Vec<[u8; 4]> = vec![[0, 0, 0, 255]; 256];
        let trns = info.trns.as_deref().unwrap_or(&[]);
        if info.color_type == ColorType::Indexed {
            for (entry, rgb) in palette.iter_mut().zip(info.palette.as_deref().unwrap_or(&[]).chunks_exact(3)) {
                entry[..3].copy_from_slice(rgb);
            }
            for (entry, &value) in palette.iter_mut().zip(trns) {
                entry[3] = value;
            }
        }
        // The crate keeps one byte of a key's sample where the picture's samples have one.
        let wide = info.bit_depth == BitDepth::Sixteen;
        let value = |index: usize| sample(trns, index, wide);
        let samples = if wide { trns.len() / 2 } else { trns.len() };
        let key = match info.color_type {
            _ if alpha == Alpha::Drop => None,
            ColorType::Grayscale if samples == 1 => Some([value(0); 3]),
            ColorType::Rgb if samples == 3 => Some([value(0), value(1), value(2)]),
            _ => None,
        };
        Self { color: info.color_type, depth: info.bit_depth, alpha, palette, key }
    }

    /// Whether rows are RGB as they are stored.
    fn are_rgb(&self) -> bool {
        self.color == ColorType::Rgb && self.depth != BitDepth::Sixteen && self.key.is_none()
    }

    fn write(&self, row: &[u8], out: &mut [u8]) {
        let wide = self.depth == BitDepth::Sixteen;
        let step = if wide { 2 } else { 1 };
        match self.color {
            ColorType::Rgb if !wide && self.key.is_none() => out.copy_from_slice(row),
            ColorType::Rgb => {
                for (pixel, stored) in out.chunks_exact_mut(3).zip(row.chunks_exact(3 * step)) {
                    let opaque = self.key.is_none_or(|key| (0..3).any(|c| sample(stored, c, wide) != key[c]));
                    for (c, value) in pixel.iter_mut().enumerate() {
                        *value = if opaque { stored[c * step] } else { 255 };
                    }
                }
            }
            ColorType::Rgba => {
                for (pixel, stored) in out.chunks_exact_mut(3).zip(row.chunks_exact(4 * step)) {
                    for (c, value) in pixel.iter_mut().enumerate() {
                        *value = self.alpha.apply(stored[c * step], stored[3 * step]);
                    }
                }
            }
            ColorType::GrayscaleAlpha => {
                for (pixel, stored) in out.chunks_exact_mut(3).zip(row.chunks_exact(2 * step)) {
                    pixel.fill(self.alpha.apply(stored[0], stored[step]));
                }
            }
            ColorType::Grayscale if wide => {
                for (pixel, stored) in out.chunks_exact_mut(3).zip(row.chunks_exact(2)) {
                    let transparent = self.key.is_some_and(|key| sample(stored, 0, true) == key[0]);
                    pixel.fill(match self.alpha {
                        _ if transparent => 255,
                        // Pillow's "I;16" to "RGB" clips instead of scaling; only the exact mode follows it there.
                        Alpha::Drop if stored[0] != 0 => 255,
                        Alpha::Drop => stored[1],
                        Alpha::OverWhite => stored[0],
                    });
                }
            }
            ColorType::Grayscale | ColorType::Indexed => self.write_packed(row, out),
        }
    }

    /// One sample of 1, 2, 4 or 8 bits per pixel.
    fn write_packed(&self, row: &[u8], out: &mut [u8]) {
        let bits = self.depth as usize;
        let mask = (1u16 << bits) - 1;
        for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
            let bit = x * bits;
            let stored = u16::from(row[bit / 8]) >> (8 - bits - bit % 8) & mask;
            if self.color == ColorType::Indexed {
                let entry = self.palette[stored as usize];
                for (value, &colour) in pixel.iter_mut().zip(&entry[..3]) {
                    *value = self.alpha.apply(colour, entry[3]);
                }
            } else {
                let transparent = self.key.is_some_and(|key| stored == key[0]);
                pixel.fill(if transparent { 255 } else { (stored * (255 / mask)) as u8 });
            }
        }
    }
}

fn sample(stored: &[u8], index: usize, wide: bool) -> u16 {
    if wide { u16::from_be_bytes([stored[index * 2], stored[index * 2 + 1]]) } else { stored[index].into() }
}

fn failure(error: DecodingError) -> Failure {
    match error {
        DecodingError::IoError(error) => io_failure(&error),
        error => Failure::new(Reason::Corrupt, error),
    }
}
