//! How much a process uses, and whether its memory grows.

use std::time::Duration;

/// How much more the last quarter may hold than the first: a share, and what allocators keep.
const TOLERANCE_PERCENT: u64 = 15;
const TOLERANCE_KIB: u64 = 2048;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) open_files: usize,
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Nothing if there is no such process.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident_kib = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
        let open_files = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        // utime and stime are the fields 14 and 15 of proc(5), in hundredths of a second.
        let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Some(Self { resident_kib, open_files, cpu: Duration::from_millis(ticks * 10) })
    }
}

/// The memory of a process over time.
#[derive(Debug, Default)]
pub(crate) struct Memory(Vec<u64>);

impl Memory {
    pub(crate) fn add(&mut self, resident_kib: u64) {
        self.0.push(resident_kib);
    }

    /// The medians of the first and of the last quarter, in KiB. What comes first of all, while caches fill, does not count.
    pub(crate) fn quarters(&self) -> Option<(u64, u64)> {
        let settled = &self.0[self.0.len() / 20..];
        let quarter = settled.len() / 4;
        (quarter > 0).then(|| (median(&settled[..quarter]), median(&settled[settled.len() - quarter..])))
    }

    pub(crate) fn is_flat(&self) -> bool {
        self.quarters().is_none_or(|(first, last)| last <= first + first * TOLERANCE_PERCENT / 100 + TOLERANCE_KIB)
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn memory_that_grows_is_not_flat() {
    let of = |samples: &dyn Fn(u64) -> u64| {
        let mut memory = Memory::default();
        (0..720).for_each(|number| memory.add(samples(number)));
        memory
    };
    assert!(of(&|number| 30_000 + number % 3000).is_flat());
    assert!(of(&|number| if number < 20 { 10_000 } else { 30_000 }).is_flat(), "the start does not count");
    assert!(!of(&|number| 30_000 + number * 20).is_flat());
    assert_eq!(of(&|number| number).quarters(), Some((121, 634)));
    assert!(Memory::default().is_flat());
}

#[test]
fn a_process_is_measured() {
    let usage = Usage::of(std::process::id()).unwrap();
    assert!(usage.resident_kib > 1000 && usage.open_files > 2, "{usage:?}");
    assert!(Usage::of(u32::MAX).is_none());
}
