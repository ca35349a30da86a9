//! The only place that calls MPI: checked calls over the raw bindings.
//!
//! Every return code is looked at, and the error handler that aborts the program is replaced
//! before anything can fail. Sections refer to the MPI standard, version 4.1. All of it happens on
//! one thread at a time: the one that initialised MPI, or one that it has [given](World::give) a communicator; spawns
//! [aside](World::spawn_aside) have threads of their own.

mod bare;
mod guest;
mod interfaces;
mod messages;
mod spawn;
mod ulfm;

use std::{
    ffi::{CStr, c_int, c_void},
    marker::PhantomData,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use mpi::ffi;

pub(crate) use guest::{Group, before_finalise, finalise_at_the_end};
pub(crate) use messages::{Received, Receiving, Sending, WorkBuffer};
pub(crate) use spawn::{Spawn, Spawning};

use crate::error::{Error, ErrorKind};

/// The largest number of bytes in one message: counts are C ints (section 2.5.8).
pub(crate) const SEGMENT_BYTES: usize = 1 << 30;

/// Turns a return code into a result (section 9.4).
fn check(call: &'static str, code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, format!("{call}: {}", error_text(code))))
}

/// What the library says of a return code (section 9.4).
fn error_text(code: c_int) -> String {
    let mut text = [0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut length = 0;
    // SAFETY: the buffer holds MPI_MAX_ERROR_STRING characters and a terminator.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut length) };
    CStr::from_bytes_until_nul(&text).map_or("unknown error".into(), CStr::to_string_lossy).into_owned()
}

/// Which threads of this process will use MPI (section 11.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One at a time, where the library allows that it is not always the same: MPI_THREAD_SERIALIZED.
    OneAtATime,
    /// Several at the same time, where the library allows it: MPI_THREAD_MULTIPLE.
    Several,
}

/// This crate initialises MPI, or has.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Whether it is this crate that initialises MPI.
fn is_begun() -> bool {
    BEGUN.load(Ordering::Acquire)
}

/// An initialised MPI, and its MPI_COMM_WORLD.
///
/// Dropping it finalises nothing: MPI_Finalize is collective and hangs when a rank is gone, so it
/// is called where that is known not to be ([`World::finalise`]).
#[derive(Debug)]
pub(crate) struct World {
    world: Communicator,
    /// The thread level that the library gives.
    level: c_int,
    before_use: Option<BeforeUse>,
    /// Another part of the program has initialised MPI.
    guest: Option<guest::Guest>,
}

/// Which side of a communicator between rank 0 and workers this process is on.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    Rank0 { workers: Range<u32> },
    Worker { is_first: bool },
}

/// What is done on a duplicate of a communicator between rank 0 and workers, by all of them, before it is used.
pub(crate) struct BeforeUse(pub(crate) Box<dyn Fn(Communicator, Side) -> Result<(), Error>>);

impl std::fmt::Debug for BeforeUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BeforeUse")
    }
}

impl World {
    /// MPI_Init_thread (section 11.6.2), for the calling thread.
    pub(crate) fn initialise(threads: Threads) -> Result<World, Error> {
        interfaces::leave_out_bridges(threads);
        let mut provided = 0;
        // MPI_Initialized tells of an MPI that is up. If several threads come here at once, one of them begins.
        let begun = BEGUN.swap(true, Ordering::AcqRel);
        // SAFETY: argc and argv may be null (section 11.2.1); MPI is initialised once in a process: a second attempt is
        // refused, whether this function or the program made the first.
        let (code, least) = unsafe {
            let wanted = match threads {
                Threads::OneAtATime => ffi::RSMPI_THREAD_SERIALIZED,
                Threads::Several => ffi::RSMPI_THREAD_MULTIPLE,
            };
            let mut initialised = 0;
            ffi::MPI_Initialized(&mut initialised);
            if begun || initialised != 0 {
                return Err(Error::usage(
                    "MPI has been initialised by another part of this program, and can be once only: start the first \
                     executor before it",
                ));
            }
            let code =
                ffi::MPI_Init_thread(std::ptr::null_mut(), std::ptr::null_mut(), wanted, &mut provided);
            (code, ffi::RSMPI_THREAD_FUNNELED)
        };
        check("MPI_Init_thread", code)?;
        // SAFETY: reading a constant of the library.
        let world = Communicator::adopt(unsafe { ffi::RSMPI_COMM_WORLD })?;
        // SAFETY: as above. Spawning happens on MPI_COMM_SELF, which has an error handler of its own.
        Communicator::adopt(unsafe { ffi::RSMPI_COMM_SELF })?;
        if provided < least {
            return Err(Error::new(
                ErrorKind::Launch,
                "this MPI library gives less than MPI_THREAD_FUNNELED: it was built without thread support",
            ));
        }
        Ok(World { world, level: provided, before_use: None, guest: None })
    }

