//! Owns the one Exif fact the tiler needs: the orientation tag of a TIFF-shaped block.

use crate::bytes::{be16, be32, le16, le32};
use crate::error::Result;

const ORIENTATION: u16 = 0x0112;
const BYTE: u16 = 1;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// Orientation 1..8; 1 (upright) when the block has none or is damaged, because a picture must not fail for it.
pub fn orientation(block: &[u8]) -> u8 {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    match find(tiff) {
        Ok(Some(value @ 1..=8)) => value as u8,
        _ => 1,
    }
}

fn find(tiff: &[u8]) -> Result<Option<u32>> {
    let big = tiff.starts_with(b"MM\0*");
    if !big && !tiff.starts_with(b"II*\0") {
        return Ok(None);
    }
    let u16_at = |at| if big { be16(tiff, at) } else { le16(tiff, at) };
    let u32_at = |at| if big { be32(tiff, at) } else { le32(tiff, at) };
    let directory = u32_at(4)? as usize;
    let entries = u16_at(directory)? as usize;
    for entry in (0..entries).map(|index| directory + 2 + index * 12) {
        if u16_at(entry)? == ORIENTATION {
            return Ok(match u16_at(entry + 2)? {
                BYTE => tiff.get(entry + 8).map(|&value| value.into()),
                SHORT => Some(u16_at(entry + 8)?.into()),
                LONG => Some(u32_at(entry + 8)?),
                _ => None,
            });
        }
    }
    Ok(None)
}
