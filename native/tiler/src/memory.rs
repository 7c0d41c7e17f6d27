//! Owns how much memory a picture may take: the peak told from its header, and an allocator that holds it to that.

use crate::grid::Grid;
use crate::header::{Format, Header};
use crate::picture::SLACK;
use crate::tile::tile_bytes;

/// Upper bounds for one picture, told by its header; README.md has them as formulas.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Bytes live at once. What takes more is no honest picture.
    pub peak: u64,
    /// What the instance's memory grows to: holes between live pieces, the stack and the data come on top.
    pub footprint: u64,
}

pub fn need(file: usize, header: &Header, grid: Grid, tile: u32, thumbnail: bool) -> Need {
    /// Tables, line buffers, diagnostics.
    const SMALL: u64 = 1 << 20;
    /// Stack, data, code tables, the page that is not full.
    const FIXED: u64 = 3 << 20;
    let (tile, turned) = (u64::from(tile), header.orientation != 1);
    let rgb = pixels(header.width.into(), header.height.into());
    // These two copy chunks out of the file; what JPEG copies stands in `working`.
    let copies = if matches!(header.format, Format::Png | Format::Webp) { 2 } else { 1 };
    let stored = copies * file as u64;

    let (width, height) = header.upright_size();
    let (width, height) = (u64::from(width), u64::from(height));
    let (to_width, to_height) = (u64::from(grid.cols) * tile, u64::from(grid.rows) * tile);
    let between = pixels(to_width, height).max(pixels(width, to_height));
    // Four taps a source position when the axis shrinks, five a target position when it grows; each kept as an i32 and
    // as a pair of halves, in vectors that double.
    let weights = 24 * (4 * (width + height) + 6 * (to_width + to_height));
    let thumb = tile_bytes(tile as usize) as u64;
    let canvas = pixels(to_width, to_height) + thumb;
    let tiles = (u64::from(grid.cols * grid.rows) + u64::from(thumbnail)) * thumb;

    let decode = stored + rgb + header.working;
    let turn = if turned { stored + 2 * rgb } else { 0 };
    let resize = rgb + between + canvas + weights;
    let peak = decode.max(turn).max(resize).max(canvas + tiles) + SMALL;

    // A piece goes where a larger one was, or on top of all.
    let hole = stored + header.working;
    let unless_in = |hole: u64, piece: u64| if piece > hole { piece } else { 0 };
    let laid_out = if turned {
        decode + unless_in(header.working / 2, rgb) + unless_in(rgb, between + canvas + weights)
    } else {
        decode + unless_in(hole, between) + canvas + weights
    };
    let laid_out = laid_out + unless_in(rgb.max(between), tiles);
    Need { peak, footprint: laid_out.max(peak) + peak / 32 + FIXED }
}

fn pixels(width: u64, height: u64) -> u64 {
    width * height * 3 + SLACK as u64
}

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

    #[test]
    fn the_peak_grows_with_the_picture_and_never_overflows() {
        let grid = Grid { cols: 4, rows: 3 };
        let at = |side: u32, working: u64| {
            let header = Header { format: Format::Jpeg, width: side, height: side, orientation: 1, working };
            need(1000, &header, grid, 448, true)
        };
        assert!(at(10, 0).peak >= 25 * 448 * 448 * 3);
        assert!((72_000_000..80_000_000).contains(&at(4000, 24_000_000).peak));
        assert!((72_000_000..92_000_000).contains(&at(4000, 24_000_000).footprint));
        assert!(at(65_535, 1 << 40).peak > 1 << 40);
    }
}
