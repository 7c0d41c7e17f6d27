//! Owns JPEG: sizes and Exif from the markers. Pixels come from rows.rs, by libjpeg-turbo's arithmetic; from other.rs
//! for the kinds that are rare.

mod bits;
mod colour;
mod frame;
mod huffman;
mod idct;
mod other;
mod plane;
mod rows;
mod scan;
mod smooth;
mod upsample;

use crate::bytes::{be16, slice, u8_at};
use crate::error::{Reason, Result, fail};
use crate::exif;
use crate::header::{Format, Header};
use frame::Frame;
pub use other::decode;
pub use rows::JpegRows;

/// Scans a progressive file may have. Encoders write about ten; thousands are an attack on the clock.
const MAX_SCANS: usize = 500;

pub fn header(bytes: &[u8]) -> Result<Header> {
    let mut at = 2;
    let mut frame = None;
    let mut orientation = None;
    loop {
        // Fill bytes and junk between segments are skipped, as readers of real files must.
        while u8_at(bytes, at)? != 0xff {
            at += 1;
        }
        while u8_at(bytes, at)? == 0xff {
            at += 1;
        }
        let marker = u8_at(bytes, at)?;
        at += 1;
        match marker {
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 => return fail(Reason::Truncated, "the file ends before its first scan"),
            0xda => break,
            _ => {}
        }
        let len = be16(bytes, at)? as usize;
        if len < 2 {
            return fail(Reason::Corrupt, format_args!("segment ff{marker:02x} has length {len}"));
        }
        let body = slice(bytes, at + 2, len - 2)?;
        at += len;
        match marker {
            0xe1 if orientation.is_none() && body.starts_with(b"Exif\0\0") => {
                orientation = Some(exif::orientation(body))
            }
            // Every start of frame; c4, c8 and cc are tables.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let (bits, height, width) = (u8_at(body, 0)?, be16(body, 1)?, be16(body, 3)?);
                let components = u8_at(body, 5)?;
                if bits != 8 || !matches!(components, 1 | 3 | 4) {
                    return fail(
                        Reason::UnsupportedFormat,
                        format_args!("JPEG with {components} components of {bits} bits"),
                    );
                }
                frame = Some((marker, body, width, height));
            }
            _ => {}
        }
    }
    let Some((marker, body, width, height)) = frame else {
        return fail(Reason::Corrupt, "a scan comes before the frame header");
    };
    let streamed = marker <= 0xc2;
    let working = if streamed {
        // How many components the first scan has tells whether there is a second.
        rows::bytes(&Frame::read(body, marker == 0xc2)?, u8_at(bytes, at + 2)?.into())
    } else {
        other::bytes(marker, body, at)?
    };
    let (width, height, orientation) = (width.into(), height.into(), orientation.unwrap_or(1));
    Ok(Header { format: Format::Jpeg, width, height, orientation, working, streamed })
}

/// Whether the end marker is there. A scan that ends early before it is damage, which libjpeg fills with grey; without
/// it the file was cut. (Inside entropy-coded data ff is always followed by 00 or a restart marker.)
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).rev().any(|pair| pair == b"\xff\xd9")
}
