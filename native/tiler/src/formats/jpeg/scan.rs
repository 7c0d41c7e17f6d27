//! Owns the walk over a scan's units: restarts, predictions, and the decoding of one block by the scan's kind.

use super::bits::{Bits, Stream};
use super::frame::{Frame, Part, Scan, Tables, ZIGZAG};
use super::huffman::{Definition, Step, Table};
use super::idct::Block;
use crate::error::{Reason, Result, fail};

/// A part of a scan with its tables made. A progressive scan has only those it needs.
pub struct Coder {
    pub component: usize,
    dc: Option<Box<Table>>,
    ac: Option<Box<Table>>,
    last_dc: i32,
}

/// What goes from unit to unit.
pub struct Walk {
    pub coders: Vec<Coder>,
    restart_interval: u32,
    /// Units before the next restart.
    left: u32,
    /// Number of the next restart marker, 0..=7.
    next_restart: u8,
    /// Blocks that have no coefficients any more, in a progressive scan.
    eob_run: u32,
    first: usize,
    last: usize,
    high: u32,
    low: u32,
    progressive: bool,
}

impl Walk {
    pub fn new(scan: &Scan, frame: &Frame, tables: &Tables) -> Result<Self> {
        let Scan { first, last, high, low, .. } = *scan;
        let progressive = frame.progressive;
        if progressive {
            let band = if first == 0 { last == 0 } else { first <= last && last < 64 && scan.parts.len() == 1 };
            if !band || low > 13 || (high != 0 && low + 1 != high) {
                return fail(
                    Reason::Corrupt,
                    format_args!("a scan of coefficients {first} to {last}, {high} to {low}"),
                );
            }
        }
        let needs_dc = !progressive || (first == 0 && high == 0);
        let needs_ac = !progressive || first > 0;
        let coder = |part: &Part| {
            Ok(Coder {
                component: part.component,
                dc: if needs_dc { Some(table(&tables.dc, part.dc, true)?) } else { None },
                ac: if needs_ac { Some(table(&tables.ac, part.ac, false)?) } else { None },
                last_dc: 0,
            })
        };
        let coders = scan.parts.iter().map(coder).collect::<Result<_>>()?;
        let restart_interval = tables.restart_interval;
        let (left, next_restart, eob_run) = (restart_interval, 0, 0);
        Ok(Self { coders, restart_interval, left, next_restart, eob_run, first, last, high, low, progressive })
    }

    /// To be called before each unit. Afterwards `stream.starved` says whether the unit is to be left out.
    #[inline(always)]
    pub fn step(&mut self, stream: &mut Stream, file: &[u8]) -> Result<()> {
        if self.restart_interval > 0 {
            if self.left == 0 {
                self.restart(stream, file)?;
            }
            self.left -= 1;
        }
        Ok(())
    }

    #[cold]
    fn restart(&mut self, stream: &mut Stream, file: &[u8]) -> Result<()> {
        stream.restart(file, self.next_restart)?;
        self.next_restart = (self.next_restart + 1) & 7;
        self.left = self.restart_interval;
        self.eob_run = 0;
        for coder in &mut self.coders {
            coder.last_dc = 0;
        }
        Ok(())
    }

    /// One block of part `part`, to be called within a unit.
    pub fn block(&mut self, part: usize, bits: &mut Bits, block: &mut Block) {
        if !self.progressive {
            self.coders[part].block(bits, block);
        } else if self.first == 0 {
            if self.high == 0 {
                let value = self.coders[part].dc(bits);
                block.0[0] = (value << self.low) as i16;
            } else {
                bits.refill();
                block.0[0] |= (bits.take(1) << self.low) as i16;
            }
        } else if let Some(ac) = self.coders[part].ac.as_deref() {
            let band = Band { ac, first: self.first, last: self.last, low: self.low };
            if self.high == 0 {
                self.eob_run = band.first_bits(bits, block, self.eob_run);
            } else {
                self.eob_run = band.refine(bits, block, self.eob_run);
            }
        }
    }
}

