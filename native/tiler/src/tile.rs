//! Owns the cut: the resized picture becomes tiles, row by row, the thumbnail last.

use crate::error::{Result, zeroed};
use crate::grid::Grid;
use crate::picture::Picture;

/// Bytes of one RGB tile.
pub fn tile_bytes(tile: usize) -> usize {
    tile * tile * 3
}

/// Copies `canvas` (cols * tile by rows * tile) and the thumbnail (tile by tile) into one buffer, tile after tile.
pub fn cut(canvas: &Picture, thumbnail: Option<&Picture>, grid: Grid, tile: usize) -> Result<Vec<u8>> {
    let size = tile_bytes(tile);
    let count = (grid.cols * grid.rows) as usize;
    let mut tiles = zeroed((count + usize::from(thumbnail.is_some())) * size)?;
    let (line, stride) = (tile * 3, canvas.width * 3);
    for (index, out) in tiles.chunks_exact_mut(size).take(count).enumerate() {
        let (row, col) = (index / grid.cols as usize, index % grid.cols as usize);
        let corner = row * tile * stride + col * line;
        for (y, target) in out.chunks_exact_mut(line).enumerate() {
            let start = corner + y * stride;
            target.copy_from_slice(&canvas.rgb[start..start + line]);
        }
    }
    if let Some(thumbnail) = thumbnail {
        tiles[count * size..].copy_from_slice(&thumbnail.rgb[..size]);
    }
    Ok(tiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_row_major_and_the_thumbnail_is_last() {
        let mut canvas = Picture::new(6, 4).unwrap();
        for (index, pixel) in canvas.pixels_mut().chunks_exact_mut(3).enumerate() {
            pixel.fill((index / 6 / 2 * 3 + index % 6 / 2) as u8);
        }
        let mut thumbnail = Picture::new(2, 2).unwrap();
        thumbnail.pixels_mut().fill(99);
        let tiles = cut(&canvas, Some(&thumbnail), Grid { cols: 3, rows: 2 }, 2).unwrap();
        let firsts: Vec<u8> = tiles.chunks_exact(12).map(|tile| tile[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 3, 4, 5, 99]);
        assert!(tiles.chunks_exact(12).all(|tile| tile.iter().all(|byte| *byte == tile[0])));
    }
}
