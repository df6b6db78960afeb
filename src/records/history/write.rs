//! Appends lines to the file of their day, and removes the files of days long past.
//!
//! Handing a line over never waits; whoever flushes does. Does not know: when lines are due.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BYTES_MAX, DAY, DAYS, Line, day, file, folder};

/// Lines that wait for a disk that hangs; of more the oldest are given up.
const QUEUE_MAX: usize = 64;

/// Writes the history of one state directory.
#[derive(Clone, Debug)]
pub struct Writer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state_dir: PathBuf,
    queue: Mutex<VecDeque<Line>>,
    /// Held while the disk is written, so that lines keep their order.
    disk: Mutex<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    /// The day when old files were last removed.
    tidied: Option<u64>,
    /// That the disk refuses has been said.
    warned: bool,
}

impl Writer {
    /// A writer into this state directory.
    pub fn new(state_dir: &Path) -> Writer {
        let inner = Inner {
            state_dir: state_dir.to_owned(),
            queue: Mutex::default(),
            disk: Mutex::default(),
        };
        Writer { inner: Arc::new(inner) }
    }

    /// Hands a line over, to be written by the next [`Writer::flush`].
    pub fn push(&self, line: Line) {
        let mut queue = lock(&self.inner.queue);
        queue.push_back(line);
        if queue.len() > QUEUE_MAX {
            queue.pop_front();
        }
    }

    /// Writes what was handed over; waits for the disk. A refusal is logged once, and again only
    /// after it has worked meanwhile.
    pub fn flush(&self) {
        let mut disk = lock(&self.inner.disk);
        loop {
            let Some(line) = lock(&self.inner.queue).pop_front() else { return };
            match self.inner.append(&mut disk, &line) {
                Ok(()) => disk.warned = false,
                Err(error) if !disk.warned => {
                    disk.warned = true;
                    tracing::warn!(%error, "the history for reports has a gap");
                }
                Err(_) => {}
            }
        }
    }
}

impl Inner {
    fn append(&self, disk: &mut Disk, line: &Line) -> io::Result<()> {
        let at = line.at();
        if disk.tidied != Some(at / DAY) {
            let folder = folder(&self.state_dir);
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            tidy(&folder, at)?;
            disk.tidied = Some(at / DAY);
        }
        let path = file(&self.state_dir, at);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        // The lines of minutes stay far below it.
        if length > 2 * BYTES_MAX || (length > BYTES_MAX && matches!(line, Line::Tools(_))) {
            return Err(io::Error::other("the file of the day is full"));
        }
        let mut bytes = Vec::new();
        if !is_ended(&file, length)? {
            bytes.push(b'\n');
        }
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
        file.write_all(&bytes)
    }
}

/// Whether the last line is whole; half of one, left by a crash or a full disk, must not spoil the
/// next.
fn is_ended(file: &File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Removes the files of days that are not kept.
fn tidy(folder: &Path, at: u64) -> io::Result<()> {
    let oldest = format!("{}.jsonl", day(at.saturating_sub((DAYS - 1) * DAY)));
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let digits = name.strip_suffix(".jsonl").unwrap_or_default();
        let is_ours = digits.len() == "2026-02-06".len();
        if is_ours && name < oldest {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
