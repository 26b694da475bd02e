//! Facts about the machine: cores and their quota, processor, memory, and what this process uses of it.
//!
//! Owns the reading of `/proc` and of control groups (versions 1 and 2); elsewhere than on Linux most facts are
//! absent. Invariant: a fact that cannot be read is `None` or empty, never a guess and never an error.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Instruction sets that decide which kernels ONNX Runtime picks, by Linux' names on x86-64 and AArch64.
const INSTRUCTION_SETS: &[&str] = &[
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
];

/// The machine as this process sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Logical cores that this process may run on.
    pub logical_cores: usize,
    /// Cores' worth of time that the control group grants, such as 1.5; none where there is no limit.
    pub core_quota: Option<f64>,
    /// The processor's model, or its architecture where the system does not tell.
    pub cpu: String,
    /// Those of its instruction sets that matter here, by Linux' names.
    pub instruction_sets: Vec<String>,
    /// Memory of the machine, in bytes.
    pub memory: Option<u64>,
    /// Memory that the control group grants, in bytes; none where there is no limit.
    pub memory_limit: Option<u64>,
}

impl Machine {
    /// Reads the facts.
    pub fn read() -> Self {
        let root = Path::new("/");
        let info = text(root, "proc/cpuinfo");
        let memory = field(&text(root, "proc/meminfo"), "MemTotal").and_then(kibibytes);
        Self {
            logical_cores: logical_cores(),
            core_quota: core_quota(root),
            cpu: field(&info, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            instruction_sets: instruction_sets(&info),
            memory,
            // A limit above the machine's memory is how version 1 writes that there is none.
            memory_limit: memory_limit(root).filter(|&limit| memory.is_none_or(|memory| limit < memory)),
        }
    }

    /// Processor and instruction sets on one line, for the record of where an embedding was computed.
    pub fn cpu_summary(&self) -> String {
        match self.instruction_sets.as_slice() {
            [] => self.cpu.clone(),
            sets => format!("{} ({})", self.cpu, sets.join(" ")),
        }
    }
}

/// Threads to use where the user does not say: the logical cores that this process may run on, at most the whole
/// cores that its control group grants, at least 1.
pub fn default_threads() -> usize {
    within_quota(logical_cores(), core_quota(Path::new("/")))
}

fn within_quota(cores: usize, quota: Option<f64>) -> usize {
    let granted = quota.map_or(cores, |quota| quota.floor() as usize);
    cores.min(granted).max(1)
}

/// Cores that are online and in the affinity mask of this process. The standard library's count has the quota mixed
/// in, so it only serves where the system does not tell.
fn logical_cores() -> usize {
    cores_allowed(Path::new("/"))
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get))
}

fn cores_allowed(root: &Path) -> Option<usize> {
    let online = text(root, "sys/devices/system/cpu/online");
    let status = text(root, "proc/self/status");
    let allowed = ranges(field(&status, "Cpus_allowed_list")?);
    let online = ranges(&online);
    let within = |&(low, high): &(usize, usize)| {
        let overlap = |&(first, last): &(usize, usize)| (high.min(last) + 1).saturating_sub(low.max(first));
        online.iter().map(overlap).sum::<usize>()
    };
    let cores = allowed.iter().map(within).sum();
    (cores > 0).then_some(cores)
}

/// A list such as `0-3,8` as pairs of first and last.
pub(super) fn ranges(list: &str) -> Vec<(usize, usize)> {
    let parts = list.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    parts.collect()
}

/// What this process holds in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryInUse {
    /// Anonymous memory now: what the process allocated, mapped files not counted.
    pub anonymous: u64,
    /// Largest resident set so far, mapped files counted.
    pub peak: u64,
}

/// Memory of this process; none where the system does not tell.
pub fn memory_in_use() -> Option<MemoryInUse> {
    let status = text(Path::new("/"), "proc/self/status");
    let anonymous = field(&status, "RssAnon").and_then(kibibytes)?;
    let peak = field(&status, "VmHWM").and_then(kibibytes)?;
    Some(MemoryInUse { anonymous, peak })
}

/// Seconds of processor time that this process has used so far, on all its threads: what a piece of work costs, also where
/// others use the machine at the same time. Where the system does not tell, the time that has gone by.
pub fn work_seconds() -> f64 {
    process_seconds().unwrap_or_else(|| {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
    })
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "the standard library has no clock of processor time")]
fn process_seconds() -> Option<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local, which the call fills.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    (status == 0).then(|| time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(not(unix))]
fn process_seconds() -> Option<f64> {
    None
}

fn instruction_sets(cpuinfo: &str) -> Vec<String> {
    let flags = field(cpuinfo, "flags").or_else(|| field(cpuinfo, "Features")).unwrap_or_default();
    let has = |set: &&str| flags.split_whitespace().any(|flag| flag == *set);
    INSTRUCTION_SETS.iter().filter(|set| has(set)).map(|set| (*set).to_owned()).collect()
}

