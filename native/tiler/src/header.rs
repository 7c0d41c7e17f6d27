//! Owns what is known before decoding: the type by the bytes, the size, the orientation, and the limit check.

use crate::error::{Limits, Reason, Result, fail};
use crate::formats::{bmp, gif, jpeg, png, webp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Format {
    Jpeg = 1,
    Png = 2,
    Webp = 3,
    Gif = 4,
    Bmp = 5,
}

/// Sizes are those of the stored pixels; `orientation` says how they are to be turned.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub format: Format,
    pub width: u32,
    pub height: u32,
    /// Exif orientation 1..8.
    pub orientation: u8,
    /// Upper bound of what the decoder allocates beside the file and a whole picture, in bytes.
    pub working: u64,
    /// Its rows are decoded as they are wanted; else there is a whole picture first.
    pub streamed: bool,
}

impl Header {
    /// Size after the orientation was applied.
    pub fn upright_size(&self) -> (u32, u32) {
        if self.orientation >= 5 { (self.height, self.width) } else { (self.width, self.height) }
    }
}

pub fn sniff(bytes: &[u8]) -> Result<Format> {
    if bytes.is_empty() {
        return fail(Reason::Empty, "no bytes");
    }
    const MAGICS: [(&[u8], Format); 5] = [
        (b"\xff\xd8\xff", Format::Jpeg),
        (b"\x89PNG\r\n\x1a\n", Format::Png),
        (b"GIF87a", Format::Gif),
        (b"GIF89a", Format::Gif),
        (b"BM", Format::Bmp),
    ];
    for (magic, format) in MAGICS {
        if bytes.starts_with(magic) {
            return Ok(format);
        }
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Ok(Format::Webp);
    }
    // A file cut within its first bytes is a truncated one, if those bytes are the start of a known type.
    let cut = MAGICS.iter().any(|(magic, _)| magic.starts_with(bytes))
        || (bytes.len() < 12 && b"RIFF".starts_with(&bytes[..bytes.len().min(4)]));
    fail(if cut { Reason::Truncated } else { Reason::UnsupportedFormat }, "the first bytes are of no known type")
}

pub fn read(bytes: &[u8], limits: &Limits) -> Result<Header> {
    let format = sniff(bytes)?;
    let header = match format {
        Format::Jpeg => jpeg::header(bytes)?,
        Format::Png => png::header(bytes)?,
        Format::Webp => webp::header(bytes)?,
        Format::Gif => gif::header(bytes)?,
        Format::Bmp => bmp::header(bytes)?,
    };
    limits.check(header.width, header.height)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_pixels: 1000, max_side: 100 };

    fn reason(bytes: &[u8]) -> Reason {
        read(bytes, &LIMITS).unwrap_err().reason
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn the_type_is_told_by_the_bytes() {
        assert_eq!(sniff(&png(1, 1)).unwrap(), Format::Png);
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 ").unwrap(), Format::Webp);
        assert_eq!(reason(b""), Reason::Empty);
        assert_eq!(reason(b"RIFF\0\0\0\0WAVE"), Reason::UnsupportedFormat);
        assert_eq!(reason(b"II*\0 a TIFF"), Reason::UnsupportedFormat);
        assert_eq!(reason(b"\x89PN"), Reason::Truncated);
    }

    #[test]
    fn the_limits_hold_for_pixels_and_for_sides() {
        assert!(read(&png(50, 20), &LIMITS).is_ok());
        assert_eq!(reason(&png(50, 21)), Reason::TooManyPixels);
        assert_eq!(reason(&png(101, 1)), Reason::TooManyPixels);
        assert_eq!(reason(&png(u32::MAX, u32::MAX)), Reason::TooManyPixels);
        assert_eq!(reason(&png(0, 5)), Reason::Corrupt);
    }

    #[test]
    fn any_beginning_of_a_header_is_truncated() {
        let bytes = png(5, 5);
        for len in 1..33 {
            assert_eq!(reason(&bytes[..len]), Reason::Truncated, "{len} bytes");
        }
    }
}
