//! Owns the way from file bytes to rows: strips as they are wanted where a format allows it, else out of a whole picture.

use crate::error::{Failure, Reason, Result, fail};
use crate::formats::{bmp, gif, jpeg, png, webp};
use crate::header::{Format, Header};
use crate::picture::{Alpha, Picture};
use crate::strip::{ROWS, Strip};

/// A picture whose rows are still to come, in the orientation in which they are stored.
pub enum Source {
    Jpeg(Box<jpeg::JpegRows>),
    Png(Box<png::PngRows>),
    Whole(Picture),
}

impl Source {
    /// For what `header` (from `header::read` on the same bytes, so within the limits) describes.
    /// `exact` is Pillow's `Image.open(f).convert("RGB")`; otherwise transparency is laid over white.
    pub fn open(file: Vec<u8>, header: &Header, exact: bool) -> Result<Self> {
        let alpha = if exact { Alpha::Drop } else { Alpha::OverWhite };
        Ok(match header.format {
            Format::Jpeg if header.streamed => Source::Jpeg(Box::new(jpeg::JpegRows::open(file, header)?)),
            Format::Png if header.streamed => Source::Png(Box::new(png::PngRows::open(file, header, alpha)?)),
            Format::Jpeg => Source::Whole(jpeg::decode(&file, header)?),
            Format::Png => Source::Whole(png::decode(&file, header, alpha)?),
            Format::Webp => Source::Whole(webp::decode(&file, header, alpha)?),
            Format::Gif => Source::Whole(gif::decode(&file, header, alpha)?),
            Format::Bmp => Source::Whole(bmp::decode(&file, header, alpha)?),
        })
    }

    /// One for grey, three for RGB.
    pub fn channels(&self) -> usize {
        if let Source::Jpeg(rows) = self { rows.channels() } else { 3 }
    }

    /// Fills a strip of this picture with the rows from `first` on. To be asked for in order, each once.
    pub fn fill(&mut self, strip: &mut Strip, first: usize, height: usize) -> Result<()> {
        (strip.first, strip.rows) = (first, ROWS.min(height - first));
        match self {
            Source::Jpeg(rows) => rows.next(strip)?,
            Source::Png(rows) => rows.next(strip)?,
            Source::Whole(picture) => {
                for row in 0..strip.rows {
                    strip.set_rgb(row, picture.row(first + row));
                }
            }
        }
        Ok(())
    }
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
