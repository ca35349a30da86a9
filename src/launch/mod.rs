//! Where am I: the launcher, the host, the CPUs, and which mode follows from them.

mod allocation;
mod bind;
mod child;
mod code_file;
mod detect;
#[cfg(feature = "cli")]
pub(crate) mod doctor;
mod gpus;
mod itself;
mod leave;
mod library_threads;
mod mark;
mod mode;
mod nested;
mod policy;
mod recovery;
mod siblings;
mod surroundings;

#[cfg(target_env = "gnu")]
use std::sync::atomic::AtomicI32;
use std::{
    cell::Cell,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

pub(crate) use allocation::{Allocation, allocation};
pub use bind::Bind;
pub(crate) use bind::{run_on, shares};
#[cfg(feature = "cli")]
pub(crate) use code_file::{VARIABLE as CODE_FILE, look_at_code_file, named as code_file};
#[cfg(any(feature = "mpi", feature = "cli"))]
pub(crate) use detect::is_foreign;
pub(crate) use detect::{Launcher, detect, is_alone, is_first};
pub use gpus::GpusPerTask;
pub(crate) use gpus::{gpus, visible_gpus};
#[cfg(feature = "cli")]
pub(crate) use itself::{Loaded, again, set_loaded, words};
pub(crate) use itself::{arguments, loaded_worker, program};
#[cfg(feature = "mpi")]
pub(crate) use leave::mpi_is_finalised;
pub(crate) use leave::{
    at_exit, end_orphaned, end_run, ends_the_run, exit, exit_now, forget_old_code, leave_code,
    leave_the_word_to_rank_0, tell_code,
};
#[cfg(feature = "mpi")]
pub(crate) use library_threads::workers_here;
pub(crate) use library_threads::{library_threads, limit_library_threads};
pub use mode::Mode;
pub(crate) use mode::{Choice, choose, count_workers, places};
pub(crate) use nested::belongs_to_the_launch;
pub use nested::environment_of_programs;
#[cfg(feature = "mpi")]
pub(crate) use policy::is_set;
pub(crate) use policy::{Policy, policy};
pub(crate) use recovery::{strand_launcher, watch_exit_code};
pub(crate) use siblings::Siblings;
pub(crate) use surroundings::{adopt, surroundings};

/// All tasks are done.
pub(crate) const EXIT_DONE: i32 = 0;
/// Some tasks failed.
#[cfg(feature = "cli")]
pub(crate) const EXIT_FAILED: i32 = 1;
/// Bad usage.
pub(crate) const EXIT_USAGE: i32 = 2;
/// An internal error, or too few workers left.
pub(crate) const EXIT_INTERNAL: i32 = 70;
/// A worker whose rank 0 is gone.
pub(crate) const EXIT_ORPHANED: i32 = EXIT_INTERNAL;
/// Stopped early by a signal.
#[cfg(feature = "cli")]
pub(crate) const EXIT_STOPPED: i32 = 75;

/// Stack of every thread of ours that runs tasks: at least what a main thread usually has.
pub(crate) const STACK_BYTES: usize = 16 << 20;

/// This process and its host.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) host: String,
    pub(crate) program: String,
    /// The CPUs that this process may run on.
    pub(crate) cpus: Vec<u32>,
}

pub(crate) fn here() -> &'static Here {
    static HERE: OnceLock<Here> = OnceLock::new();
    HERE.get_or_init(|| Here {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        program: executable().map(|path| path.display().to_string()).unwrap_or_else(|_| "?".into()),
        cpus: allowed_cpus(),
    })
}

/// The CPUs of this process's affinity mask; where there is none, as many as may be used.
fn allowed_cpus() -> Vec<u32> {
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        let cpus = 0..rustix::thread::CpuSet::MAX_CPU;
        return cpus.filter(|cpu| set.is_set(*cpu)).map(|cpu| cpu as u32).collect();
    }
    (0..cpu_limit() as u32).collect()
}

/// The rank of this process, once it is known.
static RANK: AtomicU32 = AtomicU32::new(u32::MAX);

/// This process has learnt its rank.
pub(crate) fn set_rank(rank: u32) {
    RANK.store(rank, Ordering::Relaxed);
}

/// The rank of this process, if it is known yet: for the log.
pub(crate) fn rank() -> Option<u32> {
    Some(RANK.load(Ordering::Relaxed)).filter(|rank| *rank != u32::MAX)
}

/// Marks a child of mode processes; the value is its parent's process id.
pub(crate) const CHILD: &str = "RANKPOOL_CHILD_OF";

/// True in a process that mode processes has started as a worker.
pub(crate) fn is_child() -> bool {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    parent.is_some() && variable(CHILD) == parent
}

/// Set in a process that serves as a worker.
static WORKER: AtomicBool = AtomicBool::new(false);

/// This process is a worker from here on.
pub(crate) fn becomes_worker() {
    WORKER.store(true, Ordering::Release);
    // It may have to leave the code of rank 0: when it began, and in which folder, is kept in mind.
    let _ = code_file::named();
}

/// This process was a worker of an executor that has ended, and goes on.
#[cfg(feature = "mpi")]
pub(crate) fn was_worker() {
    WORKER.store(false, Ordering::Release);
    RANK.store(u32::MAX, Ordering::Relaxed);
}

