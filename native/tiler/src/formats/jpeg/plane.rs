//! Owns a component's samples: the few rows of them that are there, and how they come to full size.

use super::frame::{Component, Frame};
use super::idct::Block;
use super::upsample;
use crate::error::{Reason, Result, fail, zeroed};
use crate::vector::SLACK;

/// Bytes before each row; the filter reads there.
const MARGIN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upsampling {
    None,
    Wide,
    WideAndTall,
    Tall,
    Repeated { h: usize, v: usize },
}

pub struct Plane {
    pub component: Component,
    /// The quantisation table of the component's first scan.
    pub quant: Option<Block>,
    /// Of a file with several scans: all blocks, `stored_x` in a row.
    pub blocks: Vec<Block>,
    pub stored_x: usize,
    /// Rows of samples; row `y` of the component lies in slot `y % slots`.
    ring: Vec<u8>,
    slots: usize,
    stride: usize,
    upsampling: Upsampling,
    /// A row at full size.
    full: Vec<u8>,
}

impl Plane {
    pub fn new(frame: &Frame, component: &Component, stored: bool) -> Result<Self> {
        let Some(upsampling) = upsampling(frame, component) else {
            return fail(Reason::UnsupportedFormat, "a component's sampling does not divide the picture's");
        };
        let layout = Layout::of(frame, component);
        let blocks = if stored { zeroed_blocks(layout.blocks)? } else { Vec::new() };
        Ok(Self {
            component: component.clone(),
            quant: None,
            blocks,
            stored_x: frame.mcus_x * component.h,
            ring: zeroed(layout.ring)?,
            slots: layout.slots,
            stride: layout.stride,
            upsampling,
            full: zeroed(layout.full)?,
        })
    }

    /// Whether a row wants component rows above and below its own.
    pub fn wants_neighbours(&self) -> bool {
        matches!(self.upsampling, Upsampling::Tall | Upsampling::WideAndTall)
    }

    /// Where the samples of the block at these coordinates go, and the stride there.
    #[inline(always)]
    pub fn block_at(&mut self, x: usize, y: usize) -> (*mut u8, usize) {
        let at = y * 8 % self.slots * self.stride + MARGIN + x * 8;
        (self.ring[at..at + 7 * self.stride + 8].as_mut_ptr(), self.stride)
    }

    /// To be called when a row of blocks is complete: repeats its samples at the edges.
    pub fn finish_blocks(&mut self, block_y: usize) {
        if matches!(self.upsampling, Upsampling::Wide | Upsampling::WideAndTall) {
            for y in block_y * 8..block_y * 8 + 8 {
                let start = y % self.slots * self.stride + MARGIN;
                let end = start + self.component.width;
                self.ring[start - 1] = self.ring[start];
                self.ring[end] = self.ring[end - 1];
            }
        }
    }

    fn row(&self, y: usize) -> *const u8 {
        let start = y.min(self.component.height - 1) % self.slots * self.stride + MARGIN;
        self.ring[start..start + self.component.width + SLACK].as_ptr()
    }

    /// The picture's row `y` at full size, readable to a multiple of sixteen. Its component rows and, if wanted, their
    /// neighbours have to be there.
    pub fn full_row(&mut self, y: usize) -> *const u8 {
        let width = self.component.width;
        let out = self.full.as_mut_ptr();
        let (near, lower) = (y / 2, y % 2 == 1);
        let far = if lower { near + 1 } else { near.saturating_sub(1) };
        // SAFETY: the ring's rows have a margin on both sides, `full` has room for all whole vectors (see Layout).
        unsafe {
            match self.upsampling {
                Upsampling::None => return self.row(y),
                Upsampling::Wide => upsample::twice_wide(self.row(y), width, out),
                Upsampling::WideAndTall => {
                    upsample::twice_wide_between(self.row(near), self.row(far), width, out);
                }
                Upsampling::Tall => {
                    upsample::between(self.row(near), self.row(far), if lower { 2 } else { 1 }, width, out);
                }
                Upsampling::Repeated { h, v } => {
                    let row = std::slice::from_raw_parts(self.row(y / v), width);
                    upsample::repeated(row, h, &mut self.full);
                }
            }
        }
        out
    }
}

/// How libjpeg upsamples the component; `None`: it cannot.
fn upsampling(frame: &Frame, component: &Component) -> Option<Upsampling> {
    if frame.max_h % component.h != 0 || frame.max_v % component.v != 0 {
        return None;
    }
    let (h, v) = (frame.max_h / component.h, frame.max_v / component.v);
    Some(match (h, v) {
        (1, 1) => Upsampling::None,
        (2, 1) if component.width > 2 => Upsampling::Wide,
        (2, 2) if component.width > 2 => Upsampling::WideAndTall,
        (1, 2) => Upsampling::Tall,
        _ => Upsampling::Repeated { h, v },
    })
}

/// Sizes of a plane's pieces, in bytes; `blocks` in blocks.
struct Layout {
    slots: usize,
    stride: usize,
    ring: usize,
    full: usize,
    blocks: usize,
}

impl Layout {
    fn of(frame: &Frame, component: &Component) -> Self {
        let stride = MARGIN + frame.mcus_x * component.h * 8 + 2 * SLACK;
        // Two rows of MCUs hold a strip; with neighbours one more.
        let tall = frame.max_v == 2 * component.v;
        let slots = component.v * 8 * if tall { 3 } else { 2 };
        let full = frame.mcus_x * frame.max_h * 8 + SLACK;
        let blocks = frame.mcus_x * component.h * frame.mcus_y * component.v;
        Self { slots, stride, ring: slots * stride, full, blocks }
    }
}

/// Bytes the planes of a frame take.
pub fn bytes(frame: &Frame, stored: bool) -> u64 {
    let one = |component: &Component| {
        let Layout { ring, full, blocks, .. } = Layout::of(frame, component);
        (ring + full) as u64 + if stored { blocks as u64 * size_of::<Block>() as u64 } else { 0 }
    };
    frame.components.iter().map(one).sum()
}

fn zeroed_blocks(count: usize) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    if blocks.try_reserve_exact(count).is_err() {
        return fail(Reason::OutOfMemory, format_args!("no memory for {count} blocks"));
    }
    blocks.resize(count, Block::ZERO);
    Ok(blocks)
}