/// Cores' worth of time: the smallest quota on the way from this process's control group to the root.
fn core_quota(root: &Path) -> Option<f64> {
    let quotas = group_folders(root, "cpu").into_iter().filter_map(|folder| {
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
        let numbers = read("cpu.max")
            .or_else(|| Some(format!("{} {}", read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?)))?;
        let mut numbers = numbers.split_whitespace().map(str::parse::<f64>);
        let (quota, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    });
    quotas.min_by(f64::total_cmp)
}

/// Bytes: the smallest limit on the way from this process's control group to the root.
fn memory_limit(root: &Path) -> Option<u64> {
    let limits = group_folders(root, "memory").into_iter().filter_map(|folder| {
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
        read("memory.max").or_else(|| read("memory.limit_in_bytes"))?.trim().parse().ok()
    });
    limits.min()
}

/// The folders of this process's control group and of those above it, for one controller. In a container the
/// group's path may be the host's: then only its mounted root exists here, and it is the last of the list.
fn group_folders(root: &Path, controller: &str) -> Vec<PathBuf> {
    let mount = root.join("sys/fs/cgroup");
    let mut folders = Vec::new();
    for line in text(root, "proc/self/cgroup").lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let top = match controllers {
            "" => mount.clone(),
            names if names.split(',').any(|name| name == controller) => version_1_mount(&mount, names, controller),
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        folders.extend(path.ancestors().map(|group| top.join(group)));
    }
    folders
}

/// Version 1 mounts controllers that share a hierarchy under their joint name, often with links for each.
fn version_1_mount(mount: &Path, names: &str, controller: &str) -> PathBuf {
    let joint = mount.join(names);
    if joint.is_dir() { joint } else { mount.join(controller) }
}

pub(super) fn text(root: &Path, file: &str) -> String {
    std::fs::read_to_string(root.join(file)).unwrap_or_default()
}

/// The value of the first line `name: value`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// `1234 kB` in bytes.
fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder with the given files in it.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_quota_above_the_process_counts() {
        let version_2 = root(&[
            ("proc/self/cgroup", "0::/job/step\n"),
            ("sys/fs/cgroup/job/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/job/step/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/job/memory.max", "1073741824\n"),
        ]);
        assert_eq!(core_quota(version_2.path()), Some(1.5));
        assert_eq!(memory_limit(version_2.path()), Some(1 << 30));
        let version_1 = root(&[
            ("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/docker/1f\n0::/\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096\n"),
        ]);
        assert_eq!(core_quota(version_1.path()), Some(4.0));
        assert_eq!(memory_limit(version_1.path()), Some(4096));
    }

    #[test]
    fn no_quota_and_nonsense_are_no_limit() {
        for quota in ["max 100000", "-1 100000", "", "1 0", "many"] {
            let root = root(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", quota)]);
            assert_eq!(core_quota(root.path()), None, "{quota}");
        }
        assert_eq!(core_quota(root(&[]).path()), None);
    }

    #[test]
    fn threads_are_whole_cores_and_at_least_one() {
        for (cores, quota, threads) in
            [(8, None, 8), (8, Some(2.0), 2), (8, Some(1.99), 1), (8, Some(0.25), 1), (2, Some(16.0), 2)]
        {
            assert_eq!(within_quota(cores, quota), threads, "{cores} cores, quota {quota:?}");
        }
    }

    #[test]
    fn cores_are_those_allowed_and_online() {
        let files = |allowed: &str, online: &str| {
            let status = format!("Cpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n");
            let root = root(&[("proc/self/status", &status), ("sys/devices/system/cpu/online", online)]);
            cores_allowed(root.path())
        };
        assert_eq!(files("0-7", "0-3\n"), Some(4));
        assert_eq!(files("1,3,6-9", "0-3,8-15"), Some(4));
        assert_eq!(files("5", "5"), Some(1));
        assert_eq!(files("0-7", ""), None);
    }

    #[test]
    fn the_processor_is_read_from_the_list_of_cores() {
        let info = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx avx2 avx512_vnni xsave\n";
        assert_eq!(instruction_sets(info), ["avx", "avx2", "avx512_vnni"]);
        assert_eq!(field(info, "model name"), Some("Some CPU"));
        assert_eq!(instruction_sets("Features : fp asimd i8mm\n"), ["asimd", "i8mm"]);
        assert!(instruction_sets("").is_empty());
    }

    #[test]
    fn work_takes_processor_time() {
        let start = work_seconds();
        let mut sum = 0_u64;
        while work_seconds() - start < 0.02 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0 && process_seconds().is_none_or(|seconds| seconds >= start + 0.02));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let before = memory_in_use().unwrap();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = memory_in_use().unwrap();
        assert!(after.anonymous >= before.anonymous + (60 << 20), "{before:?} {after:?}");
        assert!(after.peak >= after.anonymous);
        drop(held);
        assert!(Machine::read().logical_cores >= 1);
    }
}
