//! Owns BMP: the headers, bit layouts and run lengths that Pillow reads, read as Pillow reads them.

use crate::bytes::{le16, le32, slice, u8_at};
use crate::error::{Reason, Result, fail, zeroed};
use crate::header::{Format, Header};
use crate::picture::{Alpha, Picture, palette};

const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

struct Layout {
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    compression: u32,
    palette_at: usize,
    /// Bytes of a palette entry: 3 in the oldest header, else 4.
    palette_step: usize,
    colours: usize,
    data_at: usize,
    /// Red, green, blue and alpha masks of BITFIELDS; zeros otherwise.
    masks: [u32; 4],
}

fn parse(bytes: &[u8]) -> Result<Layout> {
    let size = le32(bytes, 14)? as usize;
    let mut data_at = le32(bytes, 10)? as usize;
    let mut after = 14 + size;
    let mut layout = match size {
        12 => Layout {
            width: le16(bytes, 18)?.into(),
            height: le16(bytes, 20)?.into(),
            top_down: false,
            bits: le16(bytes, 24)?,
            compression: RAW,
            palette_at: 0,
            palette_step: 3,
            colours: 0,
            data_at: 0,
            masks: [0; 4],
        },
        40 | 52 | 56 | 64 | 108 | 124 => {
            let height = le32(bytes, 22)?;
            let top_down = height >= 0xff00_0000;
            Layout {
                width: le32(bytes, 18)?,
                height: if top_down { height.wrapping_neg() } else { height },
                top_down,
                bits: le16(bytes, 28)?,
                compression: le32(bytes, 30)?,
                palette_at: 0,
                palette_step: 4,
                colours: le32(bytes, 46)? as usize,
                data_at: 0,
                masks: [0; 4],
            }
        }
        _ => return fail(Reason::UnsupportedFormat, format_args!("BMP header of {size} bytes")),
    };
    if layout.compression == BITFIELDS {
        // The masks stand at the same place inside a long header and after a short one; a short one has no alpha.
        let count = if size >= 56 { 4 } else { 3 };
        for index in 0..count {
            layout.masks[index] = le32(bytes, 54 + index * 4)?;
        }
        after = after.max(54 + count * 4);
    }
    if layout.colours == 0 {
        layout.colours = 1 << layout.bits.min(16);
    }
    if layout.bits <= 8 && data_at == 14 + size {
        data_at = data_at.saturating_add(layout.palette_step.saturating_mul(layout.colours));
    }
    layout.palette_at = after;
    layout.data_at = data_at;
    Ok(layout)
}

pub fn header(bytes: &[u8]) -> Result<Header> {
    let Layout { width, height, compression, .. } = parse(bytes)?;
    // Run lengths are undone to one index a pixel.
    let working = if matches!(compression, RLE8 | RLE4) { u64::from(width) * u64::from(height) } else { 0 };
    Ok(Header { format: Format::Bmp, width, height, orientation: 1, working, streamed: false })
}

pub fn decode(bytes: &[u8], header: &Header, alpha: Alpha) -> Result<Picture> {
    let layout = parse(bytes)?;
    let mut picture = Picture::new(header.width, header.height)?;
    let runs;
    let (bits, data, stride) = if matches!(layout.compression, RLE8 | RLE4) {
        if layout.bits > 8 {
            return fail(Reason::UnsupportedFormat, format_args!("run lengths with {} bits", layout.bits));
        }
        runs = run_lengths(bytes, &layout)?;
        (8, &runs[..], picture.width)
    } else {
        let stride = (picture.width * layout.bits as usize).div_ceil(32) * 4;
        // Pillow asks for whole rows of data but forgives missing padding of the last one.
        let needed = stride * (picture.height - 1) + (picture.width * layout.bits as usize).div_ceil(8);
        (layout.bits, slice(bytes, layout.data_at, needed)?, stride)
    };
    let pixels = Pixels::new(bytes, &layout, bits, alpha)?;
    let height = picture.height;
    for (y, out) in picture.rows_mut().enumerate() {
        let row = if layout.top_down { y } else { height - 1 - y };
        let end = ((row + 1) * stride).min(data.len());
        pixels.write(&data[row * stride..end], out);
    }
    Ok(picture)
}

enum Pixels {
    Indexed {
        bits: usize,
        colours: Box<[[u8; 3]; 256]>,
    },
    /// Five bits each, or six for green.
    Packed {
        green_bits: u32,
    },
    /// Offsets of red, green, blue in a pixel of `step` bytes, and of alpha.
    Bytes {
        step: usize,
        rgb: [usize; 3],
        alpha: Option<usize>,
        rule: Alpha,
    },
}

