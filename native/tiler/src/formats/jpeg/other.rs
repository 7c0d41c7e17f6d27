//! Owns the JPEGs that are rare: lossless and arithmetic ones, decoded by the crate `libjpeg-turbo-rs` as a whole.

use super::{MAX_SCANS, colour, has_end};
use crate::bytes::{be16, u8_at};
use crate::decode::inconsistent;
use crate::error::{Failure, Reason, Result, fail, zeroed};
use crate::header::Header;
use crate::picture::Picture;
use libjpeg_turbo_rs::{DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat};

/// What the decoder allocates for a frame of this kind beside the RGB pixels: planes, coefficients, inks. It also keeps
/// copies of the `head` bytes before the first scan.
pub fn bytes(marker: u8, frame: &[u8], head: usize) -> Result<u64> {
    let (height, width) = (u64::from(be16(frame, 1)?), u64::from(be16(frame, 3)?));
    let components = usize::from(u8_at(frame, 5)?);
    if components == 4 && !inks_are_regular(frame)? {
        return fail(Reason::UnsupportedFormat, "CMYK with irregular sampling factors");
    }
    let mut factors = [(1u64, 1u64); 4];
    for (index, factor) in factors.iter_mut().take(components).enumerate() {
        let byte = u8_at(frame, 7 + index * 3)?;
        *factor = (u64::from(byte >> 4), u64::from(byte & 15));
    }
    let (max_h, max_v) = factors.iter().fold((1, 1), |(h, v), &(fh, fv)| (h.max(fh), v.max(fv)));
    let units = width.div_ceil(8 * max_h) * height.div_ceil(8 * max_v);
    let planes: u64 = factors.iter().take(components).map(|(h, v)| units * h * v * 64).sum();
    // A component that is neither full size nor halved is brought to full size as a whole, and so are CMYK's.
    let odd = |&&(h, v): &&(u64, u64)| {
        (h, v) != (max_h, max_v) && (components == 4 || h * 2 != max_h || (v != max_v && v * 2 != max_v))
    };
    let upsampled = factors.iter().take(components).filter(odd).count() as u64 * units * max_h * max_v * 64;
    // CMYK is put out twice: by the decoder, and as the inks that become RGB.
    let inks = if components == 4 { 4 * width * height } else { 0 };
    let stored = match marker {
        // Progressive: all coefficients as i16, and a byte for each block.
        0xca => planes * 2 + planes / 64,
        // Lossless: samples as u16.
        0xc3 | 0xcb => planes * 2,
        _ => 0,
    };
    // What is stored is let go of before the planes are brought to full size.
    Ok(planes + stored.max(upsampled + inks) + inks + head as u64)
}

/// Whether the first and the last component are full size and the middle two alike, as Adobe and others write them. On
/// anything else the decoder's upsampling of four components runs out of bounds.
fn inks_are_regular(frame: &[u8]) -> Result<bool> {
    let factors = |index: usize| u8_at(frame, 7 + index * 3).map(|byte| (byte >> 4, byte & 15));
    let (full, middle) = (factors(0)?, factors(1)?);
    let divides = middle.0 != 0 && middle.1 != 0 && full.0 % middle.0 == 0 && full.1 % middle.1 == 0;
    Ok(divides && factors(2)? == middle && factors(3)? == full)
}

pub fn decode(bytes: &[u8], header: &Header) -> Result<Picture> {
    let limits = DecodeLimits { max_scans: MAX_SCANS, ..DecodeLimits::default() };
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(failure)?;
    let frame = decoder.header();
    if (u32::from(frame.width), u32::from(frame.height)) != (header.width, header.height) {
        return inconsistent("the frame");
    }
    let cmyk = frame.components.len() == 4;
    // Lenient as libjpeg is: a damaged block is a warning there and Pillow shows the picture. Missing data is not.
    decoder.set_lenient(true);
    decoder.set_block_smoothing(true);
    decoder.set_output_format(if cmyk { PixelFormat::Cmyk } else { PixelFormat::Rgb });

    let mut picture = Picture::new(header.width, header.height)?;
    let warnings = if cmyk {
        let mut inks = zeroed(picture.width * picture.height * 4)?;
        let info = decoder.decode_image_into(&mut inks).map_err(failure)?;
        for (pixel, ink) in picture.pixels_mut().chunks_exact_mut(3).zip(inks.chunks_exact(4)) {
            for (sample, &inverted) in pixel.iter_mut().zip(&ink[..3]) {
                *sample = colour::ink_to_light(inverted, ink[3]);
            }
        }
        info.warnings
    } else {
        decoder.decode_image_into(picture.pixels_mut()).map_err(failure)?.warnings
    };
    for warning in warnings {
        match warning {
            DecodeWarning::TruncatedData { .. } if !has_end(bytes) => return fail(Reason::Truncated, warning),
            DecodeWarning::UnsupportedRecovered { .. } => return fail(Reason::UnsupportedFormat, warning),
            _ => {}
        }
    }
    Ok(picture)
}

fn failure(error: JpegError) -> Failure {
    let reason = match &error {
        JpegError::UnexpectedEof => Reason::Truncated,
        JpegError::Unsupported(_) => Reason::UnsupportedFormat,
        JpegError::AllocationFailed { .. } => Reason::OutOfMemory,
        _ => Reason::Corrupt,
    };
    Failure::new(reason, error)
}
