//! Owns the decoding of a JPEG row by row: a file of one scan is never there as a whole; of one with several scans
//! (progressive ones among them) the coefficients are.

use super::bits::{STREAM_BYTES, Stream};
use super::frame::{Frame, Scan, Tables};
use super::idct::{self, Block};
use super::plane::{self, Plane};
use super::scan::Walk;
use super::smooth::{Accuracy, Smoothing};
use super::{MAX_SCANS, colour, has_end};
use crate::decode::inconsistent;
use crate::error::{Reason, Result, fail};
use crate::header::Header;
use crate::strip::Strip;

/// What the samples of a pixel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Grey,
    Rgb,
    Ycc,
    Cmyk,
    Ycck,
}

pub struct JpegRows {
    file: Vec<u8>,
    frame: Frame,
    colour: Colour,
    planes: Vec<Plane>,
    stream: Stream,
    /// Of a file with one scan, which is decoded as rows are wanted.
    walk: Option<Walk>,
    /// Of a progressive file that left something out.
    smoothing: Option<Smoothing>,
    /// Rows of MCUs whose samples are, or were, there.
    mcu_rows: usize,
}

/// Bytes the decoder takes beside the file, when the first scan has so many components.
pub fn bytes(frame: &Frame, first_scan: usize) -> u64 {
    /// Huffman lookups of four components, definitions, the structures themselves.
    const TABLES: u64 = 96 << 10;
    plane::bytes(frame, is_stored(frame, first_scan)) + STREAM_BYTES + TABLES
}

fn is_stored(frame: &Frame, first_scan: usize) -> bool {
    frame.progressive || first_scan < frame.components.len()
}

impl JpegRows {
    pub fn open(file: Vec<u8>, header: &Header) -> Result<Self> {
        let mut tables = Tables::new();
        let mut found = None;
        let Some(scan) = tables.read(&file, 2, &mut found)? else {
            return fail(Reason::Truncated, "the file ends before its first scan");
        };
        let Some(frame) = found else { return inconsistent("the frame") };
        if (frame.width, frame.height) != (header.width as usize, header.height as usize) {
            return inconsistent("the frame");
        }
        let stored = is_stored(&frame, scan.parts.len());
        let planes =
            frame.components.iter().map(|component| Plane::new(&frame, component, stored)).collect::<Result<_>>()?;
        let colour = colour_of(&frame, &tables)?;
        let mut rows =
            Self { file, frame, colour, planes, stream: Stream::new()?, walk: None, smoothing: None, mcu_rows: 0 };
        if !rows.frame.progressive {
            tables.complete();
        }
        if stored {
            rows.read_scans(tables, scan)?;
        } else {
            rows.walk = Some(rows.begin(&scan, &tables)?);
        }
        Ok(rows)
    }

    pub fn channels(&self) -> usize {
        if self.colour == Colour::Grey { 1 } else { 3 }
    }

    /// Starts the stream at a scan, and keeps the quantisation tables of components that are new.
    fn begin(&mut self, scan: &Scan, tables: &Tables) -> Result<Walk> {
        let walk = Walk::new(scan, &self.frame, tables)?;
        for part in &scan.parts {
            let plane = &mut self.planes[part.component];
            if plane.quant.is_none() {
                plane.quant = tables.quant.get(plane.component.quant).copied().flatten();
                if plane.quant.is_none() {
                    return fail(Reason::Corrupt, "a component has no quantisation table");
                }
            }
        }
        self.stream.start(scan.data_at);
        Ok(walk)
    }

