//! Owns the way from file bytes to upright RGB pixels.

use crate::error::{Failure, Reason, Result, fail};
use crate::formats::{bmp, gif, jpeg, png, webp};
use crate::header::{Format, Header};
use crate::picture::{Alpha, Picture};

/// Decodes what `header` (from `header::read` on the same bytes, so within the limits) describes.
/// `exact` is Pillow's `Image.open(f).convert("RGB")`; otherwise upright and over white.
pub fn decode(bytes: &[u8], header: &Header, exact: bool) -> Result<Picture> {
    let alpha = if exact { Alpha::Drop } else { Alpha::OverWhite };
    let picture = match header.format {
        Format::Jpeg => jpeg::decode(bytes, header)?,
        Format::Png => png::decode(bytes, header, alpha)?,
        Format::Webp => webp::decode(bytes, header, alpha)?,
        Format::Gif => gif::decode(bytes, header, alpha)?,
        Format::Bmp => bmp::decode(bytes, header, alpha)?,
    };
    if exact { Ok(picture) } else { picture.turned(header.orientation) }
}

/// The error of a decoder's reader: the end of the input is `Truncated`, all else damage.
pub fn io_failure(error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Reason::Truncated,
        std::io::ErrorKind::OutOfMemory => Reason::OutOfMemory,
        _ => Reason::Corrupt,
    };
    Failure::new(reason, error)
}

/// A decoder met other sizes than the header announced.
pub fn inconsistent<T>(what: &str) -> Result<T> {
    fail(Reason::Corrupt, format_args!("{what} contradicts the header"))
}
