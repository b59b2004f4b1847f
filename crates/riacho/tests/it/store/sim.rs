//! A disk in memory that fails as told: it keeps apart what was synced, and a crash loses or tears the rest.

use riacho::log::store::disk::{Disk, DiskFile};
use std::{
    any::Any,
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

/// A disk in memory.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: Vec<SimFile>,
    /// What a program sees.
    names: BTreeMap<String, usize>,
    /// What a crash leaves for sure.
    names_synced: BTreeMap<String, usize>,
    name_ops: Vec<NameOp>,
    locked: bool,
    syncs_until_failure: Option<u32>,
    ops_until_power_off: Option<u32>,
    room: Option<u64>,
    write_bytes_max: Option<usize>,
    reads: u64,
}

#[derive(Default)]
struct SimFile {
    now: Vec<u8>,
    synced: Vec<u8>,
    ops: Vec<FileOp>,
}

enum FileOp {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

enum NameOp {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

impl SimDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Lets the next `n` syncs succeed and the one after fail.
    pub(crate) fn fail_sync_after(&self, n: u32) {
        self.inner().syncs_until_failure = Some(n);
    }

    /// Lets the next `n` changes succeed; then everything fails until the crash.
    pub(crate) fn power_off_after(&self, n: u32) {
        self.inner().ops_until_power_off = Some(n);
    }

    /// Leaves room for `bytes` more.
    pub(crate) fn room(&self, bytes: Option<u64>) {
        self.inner().room = bytes;
    }

    /// Writes at most so many bytes at once.
    pub(crate) fn short_writes(&self, bytes: usize) {
        self.inner().write_bytes_max = Some(bytes);
    }

    /// How many reads there were.
    pub(crate) fn reads(&self) -> u64 {
        self.inner().reads
    }

    /// The power goes, and comes back: of what was not synced anything may be there.
    pub(crate) fn crash(&self, random: &mut Random) {
        let mut inner = self.inner();
        let mut names = std::mem::take(&mut inner.names_synced);
        for op in std::mem::take(&mut inner.name_ops) {
            if random.below(2) == 0 {
                op.apply(&mut names);
            }
        }
        for file in &mut inner.files {
            let mut bytes = std::mem::take(&mut file.synced);
            for op in std::mem::take(&mut file.ops) {
                match (op, random.below(4)) {
                    (_, 0) => {}
                    // Torn at any byte: the front, the end, or one piece arrived.
                    (FileOp::Write(at, data), 1) => {
                        let a = random.below(data.len() as u64 + 1) as usize;
                        let b = a + random.below((data.len() - a) as u64 + 1) as usize;
                        let (from, to) = [(0, a), (a, data.len()), (a, b)][random.below(3) as usize];
                        FileOp::Write(at + from as u64, data[from..to].to_vec()).apply(&mut bytes);
                    }
                    (op, _) => op.apply(&mut bytes),
                }
            }
            file.now = bytes.clone();
            file.synced = bytes;
        }
        inner.names = names.clone();
        inner.names_synced = names;
        inner.locked = false;
        inner.syncs_until_failure = None;
        inner.ops_until_power_off = None;
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let inner = self.inner();
        inner.files[inner.names[name]].now.clone()
    }

    /// Replaces the bytes of a file, durably.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut inner = self.inner();
        let id = inner.files.len();
        inner.files.push(SimFile { now: bytes.clone(), synced: bytes, ops: vec![] });
        inner.names.insert(name.to_owned(), id);
        inner.names_synced.insert(name.to_owned(), id);
    }

    /// A file, to be changed behind the store's back.
    pub(crate) fn open_file(&self, name: &str) -> Arc<dyn DiskFile> {
        self.open(name).unwrap()
    }

    /// The names of all files that end so.
    pub(crate) fn names(&self, suffix: &str) -> Vec<String> {
        self.inner().names.keys().filter(|name| name.ends_with(suffix)).cloned().collect()
    }

