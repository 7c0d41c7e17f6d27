//! Owns why a picture fails, and the limits that are checked before anything is allocated.

use std::fmt::Display;

/// The closed list of failures. The numbers are the status codes of the exported functions (0 is success).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    Empty = 1,
    UnsupportedFormat = 2,
    Truncated = 3,
    Corrupt = 4,
    TooManyPixels = 5,
    OutOfMemory = 6,
    /// The caller broke the order or the range of the calls; never the picture's fault.
    Misuse = 7,
}

/// A reason and a private diagnostic for the log.
#[derive(Debug)]
pub struct Failure {
    pub reason: Reason,
    pub detail: String,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(reason: Reason, detail: impl Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

pub fn fail<T>(reason: Reason, detail: impl Display) -> Result<T> {
    Err(Failure::new(reason, detail))
}

/// What a source picture may measure.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_pixels: u64,
    pub max_side: u32,
}

impl Limits {
    pub fn check(&self, width: u32, height: u32) -> Result<()> {
        if width == 0 || height == 0 {
            return fail(Reason::Corrupt, format_args!("the header says {width}x{height} pixels"));
        }
        if width > self.max_side || height > self.max_side || u64::from(width) * u64::from(height) > self.max_pixels {
            let Limits { max_pixels, max_side } = self;
            return fail(
                Reason::TooManyPixels,
                format_args!("{width}x{height} pixels, expected {max_pixels} at most and no side above {max_side}"),
            );
        }
        Ok(())
    }
}

/// A zeroed buffer, or `OutOfMemory`: sizes come from the input, and a plain `vec!` would abort.
pub fn zeroed(len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(len).is_err() {
        return fail(Reason::OutOfMemory, format_args!("no memory for {len} bytes"));
    }
    bytes.resize(len, 0);
    Ok(bytes)
}
