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