    /// An independent copy of what a program sees, all of it durable.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        for name in self.names("") {
            copy.put(&name, self.bytes(&name));
        }
        copy
    }
}

impl Inner {
    /// Counts one change.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.ops_until_power_off {
            Some(0) => Err(io::Error::other("power is off")),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_room(&mut self, bytes: u64) -> u64 {
        let Some(room) = &mut self.room else { return bytes };
        let taken = bytes.min(*room);
        *room -= taken;
        taken
    }

    fn sync(&mut self) -> io::Result<()> {
        self.change()?;
        match &mut self.syncs_until_failure {
            Some(0) => {
                self.syncs_until_failure = None;
                Err(io::Error::other("the device failed"))
            }
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn name(&mut self, op: NameOp) -> io::Result<()> {
        self.change()?;
        op.apply(&mut self.names);
        self.name_ops.push(op);
        Ok(())
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl NameOp {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}

impl FileOp {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                let (at, end) = (*at as usize, *at as usize + data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[at..end].copy_from_slice(data);
            }
            Self::SetLen(len) => bytes.resize(*len as usize, 0),
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.inner();
        if inner.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let id = inner.files.len();
        inner.files.push(SimFile::default());
        inner.name(NameOp::Link(name.to_owned(), id))?;
        Ok(Arc::new(Open { disk: self.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.inner().id(name)?;
        Ok(Arc::new(Open { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let id = inner.id(from)?;
        inner.name(NameOp::Rename(from.to_owned(), to.to_owned(), id))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let id = inner.id(name)?;
        let freed = inner.files[id].now.len() as u64;
        inner.name(NameOp::Unlink(name.to_owned()))?;
        if let Some(room) = &mut inner.room {
            *room += freed;
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names(""))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.sync()?;
        inner.name_ops.clear();
        inner.names_synced = inner.names.clone();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut inner = self.inner();
        if inner.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        inner.locked = true;
        Ok(Box::new(Lock(self.clone())))
    }

    fn label(&self) -> String {
        "sim".to_owned()
    }
}

struct Lock(SimDisk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.inner().locked = false;
    }
}

struct Open {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for Open {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        inner.reads += 1;
        let bytes = inner.files[self.id].now.get(at as usize..).unwrap_or_default();
        let n = bytes.len().min(buf.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        inner.change()?;
        let n = buf.len().min(inner.write_bytes_max.unwrap_or(usize::MAX));
        let len = inner.files[self.id].now.len() as u64;
        let inside = len.saturating_sub(at).min(n as u64);
        let n = (inside + inner.take_room(n as u64 - inside)) as usize;
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let op = FileOp::Write(at, buf[..n].to_vec());
        let file = &mut inner.files[self.id];
        op.apply(&mut file.now);
        file.ops.push(op);
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.sync()?;
        let file = &mut inner.files[self.id];
        for op in std::mem::take(&mut file.ops) {
            op.apply(&mut file.synced);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.inner().files[self.id].now.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.change()?;
        let len = inner.files[self.id].now.len() as u64;
        if let Some(room) = &mut inner.room {
            *room += len.saturating_sub(bytes);
        }
        let file = &mut inner.files[self.id];
        FileOp::SetLen(bytes).apply(&mut file.now);
        file.ops.push(FileOp::SetLen(bytes));
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.change()?;
        let more = bytes.saturating_sub(inner.files[self.id].now.len() as u64);
        if inner.room.is_some_and(|room| room < more) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.take_room(more);
        let file = &mut inner.files[self.id];
        if more > 0 {
            FileOp::SetLen(bytes).apply(&mut file.now);
            file.ops.push(FileOp::SetLen(bytes));
        }
        Ok(())
    }
}

/// SplitMix64: the same numbers for the same seed, forever.
pub(crate) struct Random(pub u64);

impl Random {
    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }
}
