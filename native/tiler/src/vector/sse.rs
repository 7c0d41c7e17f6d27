//! Owns the vectors of SSE4.1, see plain.rs for what each operation means.

use core::arch::x86_64::*;

pub type V = __m128i;

/// # Safety
/// 16 bytes are readable.
#[inline(always)]
pub unsafe fn load(at: *const u8) -> V {
    unsafe { _mm_loadu_si128(at.cast()) }
}

/// # Safety
/// 8 bytes are readable.
#[inline(always)]
pub unsafe fn load_u8(at: *const u8) -> V {
    unsafe { _mm_cvtepu8_epi16(_mm_loadl_epi64(at.cast())) }
}

/// # Safety
/// 4 bytes are readable.
#[inline(always)]
pub unsafe fn load_splat32(at: *const u8) -> V {
    unsafe { _mm_set1_epi32(at.cast::<i32>().read_unaligned()) }
}

/// # Safety
/// 16 bytes are writable.
#[inline(always)]
pub unsafe fn store(at: *mut u8, v: V) {
    unsafe { _mm_storeu_si128(at.cast(), v) }
}

/// # Safety
/// 8 bytes are writable.
#[inline(always)]
pub unsafe fn store_low(at: *mut u8, v: V) {
    unsafe { _mm_storel_epi64(at.cast(), v) }
}

/// # Safety
/// 8 bytes are writable.
#[inline(always)]
pub unsafe fn store_high(at: *mut u8, v: V) {
    unsafe { _mm_storel_epi64(at.cast(), _mm_unpackhi_epi64(v, v)) }
}

#[inline(always)]
pub fn bytes16(bytes: [u8; 16]) -> V {
    // SAFETY: sixteen bytes are there.
    unsafe { load(bytes.as_ptr()) }
}

// SAFETY of all below: this file is compiled only where SSE4.1 is enabled for the whole build.
macro_rules! ops {
    ($($name:ident($($arg:ident: $kind:ty),*) = $body:expr;)*) => { $(
        #[inline(always)]
        pub fn $name($($arg: $kind),*) -> V {
            unsafe { $body }
        }
    )* };
}

ops! {
    splat8(value: u8) = _mm_set1_epi8(value as i8);
    splat16(value: i16) = _mm_set1_epi16(value);
    splat32(value: i32) = _mm_set1_epi32(value);
    add16(a: V, b: V) = _mm_add_epi16(a, b);
    sub16(a: V, b: V) = _mm_sub_epi16(a, b);
    mul16(a: V, b: V) = _mm_mullo_epi16(a, b);
    q15(a: V, b: V) = _mm_mulhrs_epi16(a, b);
    add32(a: V, b: V) = _mm_add_epi32(a, b);
    sub32(a: V, b: V) = _mm_sub_epi32(a, b);
    dot(a: V, b: V) = _mm_madd_epi16(a, b);
    narrow32(a: V, b: V) = _mm_packs_epi32(a, b);
    narrow16(a: V, b: V) = _mm_packus_epi16(a, b);
    narrow16_signed(a: V, b: V) = _mm_packs_epi16(a, b);
    or(a: V, b: V) = _mm_or_si128(a, b);
    xor(a: V, b: V) = _mm_xor_si128(a, b);
    eq8(a: V, b: V) = _mm_cmpeq_epi8(a, b);
    zip8_low(a: V, b: V) = _mm_unpacklo_epi8(a, b);
    zip8_high(a: V, b: V) = _mm_unpackhi_epi8(a, b);
    zip16_low(a: V, b: V) = _mm_unpacklo_epi16(a, b);
    zip16_high(a: V, b: V) = _mm_unpackhi_epi16(a, b);
    zip64_low(a: V, b: V) = _mm_unpacklo_epi64(a, b);
    zip64_high(a: V, b: V) = _mm_unpackhi_epi64(a, b);
    before(left: V, v: V) = _mm_alignr_epi8::<14>(v, left);
    after(v: V, right: V) = _mm_alignr_epi8::<2>(right, v);
    pick(v: V, indices: V) = _mm_shuffle_epi8(v, indices);
    extend_low(v: V) = _mm_cvtepu8_epi16(v);
    extend_high(v: V) = _mm_unpackhi_epi8(v, _mm_setzero_si128());
    reverse(v: V) = _mm_shuffle_epi8(v, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

macro_rules! shifts {
    ($($name:ident = $of:ident;)*) => { $(
        #[inline(always)]
        pub fn $name<const N: u32>(v: V) -> V {
            unsafe { $of(v, _mm_cvtsi32_si128(N as i32)) }
        }
    )* };
}

shifts! {
    shl16 = _mm_sll_epi16;
    shr16 = _mm_sra_epi16;
    shl32 = _mm_sll_epi32;
    shr32 = _mm_sra_epi32;
}

#[inline(always)]
pub fn any(v: V) -> bool {
    // SAFETY: as above.
    unsafe { _mm_testz_si128(v, v) == 0 }
}
