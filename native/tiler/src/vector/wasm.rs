//! Owns the vectors of WebAssembly, see plain.rs for what each operation means.

use core::arch::wasm32::*;

pub type V = v128;

/// # Safety
/// 16 bytes are readable.
#[inline(always)]
pub unsafe fn load(at: *const u8) -> V {
    unsafe { v128_load(at.cast()) }
}

/// # Safety
/// 8 bytes are readable.
#[inline(always)]
pub unsafe fn load_u8(at: *const u8) -> V {
    unsafe { u16x8_load_extend_u8x8(at) }
}

/// # Safety
/// 4 bytes are readable.
#[inline(always)]
pub unsafe fn load_splat32(at: *const u8) -> V {
    unsafe { v128_load32_splat(at.cast()) }
}

/// # Safety
/// 16 bytes are writable.
#[inline(always)]
pub unsafe fn store(at: *mut u8, v: V) {
    unsafe { v128_store(at.cast(), v) }
}

/// # Safety
/// 8 bytes are writable.
#[inline(always)]
pub unsafe fn store_low(at: *mut u8, v: V) {
    unsafe { v128_store64_lane::<0>(v, at.cast()) }
}

/// # Safety
/// 8 bytes are writable.
#[inline(always)]
pub unsafe fn store_high(at: *mut u8, v: V) {
    unsafe { v128_store64_lane::<1>(v, at.cast()) }
}

#[inline(always)]
pub fn bytes16(bytes: [u8; 16]) -> V {
    // SAFETY: sixteen bytes are there.
    unsafe { load(bytes.as_ptr()) }
}

#[inline(always)]
pub fn splat8(value: u8) -> V {
    u8x16_splat(value)
}

#[inline(always)]
pub fn splat16(value: i16) -> V {
    i16x8_splat(value)
}

#[inline(always)]
pub fn splat32(value: i32) -> V {
    i32x4_splat(value)
}

macro_rules! two {
    ($($name:ident = $of:ident;)*) => { $(
        #[inline(always)]
        pub fn $name(a: V, b: V) -> V {
            $of(a, b)
        }
    )* };
}

two! {
    add16 = i16x8_add;
    sub16 = i16x8_sub;
    mul16 = i16x8_mul;
    q15 = i16x8_q15mulr_sat;
    add32 = i32x4_add;
    sub32 = i32x4_sub;
    dot = i32x4_dot_i16x8;
    narrow32 = i16x8_narrow_i32x4;
    narrow16 = u8x16_narrow_i16x8;
    narrow16_signed = i8x16_narrow_i16x8;
    or = v128_or;
    xor = v128_xor;
    eq8 = i8x16_eq;
    zip64_low = zip64_low_of;
    zip64_high = zip64_high_of;
    pick = i8x16_swizzle;
}

macro_rules! shifts {
    ($($name:ident = $of:ident;)*) => { $(
        #[inline(always)]
        pub fn $name<const N: u32>(v: V) -> V {
            $of(v, N)
        }
    )* };
}

shifts! {
    shl16 = i16x8_shl;
    shr16 = i16x8_shr;
    shl32 = i32x4_shl;
    shr32 = i32x4_shr;
}

macro_rules! shuffles {
    ($($name:ident = $of:ident [$($i:literal)*];)*) => { $(
        #[inline(always)]
        pub fn $name(a: V, b: V) -> V {
            $of::<$($i),*>(a, b)
        }
    )* };
}

shuffles! {
    zip8_low = i8x16_shuffle [0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23];
    zip8_high = i8x16_shuffle [8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31];
    zip16_low = i16x8_shuffle [0 8 1 9 2 10 3 11];
    zip16_high = i16x8_shuffle [4 12 5 13 6 14 7 15];
    zip64_low_of = i64x2_shuffle [0 2];
    zip64_high_of = i64x2_shuffle [1 3];
    before = i8x16_shuffle [14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29];
    after = i8x16_shuffle [2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17];
    reversed = i8x16_shuffle [15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0];
}

#[inline(always)]
pub fn extend_low(v: V) -> V {
    u16x8_extend_low_u8x16(v)
}

#[inline(always)]
pub fn extend_high(v: V) -> V {
    u16x8_extend_high_u8x16(v)
}

#[inline(always)]
pub fn any(v: V) -> bool {
    v128_any_true(v)
}

#[inline(always)]
pub fn reverse(v: V) -> V {
    reversed(v, v)
}
