//! Small disks, so that they can be full.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A disk of a few MiB, in memory; gone when dropped.
pub(crate) struct SmallDisk {
    path: PathBuf,
    /// Where the place is its own.
    _directory: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// Makes one of so many KiB. None where this user may not mount one, which is said.
    pub(crate) fn new(kib: usize) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        Self::over_path(path, kib, Some(directory))
    }

    /// Makes one in the place of a directory, with what is in it.
    pub(crate) fn over(path: &Path, kib: usize) -> Option<Self> {
        let aside = tempfile::tempdir().unwrap();
        copy(path, aside.path());
        let disk = Self::over_path(path.to_owned(), kib, None)?;
        copy(aside.path(), path);
        Some(disk)
    }

    fn over_path(path: PathBuf, kib: usize, directory: Option<tempfile::TempDir>) -> Option<Self> {
        if !mount(&path, kib, "mode=777") {
            println!("SKIPPED: a full disk: it needs the right to mount a file system (root)");
            return None;
        }
        Some(Self { path, _directory: directory })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it, but for about so many KiB; gives the file, whose removal makes room again.
    pub(crate) fn fill(&self, but_kib: usize) -> PathBuf {
        let filler = self.path().join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        let full = io::copy(&mut io::repeat(b'x'), &mut file).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        let len = file.metadata().unwrap().len().saturating_sub(but_kib as u64 * 1024);
        file.set_len(len).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: who still has files open there does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn copy(from: &Path, to: &Path) {
    let from = from.join(".");
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Mounts a disk of so many KiB over a directory, or makes one that is there larger (`remount`); whether that worked.
pub(crate) fn mount(at: &Path, kib: usize, option: &str) -> bool {
    let options = format!("size={kib}k,{option}");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at);
    mount.output().is_ok_and(|output| output.status.success())
}