impl Pixels {
    fn new(bytes: &[u8], layout: &Layout, bits: u16, rule: Alpha) -> Result<Self> {
        let bitfields = layout.compression == BITFIELDS;
        if layout.compression > BITFIELDS {
            return fail(Reason::UnsupportedFormat, format_args!("BMP compression {}", layout.compression));
        }
        let [red, green, blue, alpha] = layout.masks;
        Ok(match bits {
            1 | 4 | 8 if !bitfields => {
                let count = layout.colours.min(256);
                let stored = slice(bytes, layout.palette_at, count * layout.palette_step)?;
                let entries = stored.chunks_exact(layout.palette_step).map(|entry| [entry[2], entry[1], entry[0]]);
                Pixels::Indexed { bits: bits.into(), colours: Box::new(palette(entries)) }
            }
            16 => match (bitfields, red, green, blue) {
                (false, ..) | (true, 0x7c00, 0x3e0, 0x1f) => Pixels::Packed { green_bits: 5 },
                (true, 0xf800, 0x7e0, 0x1f) => Pixels::Packed { green_bits: 6 },
                _ => return unsupported_masks(layout),
            },
            24 if !bitfields || (red, green, blue) == (0xff0000, 0xff00, 0xff) => {
                Pixels::Bytes { step: 3, rgb: [2, 1, 0], alpha: None, rule }
            }
            32 => {
                let (rgb, alpha) = match (bitfields, red, green, blue, alpha) {
                    (false, ..) | (true, 0xff0000, 0xff00, 0xff, 0) => ([2, 1, 0], None),
                    (true, 0xff000000, 0xff0000, 0xff00, 0) => ([3, 2, 1], None),
                    (true, 0xff000000, 0xff00, 0xff, 0) => ([3, 1, 0], None),
                    (true, 0xff000000, 0xff0000, 0xff00, 0xff) => ([3, 2, 1], Some(0)),
                    (true, 0xff, 0xff00, 0xff0000, 0xff000000) => ([0, 1, 2], Some(3)),
                    (true, 0xff0000, 0xff00, 0xff, 0xff000000) | (true, 0, 0, 0, 0) => ([2, 1, 0], Some(3)),
                    (true, 0xff000000, 0xff00, 0xff, 0xff0000) => ([3, 1, 0], Some(2)),
                    _ => return unsupported_masks(layout),
                };
                Pixels::Bytes { step: 4, rgb, alpha, rule }
            }
            _ => return unsupported_masks(layout),
        })
    }

    fn write(&self, row: &[u8], out: &mut [u8]) {
        match self {
            Pixels::Indexed { bits, colours } => {
                for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                    let bit = x * bits;
                    let index = row[bit / 8] >> (8 - bits - bit % 8) & (0xff >> (8 - bits));
                    pixel.copy_from_slice(&colours[index as usize]);
                }
            }
            Pixels::Packed { green_bits } => {
                for (pixel, stored) in out.chunks_exact_mut(3).zip(row.chunks_exact(2)) {
                    let value = u32::from(u16::from_le_bytes([stored[0], stored[1]]));
                    let green_max = (1 << green_bits) - 1;
                    pixel[0] = ((value >> (5 + green_bits) & 31) * 255 / 31) as u8;
                    pixel[1] = ((value >> 5 & green_max) * 255 / green_max) as u8;
                    pixel[2] = ((value & 31) * 255 / 31) as u8;
                }
            }
            Pixels::Bytes { step, rgb, alpha, rule } => {
                for (pixel, stored) in out.chunks_exact_mut(3).zip(row.chunks_exact(*step)) {
                    for (value, &offset) in pixel.iter_mut().zip(rgb) {
                        *value = alpha.map_or(stored[offset], |at| rule.apply(stored[offset], stored[at]));
                    }
                }
            }
        }
    }
}

fn unsupported_masks<T>(layout: &Layout) -> Result<T> {
    let Layout { bits, masks: [red, green, blue, alpha], .. } = layout;
    fail(Reason::UnsupportedFormat, format_args!("BMP of {bits} bits with masks {red:x} {green:x} {blue:x} {alpha:x}"))
}

/// Undoes RLE8 or RLE4 to one index per pixel, rows in stored order.
fn run_lengths(bytes: &[u8], layout: &Layout) -> Result<Vec<u8>> {
    let width = layout.width as usize;
    let mut out = zeroed(width * layout.height as usize)?;
    let nibbles = layout.compression == RLE4;
    let (mut at, mut filled, mut x) = (layout.data_at, 0, 0);
    let index = |byte: u8, position: usize| match (nibbles, position % 2) {
        (false, _) => byte,
        (true, 0) => byte >> 4,
        (true, _) => byte & 15,
    };
    while filled < out.len() {
        let (count, value) = (u8_at(bytes, at)? as usize, u8_at(bytes, at + 1)?);
        at += 2;
        match (count, value) {
            (0, 0) => {
                filled = filled.next_multiple_of(width);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                filled += u8_at(bytes, at)? as usize + u8_at(bytes, at + 1)? as usize * width;
                at += 2;
                x = filled % width;
            }
            (0, literal) => {
                let literal = literal as usize;
                let stored = slice(bytes, at, if nibbles { literal.div_ceil(2) } else { literal })?;
                for position in 0..literal.min(out.len() - filled) {
                    out[filled + position] = index(stored[if nibbles { position / 2 } else { position }], position);
                }
                filled += literal;
                x += literal;
                at += stored.len();
                // Literals end on a 16-bit boundary of the file.
                at += at % 2;
            }
            (count, value) => {
                let count = count.min(width.saturating_sub(x)).min(out.len() - filled);
                for position in 0..count {
                    out[filled + position] = index(value, position);
                }
                filled += count;
                x += count;
            }
        }
    }
    if filled < out.len() {
        return fail(Reason::Truncated, format_args!("{filled} of {} pixels", out.len()));
    }
    Ok(out)
}
