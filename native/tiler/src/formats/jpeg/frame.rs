//! Owns what stands between the scans: tables, the frame, the scan's header, all as libjpeg takes or refuses it.

use super::bits::next_marker;
use super::huffman::Definition;
use super::idct::Block;
use crate::bytes::{be16, slice, u8_at};
use crate::error::{Reason, Result, fail};

/// From the order of storage to rows of eight. Runs that pass the end fall on the last place, as in libjpeg.
#[rustfmt::skip]
pub const ZIGZAG: [u8; 80] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55,
    62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
];

/// Blocks an interleaved MCU may have.
const MAX_MCU_BLOCKS: usize = 10;

#[derive(Clone, Debug)]
pub struct Component {
    pub id: u8,
    pub h: usize,
    pub v: usize,
    pub quant: usize,
    /// Samples that count.
    pub width: usize,
    pub height: usize,
    /// Blocks that hold them.
    pub blocks_x: usize,
    pub blocks_y: usize,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub progressive: bool,
    pub width: usize,
    pub height: usize,
    pub max_h: usize,
    pub max_v: usize,
    /// Units of 8 max_h x 8 max_v pixels.
    pub mcus_x: usize,
    pub mcus_y: usize,
    pub components: Vec<Component>,
}

impl Frame {
    /// From the body of a start-of-frame segment.
    pub fn read(body: &[u8], progressive: bool) -> Result<Self> {
        let (height, width) = (be16(body, 1)? as usize, be16(body, 3)? as usize);
        let count = usize::from(u8_at(body, 5)?);
        if body.len() != 6 + 3 * count {
            return fail(Reason::Corrupt, "the frame header has the wrong length");
        }
        let parts: Vec<[u8; 3]> = body[6..].chunks_exact(3).map(|part| [part[0], part[1], part[2]]).collect();
        let factors = |part: &[u8; 3]| (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        if parts.iter().map(factors).any(|(h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v)) {
            return fail(Reason::Corrupt, "sampling factors are not from 1 to 4");
        }
        let (max_h, max_v) = parts.iter().map(factors).fold((1, 1), |(h, v), (fh, fv)| (h.max(fh), v.max(fv)));
        let components = parts
            .iter()
            .map(|part| {
                let (h, v) = factors(part);
                Component {
                    id: part[0],
                    h,
                    v,
                    quant: part[2].into(),
                    width: (width * h).div_ceil(max_h),
                    height: (height * v).div_ceil(max_v),
                    blocks_x: (width * h).div_ceil(max_h * 8),
                    blocks_y: (height * v).div_ceil(max_v * 8),
                }
            })
            .collect();
        let (mcus_x, mcus_y) = (width.div_ceil(8 * max_h), height.div_ceil(8 * max_v));
        Ok(Self { progressive, width, height, max_h, max_v, mcus_x, mcus_y, components })
    }
}

/// A component of a scan, and its tables.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub component: usize,
    pub dc: usize,
    pub ac: usize,
}

#[derive(Clone, Debug)]
pub struct Scan {
    pub parts: Vec<Part>,
    /// First and last coefficient, and the bits of them that came before and come now, see the standard's Annex G.
    pub first: usize,
    pub last: usize,
    pub high: u32,
    pub low: u32,
    /// Where the entropy-coded data begins.
    pub data_at: usize,
}

pub struct Tables {
    /// In rows of eight.
    pub quant: [Option<Block>; 4],
    pub dc: [Option<Definition>; 4],
    pub ac: [Option<Definition>; 4],
    /// MCUs between restart markers; 0: there are none.
    pub restart_interval: u32,
    pub jfif: bool,
    /// The colour transform Adobe's segment tells.
    pub adobe: Option<u8>,
}

impl Tables {
    pub fn new() -> Self {
        let none = || [const { None }; 4];
        Self { quant: [None; 4], dc: none(), ac: none(), restart_interval: 0, jfif: false, adobe: None }
    }

