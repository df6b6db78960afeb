//! The files of the journal: their names, their order, their lines.
//!
//! `audit.jsonl` is the one that is written; a full one is renamed after its last line. Does not
//! know: what a line says.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The file that is written.
pub(super) const CURRENT: &str = "audit.jsonl";

/// Bytes that are read at once from the end of a file.
const BLOCK: u64 = 64 * 1024;

/// The name of a full file whose last line has this number.
pub(super) fn full_name(seq: u64) -> String {
    format!("audit-{seq:010}.jsonl")
}

/// The full files in a directory, oldest first, each with the number in its name.
pub(super) fn full(dir: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let digits = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        let digits = digits.filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(seq) = digits.and_then(|it| it.parse().ok()) {
            found.push((seq, name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Opens `audit.jsonl` for appending, for its owner only.
pub(super) fn open_current(dir: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(CURRENT))
}

/// Waits until the names in a directory are on the disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// One file of the journal, open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) file: File,
}

/// Opens all files, oldest first; a router may be writing them.
pub(super) fn open_all(dir: &Path) -> io::Result<Vec<Opened>> {
    let open = |name: String| match File::open(dir.join(&name)) {
        Ok(file) => Ok(Some(Opened { name, file })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", dir.join(name).display())))
        }
    };
    // First the one that is written: if it is renamed meanwhile, it is found twice and not never.
    let current = open(CURRENT.to_owned())?;
    let identity = |opened: &Opened| opened.file.metadata().map(|meta| (meta.dev(), meta.ino()));
    let own = current.as_ref().map(identity).transpose()?;
    let mut files = Vec::new();
    for (_, name) in full(dir)? {
        if let Some(opened) = open(name)?
            && Some(identity(&opened)?) != own
        {
            files.push(opened);
        }
    }
    files.extend(current);
    Ok(files)
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    /// Without the line break.
    pub(super) bytes: Vec<u8>,
    /// Whether a line break is behind it.
    pub(super) is_ended: bool,
}

/// The lines of a file from its beginning.
pub(super) fn lines(file: File) -> impl Iterator<Item = io::Result<Line>> {
    let mut reader = BufReader::new(file);
    (1..).map_while(move |number| {
        let mut bytes = Vec::new();
        match reader.read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => {
                let is_ended = bytes.pop_if(|last| *last == b'\n').is_some();
                Some(Ok(Line { number, bytes, is_ended }))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

/// The lines of a file from its end, without their line breaks.
#[derive(Debug)]
pub(super) struct Backwards {
    file: File,
    /// How much of the file is not read yet.
    rest: u64,
    /// What is read and not given out yet: the end of it is the end of a line.
    held: Vec<u8>,
}

impl Backwards {
    pub(super) fn new(file: File) -> io::Result<Backwards> {
        let rest = file.metadata()?.len();
        let mut lines = Backwards { file, rest, held: Vec::new() };
        lines.fill()?;
        lines.held.pop_if(|last| *last == b'\n');
        Ok(lines)
    }

    /// Reads the block before.
    fn fill(&mut self) -> io::Result<()> {
        let size = BLOCK.min(self.rest);
        self.rest -= size;
        self.file.seek(SeekFrom::Start(self.rest))?;
        let mut block = vec![0; size as usize];
        self.file.read_exact(&mut block)?;
        block.append(&mut self.held);
        self.held = block;
        Ok(())
    }

    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.held.iter().rposition(|byte| *byte == b'\n') {
                let line = self.held.split_off(at + 1);
                self.held.pop();
                return Ok(Some(line));
            }
            if self.rest == 0 {
                let line = std::mem::take(&mut self.held);
                return Ok(Some(line).filter(|line| !line.is_empty()));
            }
            self.fill()?;
        }
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.take().transpose()
    }
}
