//! Makes a chosen step of [`super::disk`] fail, or the process die at it as by SIGKILL. Only in the tests of this crate.
//!
//! Invariant: a watch sees the steps below its own folder, on whatever thread, and no others; so tests don't disturb
//! each other. A step is known by what it does to which path for the how many-th time, which is the same in each run of
//! a program whose threads each write their own files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One change of the disk.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Step {
    pub action: String,
    /// Below the folder that is watched.
    pub path: PathBuf,
    /// How often the same was done to the same before.
    pub nth: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}` ({})", self.action, self.path.display(), self.nth)
    }
}

/// What happens at the chosen step, in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Fail,
    Die,
}

/// Which step is chosen.
#[derive(Debug)]
enum At {
    Step(Step),
    /// The one before which so many were taken.
    Number(usize),
}

#[derive(Debug)]
struct Plan {
    folder: PathBuf,
    at: Option<(At, Mode)>,
    taken: Mutex<Vec<Step>>,
}

static PLANS: Mutex<Vec<Arc<Plan>>> = Mutex::new(Vec::new());

/// Counts the steps below a folder until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Plan>);

impl Watch {
    /// Lets everything happen.
    pub fn count(folder: &Path) -> Self {
        Self::new(folder, None)
    }

    /// Fails at `step`, once.
    pub fn fail_at(folder: &Path, step: &Step) -> Self {
        Self::new(folder, Some((At::Step(step.clone()), Mode::Fail)))
    }

    /// Fails at the step before which `number` were taken, for what has another name each time.
    pub fn fail_after(folder: &Path, number: usize) -> Self {
        Self::new(folder, Some((At::Number(number), Mode::Fail)))
    }

    /// Ends the process at `step`, without unwinding.
    pub fn die_at(folder: &Path, step: &Step) -> Self {
        Self::new(folder, Some((At::Step(step.clone()), Mode::Die)))
    }

    fn new(folder: &Path, at: Option<(At, Mode)>) -> Self {
        let plan = Arc::new(Plan { folder: folder.to_owned(), at, taken: Mutex::default() });
        lock(&PLANS).push(Arc::clone(&plan));
        Self(plan)
    }

    /// The steps so far.
    pub fn taken(&self) -> Vec<Step> {
        lock(&self.0.taken).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&PLANS).retain(|plan| !Arc::ptr_eq(plan, &self.0));
    }
}

pub(super) fn reach(action: &'static str, path: &Path) -> io::Result<()> {
    let plans = lock(&PLANS).clone();
    for plan in plans {
        let Ok(path) = path.strip_prefix(&plan.folder) else { continue };
        let mut taken = lock(&plan.taken);
        let nth = taken.iter().filter(|step| step.action == action && step.path == path).count();
        let step = Step { action: action.to_owned(), path: path.to_owned(), nth };
        let chosen = plan.at.as_ref().is_some_and(|(at, _)| match at {
            At::Step(chosen) => *chosen == step,
            At::Number(number) => *number == taken.len(),
        });
        taken.push(step);
        match &plan.at {
            Some((_, Mode::Fail)) if chosen => return Err(io::ErrorKind::StorageFull.into()),
            Some((_, Mode::Die)) if chosen => std::process::abort(),
            _ => {}
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CHILD_FOLDER: &str = "OFFPRINT_TEST_FAULT_FOLDER";
const CHILD_STEP: &str = "OFFPRINT_TEST_FAULT_STEP";

/// Runs `test` of this test program by itself in a child that dies at `step` below `folder`; how it ended.
pub(crate) fn die_in_child(test: &str, folder: &Path, step: &Step) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .env(CHILD_STEP, serde_json::to_string(step).unwrap())
        .output()
        .unwrap()
        .status
}

/// In such a child: the folder to work in, and the step for [`Watch::die_at`].
pub(crate) fn asked_to_die() -> Option<(PathBuf, Step)> {
    let folder = PathBuf::from(std::env::var_os(CHILD_FOLDER)?);
    let step = serde_json::from_str(&std::env::var(CHILD_STEP).ok()?).unwrap();
    Some((folder, step))
}
