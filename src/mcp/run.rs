//! How far a run of bytes goes before one that matters.
//!
//! Most of what passes is text that nobody looks at, so this is where the time of all reading goes:
//! it compares a block at a time, which compilers turn into vector instructions. Does not know:
//! which bytes matter, or why.

/// Bytes compared at once.
const BLOCK: usize = 64;

/// The number of bytes before the first that is one of `stops`, or that `also` stops; all of them,
/// if there is none.
#[inline]
pub(super) fn length<const N: usize>(
    bytes: &[u8],
    stops: [u8; N],
    also: impl Fn(u8) -> bool,
) -> usize {
    // In bits, since `||` is a branch for each byte, and a block with branches is no vector.
    let hit = |byte: &u8| {
        stops.iter().fold(u8::from(also(*byte)), |hit, stop| hit | u8::from(byte == stop))
    };
    let free = |block: &&[u8]| block.iter().fold(0, |any, byte| any | hit(byte)) == 0;
    let passed = BLOCK * bytes.chunks_exact(BLOCK).take_while(free).count();
    let rest = &bytes[passed..];
    passed + rest.iter().position(|byte| hit(byte) != 0).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_stop_wherever_it_is() {
        for size in 0..200 {
            let mut bytes = vec![b'a'; size];
            // Both stop at `!`.
            let also = |byte| byte > b'z' || byte == b'!';
            assert_eq!(length(&bytes, [b'!', b'?'], also), size);
            for at in (0..size).rev() {
                bytes[at] = [b'!', b'?', b'~'][at % 3];
                assert_eq!(length(&bytes, [b'!', b'?'], also), at);
            }
        }
    }
}
