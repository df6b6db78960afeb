//! The bytes of an HTTP/1 connection: the same verdicts for every cut, and a body that breaks off at
//! the same byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::listen::law::Verdict;
use tidegate::listen::law::scan::Scanner;
use tidegate_fuzz::split;

fn scan(pieces: &[&[u8]]) -> (Vec<Verdict>, Option<usize>) {
    let (mut scanner, mut read, mut broken) = (Scanner::default(), 0, None);
    for piece in pieces {
        if let Err(at) = scanner.feed(piece) {
            broken = Some(read + at);
            break;
        }
        read += piece.len();
    }
    (std::iter::from_fn(|| scanner.next_verdict()).collect(), broken)
}

fuzz_target!(|input: &[u8]| {
    let (text, pieces) = split(input);
    assert_eq!(scan(&pieces), scan(&[text]));
});
