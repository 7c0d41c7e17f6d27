//! Owns the vectors as plain arrays: what each operation means, and what runs where there are no better ones.
#![cfg_attr(test, allow(dead_code))]

#[derive(Clone, Copy, Debug)]
pub struct V(pub [u8; 16]);

fn i16s(v: V) -> [i16; 8] {
    std::array::from_fn(|i| i16::from_le_bytes([v.0[2 * i], v.0[2 * i + 1]]))
}

fn i32s(v: V) -> [i32; 4] {
    std::array::from_fn(|i| i32::from_le_bytes([v.0[4 * i], v.0[4 * i + 1], v.0[4 * i + 2], v.0[4 * i + 3]]))
}

fn of16(lanes: [i16; 8]) -> V {
    V(std::array::from_fn(|i| lanes[i / 2].to_le_bytes()[i % 2]))
}

fn of32(lanes: [i32; 4]) -> V {
    V(std::array::from_fn(|i| lanes[i / 4].to_le_bytes()[i % 4]))
}

fn map16(a: V, b: V, f: impl Fn(i16, i16) -> i16) -> V {
    let (a, b) = (i16s(a), i16s(b));
    of16(std::array::from_fn(|i| f(a[i], b[i])))
}

fn map32(a: V, b: V, f: impl Fn(i32, i32) -> i32) -> V {
    let (a, b) = (i32s(a), i32s(b));
    of32(std::array::from_fn(|i| f(a[i], b[i])))
}

/// # Safety
/// 16 bytes are readable.
pub unsafe fn load(at: *const u8) -> V {
    V(unsafe { at.cast::<[u8; 16]>().read_unaligned() })
}

/// Eight bytes, each in 16 bits.
/// # Safety
/// 8 bytes are readable.
pub unsafe fn load_u8(at: *const u8) -> V {
    let bytes = unsafe { at.cast::<[u8; 8]>().read_unaligned() };
    of16(bytes.map(i16::from))
}

/// Four bytes in every 32-bit lane.
/// # Safety
/// 4 bytes are readable.
pub unsafe fn load_splat32(at: *const u8) -> V {
    splat32(unsafe { at.cast::<i32>().read_unaligned() }.to_le())
}

/// # Safety
/// 16 bytes are writable.
pub unsafe fn store(at: *mut u8, v: V) {
    unsafe { at.cast::<[u8; 16]>().write_unaligned(v.0) }
}

/// The low eight bytes.
/// # Safety
/// 8 bytes are writable.
pub unsafe fn store_low(at: *mut u8, v: V) {
    unsafe { std::ptr::copy_nonoverlapping(v.0.as_ptr(), at, 8) }
}

/// The high eight bytes.
/// # Safety
/// 8 bytes are writable.
pub unsafe fn store_high(at: *mut u8, v: V) {
    unsafe { std::ptr::copy_nonoverlapping(v.0[8..].as_ptr(), at, 8) }
}

pub fn bytes16(bytes: [u8; 16]) -> V {
    V(bytes)
}

pub fn splat8(value: u8) -> V {
    V([value; 16])
}

pub fn splat16(value: i16) -> V {
    of16([value; 8])
}

pub fn splat32(value: i32) -> V {
    of32([value; 4])
}

pub fn add16(a: V, b: V) -> V {
    map16(a, b, i16::wrapping_add)
}

pub fn sub16(a: V, b: V) -> V {
    map16(a, b, i16::wrapping_sub)
}

pub fn mul16(a: V, b: V) -> V {
    map16(a, b, i16::wrapping_mul)
}

/// `(a * b + 2^14) >> 15`; saturates, but -2^15 times itself is not to be asked for.
pub fn q15(a: V, b: V) -> V {
    map16(a, b, |a, b| ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16)
}

pub fn add32(a: V, b: V) -> V {
    map32(a, b, i32::wrapping_add)
}

pub fn sub32(a: V, b: V) -> V {
    map32(a, b, i32::wrapping_sub)
}

