//! One directory, as the log sees it: the few operations it needs, so that tests can put a failing disk in place.

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use std::{
    any::Any,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One directory.
pub trait Disk: Send + Sync {
    /// Makes a new, empty file; one that is there is emptied.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file to read and write.
    ///
    /// # Errors
    /// What the system says; `NotFound` when there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, and takes the place of one that has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file's name; who has it open reads on.
    ///
    /// # Errors
    /// What the system says.
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// The names of all files.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self) -> io::Result<()>;
    /// Takes the directory for this process until the value is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another has it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;
    /// What people call the directory.
    fn label(&self) -> String;
    /// Bytes that may be had, as far as that is known without taking them.
    ///
    /// # Errors
    /// What the system says.
    fn room(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Reads at most all of `buf` from `at`; 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes at most all of `buf` to `at`.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize>;
    /// Makes what was written, and the length, durable.
    ///
    /// # Errors
    /// What the system says; then nobody knows what is durable.
    fn sync_data(&self) -> io::Result<()>;
    /// The length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts the file, or extends it by zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Takes room for `bytes` in all and extends the file to them by zeros. Does nothing where it is not supported.
    ///
    /// # Errors
    /// What the system says.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
}

/// A directory of the real disk.
#[derive(Debug)]
pub struct StdDisk {
    dir: PathBuf,
}

impl StdDisk {
    /// The directory `dir`, which is created where it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref().to_owned();
        if !dir.is_dir() {
            std::fs::create_dir_all(&dir)?;
            // The new directory's own name must be as durable as what it will hold.
            if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { dir })
    }
}

impl Disk for StdDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.dir.join(name))?;
        Ok(Arc::new(StdFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(StdFile(OpenOptions::new().read(true).write(true).open(self.dir.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.dir.join(LOCK_NAME))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn label(&self) -> String {
        self.dir.display().to_string()
    }

    fn room(&self) -> io::Result<u64> {
        let stat = statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct StdFile(File);

impl DiskFile for StdFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.0.write_at(buf, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Writes all of `bytes` to `at`.
pub(in crate::log) fn write_all(file: &dyn DiskFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = bytes.get(n..).unwrap_or_default();
                at += n as u64;
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Reads from `at` until `buf` is full or the file ends, and says how much there was.
pub(in crate::log) fn read_full(file: &dyn DiskFile, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(done)
}

/// Writes a whole file so that after a crash it is there whole or not at all.
pub(in crate::log) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let tmp = format!("{name}{TMP_SUFFIX}");
    let written = disk.create(&tmp).and_then(|file| {
        write_all(&*file, bytes, 0)?;
        file.sync_data()
    });
    if let Err(err) = written {
        // Best effort: it takes room and is removed at the next start too.
        let _ = disk.unlink(&tmp);
        return Err(err);
    }
    disk.rename(&tmp, name)?;
    disk.sync_dir()
}

/// Whether the failure is that there is no room.
pub(in crate::log) fn is_full(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Ends the name of a file that is not yet whole.
pub(in crate::log) const TMP_SUFFIX: &str = ".tmp";

const LOCK_NAME: &str = "lock";
