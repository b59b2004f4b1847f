//! What another process and its descendants use: CPU time and memory, from `/proc`.

use std::{collections::HashMap, fs, path::Path};

/// A process whose tree is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(u32);

/// CPU time used so far.
#[derive(Clone, Default, Debug)]
pub(super) struct Cpu {
    /// Of each living thread, in nanoseconds, where the kernel counts so exactly.
    threads: HashMap<u32, u64>,
    /// Of all together, those that ended too, to the tick of 10 ms.
    ticked: u64,
}

/// Bytes of memory that are this tree's share.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Memory {
    /// Proportional set size.
    pub(super) pss: u64,
    /// The anonymous part of it: the heap and the stacks.
    pub(super) anonymous: u64,
}

impl Process {
    /// The process, if there is one and we may look at it.
    pub(super) fn find(pid: u32) -> Option<Self> {
        Path::new(&format!("/proc/{pid}/stat")).exists().then_some(Self(pid))
    }

    pub(super) fn cpu(self) -> Cpu {
        let mut cpu = Cpu::default();
        for pid in self.tree() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            cpu.ticked += fields(&stat).skip(11).take(2).sum::<u64>() * TICK_NANOS;
            for thread in numbers(&format!("/proc/{pid}/task")) {
                let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"));
                if let Some(nanos) = stat.ok().and_then(|stat| stat.split(' ').next()?.parse().ok()) {
                    cpu.threads.insert(thread, nanos);
                }
            }
        }
        cpu
    }

    /// Slow for the process measured: its memory map is locked meanwhile.
    pub(super) fn memory(self) -> Memory {
        let mut memory = Memory::default();
        for pid in self.tree() {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = |name: &str| {
                let line = rollup.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            memory.pss += line("Pss:") * 1024;
            memory.anonymous += line("Pss_Anon:") * 1024;
        }
        memory
    }

    /// The process and all that descend from it.
    fn tree(self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in numbers("/proc") {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = fields(&stat).nth(1).and_then(|parent| u32::try_from(parent).ok());
            children.entry(parent.unwrap_or(0)).or_default().push(pid);
        }
        let mut tree = vec![self.0];
        let mut at = 0;
        while let Some(pid) = tree.get(at) {
            // Removed, so that numbers used again meanwhile cannot make a circle.
            tree.extend(children.remove(pid).unwrap_or_default());
            at += 1;
        }
        tree
    }
}

impl Cpu {
    /// Nanoseconds used since `before`.
    pub(super) fn since(&self, before: &Self) -> u64 {
        let of_thread = |(thread, nanos): (&u32, &u64)| {
            nanos.saturating_sub(before.threads.get(thread).copied().unwrap_or(0))
        };
        let exact: u64 = self.threads.iter().map(of_thread).sum();
        let ticked = self.ticked.saturating_sub(before.ticked);
        // Threads that ended meanwhile are missing from the exact sum.
        if exact + TICKS_OFF_MAX * TICK_NANOS >= ticked { exact } else { ticked }
    }
}

impl Memory {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            pss: self.pss.saturating_sub(before.pss),
            anonymous: self.anonymous.saturating_sub(before.anonymous),
        }
    }
}

// The numbers of a line of `stat` behind the name, which may hold anything; a letter counts as 0.
fn fields(stat: &str) -> impl Iterator<Item = u64> {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.map(|field| field.parse().unwrap_or(0))
}

fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

const TICK_NANOS: u64 = 10_000_000;
const TICKS_OFF_MAX: u64 = 4;
