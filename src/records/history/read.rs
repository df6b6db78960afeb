//! The lines of some days, one after the other.
//!
//! Does not know: what they are wanted for.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::{DAY, DAYS, LINE_MAX, Line, file};

/// Gives every line that has a part of the time between two moments (milliseconds since 1970) to
/// `each`, the days in their order; of more than 35 days the last ones. Returns how many lines
/// could not be read: cut by a crash, damaged, or of another version.
///
/// # Errors
/// When a file is there and cannot be opened or read.
pub fn read(state_dir: &Path, from: u64, to: u64, mut each: impl FnMut(Line)) -> io::Result<u64> {
    let mut skipped = 0;
    // A line lies in the file of the day when it ended.
    let last = to / DAY + 1;
    for day in (from / DAY).max(last.saturating_sub(DAYS))..=last {
        let opened = match File::open(file(state_dir, day.saturating_mul(DAY))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let mut reader = BufReader::new(opened);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            match serde_json::from_slice::<Line>(&bytes) {
                Ok(line) if line.at() > from && line.from() <= to => each(line),
                Ok(_) => {}
                Err(_) if bytes == b"\n" => {}
                Err(_) => skipped += 1,
            }
        }
    }
    Ok(skipped)
}
