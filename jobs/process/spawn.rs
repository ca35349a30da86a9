//! Starts a program, from a process without threads: by posix_spawn, which copies nothing of this process.
//!
//! `std::process::Command` would build a table of the environment for each program, and look its path up.

use std::{
    ffi::{CStr, c_char, c_short},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Which program, and with what.
pub(super) struct Image<'a> {
    /// The path of its file.
    pub program: &'a CStr,
    /// What it is told, its name first.
    pub words: Vec<&'a CStr>,
    pub environment: Vec<&'a CStr>,
    /// Its standard streams; those that are not given are this process's.
    pub streams: [Option<OwnedFd>; 3],
}

impl Image<'_> {
    /// Starts it in a process group of its own, with all signals as they are by default.
    pub(super) fn spawn(&self) -> io::Result<Pid> {
        let words = pointers(&self.words);
        let environment = pointers(&self.environment);
        let mut pid = 0;
        let actions = FileActions::new(&self.streams)?;
        let attributes = Attributes::new()?;
        // SAFETY: all pointers are of values that outlive the call; the lists end with a null pointer, the strings with a
        // zero byte.
        check(unsafe {
            libc::posix_spawn(
                &mut pid,
                self.program.as_ptr(),
                actions.0.as_ptr(),
                attributes.0.as_ptr(),
                words.as_ptr(),
                environment.as_ptr(),
            )
        })?;
        Pid::from_raw(pid).ok_or_else(|| io::Error::other("a program was started without a number"))
    }
}

/// Starts a program of which each process may have so many bytes of memory. The second error is that of the limit.
pub(super) fn spawn_within(image: &Image, memory: u64) -> Result<Pid, (io::Error, bool)> {
    let before = getrlimit(Resource::Data);
    let memory = before.maximum.map_or(memory, |most| memory.min(most));
    // The program has the limit from its first moment on, since it inherits ours.
    let ours = Rlimit { current: Some(memory), maximum: before.maximum };
    setrlimit(Resource::Data, ours).map_err(|error| (error.into(), true))?;
    let mut spawned = image.spawn();
    setrlimit(Resource::Data, before).map_err(|error| (error.into(), true))?;
    if spawned.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOMEM)) {
        // This process itself needs more than that.
        spawned = image.spawn();
    }
    let pid = spawned.map_err(|error| (error, false))?;
    let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
    match prlimit(Some(pid), Resource::Data, limit) {
        // It has ended already.
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(pid),
        Err(error) => Err((error.into(), true)),
    }
}

fn pointers(strings: &[&CStr]) -> Vec<*mut c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Puts descriptors in the places of the standard streams.
struct FileActions(MaybeUninit<libc::posix_spawn_file_actions_t>);

impl FileActions {
    fn new(streams: &[Option<OwnedFd>; 3]) -> io::Result<FileActions> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        let mut actions = FileActions(actions);
        for (place, stream) in streams.iter().enumerate() {
            if let Some(stream) = stream {
                // SAFETY: the list is initialised.
                check(unsafe {
                    libc::posix_spawn_file_actions_adddup2(
                        actions.0.as_mut_ptr(),
                        stream.as_raw_fd(),
                        place as i32,
                    )
                })?;
            }
        }
        Ok(actions)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the list was initialised, and is not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

/// A group of its own, no signal blocked, and SIGPIPE not ignored, as it is in Rust programs.
struct Attributes(MaybeUninit<libc::posix_spawnattr_t>);

impl Attributes {
    fn new() -> io::Result<Attributes> {
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut attributes = Attributes(attributes);
        let place = attributes.0.as_mut_ptr();
        // SAFETY: the attributes are initialised, and so is the set of signals when it is read.
        unsafe {
            let mut signals = MaybeUninit::uninit();
            libc::sigemptyset(signals.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(place, signals.as_ptr()))?;
            libc::sigaddset(signals.as_mut_ptr(), libc::SIGPIPE);
            check(libc::posix_spawnattr_setsigdefault(place, signals.as_ptr()))?;
            check(libc::posix_spawnattr_setpgroup(place, 0))?;
            check(libc::posix_spawnattr_setflags(place, flags as c_short))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the attributes were initialised, and are not used again.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}