    pub(crate) fn rank(&self) -> Result<u32, Error> {
        self.world.rank()
    }

    pub(crate) fn size(&self) -> Result<u32, Error> {
        let mut size = 0;
        // SAFETY: a valid communicator and a place for the answer.
        check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(self.world.raw, &mut size) })?;
        Ok(size as u32)
    }

    /// The attribute MPI_UNIVERSE_SIZE (section 11.10.1), where the launcher sets it.
    pub(crate) fn universe_size(&self) -> Result<Option<u32>, Error> {
        let mut value: *const c_int = std::ptr::null();
        let mut found = 0;
        // SAFETY: for this key the library writes a pointer to an int into the place given.
        unsafe {
            let code = ffi::MPI_Comm_get_attr(
                self.world.raw,
                ffi::MPI_UNIVERSE_SIZE as c_int,
                (&raw mut value).cast::<c_void>(),
                &mut found,
            );
            check("MPI_Comm_get_attr", code)?;
            Ok((found != 0 && !value.is_null()).then(|| *value as u32))
        }
    }

    /// From now on `before_use` is done before a communicator to workers is used. Either every rank calls this, or
    /// none.
    pub(crate) fn before_use(&mut self, before_use: BeforeUse) {
        self.before_use = Some(before_use);
    }

    fn try_out(&self, communicator: &Communicator, side: Side) -> Result<(), Error> {
        match &self.before_use {
            Some(BeforeUse(before_use)) => before_use(communicator.duplicate()?, side),
            None => Ok(()),
        }
    }

    /// A duplicate of the world: traffic on it meets nobody else's. Collective.
    pub(crate) fn duplicate(&self) -> Result<Communicator, Error> {
        let communicator = match self.guest {
            Some(guest) => self.world.duplicate_with(guest)?,
            None => self.world.duplicate()?,
        };
        let side = match self.rank()? {
            0 => Side::Rank0 { workers: 1..self.size()? },
            rank => Side::Worker { is_first: rank == 1 },
        };
        self.try_out(&communicator, side)?;
        Ok(communicator)
    }

    /// Whether several threads may use MPI at the same time.
    pub(crate) fn threads_may_share(&self) -> bool {
        // SAFETY: reading a constant of the library.
        self.level >= unsafe { ffi::RSMPI_THREAD_MULTIPLE }
    }

    /// Gives a communicator to another thread: from then on that one uses MPI, and this one does not until the other is
    /// done. Returns the communicator where the library leaves MPI to the thread that has initialised it.
    pub(crate) fn give(&self, communicator: Communicator) -> Result<Given, Communicator> {
        // SAFETY: reading a constant of the library.
        let may = self.level >= unsafe { ffi::RSMPI_THREAD_SERIALIZED };
        if may { Ok(Given(communicator)) } else { Err(communicator) }
    }

    /// The intercommunicator to those who spawned this process (section 11.8.2), if it was spawned.
    pub(crate) fn parent(&self) -> Result<Option<Communicator>, Error> {
        if self.is_part() {
            return Ok(None);
        }
        // SAFETY: a place for the answer; comparing with a constant of the library.
        let raw = unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check("MPI_Comm_get_parent", ffi::MPI_Comm_get_parent(&mut raw))?;
            if raw == ffi::RSMPI_COMM_NULL {
                return Ok(None);
            }
            raw
        };
        let parent = Communicator::adopt(raw)?;
        self.try_out(&parent, Side::Worker { is_first: parent.rank()? == 0 })?;
        Ok(Some(parent))
    }

    /// MPI_Finalize (section 11.2.2). Collective over all connected processes.
    pub(crate) fn finalise(self) -> Result<(), Error> {
        // SAFETY: called once, with every request of this process completed by its port.
        check("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
    }

    /// MPI_Abort (section 9.5) of the world: ends every rank, with this exit code of the run.
    pub(crate) fn abort(&self, code: i32) {
        crate::say::finish();
        // SAFETY: a valid communicator; it usually does not return.
        unsafe { ffi::MPI_Abort(self.world.raw, code) };
    }
}

