//! Owns the proof that strips through the vector kernels give Pillow's bytes.

use super::*;
use crate::picture::{Picture, is_transposed, turn};
use crate::strip::interleave;

/// Resizes as the tiler does, `orientation` as told by the file.
fn resized(source: &Picture, to_width: usize, to_height: usize, orientation: u8) -> Picture {
    let Picture { width, height, .. } = *source;
    let shape = Shape { width, height, to_width, to_height, orientation, channels: 3 };
    let mut out = Picture::new(to_width as u32, to_height as u32).unwrap();
    let mut resizers = [Resizer::new(shape).unwrap()];
    let mut columns = Columns::new(width).unwrap();
    let mut strip = Strip::new(width, 3).unwrap();
    for first in (0..height).step_by(ROWS) {
        strip.first = first;
        strip.rows = ROWS.min(height - first);
        for row in 0..strip.rows {
            strip.set_rgb(row, source.row(first + row));
        }
        feed(&strip, &mut columns, &mut resizers, |_, y, planes| interleave(planes, out.row_mut(y)));
    }
    assert_eq!(resizers[0].next, to_height, "rows are missing");
    out
}

fn turned(stored: &Picture, orientation: u8) -> Picture {
    let Picture { width, height, .. } = *stored;
    let (to_width, to_height) = if is_transposed(orientation) { (height, width) } else { (width, height) };
    let mut out = Picture::new(to_width as u32, to_height as u32).unwrap();
    turn(stored.pixels(), width, height, orientation, out.pixels_mut());
    out
}

fn noise(width: u32, height: u32) -> Picture {
    let mut picture = Picture::new(width, height).unwrap();
    let mut state = 1u32;
    for byte in picture.pixels_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    picture
}

#[test]
fn the_same_size_is_the_same_picture() {
    let picture = noise(7, 5);
    assert_eq!(resized(&picture, 7, 5, 1).pixels(), picture.pixels());
}

/// Made by Pillow 13.0.0 on the same noise: smaller and larger, each order of the passes, one pass alone.
#[test]
fn pixels_are_those_of_pillow() {
    let cases: [([u32; 2], [usize; 2], u64); 6] = [
        ([61, 47], [28, 28], 0x9dbe_2770_40e4_1daa),
        ([20, 300], [28, 14], 0x47e6_e1a8_1dbf_a3b6),
        ([300, 20], [14, 28], 0xc433_578a_a887_72b0),
        ([9, 7], [112, 56], 0xf540_7857_52bc_6e3b),
        ([33, 33], [33, 10], 0x6956_d8b5_1328_3390),
        ([33, 33], [10, 33], 0xad8f_b1a0_7675_cfe1),
    ];
    for (from, [width, height], expected) in cases {
        let out = resized(&noise(from[0], from[1]), width, height, 1);
        let hash = |hash: u64, &byte: &u8| hash.wrapping_mul(31).wrapping_add(byte.into());
        assert_eq!(out.pixels().iter().fold(0, hash), expected, "{from:?} to {width}x{height}");
    }
}

#[test]
fn a_flat_picture_stays_flat() {
    let mut picture = Picture::new(33, 57).unwrap();
    picture.pixels_mut().fill(201);
    for (width, height) in [(1, 1), (5, 90), (448, 3), (16, 16)] {
        assert!(resized(&picture, width, height, 1).pixels().iter().all(|&byte| byte == 201));
    }
}

/// Resizing as stored and turning then equals turning and resizing then.
#[test]
fn turning_may_come_last() {
    for (from, to) in [([61, 47], [28, 42]), ([30, 400], [42, 14]), ([400, 30], [14, 42]), ([9, 11], [56, 28])] {
        for orientation in 1..=8 {
            let source = noise(from[0], from[1]);
            let [width, height] = if orientation >= 5 { [to[1], to[0]] } else { to };
            let last = turned(&resized(&source, width, height, orientation), orientation);
            let first = resized(&turned(&source, orientation), to[0], to[1], 1);
            assert_eq!((last.width, last.height), (first.width, first.height));
            assert!(last.pixels() == first.pixels(), "{from:?} to {to:?}, orientation {orientation}");
        }
    }
}

#[test]
fn no_resizer_takes_more_than_told() {
    for (width, height, to_width, to_height) in [(4032, 3024, 1792, 1344), (3, 9000, 448, 5376), (50, 9000, 448, 448)] {
        let shape = Shape { width, height, to_width, to_height, orientation: 1, channels: 3 };
        let resizer = Resizer::new(shape).unwrap();
        let axes =
            [&resizer.x, &resizer.y].map(|axis| axis.windows.capacity() * WINDOW_BYTES + axis.pairs.capacity() * 8);
        let between = resizer
            .between
            .as_ref()
            .map_or(0, |between| crate::strip::bytes(width, 3) + between.row_pairs.len() + between.columns.0.len());
        let taken = axes[0] + axes[1] + resizer.ring.len() + resizer.columns.len() + resizer.line.len() + between;
        assert!(taken as u64 <= bytes(&shape), "{taken} of {}", bytes(&shape));
    }
}
