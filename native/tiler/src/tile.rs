//! Owns the tiles: where a resized row goes, and turning them upright at the end.

use crate::error::{Result, zeroed};
use crate::grid::Grid;
use crate::picture::{is_transposed, turn, upright_row};
use crate::strip::interleave;

/// Bytes of one RGB tile.
pub fn tile_bytes(tile: usize) -> usize {
    tile * tile * 3
}

/// All tiles of a picture in the orientation in which it is stored, row by row, the thumbnail last.
pub struct Tiles {
    pub bytes: Vec<u8>,
    tile: usize,
    cols: usize,
    rows: usize,
    orientation: u8,
}

impl Tiles {
    /// `grid` is that of the upright picture.
    pub fn new(grid: Grid, tile: usize, thumbnail: bool, orientation: u8) -> Result<Self> {
        let (cols, rows) = grid.stored(orientation);
        let bytes = zeroed((cols * rows + usize::from(thumbnail)) * tile_bytes(tile))?;
        Ok(Self { bytes, tile, cols, rows, orientation })
    }

    /// Row `y` of the tiles side by side.
    pub fn put(&mut self, y: usize, planes: [&[u8]; 3]) {
        let first = y / self.tile * self.cols;
        for col in 0..self.cols {
            self.put_line(first + col, y % self.tile, planes.map(|plane| &plane[col * self.tile..]));
        }
    }

    /// Row `y` of the thumbnail.
    pub fn put_thumbnail(&mut self, y: usize, planes: [&[u8]; 3]) {
        self.put_line(self.cols * self.rows, y, planes);
    }

    fn put_line(&mut self, tile: usize, y: usize, planes: [&[u8]; 3]) {
        let at = tile * tile_bytes(self.tile) + y * self.tile * 3;
        interleave(planes, &mut self.bytes[at..at + self.tile * 3]);
    }

    /// The tiles of the upright picture.
    pub fn upright(self) -> Result<Vec<u8>> {
        let Self { bytes, tile, cols, rows, orientation } = self;
        if orientation == 1 {
            return Ok(bytes);
        }
        let mut out = zeroed(bytes.len())?;
        let size = tile_bytes(tile);
        let (upright_cols, upright_rows) = if is_transposed(orientation) { (rows, cols) } else { (cols, rows) };
        let sources = (0..upright_rows).flat_map(|row| {
            let (start, step) = upright_row(orientation, cols, rows, row);
            (0..upright_cols).map(move |col| start.wrapping_add_signed(col as isize * step))
        });
        // The thumbnail stays where it is.
        for (source, to) in sources.chain([cols * rows]).zip(out.chunks_exact_mut(size)) {
            turn(&bytes[source * size..(source + 1) * size], tile, tile, orientation, to);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiles of 2 x 2 in a stored picture of 3 x 2 tiles whose pixels say where they are.
    fn stored(orientation: u8) -> Tiles {
        let grid = if is_transposed(orientation) { Grid { cols: 2, rows: 3 } } else { Grid { cols: 3, rows: 2 } };
        let mut tiles = Tiles::new(grid, 2, true, orientation).unwrap();
        for y in 0..4 {
            let row: Vec<u8> = (0..6).map(|x| y * 10 + x).collect();
            tiles.put(y.into(), [&row, &row, &row]);
        }
        for y in 0..2 {
            tiles.put_thumbnail(y.into(), [&[100 + y * 2, 101 + y * 2]; 3]);
        }
        tiles
    }

    fn samples(bytes: &[u8]) -> Vec<u8> {
        bytes.chunks_exact(3).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn tiles_are_row_major_and_the_thumbnail_is_last() {
        let tiles = samples(&stored(1).upright().unwrap());
        assert_eq!(tiles[..8], [0, 1, 10, 11, 2, 3, 12, 13]);
        assert_eq!(tiles[12..16], [20, 21, 30, 31]);
        assert_eq!(tiles[24..], [100, 101, 102, 103]);
    }

    #[test]
    fn tiles_are_turned_as_the_picture_would_be() {
        let picture: Vec<u8> = (0..4).flat_map(|y| (0..6).flat_map(move |x| [y * 10 + x; 3])).collect();
        for orientation in 2..=8 {
            let mut upright = vec![0; picture.len()];
            turn(&picture, 6, 4, orientation, &mut upright);
            let upright = samples(&upright);
            let (cols, width) = if is_transposed(orientation) { (2, 4) } else { (3, 6) };
            let tiles = samples(&stored(orientation).upright().unwrap());
            for (index, tile) in tiles.chunks_exact(4).take(6).enumerate() {
                let corner = index / cols * 2 * width + index % cols * 2;
                let expected = [0, 1, width, width + 1].map(|at| upright[corner + at]);
                assert_eq!(tile, expected, "orientation {orientation}, tile {index}");
            }
        }
    }
}