/// Products of 16-bit lanes, summed in pairs to 32 bits.
pub fn dot(a: V, b: V) -> V {
    let (a, b) = (i16s(a), i16s(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    of32(std::array::from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
}

pub fn shl16<const N: u32>(v: V) -> V {
    of16(i16s(v).map(|x| x << N))
}

/// Keeps the sign.
pub fn shr16<const N: u32>(v: V) -> V {
    of16(i16s(v).map(|x| x >> N))
}

pub fn shl32<const N: u32>(v: V) -> V {
    of32(i32s(v).map(|x| x << N))
}

/// Keeps the sign.
pub fn shr32<const N: u32>(v: V) -> V {
    of32(i32s(v).map(|x| x >> N))
}

/// 32-bit lanes to 16 bits; saturates.
pub fn narrow32(a: V, b: V) -> V {
    let (a, b) = (i32s(a), i32s(b));
    of16(std::array::from_fn(|i| if i < 4 { a[i] } else { b[i - 4] }.clamp(-32_768, 32_767) as i16))
}

/// 16-bit lanes to unsigned bytes; saturates.
pub fn narrow16(a: V, b: V) -> V {
    let (a, b) = (i16s(a), i16s(b));
    V(std::array::from_fn(|i| if i < 8 { a[i] } else { b[i - 8] }.clamp(0, 255) as u8))
}

/// 16-bit lanes to signed bytes; saturates.
pub fn narrow16_signed(a: V, b: V) -> V {
    let (a, b) = (i16s(a), i16s(b));
    V(std::array::from_fn(|i| if i < 8 { a[i] } else { b[i - 8] }.clamp(-128, 127) as u8))
}

/// The low eight bytes, each in 16 bits.
pub fn extend_low(v: V) -> V {
    of16(std::array::from_fn(|i| v.0[i].into()))
}

pub fn extend_high(v: V) -> V {
    of16(std::array::from_fn(|i| v.0[8 + i].into()))
}

fn zip(a: V, b: V, size: usize, start: usize) -> V {
    V(std::array::from_fn(|i| {
        let source = if i / size % 2 == 0 { a } else { b };
        source.0[start + i / (2 * size) * size + i % size]
    }))
}

pub fn zip8_low(a: V, b: V) -> V {
    zip(a, b, 1, 0)
}

pub fn zip8_high(a: V, b: V) -> V {
    zip(a, b, 1, 8)
}

pub fn zip16_low(a: V, b: V) -> V {
    zip(a, b, 2, 0)
}

pub fn zip16_high(a: V, b: V) -> V {
    zip(a, b, 2, 8)
}

pub fn zip64_low(a: V, b: V) -> V {
    zip(a, b, 8, 0)
}

pub fn zip64_high(a: V, b: V) -> V {
    zip(a, b, 8, 8)
}

pub fn or(a: V, b: V) -> V {
    V(std::array::from_fn(|i| a.0[i] | b.0[i]))
}

pub fn xor(a: V, b: V) -> V {
    V(std::array::from_fn(|i| a.0[i] ^ b.0[i]))
}

/// All bits of the bytes that are equal.
pub fn eq8(a: V, b: V) -> V {
    V(std::array::from_fn(|i| if a.0[i] == b.0[i] { 255 } else { 0 }))
}

/// Whether a bit is set.
pub fn any(v: V) -> bool {
    v.0 != [0; 16]
}

/// The 16-bit lane before each of `v`; the first is the last of `left`.
pub fn before(left: V, v: V) -> V {
    V(std::array::from_fn(|i| if i < 2 { left.0[14 + i] } else { v.0[i - 2] }))
}

/// The 16-bit lane after each of `v`; the last is the first of `right`.
pub fn after(v: V, right: V) -> V {
    V(std::array::from_fn(|i| if i < 14 { v.0[i + 2] } else { right.0[i - 14] }))
}

/// The bytes at `indices` (0..15), 0 where an index is 128 or more.
pub fn pick(v: V, indices: V) -> V {
    V(indices.0.map(|i| if i < 128 { v.0[usize::from(i & 15)] } else { 0 }))
}

pub fn reverse(mut v: V) -> V {
    v.0.reverse();
    v
}
