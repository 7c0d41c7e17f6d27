//! Owns the entropy-coded bytes as a stream of bits: the stuffing is taken out ahead of the decoder, markers end it.
//!
//! The buffer is filled from its end to its beginning: so eight bytes at any place, read as the little-endian number
//! that WASM and most machines read fastest, have the stream's next byte at their top.

use crate::error::{Reason, Result, fail, zeroed};
use crate::vector::{self, SLACK};

/// Most bytes a unit of decoding (an MCU of ten blocks, 31 bits a coefficient) takes, rounded up. As many zeros lie
/// behind the last byte, since a unit that runs out of data goes on with zeros, as libjpeg's does.
const MARGIN: usize = 4096;
const BUFFER: usize = 32 * 1024;

/// Bytes a stream holds.
pub const STREAM_BYTES: u64 = (MARGIN + BUFFER) as u64;

/// Bits in registers; only between `Stream::bits` and `Stream::keep`.
pub struct Bits {
    /// The next bits, from the top.
    pub next: u64,
    /// How many of them count.
    count: u32,
    /// The stream's next byte is the one below.
    at: *const u8,
}

impl Bits {
    /// At least 56 bits count after it. A unit of decoding may call it as often as it needs within `MARGIN` bytes.
    #[inline(always)]
    pub fn refill(&mut self) {
        // SAFETY: the stream keeps MARGIN bytes below its data.
        let bytes = u64::from_le(unsafe { self.at.sub(8).cast::<u64>().read_unaligned() });
        self.next |= bytes >> self.count;
        self.at = self.at.wrapping_sub(((63 - self.count) >> 3) as usize);
        self.count |= 56;
    }

    /// The next `len` (1..=32) bits; they stay.
    #[inline(always)]
    pub fn peek(&self, len: u32) -> u32 {
        (self.next >> (64 - len)) as u32
    }

    #[inline(always)]
    pub fn skip(&mut self, len: u32) {
        self.next <<= len;
        self.count = self.count.wrapping_sub(len);
    }

    /// A number of `len` (0..=16) bits.
    #[inline(always)]
    pub fn take(&mut self, len: u32) -> u32 {
        let value = (self.next >> 1 >> (63 - len)) as u32;
        self.skip(len);
        value
    }

    /// A coefficient of `len` (0..=15) bits: those that begin with 0 are negative.
    #[inline(always)]
    pub fn take_signed(&mut self, len: u32) -> i32 {
        let value = self.take(len) as i32;
        if len > 0 && value < 1 << (len - 1) { value - (1 << len) + 1 } else { value }
    }
}

pub struct Stream {
    /// `MARGIN` zeros at least, then the bytes of `low..high`, the next one last.
    buffer: Vec<u8>,
    low: usize,
    high: usize,
    next: u64,
    count: u32,
    /// Where in the file it goes on behind what was taken into the buffer, or behind `marker`.
    at: usize,
    /// The marker that ended the segment.
    marker: Option<u8>,
    /// Nothing comes behind what is in the buffer.
    ended: bool,
    /// A unit ran out of data; those after it are left out until a restart.
    pub starved: bool,
    /// That happened in this scan or one before it.
    pub damaged: bool,
}

impl Stream {
    pub fn new() -> Result<Self> {
        let buffer = zeroed(MARGIN + BUFFER)?;
        let (low, high) = (buffer.len(), buffer.len());
        Ok(Self {
            buffer,
            low,
            high,
            next: 0,
            count: 0,
            at: 0,
            marker: None,
            ended: true,
            starved: false,
            damaged: false,
        })
    }

    /// Goes to the scan whose data begins at `at`.
    pub fn start(&mut self, at: usize) {
        (self.at, self.marker, self.starved) = (at, None, false);
        self.begin_segment();
    }

    fn begin_segment(&mut self) {
        self.drop_data();
        self.ended = false;
    }