/// Whether this process is a worker.
pub(crate) fn is_worker() -> bool {
    WORKER.load(Ordering::Acquire)
}

thread_local! {
    static RUNS_TASKS: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread of a process that is no worker itself runs tasks from here on.
pub(crate) fn thread_runs_tasks() {
    RUNS_TASKS.set(true);
}

/// Whether the caller is a task: the launch of its process does not concern it.
pub(crate) fn inside_a_task() -> bool {
    is_worker() || RUNS_TASKS.get()
}

/// How many CPUs' worth of time this process may use: affinity, the control group's quota, and what Slurm
/// has allotted where it sets neither.
pub(crate) fn cpu_limit() -> usize {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let allotted = allocation().and_then(|allocation| allocation.cpus(is_alone()));
    allotted.map_or(machine, |cpus| machine.min(cpus as usize))
}

/// An environment variable that is text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Set when this process or one of its workers was asked to stop in time.
pub(crate) fn drain_flag() -> &'static Arc<AtomicBool> {
    static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    ASKED.get_or_init(Arc::default)
}

/// True when this process or one of its workers was asked to stop in time.
pub(crate) fn drain_asked() -> bool {
    drain_flag().load(Ordering::Relaxed)
}

/// The file of this program, by the name that it had when this was asked first. Another build may have taken its
/// place since.
pub(crate) fn executable() -> io::Result<&'static Path> {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    if EXECUTABLE.get().is_none() {
        let path = std::env::current_exe()?;
        // What Linux calls the file of a process once it is replaced; so it is in a worker that was started after.
        let original = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(OsStr::from_bytes);
        let _ = EXECUTABLE.set(original.map_or(path.clone(), PathBuf::from));
    }
    Ok(EXECUTABLE.get().map_or(Path::new(""), PathBuf::as_path))
}

/// What a process of the very same build is started from: this program's file, or, when another has taken its place,
/// what the kernel still has of it.
pub(crate) fn same_executable() -> io::Result<&'static Path> {
    const MINE: &str = "/proc/self/exe";
    let path = executable()?;
    let file = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let mine = file(Path::new(MINE));
    Ok(if mine.is_some() && mine != file(path) { Path::new(MINE) } else { path })
}

/// The file that `program` names: on PATH, if there is no slash in it.
pub(crate) fn on_path(program: impl AsRef<Path>) -> Option<PathBuf> {
    let program = program.as_ref();
    if program.as_os_str().as_bytes().contains(&b'/') {
        return Some(program.into()).filter(|file: &PathBuf| file.is_file());
    }
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The most memory that this process has used so far, in bytes; Linux tells.
#[cfg(feature = "cli")]
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// 128 random bits from the kernel.
pub(crate) fn random_token() -> io::Result<[u8; 16]> {
    let mut token = [0; 16];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut token)?;
    Ok(token)
}

/// Bytes of freed memory that the allocator keeps at the end of each heap of a worker: there are many workers on a host.
#[cfg(target_env = "gnu")]
const WORKER_KEEPS: libc::c_int = 64 << 20;
/// The same of rank 0, which is alone. Many programs run the same map again and again.
#[cfg(target_env = "gnu")]
const RANK_0_KEEPS: libc::c_int = 256 << 20;

/// What the allocator keeps: 0 until it is told.
#[cfg(target_env = "gnu")]
static KEPT: AtomicI32 = AtomicI32::new(0);

/// Lets the allocator keep freed memory instead of giving it back to the kernel, which would have to clear every page
/// of the next block: for blocks of 1 MiB that costs more than to send them. Only glibc's allocator has and needs it.
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt may be called at any time; it takes numbers, and refuses what it does not know.
    unsafe {
        let bytes = if ends_the_run() { RANK_0_KEEPS } else { WORKER_KEEPS };
        KEPT.store(bytes, Ordering::Relaxed);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes);
    }
}

/// Gives all freed memory back to the kernel, which takes milliseconds: for the time after a burst. What other
/// threads keep at the ends of their heaps stays.
pub(crate) fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim and mallopt may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
        // It leaves the end of this thread's heap alone. The next larger block that is freed here takes that along.
        let kept = KEPT.load(Ordering::Relaxed);
        if kept > 0 {
            libc::mallopt(libc::M_TRIM_THRESHOLD, 0);
        }
        drop(std::hint::black_box(Vec::<u8>::with_capacity(96 << 10)));
        if kept > 0 {
            libc::mallopt(libc::M_TRIM_THRESHOLD, kept);
        }
    }
}

/// Keeps children from inheriting what is open in this process, such as MPI's sockets. Call it only where no user code
/// runs that may count on the opposite.
pub(crate) fn keep_descriptors_from_children() {
    #[cfg(target_os = "linux")]
    // SAFETY: close_range with this flag closes nothing; it marks descriptors to be closed by exec. Where the kernel does
    // not know it, they stay as they are.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// Asks the kernel to kill this process when its parent ends, however that ends.
pub(crate) fn end_with_parent() {
    // When a process dies, the kernel closes its connections before it tells its children.
    leave::end_alone();
    #[cfg(target_os = "linux")]
    {
        // Where it is not possible, the end of the socket to the parent ends this process.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        if !is_child() {
            exit_now(EXIT_ORPHANED);
        }
    }
}
