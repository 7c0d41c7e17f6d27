//! Owns the formats: each module reads its header without allocating, and decodes to RGB.

pub mod bmp;
pub mod gif;
pub mod jpeg;
pub mod png;
pub mod webp;