fn table(definitions: &[Option<Definition>; 4], index: usize, is_dc: bool) -> Result<Box<Table>> {
    match definitions.get(index) {
        Some(Some(definition)) => Table::new(definition, is_dc),
        _ => fail(Reason::Corrupt, format_args!("a scan wants Huffman table {index}, which there is not")),
    }
}

impl Coder {
    #[inline(always)]
    fn dc(&mut self, bits: &mut Bits) -> i32 {
        bits.refill();
        if let Some(dc) = self.dc.as_deref() {
            let size = dc.symbol(bits);
            self.last_dc = self.last_dc.wrapping_add(bits.take_signed(size));
        }
        self.last_dc
    }

    /// A sequential block, into zeros; the place of its last coefficient, 0 when there is none but the first.
    #[inline(always)]
    pub fn block(&mut self, bits: &mut Bits, block: &mut Block) -> usize {
        block.0[0] = self.dc(bits) as i16;
        let mut k = 0;
        if let Some(ac) = self.ac.as_deref() {
            while k < 63 {
                bits.refill();
                match ac.step(bits) {
                    Step::Coefficient { steps, value } => {
                        k += steps;
                        put(block, k, value);
                    }
                    Step::Run(15) => k += 16,
                    Step::Run(_) => break,
                }
            }
        }
        k
    }
}

/// `k` is below 80.
#[inline(always)]
fn put(block: &mut Block, k: usize, value: i32) {
    block.0[usize::from(ZIGZAG[k] & 63)] = value as i16;
}

/// A band of a progressive scan.
struct Band<'a> {
    ac: &'a Table,
    first: usize,
    last: usize,
    low: u32,
}

impl Band<'_> {
    /// The upper bits of the band. Gives the run of blocks that are at their end.
    fn first_bits(&self, bits: &mut Bits, block: &mut Block, eob_run: u32) -> u32 {
        if eob_run > 0 {
            return eob_run - 1;
        }
        // The place before the next.
        let mut k = self.first - 1;
        while k < self.last {
            bits.refill();
            match self.ac.step(bits) {
                Step::Coefficient { steps, value } => {
                    k += steps;
                    put(block, k, value << self.low);
                }
                Step::Run(15) => k += 16,
                Step::Run(run) => return (1 << run) + bits.take(run) - 1,
            }
        }
        0
    }

    /// One more bit for coefficients that are there, and the new ones between them.
    fn refine(&self, bits: &mut Bits, block: &mut Block, eob_run: u32) -> u32 {
        let one = 1i16 << self.low;
        let mut eob_run = eob_run;
        let mut k = self.first;
        if eob_run == 0 {
            while k <= self.last {
                bits.refill();
                let symbol = self.ac.symbol(bits);
                let mut zeros = symbol >> 4;
                // A size other than 1 is damage, which libjpeg takes as 1.
                let value = match symbol & 15 {
                    0 if zeros < 15 => {
                        eob_run = (1 << zeros) + bits.take(zeros);
                        break;
                    }
                    0 => 0,
                    _ if bits.take(1) == 1 => one,
                    _ => -one,
                };
                while k <= self.last {
                    let place = &mut block.0[usize::from(ZIGZAG[k] & 63)];
                    if *place != 0 {
                        correct(place, one, bits);
                    } else if zeros == 0 {
                        break;
                    } else {
                        zeros -= 1;
                    }
                    k += 1;
                }
                if value != 0 {
                    put(block, k, value.into());
                }
                k += 1;
            }
        }
        if eob_run == 0 {
            return 0;
        }
        while k <= self.last {
            let place = &mut block.0[usize::from(ZIGZAG[k] & 63)];
            if *place != 0 {
                correct(place, one, bits);
            }
            k += 1;
        }
        eob_run - 1
    }
}

#[inline(always)]
fn correct(place: &mut i16, one: i16, bits: &mut Bits) {
    bits.refill();
    if bits.take(1) == 1 && *place & one == 0 {
        *place = place.wrapping_add(if *place >= 0 { one } else { -one });
    }
}
