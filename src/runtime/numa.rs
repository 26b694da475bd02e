//! NUMA nodes: groups of cores with memory of their own, as Linux lists them, and threads that stay on one. Elsewhere
//! there are none to tell apart.
//!
//! Invariant: only cores that this process may run on are named; where a thread runs changes no bit of any vector.

use std::cell::RefCell;
use std::path::Path;

use super::machine::{field, ranges, text};

/// Linux knows at most 1,024 nodes; what lists more is no list of nodes.
const MOST_NODES: usize = 1_024;
/// Cores that an affinity mask of the C library has room for.
const MOST_CORES: usize = 1_024;

/// The cores of each NUMA node that this process may run on; empty where there are fewer than two such nodes.
pub fn numa_nodes() -> Vec<Vec<usize>> {
    nodes(Path::new("/"))
}

/// Sessions to use where the user does not say: one for each node, so that each has weights and activations near its
/// cores; one alone where there are no nodes, or fewer threads than nodes.
pub fn default_sessions(threads: usize, nodes: usize) -> usize {
    if nodes <= threads { nodes.max(1) } else { 1 }
}

fn nodes(root: &Path) -> Vec<Vec<usize>> {
    let listed = ranges(&text(root, "sys/devices/system/node/online"));
    let status = text(root, "proc/self/status");
    let allowed = ranges(field(&status, "Cpus_allowed_list").unwrap_or_default());
    let cores = |node: usize| -> Vec<usize> {
        let own = ranges(&text(root, &format!("sys/devices/system/node/node{node}/cpulist")));
        let own = own.into_iter().flat_map(|(first, last)| first..=last).take(MOST_CORES);
        own.filter(|core| allowed.iter().any(|(first, last)| (first..=last).contains(&core))).collect()
    };
    let numbers = listed.into_iter().flat_map(|(first, last)| first..=last).take(MOST_NODES);
    let nodes: Vec<Vec<usize>> = numbers.map(cores).filter(|cores| !cores.is_empty()).collect();
    if nodes.len() > 1 { nodes } else { Vec::new() }
}

/// The cores of each further thread of a session, as ONNX Runtime's `session.intra_op_thread_affinities` names them
/// (counted from 1); none where its threads may run anywhere, or where there is none but the caller's.
pub(super) fn affinities(cores: &[usize], threads: usize) -> Option<String> {
    if cores.is_empty() || threads < 2 {
        return None;
    }
    let one = cores.iter().map(|core| (core + 1).to_string()).collect::<Vec<_>>().join(",");
    Some(vec![one; threads - 1].join(";"))
}

thread_local! {
    /// Where this thread was told to stay.
    static STAYS_ON: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the calling thread on these cores from now on; no cores: leaves it where it may be. Where the system refuses,
/// the thread stays free, which costs time and nothing else.
pub(super) fn stay_on(cores: &[usize]) {
    STAYS_ON.with_borrow_mut(|stays_on| {
        if !cores.is_empty() && stays_on != cores {
            *stays_on = cores.to_vec();
            if let Err(error) = set_affinity(cores) {
                tracing::debug!(?cores, %error, "a thread could not be kept on its NUMA node");
            }
        }
    });
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no call for a thread's cores")]
fn set_affinity(cores: &[usize]) -> std::io::Result<()> {
    // SAFETY: a mask is plain bits, of which none being set is a valid value.
    let mut mask: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores.iter().filter(|&&core| core < MOST_CORES) {
        // SAFETY: the mask is a live local with room for that core.
        unsafe { libc::CPU_SET(core, &mut mask) };
    }
    // SAFETY: the pointer is to a live local of the size that is given; 0 is the calling thread.
    let status = unsafe { libc::sched_setaffinity(0, size_of_val(&mask), &raw const mask) };
    if status == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn set_affinity(_: &[usize]) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root folder of a machine that lists these nodes, each with its cores, and lets this process run on `allowed`.
    fn machine(online: &str, cores: &[(usize, &str)], allowed: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, content: &str| {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("sys/devices/system/node/online", online);
        write("proc/self/status", &format!("Cpus_allowed_list:\t{allowed}\n"));
        for (node, list) in cores {
            write(&format!("sys/devices/system/node/node{node}/cpulist"), &format!("{list}\n"));
        }
        root
    }

    #[test]
    fn nodes_with_a_core_for_this_process_count() {
        let two = [(0, "0-2,6"), (1, "3-5,7")];
        assert_eq!(nodes(machine("0-1\n", &two, "0-7").path()), [[0, 1, 2, 6], [3, 4, 5, 7]]);
        assert_eq!(nodes(machine("0-1\n", &two, "2-3").path()), [[2], [3]]);
        assert_eq!(nodes(machine("0-1\n", &two, "0-2").path()).len(), 0, "one node is no choice");
        // A node of memory alone, and one that is not online.
        assert_eq!(nodes(machine("0,2\n", &[(0, "0-3"), (1, "4-7"), (2, "")], "0-7").path()).len(), 0);
        assert_eq!(nodes(machine("0,2\n", &[(0, "0"), (1, "1"), (2, "2")], "0-7").path()), [[0], [2]]);
    }

    #[test]
    fn what_cannot_be_read_is_no_node() {
        assert_eq!(nodes(tempfile::tempdir().unwrap().path()).len(), 0);
        assert_eq!(nodes(machine("many\n", &[], "0-3").path()).len(), 0);
        assert_eq!(nodes(machine("0-18446744073709551615\n", &[(0, "0-3")], "0-3").path()).len(), 0);
        let endless = machine("0-1\n", &[(0, "0-18446744073709551615"), (1, "1")], "0-18446744073709551615");
        assert_eq!(nodes(endless.path())[0].len(), MOST_CORES);
    }

    #[test]
    fn there_is_a_session_for_each_node_if_the_threads_are_enough() {
        let sessions = [(1, 0), (8, 0), (8, 2), (2, 2), (1, 2), (3, 4)].map(|(t, n)| default_sessions(t, n));
        assert_eq!(sessions, [1, 1, 2, 2, 1, 1]);
    }

    #[test]
    fn every_thread_but_the_callers_is_named_its_cores() {
        assert_eq!(affinities(&[0, 2], 3).unwrap(), "1,3;1,3");
        assert_eq!((affinities(&[], 3), affinities(&[4], 1)), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_stays_where_it_is_told_to() {
        let allowed = || {
            let status = text(Path::new("/"), "proc/thread-self/status");
            field(&status, "Cpus_allowed_list").unwrap().to_owned()
        };
        let before = allowed();
        let first = ranges(&before)[0].0;
        let stayed = std::thread::spawn(move || {
            stay_on(&[]);
            let free = allowed();
            stay_on(&[first]);
            (free, allowed())
        });
        assert_eq!(stayed.join().unwrap(), (before.clone(), first.to_string()));
        assert_eq!(allowed(), before, "other threads are left alone");
    }
}
