//! Owns JPEG: sizes and Exif from the markers, pixels by libjpeg-turbo's arithmetic, CMYK as Pillow reads it.

use crate::bytes::{be16, slice, u8_at};
use crate::decode::inconsistent;
use crate::error::{Failure, Reason, Result, fail, zeroed};
use crate::exif;
use crate::header::{Format, Header};
use crate::picture::{Picture, div255};
use libjpeg_turbo_rs::{DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat};

/// Scans a progressive file may have. Encoders write about ten; thousands are an attack on the clock.
const MAX_SCANS: usize = 500;

pub fn header(bytes: &[u8]) -> Result<Header> {
    Ok(parse(bytes)?.0)
}

/// The header, and the offset of the first scan.
fn parse(bytes: &[u8]) -> Result<(Header, usize)> {
    let mut at = 2;
    let mut size = None;
    let mut orientation = None;
    let mut working = 0;
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
                if components == 4 && !inks_are_regular(body)? {
                    return fail(Reason::UnsupportedFormat, "CMYK with irregular sampling factors");
                }
                size = Some((width.into(), height.into()));
                working = frame_bytes(marker, body)?;
            }
            _ => {}
        }
    }
    let Some((width, height)) = size else {
        return fail(Reason::Corrupt, "a scan comes before the frame header");
    };
    // The decoder keeps copies of what stands before the first scan.
    let working = working + at as u64;
    Ok((Header { format: Format::Jpeg, width, height, orientation: orientation.unwrap_or(1), working }, at))
}

/// What the decoder allocates for a frame of this kind beside the RGB pixels: planes, coefficients, inks.
fn frame_bytes(marker: u8, frame: &[u8]) -> Result<u64> {
    let (height, width) = (u64::from(be16(frame, 1)?), u64::from(be16(frame, 3)?));
    let components = usize::from(u8_at(frame, 5)?);
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
        0xc2 | 0xca => planes * 2 + planes / 64,
        // Lossless: samples as u16.
        0xc3 | 0xcb => planes * 2,
        _ => 0,
    };
    // What is stored is let go of before the planes are brought to full size.
    Ok(planes + stored.max(upsampled + inks) + inks)
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
            cmyk_to_rgb(pixel, ink);
        }
        info.warnings
    } else {
        decoder.decode_image_into(picture.pixels_mut()).map_err(failure)?.warnings
    };
    for warning in warnings {
        match warning {
            DecodeWarning::TruncatedData { .. } if !has_end(bytes)? => return fail(Reason::Truncated, warning),
            DecodeWarning::UnsupportedRecovered { .. } => return fail(Reason::UnsupportedFormat, warning),
            _ => {}
        }
    }
    Ok(picture)
}

/// Pillow takes every CMYK JPEG as Adobe's, whose inks are stored inverted.
fn cmyk_to_rgb(pixel: &mut [u8], ink: &[u8]) {
    let light = u32::from(ink[3]);
    for (sample, &inverted) in pixel.iter_mut().zip(&ink[..3]) {
        *sample = light.saturating_sub(div255(u32::from(255 - inverted) * light).into()) as u8;
    }
}

/// Whether the end marker is there. A scan that ends early before it is damage, which libjpeg fills with grey; without
/// it the file was cut. (Inside entropy-coded data ff is always followed by 00 or a restart marker.)
fn has_end(bytes: &[u8]) -> Result<bool> {
    let (_, scan) = parse(bytes)?;
    Ok(bytes[scan..].windows(2).rev().any(|pair| pair == b"\xff\xd9"))
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