    fn read_scans(&mut self, mut tables: Tables, first: Scan) -> Result<()> {
        let mut scan = Some(first);
        let mut frame = Some(self.frame.clone());
        let mut count = 0;
        let mut accuracy = vec![Accuracy::NONE; self.planes.len()];
        let mut last_good = 0;
        while let Some(current) = scan {
            count += 1;
            if count > MAX_SCANS {
                return fail(Reason::Corrupt, format_args!("more than {MAX_SCANS} scans"));
            }
            let mut walk = self.begin(&current, &tables)?;
            if self.frame.progressive {
                current.parts.iter().for_each(|part| accuracy[part.component].note(&current, count));
            }
            let reached = if let [only] = current.parts[..] {
                self.read_one(&mut walk, only.component)?
            } else {
                self.read_interleaved(&mut walk)?
            };
            last_good = reached.unwrap_or(last_good);
            let Some((_, behind)) = self.stream.marker(&self.file) else {
                return fail(Reason::Truncated, "the file ends before its end marker");
            };
            // The marker itself is read again, with what follows it.
            scan = tables.read(&self.file, behind - 2, &mut frame)?;
            if !self.frame.progressive {
                tables.complete();
            }
        }
        if self.frame.progressive {
            self.smoothing = Smoothing::of(accuracy, &self.planes, last_good);
        }
        Ok(())
    }

    /// A scan of one component: its blocks row by row, only those that count. Gives the last row of MCUs with data.
    fn read_one(&mut self, walk: &mut Walk, component: usize) -> Result<Option<usize>> {
        let Plane { component: c, blocks, stored_x, .. } = &mut self.planes[component];
        let mut reached = None;
        for (y, row) in blocks.chunks_exact_mut(*stored_x).take(c.blocks_y).enumerate() {
            for block in &mut row[..c.blocks_x] {
                walk.step(&mut self.stream, &self.file)?;
                if !self.stream.starved {
                    reached = Some(y / c.v);
                    let mut bits = self.stream.bits(&self.file);
                    walk.block(0, &mut bits, block);
                    self.stream.keep(bits)?;
                }
            }
        }
        Ok(reached)
    }

    fn read_interleaved(&mut self, walk: &mut Walk) -> Result<Option<usize>> {
        let mut reached = None;
        for mcu_y in 0..self.frame.mcus_y {
            for mcu_x in 0..self.frame.mcus_x {
                walk.step(&mut self.stream, &self.file)?;
                if self.stream.starved {
                    continue;
                }
                reached = Some(mcu_y);
                let mut bits = self.stream.bits(&self.file);
                for part in 0..walk.coders.len() {
                    let plane = &mut self.planes[walk.coders[part].component];
                    let (h, v) = (plane.component.h, plane.component.v);
                    for index in 0..h * v {
                        let at = (mcu_y * v + index / h) * plane.stored_x + mcu_x * h + index % h;
                        walk.block(part, &mut bits, &mut plane.blocks[at]);
                    }
                }
                self.stream.keep(bits)?;
            }
        }
        Ok(reached)
    }

    /// Decodes the rows from `strip.first` on.
    pub fn next(&mut self, strip: &mut Strip) -> Result<()> {
        let last = strip.first + strip.rows - 1;
        let below = usize::from(self.planes.iter().any(Plane::wants_neighbours));
        let wanted = ((last + below) / (8 * self.frame.max_v) + 1).min(self.frame.mcus_y);
        while self.mcu_rows < wanted {
            self.decode_mcu_row(self.mcu_rows)?;
            self.mcu_rows += 1;
        }
        for row in 0..strip.rows {
            self.put(strip, row);
        }
        if last + 1 == self.frame.height && self.stream.damaged && !has_end(&self.file) {
            return fail(Reason::Truncated, "a scan ends early and the file has no end");
        }
        Ok(())
    }

    fn decode_mcu_row(&mut self, mcu_y: usize) -> Result<()> {
        match self.walk.take() {
            Some(mut walk) => {
                self.decode_scanned(&mut walk, mcu_y)?;
                self.walk = Some(walk);
            }
            None => self.decode_stored(mcu_y),
        }
        for plane in &mut self.planes {
            for y in 0..plane.component.v {
                plane.finish_blocks(mcu_y * plane.component.v + y);
            }
        }
        Ok(())
    }