/// The library's own description of itself (section 9.1.1); needs no initialisation.
pub(crate) fn library_version() -> String {
    // SAFETY: reading a constant of the library.
    let most = unsafe { ffi::RSMPI_MAX_LIBRARY_VERSION_STRING } as usize;
    let mut text = vec![0u8; most + 1];
    let mut length = 0;
    // SAFETY: the buffer holds the longest text and a terminator.
    unsafe { ffi::MPI_Get_library_version(text.as_mut_ptr().cast(), &mut length) };
    let text = CStr::from_bytes_until_nul(&text).map_or("unknown".into(), CStr::to_string_lossy);
    text.lines().next().unwrap_or_default().trim_end_matches(',').to_string()
}

/// The file of the library, as the loader has found it.
#[cfg(feature = "cli")]
pub(crate) fn library_file() -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let mut about = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let function = ffi::MPI_Init_thread as *const c_void;
    // SAFETY: an address of this process, and a place for the answer, which is set when the call says so; the name is
    // terminated and lives as long as the library is loaded.
    unsafe {
        if libc::dladdr(function, about.as_mut_ptr()) == 0 {
            return None;
        }
        let name = about.assume_init().dli_fname;
        (!name.is_null()).then(|| std::ffi::OsStr::from_bytes(CStr::from_ptr(name).to_bytes()).into())
    }
}

/// The thread level that the library gives (section 11.6.2), as text.
#[cfg(feature = "cli")]
pub(crate) fn thread_level(_: &World) -> Result<&'static str, Error> {
    let mut provided = 0;
    // SAFETY: a place for the answer, after initialisation.
    check("MPI_Query_thread", unsafe { ffi::MPI_Query_thread(&mut provided) })?;
    Ok(level_name(provided))
}

/// A thread level (section 11.6.2), as text.
fn level_name(level: c_int) -> &'static str {
    // SAFETY: reading constants of the library.
    let levels = unsafe {
        [
            (ffi::RSMPI_THREAD_MULTIPLE, "MPI_THREAD_MULTIPLE"),
            (ffi::RSMPI_THREAD_SERIALIZED, "MPI_THREAD_SERIALIZED"),
            (ffi::RSMPI_THREAD_FUNNELED, "MPI_THREAD_FUNNELED"),
        ]
    };
    levels.iter().find(|(known, _)| level >= *known).map_or("MPI_THREAD_SINGLE", |(_, name)| name)
}

/// A communicator that returns errors instead of aborting. To free it is collective, so a communicator of an MPI that
/// we have initialised lives as long as the run.
#[derive(Debug)]
pub(crate) struct Communicator {
    raw: ffi::MPI_Comm,
    /// MPI stays on its thread.
    not_send: PhantomData<*const ()>,
}

/// A communicator on its way to another thread.
#[derive(Debug)]
pub(crate) struct Given(Communicator);

// SAFETY: a communicator names an object of the library. It is given away at MPI_THREAD_SERIALIZED by the thread that uses
// MPI, which then leaves it to the other one; at MPI_THREAD_MULTIPLE any thread may use it. Each communicator has one
// user, who has it whole: the handle is not kept.
unsafe impl Send for Given {}

impl Given {
    /// The calling thread has it now.
    pub(crate) fn take(self) -> Communicator {
        self.0
    }
}

impl Communicator {
    fn adopt(raw: ffi::MPI_Comm) -> Result<Communicator, Error> {
        // SAFETY: a valid communicator; MPI_ERRORS_RETURN (section 9.3) is predefined.
        let code = unsafe { ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN) };
        check("MPI_Comm_set_errhandler", code)?;
        Ok(Communicator { raw, not_send: PhantomData })
    }

    /// MPI_Comm_dup (section 7.4.2). Collective.
    fn duplicate(&self) -> Result<Communicator, Error> {
        // SAFETY: reading a constant of the library.
        let mut raw = unsafe { ffi::RSMPI_COMM_NULL };
        // SAFETY: a valid communicator and a place for the new one.
        check("MPI_Comm_dup", unsafe { ffi::MPI_Comm_dup(self.raw, &mut raw) })?;
        Communicator::adopt(raw)
    }

    fn rank(&self) -> Result<u32, Error> {
        let mut rank = 0;
        // SAFETY: a valid communicator and a place for the answer.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.raw, &mut rank) })?;
        Ok(rank as u32)
    }
}
