//! Owns GIF: the first frame on its canvas, as Pillow composes it.

use crate::bytes::{le16, slice, u8_at};
use crate::error::{Reason, Result, fail, zeroed};
use crate::header::{Format, Header};
use crate::picture::{Alpha, Picture, palette};
use weezl::{BitOrder, LzwStatus, decode::Decoder};

/// The parts of the file that the first frame needs.
struct FirstFrame<'a> {
    /// The canvas grows where the frame reaches over it.
    canvas: (usize, usize),
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    interlaced: bool,
    palette: &'a [u8],
    transparent: Option<u8>,
    /// Offset of the LZW code size, after which the data blocks stand.
    data_at: usize,
}

fn parse(bytes: &[u8]) -> Result<FirstFrame<'_>> {
    let canvas = (le16(bytes, 6)? as usize, le16(bytes, 8)? as usize);
    let mut at = 13;
    let mut palette: &[u8] = &[];
    let flags = u8_at(bytes, 10)?;
    u8_at(bytes, 12)?;
    if flags & 0x80 != 0 {
        palette = slice(bytes, at, 6 << (flags & 7))?;
        at += palette.len();
    }
    let mut transparent = None;
    loop {
        at += 1;
        match u8_at(bytes, at - 1)? {
            b'!' => {
                let label = u8_at(bytes, at)?;
                at += 1;
                if label == 0xf9 && u8_at(bytes, at)? >= 4 && u8_at(bytes, at + 1)? & 1 != 0 {
                    transparent = Some(u8_at(bytes, at + 4)?);
                }
                while let len @ 1.. = u8_at(bytes, at)? as usize {
                    at += 1 + len;
                }
                at += 1;
            }
            b',' => break,
            b';' => return fail(Reason::Corrupt, "the GIF has no frame"),
            // Pillow skips junk between blocks.
            _ => {}
        }
    }
    let (left, top) = (le16(bytes, at)? as usize, le16(bytes, at + 2)? as usize);
    let (width, height) = (le16(bytes, at + 4)? as usize, le16(bytes, at + 6)? as usize);
    let flags = u8_at(bytes, at + 8)?;
    at += 9;
    if flags & 0x80 != 0 {
        palette = slice(bytes, at, 6 << (flags & 7))?;
        at += palette.len();
    }
    Ok(FirstFrame {
        canvas: (canvas.0.max(left + width), canvas.1.max(top + height)),
        left,
        top,
        width,
        height,
        interlaced: flags & 0x40 != 0,
        palette,
        transparent,
        data_at: at,
    })
}

pub fn header(bytes: &[u8]) -> Result<Header> {
    let frame = parse(bytes)?;
    let (width, height) = (frame.canvas.0 as u32, frame.canvas.1 as u32);
    // One index a pixel.
    let working = (frame.width as u64) * (frame.height as u64);
    Ok(Header { format: Format::Gif, width, height, orientation: 1, working, streamed: false })
}

pub fn decode(bytes: &[u8], header: &Header, alpha: Alpha) -> Result<Picture> {
    let frame = parse(bytes)?;
    let indices = indices(bytes, &frame)?;
    let mut colours = palette(frame.palette.chunks_exact(3).map(|entry| [entry[0], entry[1], entry[2]]));
    if let (Some(index), Alpha::OverWhite) = (frame.transparent, alpha) {
        colours[index as usize] = [255; 3];
    }

    let mut picture = Picture::new(header.width, header.height)?;
    // What the frame leaves free is the transparent index, or index 0, whatever the file's background says.
    let background = colours[frame.transparent.unwrap_or(0) as usize];
    for pixel in picture.pixels_mut().chunks_exact_mut(3) {
        pixel.copy_from_slice(&background);
    }
    if indices.is_empty() {
        return Ok(picture);
    }
    let stride = picture.width * 3;
    for (row, line) in indices.chunks_exact(frame.width).zip(row_order(frame.height, frame.interlaced)) {
        let start = (frame.top + line) * stride + frame.left * 3;
        for (pixel, &index) in picture.pixels_mut()[start..start + frame.width * 3].chunks_exact_mut(3).zip(row) {
            pixel.copy_from_slice(&colours[index as usize]);
        }
    }
    Ok(picture)
}

fn row_order(height: usize, interlaced: bool) -> impl Iterator<Item = usize> {
    let passes: &[(usize, usize)] = if interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
    passes.iter().flat_map(move |&(start, step)| (start..height).step_by(step))
}

/// One palette index per pixel of the frame, in stored order.
fn indices(bytes: &[u8], frame: &FirstFrame) -> Result<Vec<u8>> {
    let code_size = u8_at(bytes, frame.data_at)?;
    if !(1..=11).contains(&code_size) {
        return fail(Reason::Corrupt, format_args!("LZW code size {code_size}"));
    }
    let mut out = zeroed(frame.width * frame.height)?;
    let mut filled = 0;
    let mut lzw = Decoder::new(BitOrder::Lsb, code_size);
    let mut at = frame.data_at + 1;
    while filled < out.len() {
        let len = u8_at(bytes, at)? as usize;
        if len == 0 {
            return fail(Reason::Truncated, format_args!("{filled} of {} pixels", out.len()));
        }
        let mut block = slice(bytes, at + 1, len)?;
        at += 1 + len;
        while filled < out.len() {
            let step = lzw.decode_bytes(block, &mut out[filled..]);
            filled += step.consumed_out;
            block = &block[step.consumed_in..];
            match step.status {
                Ok(LzwStatus::Ok) => {}
                // The block is used up: the next one follows.
                Ok(LzwStatus::NoProgress) => break,
                Ok(LzwStatus::Done) if filled < out.len() => {
                    return fail(Reason::Truncated, format_args!("{filled} of {} pixels", out.len()));
                }
                Ok(LzwStatus::Done) => {}
                Err(error) => return fail(Reason::Corrupt, error),
            }
        }
    }
    Ok(out)
}