    /// Reads segments from `at` up to and with the next scan's header; `None`: the file's end marker came.
    pub fn read(&mut self, file: &[u8], at: usize, frame: &mut Option<Frame>) -> Result<Option<Scan>> {
        let mut at = at;
        loop {
            let Some((marker, behind)) = next_marker(file, at, false) else {
                return fail(Reason::Truncated, "the file ends between segments");
            };
            at = behind;
            match marker {
                0x01 | 0xd0..=0xd8 => continue,
                0xd9 => return Ok(None),
                _ => {}
            }
            let len = be16(file, at)? as usize;
            if len < 2 {
                return fail(Reason::Corrupt, format_args!("segment ff{marker:02x} has length {len}"));
            }
            let body = slice(file, at + 2, len - 2)?;
            at += len;
            match marker {
                0xc0..=0xc2 if frame.is_some() => return fail(Reason::Corrupt, "a second frame header"),
                0xc0..=0xc2 => *frame = Some(Frame::read(body, marker == 0xc2)?),
                0xc4 => self.read_huffman(body)?,
                0xda => {
                    let Some(frame) = frame else {
                        return fail(Reason::Corrupt, "a scan comes before the frame header");
                    };
                    return scan(body, frame, at).map(Some);
                }
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return fail(Reason::Corrupt, "another frame header");
                }
                0xdb => self.read_quant(body)?,
                0xdd => self.restart_interval = be16(body, 0)?.into(),
                0xe0 if body.len() >= 14 && body.starts_with(b"JFIF\0") => self.jfif = true,
                0xee if body.len() >= 12 && body.starts_with(b"Adobe") => self.adobe = Some(body[11]),
                _ => {}
            }
        }
    }

    fn read_quant(&mut self, body: &[u8]) -> Result<()> {
        let mut at = 0;
        while at < body.len() {
            let (wide, index) = (body[at] >> 4 != 0, usize::from(body[at] & 15));
            at += 1;
            if index > 3 {
                return fail(Reason::Corrupt, format_args!("quantisation table {index}"));
            }
            let mut table = Block::ZERO;
            for &place in &ZIGZAG[..64] {
                table.0[usize::from(place)] = if wide { be16(body, at)? as i16 } else { u8_at(body, at)?.into() };
                at += if wide { 2 } else { 1 };
            }
            self.quant[index] = Some(table);
        }
        Ok(())
    }

    fn read_huffman(&mut self, body: &[u8]) -> Result<()> {
        let mut at = 0;
        while at + 16 < body.len() {
            let (class, index) = (body[at] >> 4, usize::from(body[at] & 15));
            let mut definition = Definition { counts: [0; 16], values: [0; 256] };
            definition.counts.copy_from_slice(slice(body, at + 1, 16)?);
            let count = definition.counts.iter().map(|&count| usize::from(count)).sum();
            at += 17;
            if count > 256 || at + count > body.len() || class > 1 || index > 3 {
                return fail(Reason::Corrupt, "a Huffman table is none");
            }
            definition.values[..count].copy_from_slice(&body[at..at + count]);
            at += count;
            let tables = if class == 0 { &mut self.dc } else { &mut self.ac };
            tables[index] = Some(definition);
        }
        if at == body.len() { Ok(()) } else { fail(Reason::Corrupt, "a Huffman segment has the wrong length") }
    }

    /// Fills in the standard's tables where the file defines none, as a motion JPEG's frames want it.
    pub fn complete(&mut self) {
        let [dc, ac] = Definition::standard();
        for (own, standard) in [(&mut self.dc, dc), (&mut self.ac, ac)] {
            for (slot, definition) in own.iter_mut().zip(standard) {
                slot.get_or_insert(definition);
            }
        }
    }
}

fn scan(body: &[u8], frame: &Frame, data_at: usize) -> Result<Scan> {
    let count = usize::from(u8_at(body, 0)?);
    if !(1..=4).contains(&count) || body.len() != 4 + 2 * count {
        return fail(Reason::Corrupt, "a scan header has the wrong length");
    }
    let mut parts: Vec<Part> = Vec::with_capacity(count);
    for part in body[1..].chunks_exact(2).take(count) {
        let is_it = |&index: &usize| {
            frame.components[index].id == part[0] && parts.iter().all(|other| other.component != index)
        };
        let Some(component) = (0..frame.components.len()).find(is_it) else {
            return fail(Reason::Corrupt, format_args!("a scan names component {}", part[0]));
        };
        parts.push(Part { component, dc: usize::from(part[1] >> 4), ac: usize::from(part[1] & 15) });
    }
    let blocks: usize = parts.iter().map(|part| &frame.components[part.component]).map(|c| c.h * c.v).sum();
    if count > 1 && blocks > MAX_MCU_BLOCKS {
        return fail(Reason::Corrupt, format_args!("{blocks} blocks in an MCU"));
    }
    let tail = &body[1 + 2 * count..];
    Ok(Scan {
        parts,
        first: tail[0].into(),
        last: tail[1].into(),
        high: u32::from(tail[2] >> 4),
        low: u32::from(tail[2] & 15),
        data_at,
    })
}