    fn drop_data(&mut self) {
        (self.low, self.high) = (self.buffer.len(), self.buffer.len());
        (self.next, self.count) = (0, 0);
    }

    /// The bits for the next unit; there are enough, or all that come.
    #[inline(always)]
    pub fn bits(&mut self, file: &[u8]) -> Bits {
        if self.high < self.low + MARGIN && !self.ended {
            self.fill(file);
        }
        Bits { next: self.next, count: self.count, at: self.buffer[..self.high].as_ptr_range().end }
    }

    /// Takes the bits back after a unit. Fails when the file ended within it.
    #[inline(always)]
    pub fn keep(&mut self, bits: Bits) -> Result<()> {
        let high = bits.at.addr().wrapping_sub(self.buffer.as_ptr().addr());
        (self.next, self.count) = (bits.next, bits.count);
        if high < self.low && (self.low - high) * 8 > bits.count as usize {
            return self.starve();
        }
        self.high = high;
        Ok(())
    }

    #[cold]
    fn starve(&mut self) -> Result<()> {
        (self.starved, self.damaged) = (true, true);
        self.drop_data();
        self.zero_below();
        if self.marker.is_none() {
            return fail(Reason::Truncated, "the file ends inside a scan");
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, file: &[u8]) {
        // Bits beyond those that count may stem from what was not yet there.
        self.next = if self.count == 0 { 0 } else { self.next & !(u64::MAX >> self.count) };
        let len = self.buffer.len();
        // Bytes below `low` were taken into `next` only if the segment had ended.
        let kept = self.high.saturating_sub(self.low);
        self.buffer.copy_within(self.low..self.low + kept, len - kept);
        (self.low, self.high) = (len - kept, len);
        let ff = vector::splat8(0xff);
        while !self.ended && self.low >= MARGIN + SLACK {
            if self.at + 16 <= file.len() {
                // SAFETY: sixteen bytes are there on both sides.
                let bytes = unsafe { vector::load(file.as_ptr().add(self.at)) };
                if !vector::any(vector::eq8(bytes, ff)) {
                    self.low -= 16;
                    unsafe { vector::store(self.buffer.as_mut_ptr().add(self.low), vector::reverse(bytes)) };
                    self.at += 16;
                    continue;
                }
            }
            let end = self.at + 16;
            while self.at < end && !self.ended {
                self.fill_byte(file);
            }
        }
        if self.ended {
            self.zero_below();
        }
    }

    fn zero_below(&mut self) {
        self.buffer[self.low - MARGIN..self.low].fill(0);
    }

    fn fill_byte(&mut self, file: &[u8]) {
        match file.get(self.at) {
            None => self.ended = true,
            Some(0xff) => match next_marker(file, self.at, true) {
                Some((0, behind)) => {
                    self.push(0xff);
                    self.at = behind;
                }
                Some((marker, behind)) => {
                    (self.marker, self.at) = (Some(marker), behind);
                    self.ended = true;
                }
                None => {
                    self.at = file.len();
                    self.ended = true;
                }
            },
            Some(&byte) => {
                self.push(byte);
                self.at += 1;
            }
        }
    }

    fn push(&mut self, byte: u8) {
        self.low -= 1;
        self.buffer[self.low] = byte;
    }

    /// The next marker, over all data before it, and the file's offset behind it.
    pub fn marker(&mut self, file: &[u8]) -> Option<(u8, usize)> {
        if self.marker.is_none() {
            let (marker, behind) = next_marker(file, self.at, false)?;
            (self.marker, self.at) = (Some(marker), behind);
        }
        self.ended = true;
        self.marker.map(|marker| (marker, self.at))
    }

    /// Goes on behind restart marker `expected` (0..=7), or where libjpeg would if another one is there.
    pub fn restart(&mut self, file: &[u8], expected: u8) -> Result<()> {
        self.drop_data();
        self.ended = true;
        loop {
            let Some((marker, _)) = self.marker(file) else {
                return fail(Reason::Truncated, "the file ends before a restart marker");
            };
            let ahead = marker.wrapping_sub(0xd0).wrapping_sub(expected) & 7;
            match marker {
                0xd0..=0xd7 => match ahead {
                    // An earlier one: look for the next.
                    6 | 7 => self.marker = None,
                    // Some were lost: nothing until their turn comes.
                    1 | 2 => break,
                    _ => {
                        self.marker = None;
                        self.starved = false;
                        self.begin_segment();
                        return Ok(());
                    }
                },
                0x01..=0xbf => self.marker = None,
                _ => break,
            }
        }
        self.zero_below();
        Ok(())
    }
}

/// The marker at or behind `at` and the offset behind it; with `stuffing`, a stuffed byte counts as marker 0.
pub fn next_marker(file: &[u8], at: usize, stuffing: bool) -> Option<(u8, usize)> {
    let mut at = at;
    loop {
        at += file.get(at..)?.iter().position(|&byte| byte == 0xff)?;
        at += file[at..].iter().position(|&byte| byte != 0xff)?;
        let marker = file[at];
        at += 1;
        if marker != 0 || stuffing {
            return Some((marker, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all bits of `data` (with its stuffing and a marker) eight at a time.
    fn bytes(data: &[u8], len: usize) -> Vec<u8> {
        let mut stream = Stream::new().unwrap();
        stream.start(0);
        let mut out = Vec::new();
        while out.len() < len {
            let mut bits = stream.bits(data);
            for _ in 0..(len - out.len()).min(1000) {
                bits.refill();
                out.push(bits.take(8) as u8);
            }
            stream.keep(bits).unwrap();
        }
        assert!(!stream.starved);
        assert_eq!(stream.marker(data).map(|(marker, _)| marker), Some(0xd9));
        out
    }

    #[test]
    fn stuffing_is_taken_out_across_buffers() {
        for period in [1, 3, 16, 17, 100] {
            let plain: Vec<u8> = (0..100_000).map(|i| if i % period == 0 { 0xff } else { (i % 255) as u8 }).collect();
            let mut stuffed = Vec::new();
            for &byte in &plain {
                stuffed.push(byte);
                if byte == 0xff {
                    stuffed.push(0);
                }
            }
            stuffed.extend([0xff, 0xd9]);
            assert!(bytes(&stuffed, plain.len()) == plain, "ff every {period} bytes");
        }
    }

    #[test]
    fn running_out_is_noticed_and_only_a_marker_makes_it_bearable() {
        for (end, expected) in [(&[0xff, 0xd9][..], true), (&[], false), (&[0xff], false)] {
            let data = [&[1, 2, 3][..], end].concat();
            let mut stream = Stream::new().unwrap();
            stream.start(0);
            let mut bits = stream.bits(&data);
            bits.refill();
            assert_eq!(bits.take(16), 0x0102);
            bits.refill();
            assert_eq!(bits.take(16), 0x0300);
            assert_eq!(stream.keep(bits).is_ok(), expected);
            assert!(stream.starved);
        }
    }

    #[test]
    fn restarts_follow_libjpeg() {
        // Expected, found: whether data goes on at once.
        for (expected, found, goes_on) in
            [(0, 0xd0, true), (0, 0xd1, false), (0, 0xd2, false), (0, 0xd3, true), (3, 0xd9, false), (7, 0xd0, false)]
        {
            let data = [9, 9, 0xff, found, 0x12, 0x34, 0xff, 0xd9];
            let mut stream = Stream::new().unwrap();
            stream.start(0);
            stream.starved = true;
            stream.restart(&data, expected).unwrap();
            assert_eq!(!stream.starved, goes_on, "{expected} {found:x}");
            let mut bits = stream.bits(&data);
            bits.refill();
            assert_eq!(bits.take(16), if goes_on { 0x1234 } else { 0 });
        }
    }
}
