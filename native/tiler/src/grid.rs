//! Owns the choice of the grid: InternVL's `dynamic_preprocess`, to the last tie.
//!
//! Candidates are ordered by area. Grids of equal area keep the order in which the vendor's Python iterates a set of
//! tuples, and that order decides some ties; so CPython's set and tuple hash are replayed here.

use crate::error::{Reason, Result, fail};
use crate::picture::is_transposed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub cols: u32,
    pub rows: u32,
}

impl Grid {
    /// Columns and rows of the stored picture, which `orientation` (Exif, 1..8) turns into this grid.
    pub fn stored(self, orientation: u8) -> (usize, usize) {
        let (cols, rows) = (self.cols as usize, self.rows as usize);
        if is_transposed(orientation) { (rows, cols) } else { (cols, rows) }
    }
}

/// Above every published model's setting; keeps the candidate list and the output small.
pub const MAX_TILES: u32 = 64;
pub const MAX_TILE_SIZE: u32 = 1024;

pub fn choose(width: u32, height: u32, tile: u32, min: u32, max: u32) -> Result<Grid> {
    if min < 1 || min > max || max > MAX_TILES || !(1..=MAX_TILE_SIZE).contains(&tile) {
        return fail(Reason::Misuse, format_args!("tile {tile}, min {min}, max {max}"));
    }
    let aspect = f64::from(width) / f64::from(height);
    let area = f64::from(width) * f64::from(height);
    let mut best = Grid { cols: 1, rows: 1 };
    let mut best_difference = f64::INFINITY;
    for grid in candidates(min, max) {
        let difference = (aspect - f64::from(grid.cols) / f64::from(grid.rows)).abs();
        if difference < best_difference {
            best_difference = difference;
            best = grid;
        } else if difference == best_difference
            && area > 0.5 * f64::from(tile) * f64::from(tile) * f64::from(grid.cols) * f64::from(grid.rows)
        {
            best = grid;
        }
    }
    Ok(best)
}

/// The vendor's `sorted(set((i, j) for n in .. for i in .. for j in .. if min <= i * j <= max), key=area)`.
fn candidates(min: u32, max: u32) -> Vec<Grid> {
    let mut set = PythonSet::new();
    for n in min..=max {
        for cols in 1..=n {
            for rows in 1..=n.min(max / cols) {
                if cols * rows >= min {
                    set.add(Grid { cols, rows });
                }
            }
        }
    }
    let mut grids: Vec<Grid> = set.iter().collect();
    grids.sort_by_key(|grid| grid.cols * grid.rows);
    grids
}

/// CPython's `setobject.c` (3.7 and later): open addressing, runs of ten probes, growth by four at 3/5 full.
struct PythonSet {
    slots: Vec<Option<(Grid, u64)>>,
    used: usize,
}

impl PythonSet {
    fn new() -> Self {
        Self { slots: vec![None; 8], used: 0 }
    }

    fn iter(&self) -> impl Iterator<Item = Grid> {
        self.slots.iter().flatten().map(|&(grid, _)| grid)
    }

    fn add(&mut self, grid: Grid) {
        let hash = tuple_hash(grid);
        let slot = self.find(grid, hash);
        if self.slots[slot].is_some() {
            return;
        }
        self.slots[slot] = Some((grid, hash));
        self.used += 1;
        if self.used * 5 >= (self.slots.len() - 1) * 3 {
            let mut size = 8;
            while size <= self.used * 4 {
                size *= 2;
            }
            let old = std::mem::replace(&mut self.slots, vec![None; size]);
            for entry @ (grid, hash) in old.into_iter().flatten() {
                let slot = self.find(grid, hash);
                self.slots[slot] = Some(entry);
            }
        }
    }

    /// The slot that holds `grid`, or the free one where it belongs.
    fn find(&self, grid: Grid, hash: u64) -> usize {
        const LINEAR_PROBES: usize = 9;
        let mask = self.slots.len() - 1;
        let mut perturb = hash;
        let mut start = hash as usize & mask;
        loop {
            let probes = if start + LINEAR_PROBES <= mask { LINEAR_PROBES } else { 0 };
            for slot in start..=start + probes {
                match self.slots[slot] {
                    Some((held, _)) if held != grid => {}
                    _ => return slot,
                }
            }
            perturb >>= 5;
            start = start.wrapping_mul(5).wrapping_add(1).wrapping_add(perturb as usize) & mask;
        }
    }
}

/// CPython's `tuplehash` (3.8 and later, 64 bits) of two small integers, which hash to themselves.
fn tuple_hash(grid: Grid) -> u64 {
    const PRIME_1: u64 = 11_400_714_785_074_694_791;
    const PRIME_2: u64 = 14_029_467_366_897_019_727;
    const PRIME_5: u64 = 2_870_177_450_012_600_261;
    let mut acc = PRIME_5;
    for item in [grid.cols, grid.rows] {
        acc = acc.wrapping_add(u64::from(item).wrapping_mul(PRIME_2));
        acc = acc.rotate_left(31).wrapping_mul(PRIME_1);
    }
    acc.wrapping_add(2 ^ (PRIME_5 ^ 3_527_539))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(min: u32, max: u32) -> Vec<(u32, u32)> {
        candidates(min, max).iter().map(|grid| (grid.cols, grid.rows)).collect()
    }

    /// Printed by CPython 3.11 for the vendor's expression.
    #[test]
    fn candidates_come_in_the_order_of_python() {
        assert_eq!(pairs(1, 1), [(1, 1)]);
        assert_eq!(
            pairs(1, 6),
            [
                (1, 1),
                (1, 2),
                (2, 1),
                (3, 1),
                (1, 3),
                (4, 1),
                (1, 4),
                (2, 2),
                (1, 5),
                (5, 1),
                (6, 1),
                (2, 3),
                (1, 6),
                (3, 2)
            ]
        );
        assert_eq!(
            pairs(1, 12)[..20],
            [
                (1, 1),
                (1, 2),
                (2, 1),
                (3, 1),
                (1, 3),
                (2, 2),
                (4, 1),
                (1, 4),
                (5, 1),
                (1, 5),
                (1, 6),
                (6, 1),
                (3, 2),
                (2, 3),
                (7, 1),
                (1, 7),
                (4, 2),
                (2, 4),
                (1, 8),
                (8, 1)
            ]
        );
    }

    #[test]
    fn a_tie_goes_to_the_later_grid_only_if_the_picture_is_large() {
        assert_eq!(choose(448, 448, 448, 1, 12).unwrap(), Grid { cols: 1, rows: 1 });
        assert_eq!(choose(1000, 1000, 448, 1, 12).unwrap(), Grid { cols: 3, rows: 3 });
        assert_eq!(choose(1920, 1080, 448, 1, 12).unwrap(), Grid { cols: 4, rows: 2 });
    }

    #[test]
    fn a_setting_out_of_range_is_misuse() {
        for (tile, min, max) in [(0, 1, 12), (448, 0, 12), (448, 3, 2), (448, 1, 65), (1025, 1, 12)] {
            assert_eq!(choose(10, 10, tile, min, max).unwrap_err().reason, Reason::Misuse);
        }
    }
}
