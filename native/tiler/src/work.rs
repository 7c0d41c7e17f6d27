//! Owns the work on one picture: from its file through strips to its tiles.

use crate::decode::Source;
use crate::error::{Reason, Result, fail};
use crate::grid::Grid;
use crate::header::Header;
use crate::resample::{self, Columns, Resizer, Shape};
use crate::strip::Strip;
use crate::tile::Tiles;

/// What is to be made of a picture.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Its orientation is 1 if it is not to be turned.
    pub header: Header,
    pub grid: Grid,
    pub tile: u32,
    pub thumbnail: bool,
    pub exact: bool,
}

impl Plan {
    /// The resizes it takes: to the tiles side by side, and to the thumbnail.
    pub fn shapes(&self, channels: usize) -> impl Iterator<Item = Shape> {
        let Self { header, grid, tile, thumbnail, .. } = *self;
        let Header { width, height, orientation, .. } = header;
        let (cols, rows) = grid.stored(orientation);
        let tile = tile as usize;
        let shape = move |to_width: usize, to_height: usize| Shape {
            width: width as usize,
            height: height as usize,
            to_width,
            to_height,
            orientation,
            channels,
        };
        [shape(cols * tile, rows * tile)].into_iter().chain(thumbnail.then(|| shape(tile, tile)))
    }
}

pub struct Work {
    plan: Plan,
    source: Source,
    strip: Strip,
    columns: Columns,
    resizers: Vec<Resizer>,
    tiles: Tiles,
    /// Rows that were decoded, and of them those that were resized.
    decoded: usize,
    resized: usize,
}

impl Work {
    /// A format without rows is decoded here.
    pub fn open(file: Vec<u8>, plan: Plan) -> Result<Self> {
        let source = Source::open(file, &plan.header, plan.exact)?;
        let (width, channels) = (plan.header.width as usize, source.channels());
        Ok(Self {
            tiles: Tiles::new(plan.grid, plan.tile as usize, plan.thumbnail, plan.header.orientation)?,
            strip: Strip::new(width, channels)?,
            columns: Columns::new(width)?,
            resizers: plan.shapes(channels).map(Resizer::new).collect::<Result<_>>()?,
            source,
            plan,
            decoded: 0,
            resized: 0,
        })
    }

    /// The next strip.
    pub fn decode(&mut self) -> Result<()> {
        let height = self.plan.header.height as usize;
        if self.decoded != self.resized || self.decoded == height {
            return fail(Reason::Misuse, "decode twice, or after the end");
        }
        self.source.fill(&mut self.strip, self.decoded, height)?;
        self.decoded += self.strip.rows;
        Ok(())
    }

    /// Resizes the strip and tells how many rows are left.
    pub fn resize(&mut self) -> Result<usize> {
        if self.decoded == self.resized {
            return fail(Reason::Misuse, "resize without a strip");
        }
        let tiles = &mut self.tiles;
        resample::feed(&self.strip, &mut self.columns, &mut self.resizers, |which, y, planes| match which {
            0 => tiles.put(y, planes),
            _ => tiles.put_thumbnail(y, planes),
        });
        self.resized = self.decoded;
        Ok(self.plan.header.height as usize - self.resized)
    }

    pub fn cut(self) -> Result<Vec<u8>> {
        if self.resized != self.plan.header.height as usize {
            return fail(Reason::Misuse, "cut before all rows were resized");
        }
        let tiles = self.tiles;
        drop((self.source, self.strip, self.columns, self.resizers));
        tiles.upright()
    }
}
