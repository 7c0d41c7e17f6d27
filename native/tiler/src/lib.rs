//! Owns the exported surface: one picture at a time is opened, then decoded and resized strip by strip, then cut; each
//! step gives a status code.
//!
//! The caller writes the file into `tiler_alloc`'s buffer, calls the steps in order while they return 0, and reads the
//! report. Whatever a step returns, `tiler_reset` frees all that the picture holds. After a trap the instance is lost.

mod bytes;
pub mod decode;
pub mod error;
mod exif;
pub mod formats;
pub mod grid;
pub mod header;
pub mod memory;
pub mod picture;
pub mod resample;
pub mod strip;
pub mod tile;
pub mod vector;
pub mod work;

use error::{Limits, Reason, Result, fail};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use work::{Plan, Work};

const FLAG_THUMBNAIL: u32 = 1;
const FLAG_EXACT: u32 = 2;

/// Indices of the report, an array of u32 at a fixed address. edge/tile/tiler.ts reads them by the same numbers.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Field {
    Format,
    SourceWidth,
    SourceHeight,
    Cols,
    Rows,
    /// The thumbnail included.
    TileCount,
    TilesAt,
    TilesLen,
    /// UTF-8 diagnostic of the last failure, or of the panic before a trap.
    MessageAt,
    MessageLen,
    /// What the memory will grow to for this picture, in KiB. Told by the header alone.
    NeedKib,
    /// Most bytes that were live since `tiler_open`.
    PeakBytes,
    /// Exif orientation 1..8 as the file says, whether it is applied or not.
    Orientation,
    /// Stored rows that are still to be decoded or resized.
    RowsLeft,
    Count,
}

static REPORT: [AtomicU32; Field::Count as usize] = [const { AtomicU32::new(0) }; Field::Count as usize];

fn report(field: Field, value: usize) {
    REPORT[field as usize].store(value as u32, Relaxed);
}

/// The one picture of this instance.
#[derive(Default)]
struct Session {
    file: Vec<u8>,
    plan: Option<Plan>,
    work: Option<Work>,
    tiles: Vec<u8>,
    message: String,
}

thread_local! {
    static SESSION: RefCell<Session> = RefCell::default();
}

fn step(run: impl FnOnce(&mut Session) -> Result<()>) -> u32 {
    SESSION.with_borrow_mut(|session| match run(session) {
        Ok(()) => 0,
        Err(failure) => {
            session.message = failure.detail;
            report(Field::MessageAt, session.message.as_ptr() as usize);
            report(Field::MessageLen, session.message.len());
            failure.reason as u32
        }
    })
}

/// The address of the report. Also makes a panic leave its text there before it traps.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_report() -> *const u32 {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string().leak();
        report(Field::MessageAt, text.as_ptr() as usize);
        report(Field::MessageLen, text.len());
    }));
    REPORT.as_ptr().cast()
}

/// A buffer of `len` bytes for the file, owned by the session until `tiler_reset`; null when there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_alloc(len: u32) -> *mut u8 {
    tiler_reset();
    SESSION.with_borrow_mut(|session| match error::zeroed(len as usize) {
        Ok(file) => {
            session.file = file;
            session.file.as_mut_ptr()
        }
        Err(_) => std::ptr::null_mut(),
    })
}

/// Reads the header and chooses the grid; allocates nothing by the header's numbers. The buffer may hold the beginning
/// of a file alone; `file_len` is the length of the whole, which the memory it needs depends on.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_open(
    tile: u32,
    min: u32,
    max: u32,
    flags: u32,
    max_pixels: u32,
    max_side: u32,
    file_len: u32,
) -> u32 {
    step(|session| {
        let limits = Limits { max_pixels: max_pixels.into(), max_side };
        let mut header = header::read(&session.file, &limits)?;
        let exact = flags & FLAG_EXACT != 0;
        report(Field::Orientation, header.orientation.into());
        if exact {
            header.orientation = 1;
        }
        let (width, height) = header.upright_size();
        let grid = grid::choose(width, height, tile, min, max)?;
        let thumbnail = flags & FLAG_THUMBNAIL != 0 && grid.cols * grid.rows > 1;
        let plan = Plan { header, grid, tile, thumbnail, exact };
        let need = memory::need(file_len as usize, &plan);
        memory::cap::set(need.peak.try_into().unwrap_or(usize::MAX));
        session.plan = Some(plan);
        report(Field::Format, header.format as usize);
        report(Field::SourceWidth, width as usize);
        report(Field::SourceHeight, height as usize);
        report(Field::Cols, grid.cols as usize);
        report(Field::Rows, grid.rows as usize);
        report(Field::TileCount, (grid.cols * grid.rows) as usize + usize::from(thumbnail));
        report(Field::NeedKib, (need.footprint >> 10).try_into().unwrap_or(usize::MAX));
        Ok(())
    })
}

/// Decodes the next strip, the first time taking the file.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_decode() -> u32 {
    step(|session| {
        let plan = plan(session)?;
        if session.work.is_none() {
            session.work = Some(Work::open(std::mem::take(&mut session.file), plan)?);
        }
        work(session)?.decode()
    })
}

/// Resizes the strip to the grid and to the thumbnail. While `RowsLeft` is not 0 another strip is to be decoded.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_resize() -> u32 {
    step(|session| {
        let rows_left = work(session)?.resize()?;
        report(Field::RowsLeft, rows_left);
        Ok(())
    })
}

/// Makes the tiles, which stay at `TilesAt` until `tiler_reset`.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_cut() -> u32 {
    step(|session| {
        let Some(work) = session.work.take() else {
            return fail(Reason::Misuse, "cut before decode");
        };
        session.tiles = work.cut()?;
        report(Field::TilesAt, session.tiles.as_ptr() as usize);
        report(Field::TilesLen, session.tiles.len());
        report(Field::PeakBytes, memory::cap::peak());
        Ok(())
    })
}

fn work(session: &mut Session) -> Result<&mut Work> {
    match &mut session.work {
        Some(work) => Ok(work),
        None => fail(Reason::Misuse, "resize before decode"),
    }
}

fn plan(session: &Session) -> Result<Plan> {
    match session.plan {
        Some(plan) => Ok(plan),
        None => fail(Reason::Misuse, "a step before open"),
    }
}

/// Frees everything of the picture. The memory stays with the instance.
#[unsafe(no_mangle)]
pub extern "C" fn tiler_reset() {
    SESSION.with_borrow_mut(|session| *session = Session::default());
    memory::cap::set(usize::MAX);
    for field in &REPORT {
        field.store(0, Relaxed);
    }
}
