//! How far a run of bytes goes before one that matters.
//!
//! Most of what passes is text that nobody looks at, so this is where the time of all reading goes:
//! it compares a block at a time, which compilers turn into vector instructions. Does not know:
//! which bytes matter, or why.

/// Bytes compared at once.
const BLOCK: usize = 32;

/// The number of bytes before the first that `stops`; all of them, if none does.
#[inline]
pub(super) fn length(bytes: &[u8], stops: impl Fn(u8) -> bool) -> usize {
    let free = |block: &&[u8]| !block.iter().fold(false, |any, &byte| any | stops(byte));
    let passed = BLOCK * bytes.chunks_exact(BLOCK).take_while(free).count();
    let rest = &bytes[passed..];
    passed + rest.iter().position(|&byte| stops(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_stop_wherever_it_is() {
        for size in 0..100 {
            let mut bytes = vec![b'a'; size];
            assert_eq!(length(&bytes, |byte| byte == b'!'), size);
            for at in (0..size).rev() {
                bytes[at] = b'!';
                assert_eq!(length(&bytes, |byte| byte == b'!'), at);
            }
        }
    }
}
