//! Keys that a copy has read, in order, in bounded memory: what is too much is sorted into files that go with the process.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write as _},
};

/// Keys as they come.
#[derive(Default)]
pub(super) struct Seen {
    run: Vec<Box<str>>,
    bytes: usize,
    runs: Vec<File>,
}

impl Seen {
    /// Takes one more.
    ///
    /// # Errors
    /// Where there is no room for them in the directory for temporary files.
    pub(super) fn add(&mut self, key: Box<str>) -> io::Result<()> {
        self.bytes += key.len() + KEY_OVERHEAD;
        self.run.push(key);
        if self.bytes < RUN_BYTES { Ok(()) } else { self.spill() }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.run.sort_unstable();
        let mut out = BufWriter::new(tempfile::tempfile()?);
        for key in self.run.drain(..) {
            out.write_all(&(key.len() as u32).to_le_bytes())?;
            out.write_all(key.as_bytes())?;
        }
        self.bytes = 0;
        self.runs.push(out.into_inner().map_err(io::IntoInnerError::into_error)?);
        Ok(())
    }

    /// All of them, in the order of their bytes.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(super) fn sorted(mut self) -> io::Result<Sorted> {
        self.run.sort_unstable();
        let mut runs = vec![Run::Memory(std::mem::take(&mut self.run).into_iter())];
        for mut file in std::mem::take(&mut self.runs) {
            file.rewind()?;
            runs.push(Run::File(BufReader::new(file)));
        }
        let mut next = BinaryHeap::with_capacity(runs.len());
        for (at, run) in runs.iter_mut().enumerate() {
            if let Some(key) = run.next()? {
                next.push(Reverse((key, at)));
            }
        }
        Ok(Sorted { runs, next })
    }
}

/// Keys in order.
pub(super) struct Sorted {
    runs: Vec<Run>,
    next: BinaryHeap<Reverse<(Box<str>, usize)>>,
}

enum Run {
    Memory(std::vec::IntoIter<Box<str>>),
    File(BufReader<File>),
}

impl Sorted {
    /// Whether `key` is among them. Asked in the order of keys: what is less is forgotten.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub(super) fn has(&mut self, key: &str) -> io::Result<bool> {
        while let Some(Reverse((next, at))) = self.next.peek() {
            if &**next >= key {
                return Ok(&**next == key);
            }
            let at = *at;
            self.next.pop();
            if let Some(key) = self.runs.get_mut(at).map_or(Ok(None), Run::next)? {
                self.next.push(Reverse((key, at)));
            }
        }
        Ok(false)
    }
}

impl Run {
    fn next(&mut self) -> io::Result<Option<Box<str>>> {
        let file = match self {
            Self::Memory(keys) => return Ok(keys.next()),
            Self::File(file) => file,
        };
        let mut len = [0; 4];
        match file.read_exact(&mut len) {
            Ok(()) => {}
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(err) => return Err(err),
        }
        let mut key = vec![0; u32::from_le_bytes(len) as usize];
        file.read_exact(&mut key)?;
        let key = String::from_utf8(key).map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))?;
        Ok(Some(key.into()))
    }
}

// Bytes of keys in memory, and what one takes beside its text.
const RUN_BYTES: usize = 16 * 1024 * 1024;
const KEY_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests;