    fn decode_scanned(&mut self, walk: &mut Walk, mcu_y: usize) -> Result<()> {
        let Self { file, frame, planes, stream, .. } = self;
        let mut block = Block::ZERO;
        // A scan of one component has units of one block, whatever its sampling factors say.
        let single = planes.len() == 1;
        let (units_x, units_y) = match &planes[..] {
            [only] if single => (only.component.blocks_x, only.component.v),
            _ => (frame.mcus_x, 1),
        };
        for unit_y in 0..units_y {
            if single && mcu_y * units_y + unit_y >= planes[0].component.blocks_y {
                break;
            }
            for unit_x in 0..units_x {
                walk.step(stream, file)?;
                let starved = stream.starved;
                let mut bits = stream.bits(file);
                for coder in &mut walk.coders {
                    let plane = &mut planes[coder.component];
                    let quant = plane.quant.unwrap_or(Block::ZERO);
                    let (h, v) = if single { (1, 1) } else { (plane.component.h, plane.component.v) };
                    for index in 0..h * v {
                        let (x, y) = (unit_x * h + index % h, (mcu_y * units_y + unit_y) * v + index / h);
                        let last = if starved { 0 } else { coder.block(&mut bits, &mut block) };
                        let (out, stride) = plane.block_at(x, y);
                        // SAFETY: `block_at` gives room for eight rows of eight samples.
                        unsafe {
                            if last == 0 {
                                idct::inverse_flat(block.0[0], &quant, out, stride);
                                block.0[0] = 0;
                            } else {
                                idct::inverse(&block, &quant, out, stride);
                                block = Block::ZERO;
                            }
                        }
                    }
                }
                if !starved {
                    stream.keep(bits)?;
                }
            }
        }
        Ok(())
    }

    fn decode_stored(&mut self, mcu_y: usize) {
        for (component, plane) in self.planes.iter_mut().enumerate() {
            let quant = plane.quant.unwrap_or(Block::ZERO);
            let first = mcu_y * plane.component.v;
            for block_y in first..(first + plane.component.v).min(plane.component.blocks_y) {
                for block_x in 0..plane.component.blocks_x {
                    let block = match &self.smoothing {
                        Some(smoothing) => smoothing.block(&self.frame, plane, component, block_x, block_y),
                        None => plane.blocks[block_y * plane.stored_x + block_x],
                    };
                    let (out, stride) = plane.block_at(block_x, block_y);
                    // SAFETY: `block_at` gives room for eight rows of eight samples.
                    unsafe { idct::inverse(&block, &quant, out, stride) };
                }
            }
        }
    }

    fn put(&mut self, strip: &mut Strip, row: usize) {
        let y = strip.first + row;
        let width = self.frame.width;
        let whole = width.next_multiple_of(16);
        if self.colour == Colour::Grey {
            let from = self.planes[0].full_row(y);
            // SAFETY: rows are readable to a multiple of sixteen.
            strip.row_mut(0, row).copy_from_slice(unsafe { std::slice::from_raw_parts(from, whole) });
            return;
        }
        let from = [0, 1, 2].map(|index| self.planes[index].full_row(y));
        let mut to = strip.rgb_rows_mut(row);
        if matches!(self.colour, Colour::Ycc | Colour::Ycck) {
            let to = to.each_mut().map(|row| row.as_mut_ptr());
            // SAFETY: all rows go to a multiple of sixteen.
            unsafe { colour::ycc_to_rgb(from, to, width) };
        } else {
            for (to, from) in to.iter_mut().zip(from) {
                // SAFETY: as above.
                to.copy_from_slice(unsafe { std::slice::from_raw_parts(from, whole) });
            }
        }
        if self.colour == Colour::Ycck {
            to.iter_mut().for_each(|row| colour::invert(row));
        }
        if matches!(self.colour, Colour::Cmyk | Colour::Ycck) {
            let black = self.planes[3].full_row(y);
            // SAFETY: as above.
            colour::inks_to_rgb(&mut to, unsafe { std::slice::from_raw_parts(black, whole) });
        }
    }
}

/// libjpeg's guess.
fn colour_of(frame: &Frame, tables: &Tables) -> Result<Colour> {
    let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
    Ok(match (ids.len(), tables.adobe) {
        (1, _) => Colour::Grey,
        (3, _) if tables.jfif => Colour::Ycc,
        (3, Some(0)) => Colour::Rgb,
        (3, None) if ids == *b"RGB" => Colour::Rgb,
        (3, _) => Colour::Ycc,
        (4, Some(0) | None) => Colour::Cmyk,
        (4, _) => Colour::Ycck,
        (count, _) => return fail(Reason::UnsupportedFormat, format_args!("JPEG with {count} components")),
    })
}
