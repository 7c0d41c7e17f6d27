//! Owns bounded reads of integers and slices from a file: past the end is `Truncated`, never a panic.

use crate::error::{Failure, Reason, Result};

pub fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8]> {
    at.checked_add(len).and_then(|end| bytes.get(at..end)).ok_or_else(|| {
        Failure::new(Reason::Truncated, format_args!("no {len} bytes at offset {at} of {}", bytes.len()))
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let mut out = [0; N];
    out.copy_from_slice(slice(bytes, at, N)?);
    Ok(out)
}

pub fn u8_at(bytes: &[u8], at: usize) -> Result<u8> {
    Ok(array::<1>(bytes, at)?[0])
}

pub fn le16(bytes: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_le_bytes(array(bytes, at)?))
}

pub fn le24(bytes: &[u8], at: usize) -> Result<u32> {
    let [a, b, c] = array(bytes, at)?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

pub fn le32(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(array(bytes, at)?))
}

pub fn be16(bytes: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_be_bytes(array(bytes, at)?))
}

pub fn be32(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_be_bytes(array(bytes, at)?))
}
