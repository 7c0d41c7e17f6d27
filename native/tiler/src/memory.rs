//! Owns how much memory a picture may take: the peak told from its header, and an allocator that holds it to that.

use crate::header::Format;
use crate::tile::tile_bytes;
use crate::work::Plan;
use crate::{resample, strip};

/// Upper bounds for one picture, told by its header; README.md has them as formulas.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Bytes live at once. What takes more is no honest picture.
    pub peak: u64,
    /// What the instance's memory grows to: holes between live pieces, the stack and the data come on top.
    pub footprint: u64,
}

pub fn need(file: usize, plan: &Plan) -> Need {
    /// Tables, line buffers, diagnostics.
    const SMALL: u64 = 512 << 10;
    /// Stack, data, code tables, the page that is not full.
    const FIXED: u64 = 2 << 20;
    let Plan { header, grid, tile, thumbnail, .. } = *plan;
    let rgb = if header.streamed { 0 } else { u64::from(header.width) * u64::from(header.height) * 3 };
    // These two copy chunks out of the file; what JPEG copies stands in `working`.
    let copies = if matches!(header.format, Format::Png | Format::Webp) { 2 } else { 1 };
    let decoder = copies * file as u64 + header.working;

    let width = header.width as usize;
    let resizers: u64 = plan.shapes(CHANNELS).map(|shape| resample::bytes(&shape)).sum();
    let strips = strip::bytes(width, CHANNELS) as u64 + resample::columns_bytes(width) + resizers;
    let tiles = (u64::from(grid.cols * grid.rows) + u64::from(thumbnail)) * tile_bytes(tile as usize) as u64;
    let turned = if header.orientation == 1 { 0 } else { tiles };

    let resize = if header.streamed { decoder } else { rgb } + strips + tiles;
    let peak = (decoder + rgb).max(resize).max(tiles + turned) + SMALL;
    // What comes later may lie on top, not in the holes of what went.
    let laid_out = decoder + rgb + strips + tiles + turned + SMALL;
    Need { peak, footprint: laid_out + laid_out / 32 + FIXED }
}

/// Of what is not grey.
const CHANNELS: usize = 3;

/// Counts what is live and refuses what would pass the cap. A decoder that cannot be refused traps, which costs the
/// instance and no more.
#[cfg(target_arch = "wasm32")]
pub mod cap {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static LIVE: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);
    static CAP: AtomicUsize = AtomicUsize::new(usize::MAX);

    struct Capped;

    #[global_allocator]
    static ALLOCATOR: Capped = Capped;

    impl Capped {
        fn take(&self, bytes: usize) -> bool {
            let live = LIVE.load(Relaxed).saturating_add(bytes);
            let fits = live <= CAP.load(Relaxed);
            if fits {
                LIVE.store(live, Relaxed);
                PEAK.fetch_max(live, Relaxed);
            }
            fits
        }

        fn give(&self, bytes: usize) {
            LIVE.store(LIVE.load(Relaxed) - bytes, Relaxed);
        }
    }

    // SAFETY: System's own answers, or null. There is one thread.
    unsafe impl GlobalAlloc for Capped {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.counted(layout.size(), || unsafe { System.alloc(layout) })
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            self.counted(layout.size(), || unsafe { System.alloc_zeroed(layout) })
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            self.give(layout.size());
            unsafe { System.dealloc(at, layout) }
        }

        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // A vector that grows is copied in the worst case: both are there for a moment.
            let grown = self.counted(size, || unsafe { System.realloc(at, layout, size) });
            if !grown.is_null() {
                self.give(layout.size());
            }
            grown
        }
    }

    impl Capped {
        #[inline(never)]
        fn counted(&self, bytes: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
            if !self.take(bytes) {
                return std::ptr::null_mut();
            }
            let at = allocate();
            if at.is_null() {
                self.give(bytes);
            }
            at
        }
    }

    /// From now on no more than `bytes` are live, and the peak is counted anew.
    pub fn set(bytes: usize) {
        CAP.store(bytes, Relaxed);
        PEAK.store(LIVE.load(Relaxed), Relaxed);
    }

    /// Most bytes live since `set`.
    pub fn peak() -> usize {
        PEAK.load(Relaxed)
    }
}

/// Native builds allocate as they like: their tests run in many threads.
#[cfg(not(target_arch = "wasm32"))]
pub mod cap {
    pub fn set(_bytes: usize) {}

    pub fn peak() -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::header::Header;

    #[test]
    fn the_peak_grows_with_the_picture_and_never_overflows() {
        let grid = Grid { cols: 4, rows: 3 };
        let at = |side: u32, working: u64, streamed: bool| {
            let header = Header { format: Format::Jpeg, width: side, height: side, orientation: 1, working, streamed };
            need(1000, &Plan { header, grid, tile: 448, thumbnail: true, exact: false })
        };
        assert!(at(10, 0, true).peak >= 13 * 448 * 448 * 3);
        assert!((9_000_000..14_000_000).contains(&at(4000, 500_000, true).peak));
        assert!((72_000_000..80_000_000).contains(&at(4000, 24_000_000, false).peak));
        assert!((78_000_000..92_000_000).contains(&at(4000, 24_000_000, false).footprint));
        assert!(at(65_535, 1 << 40, true).peak > 1 << 40);
    }
}
