//! Owns WebP: sizes and Exif from the RIFF chunks, pixels of the (first) frame by the `image-webp` crate.

use crate::bytes::{le16, le24, le32, slice, u8_at};
use crate::decode::{inconsistent, io_failure};
use crate::error::{Failure, Reason, Result, fail, zeroed};
use crate::exif;
use crate::header::{Format, Header};
use crate::picture::{Alpha, Picture};
use image_webp::{DecodingError, WebPDecoder};
use std::io::Cursor;

const FLAG_ALPHA: u8 = 0x10;
const FLAG_EXIF: u8 = 0x08;
const FLAG_ANIMATION: u8 = 0x02;

pub fn header(bytes: &[u8]) -> Result<Header> {
    let (mut width, mut height, mut orientation) = bitstream_size(bytes, 12)?;
    if slice(bytes, 12, 4)? == b"VP8X" {
        let flags = u8_at(bytes, 20)?;
        (width, height) = (le24(bytes, 24)? + 1, le24(bytes, 27)? + 1);
        if flags & FLAG_EXIF != 0 {
            orientation = chunks(bytes, 12, bytes.len())
                .find(|chunk| chunk.kind == b"EXIF")
                .and_then(|chunk| slice(bytes, chunk.at, chunk.len).ok())
                .map_or(1, exif::orientation);
        }
    }
    let working = working(bytes, width, height)?;
    Ok(Header { format: Format::Webp, width, height, orientation, working, streamed: false })
}

/// An upper bound by what the container allows: which bitstream a VP8X file holds is not looked for.
fn working(bytes: &[u8], width: u32, height: u32) -> Result<u64> {
    /// Prefix codes of a lossless stream.
    const CODES: u64 = 4 << 20;
    /// The decoder allocates a lossy partition by its announced length, 24 bits, before it looks whether it is there.
    const PARTITION: u64 = 17 << 20;
    let padded = u64::from(width).next_multiple_of(16) * u64::from(height).next_multiple_of(16);
    // In quarters of a byte per pixel. Lossy: three planes. Lossless: RGBA, two transforms and the map of codes.
    let (lossy, lossless) = (6, 19);
    let quarters = match slice(bytes, 12, 4)? {
        b"VP8 " => return Ok(padded * lossy / 4 + PARTITION),
        b"VP8L" => return Ok(padded * lossless / 4 + CODES),
        _ => {
            let flags = u8_at(bytes, 20)?;
            // Alpha: our RGBA beside the planes, and the alpha plane from a lossless stream of its own.
            let frame = if flags & FLAG_ALPHA != 0 { 16 + lossy + 4 + lossless } else { lossless };
            // Animations: the frame and the canvas it is laid on.
            if flags & FLAG_ANIMATION != 0 { frame + 16 + 16 } else { frame }
        }
    };
    Ok(padded * quarters / 4 + CODES + PARTITION)
}

pub fn decode(bytes: &[u8], header: &Header, alpha: Alpha) -> Result<Picture> {
    let promised = le32(bytes, 4)?;
    if bytes.len() < promised as usize {
        return fail(Reason::Truncated, format_args!("{} bytes of {promised}", bytes.len()));
    }
    check_frame(bytes, header)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failure)?;
    if decoder.dimensions() != (header.width, header.height) {
        return inconsistent("the bitstream");
    }
    let mut picture = Picture::new(header.width, header.height)?;
    if decoder.has_alpha() {
        let mut rgba = zeroed(picture.width * picture.height * 4)?;
        decoder.read_image(&mut rgba).map_err(failure)?;
        for (pixel, stored) in picture.pixels_mut().chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
            for (value, &colour) in pixel.iter_mut().zip(&stored[..3]) {
                *value = alpha.apply(colour, stored[3]);
            }
        }
    } else {
        decoder.read_image(picture.pixels_mut()).map_err(failure)?;
    }
    Ok(picture)
}

struct Chunk<'a> {
    kind: &'a [u8],
    /// Offset and length of the contents.
    at: usize,
    len: usize,
}

fn chunks(bytes: &[u8], start: usize, end: usize) -> impl Iterator<Item = Chunk<'_>> {
    let mut next = start;
    std::iter::from_fn(move || {
        let kind = slice(bytes, next, 4).ok()?;
        let len = le32(bytes, next.checked_add(4)?).ok()? as usize;
        let at = next + 8;
        next = at.checked_add(len)?.checked_add(len & 1)?;
        (at < end).then_some(Chunk { kind, at, len })
    })
}

/// Width and height of a bare VP8 or VP8L chunk at `at`; zeros for another chunk.
fn bitstream_size(bytes: &[u8], at: usize) -> Result<(u32, u32, u8)> {
    Ok(match slice(bytes, at, 4)? {
        b"VP8 " => {
            if slice(bytes, at + 11, 3)? != b"\x9d\x01\x2a" {
                return fail(Reason::Corrupt, "the VP8 frame has no start code");
            }
            (u32::from(le16(bytes, at + 14)? & 0x3fff), u32::from(le16(bytes, at + 16)? & 0x3fff), 1)
        }
        b"VP8L" => {
            if u8_at(bytes, at + 8)? != 0x2f {
                return fail(Reason::Corrupt, "the VP8L stream has no signature");
            }
            let bits = le32(bytes, at + 9)?;
            ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1, 1)
        }
        b"VP8X" => (0, 0, 1),
        other => return fail(Reason::UnsupportedFormat, format_args!("WebP begins with {}", other.escape_ascii())),
    })
}

/// The frame that will be decoded must not be larger than the canvas: the decoder allocates by the frame's own size.
fn check_frame(bytes: &[u8], header: &Header) -> Result<()> {
    if slice(bytes, 12, 4)? != b"VP8X" {
        return Ok(());
    }
    let frame = |from: usize, to: usize| chunks(bytes, from, to).find(|chunk| matches!(chunk.kind, b"VP8 " | b"VP8L"));
    let mut found = frame(12, bytes.len());
    if let Some(animation) = chunks(bytes, 12, bytes.len()).find(|chunk| chunk.kind == b"ANMF") {
        found = frame(animation.at.saturating_add(16), animation.at.saturating_add(animation.len));
    }
    let Some(chunk) = found else {
        return fail(Reason::Truncated, "no frame");
    };
    let (width, height, _) = bitstream_size(bytes, chunk.at - 8)?;
    if width > header.width || height > header.height {
        return inconsistent("the frame's size");
    }
    Ok(())
}

fn failure(error: DecodingError) -> Failure {
    match error {
        DecodingError::IoError(error) => io_failure(&error),
        DecodingError::UnsupportedFeature(_) => Failure::new(Reason::UnsupportedFormat, error),
        _ => Failure::new(Reason::Corrupt, error),
    }
}
