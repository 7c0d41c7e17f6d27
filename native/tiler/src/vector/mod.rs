//! Owns the choice of the 128-bit vectors: WASM's, SSE4.1's, or plain arrays. All three give the same bits.
//!
//! Lanes are little-endian; a number in a name is the lane's width in bits. What saturates says so.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::*;

#[cfg(all(target_arch = "x86_64", target_feature = "sse4.1"))]
mod sse;
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.1"))]
pub use sse::*;

#[cfg(any(
    test,
    not(any(
        all(target_arch = "wasm32", target_feature = "simd128"),
        all(target_arch = "x86_64", target_feature = "sse4.1")
    ))
))]
mod plain;
#[cfg(not(any(
    all(target_arch = "wasm32", target_feature = "simd128"),
    all(target_arch = "x86_64", target_feature = "sse4.1")
)))]
pub use plain::*;

/// Bytes a whole vector may read or write past the last one that counts.
pub const SLACK: usize = 32;

/// Transposes 8 x 8 lanes of 16 bits.
#[inline(always)]
pub fn transpose16(rows: [V; 8]) -> [V; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let (ae0, ae1, bf0, bf1) = (zip16_low(a, e), zip16_high(a, e), zip16_low(b, f), zip16_high(b, f));
    let (cg0, cg1, dh0, dh1) = (zip16_low(c, g), zip16_high(c, g), zip16_low(d, h), zip16_high(d, h));
    let (aceg0, aceg1, aceg2, aceg3) =
        (zip16_low(ae0, cg0), zip16_high(ae0, cg0), zip16_low(ae1, cg1), zip16_high(ae1, cg1));
    let (bdfh0, bdfh1, bdfh2, bdfh3) =
        (zip16_low(bf0, dh0), zip16_high(bf0, dh0), zip16_low(bf1, dh1), zip16_high(bf1, dh1));
    [
        zip16_low(aceg0, bdfh0),
        zip16_high(aceg0, bdfh0),
        zip16_low(aceg1, bdfh1),
        zip16_high(aceg1, bdfh1),
        zip16_low(aceg2, bdfh2),
        zip16_high(aceg2, bdfh2),
        zip16_low(aceg3, bdfh3),
        zip16_high(aceg3, bdfh3),
    ]
}

#[cfg(test)]
mod tests {
    use super::{plain, *};

    fn bytes(v: V) -> [u8; 16] {
        let mut out = [0; 16];
        // SAFETY: sixteen bytes are there.
        unsafe { store(out.as_mut_ptr(), v) };
        out
    }

    /// Every operation on random lanes, extremes among them.
    #[test]
    fn all_vectors_agree() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 29 {
                0 => 0x80,
                1 => [0x7f, 0xff, 0, 1][(state >> 12 & 3) as usize],
                _ => (state >> 20) as u8,
            }
        };
        for _ in 0..2_000 {
            let (a, b): ([u8; 16], [u8; 16]) = (std::array::from_fn(|_| next()), std::array::from_fn(|_| next()));
            // SAFETY: sixteen bytes are there.
            let (va, vb, pa, pb) =
                unsafe { (load(a.as_ptr()), load(b.as_ptr()), plain::load(a.as_ptr()), plain::load(b.as_ptr())) };
            let same = |name: &str, vector: V, truth: plain::V| assert_eq!(bytes(vector), truth.0, "{name}");
            macro_rules! two {
                ($($op:ident)*) => { $( same(stringify!($op), $op(va, vb), plain::$op(pa, pb)); )* };
            }
            macro_rules! one {
                ($($op:ident $(::<$n:literal>)?),*) => {
                    $( same(stringify!($op), $op$(::<$n>)?(va), plain::$op$(::<$n>)?(pa)); )*
                };
            }
            two!(add16 sub16 mul16 add32 sub32 dot narrow32 narrow16 narrow16_signed zip8_low zip8_high zip16_low
                zip16_high zip64_low zip64_high or xor eq8 before after);
            one!(extend_low, extend_high, reverse, shl16::<2>, shr16::<4>, shl32::<11>, shr32::<18>);
            // Only what the callers give: small products, indices of sixteen bytes or none.
            let small = |v: [u8; 16]| v.map(|byte| byte & 0x7f);
            let indices = b.map(|byte| if byte < 128 { byte & 15 } else { 255 });
            // SAFETY: sixteen bytes are there.
            unsafe {
                let (left, right) = (small(a), small(b));
                let truth = plain::q15(plain::load(left.as_ptr()), plain::load(right.as_ptr()));
                same("q15", q15(load(left.as_ptr()), load(right.as_ptr())), truth);
                let truth = plain::pick(pa, plain::load(indices.as_ptr()));
                same("pick", pick(va, load(indices.as_ptr())), truth);
            }
            assert_eq!(any(eq8(va, vb)), plain::any(plain::eq8(pa, pb)));
            // SAFETY: eight and four bytes are there.
            unsafe {
                same("load_u8", load_u8(a.as_ptr()), plain::load_u8(a.as_ptr()));
                same("load_splat32", load_splat32(a.as_ptr()), plain::load_splat32(a.as_ptr()));
            }
        }
    }
}
