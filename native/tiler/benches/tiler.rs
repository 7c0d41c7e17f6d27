//! Measures the tiler without WASM: decoding, resizing and cutting of each picture, one thread, no peer.
//!
//! Run: cargo bench [-- FILE...]. Without files: the goldens that are large enough, and the pictures of
//! `deno task bench tiler` where it has run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tessera_tiler::error::{Limits, Result};
use tessera_tiler::work::{Plan, Work};
use tessera_tiler::{grid, header};

const TILE: u32 = 448;
const MAX_TILES: u32 = 12;
const LIMITS: Limits = Limits { max_pixels: 100_000_000, max_side: 65_535 };
/// Time for each picture, and the least number of runs.
const PICTURE: Duration = Duration::from_secs(3);
const MIN_RUNS: usize = 5;

struct Run {
    pixels: u64,
    /// Decode, resize, cut, in ms.
    steps: [f64; 3],
}

fn main() {
    // cargo passes flags of its own.
    let mut paths: Vec<PathBuf> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).map(Into::into).collect();
    if paths.is_empty() {
        paths = pictures(&["../../tests/golden/tiler/pictures", "../../.tessera/bench"]);
    }
    println!(
        "{:28} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "median of runs, ms", "runs", "decode", "resize", "cut", "all", "Mpixel/s"
    );
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match measured(&std::fs::read(&path).expect("the picture is readable")) {
            Ok((runs, Run { pixels, steps })) => {
                let all: f64 = steps.iter().sum();
                let [decode, resize, cut] = steps;
                let rate = pixels as f64 / all / 1000.0;
                println!("{name:28} {runs:6} {decode:9.2} {resize:9.2} {cut:9.2} {all:9.2} {rate:9.1}");
            }
            Err(failure) => println!("{name:28} {:?}: {}", failure.reason, failure.detail),
        }
    }
}

/// Files of at least 20 kB, smaller ones are over before a clock ticks.
fn pictures(folders: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(root.join(folder)).ok()).flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.metadata().is_ok_and(|data| data.len() > 20_000))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// The number of runs, and the medians of their steps.
fn measured(file: &[u8]) -> Result<(usize, Run)> {
    let mut runs = vec![once(file)?];
    let end = Instant::now() + PICTURE;
    while runs.len() < MIN_RUNS || Instant::now() < end {
        runs.push(once(file)?);
    }
    let median = |step: usize| {
        let mut times: Vec<f64> = runs.iter().map(|run| run.steps[step]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok((runs.len(), Run { pixels: runs[0].pixels, steps: [0, 1, 2].map(median) }))
}

/// As `edge/tile/tiler.ts` calls the steps.
fn once(file: &[u8]) -> Result<Run> {
    let mut header = header::read(file, &LIMITS)?;
    header.orientation = 1;
    let grid = grid::choose(header.width, header.height, TILE, 1, MAX_TILES)?;
    let plan = Plan { header, grid, tile: TILE, thumbnail: grid.cols * grid.rows > 1, exact: true };
    let file = file.to_vec();
    let mut steps = [0.0; 3];
    let mut last = Instant::now();
    let mut lap = |step: usize| {
        steps[step] += last.elapsed().as_secs_f64() * 1000.0;
        last = Instant::now();
    };
    let mut work = Work::open(file, plan)?;
    loop {
        work.decode()?;
        lap(0);
        let rows_left = work.resize()?;
        lap(1);
        if rows_left == 0 {
            break;
        }
    }
    std::hint::black_box(work.cut()?);
    lap(2);
    Ok(Run { pixels: u64::from(header.width) * u64::from(header.height), steps })
}
