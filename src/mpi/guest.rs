//! MPI that another part of this program has initialised, and finalises: mpi4py in the same process, the `mpi` crate, C.
//!
//! What is ours runs on duplicates of its communicators. The engine's thread looks for messages at any time, and so may
//! the program's own threads: MPI_THREAD_MULTIPLE is needed (section 11.6).

use std::{
    ffi::{c_int, c_void},
    marker::PhantomData,
    mem::MaybeUninit,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use mpi::ffi;

use super::{Communicator, World, check};
use crate::error::{Error, ErrorKind};

/// Between two looks whether the other ranks have come: ever longer, up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// A communicator of the user's, whose ranks an executor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(ffi::MPI_Comm);

// SAFETY: it is a name of an object of the library. It is used only after it was found that MPI gives
// MPI_THREAD_MULTIPLE, with which any thread may use the object.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Group {
    pub(crate) fn new(raw: ffi::MPI_Comm) -> Group {
        Group(raw)
    }

    /// The communicator with this Fortran handle (section 19.3.4). If there is none, as before MPI is initialised, it
    /// is null, and is refused at the start.
    pub(crate) fn of_handle(handle: i32) -> Group {
        // SAFETY: reading a constant of the library.
        let null = unsafe { ffi::RSMPI_COMM_NULL };
        if !is_running().unwrap_or(false) {
            return Group(null);
        }
        // SAFETY: MPI is initialised. A name of a communicator is a pointer or a number, which may be zero; Open MPI gives
        // that for a handle that is none.
        unsafe {
            let raw = ffi::RSMPI_Comm_f2c(handle as ffi::RSMPI_Fint);
            Group(if raw == std::mem::zeroed() { null } else { raw })
        }
    }

    /// Refuses what is no communicator of one group of ranks.
    fn check(self) -> Result<(), Error> {
        // SAFETY: comparing with a constant of the library.
        if self.0 == unsafe { ffi::RSMPI_COMM_NULL } {
            return Err(Error::usage("the executor's communicator is MPI_COMM_NULL: this rank is not in it"));
        }
        let mut inter = 0;
        // SAFETY: a place for the answer. What is no communicator is an error, which is returned.
        let code = errors_returned(|| unsafe { ffi::MPI_Comm_test_inter(self.0, &mut inter) })?;
        check("MPI_Comm_test_inter", code).map_err(|error| {
            Error::usage(format!("the executor's communicator is none that MPI knows: {error}"))
        })?;
        if inter != 0 {
            return Err(Error::usage(
                "the executor's communicator is an intercommunicator: give one of a single group of ranks, as \
                 MPI_Intercomm_merge makes it",
            ));
        }
        Ok(())
    }
}

/// Makes a call whose error belongs to no communicator, and returns it instead of ending the program, whatever the
/// program has set. Such errors are raised on MPI_COMM_SELF since MPI 4.0 (section 9.3), and on MPI_COMM_WORLD before.
fn errors_returned(call: impl FnOnce() -> c_int) -> Result<c_int, Error> {
    // SAFETY: reading constants of the library.
    let everywhere = unsafe { [ffi::RSMPI_COMM_WORLD, ffi::RSMPI_COMM_SELF] };
    let mut before = Vec::new();
    for communicator in everywhere {
        let mut handler = MaybeUninit::uninit();
        // SAFETY: a valid communicator, and a place for its handler.
        let code = unsafe { ffi::MPI_Comm_get_errhandler(communicator, handler.as_mut_ptr()) };
        check("MPI_Comm_get_errhandler", code)?;
        // SAFETY: MPI has written it.
        before.push((communicator, unsafe { handler.assume_init() }));
        // SAFETY: a valid communicator, and a constant of the library.
        let code = unsafe { ffi::MPI_Comm_set_errhandler(communicator, ffi::RSMPI_ERRORS_RETURN) };
        check("MPI_Comm_set_errhandler", code)?;
    }
    let code = call();
    for (communicator, mut handler) in before {
        // SAFETY: the handler was got from this communicator, which has it again before our name of it is freed.
        unsafe {
            check("MPI_Comm_set_errhandler", ffi::MPI_Comm_set_errhandler(communicator, handler))?;
            check("MPI_Errhandler_free", ffi::MPI_Errhandler_free(&mut handler))?;
        }
    }
    Ok(code)
}

/// What a [`World`] is that others have initialised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    /// It is a communicator that the user has given, and not all there is.
    is_part: bool,
    /// How long the other ranks may take to come; `None` for any time.
    patience: Option<Duration>,
}

/// Whether MPI is initialised and not finalised, by whomever.
///
/// # Errors
/// When it is over.
fn is_running() -> Result<bool, Error> {
    let (mut initialised, mut finalised) = (0, 0);
    // SAFETY: places for the answers; both may be called at any time, from any thread (section 11.2.1).
    unsafe {
        check("MPI_Initialized", ffi::MPI_Initialized(&mut initialised))?;
        check("MPI_Finalized", ffi::MPI_Finalized(&mut finalised))?;
    }
    if finalised != 0 {
        return Err(Error::usage(
            "MPI has been finalised in this program, and cannot be started again: start the executor before that",
        ));
    }
    Ok(initialised != 0)
}

impl World {
    /// The world of MPI that another part of this program has initialised, if one has.
    ///
    /// # Errors
    /// When it does not allow that several threads use it.
    pub(crate) fn of_others(patience: Option<Duration>) -> Result<Option<World>, Error> {
        if super::is_begun() || !is_running()? {
            return Ok(None);
        }
        // SAFETY: reading constants of the library.
        let (world, own) = unsafe { (ffi::RSMPI_COMM_WORLD, ffi::RSMPI_COMM_SELF) };
        let world = World::guest(world, Guest { is_part: false, patience })?;
        // Spawns happen on it, and one that fails is not to end the program.
        Communicator::adopt(own)?;
        Ok(Some(world))
    }

    /// The ranks of a communicator of the user's, in the place of a world.
    ///
    /// # Errors
    /// When MPI is not initialised, or does not allow that several threads use it; and when it is no communicator of one
    /// group of ranks.
    pub(crate) fn of_group(group: Group, patience: Option<Duration>) -> Result<World, Error> {
        if !is_running()? {
            return Err(Error::usage(
                "MPI is not initialised, and an executor was given a communicator: initialise MPI before it starts",
            ));
        }
        group.check()?;
        World::guest(group.0, Guest { is_part: true, patience })
    }

    fn guest(raw: ffi::MPI_Comm, guest: Guest) -> Result<World, Error> {
        let mut level = 0;
        // SAFETY: a place for the answer, after initialisation.
        check("MPI_Query_thread", unsafe { ffi::MPI_Query_thread(&mut level) })?;
        // SAFETY: reading a constant of the library.
        if level < unsafe { ffi::RSMPI_THREAD_MULTIPLE } {
            return Err(Error::usage(format!(
                "MPI was initialised by another part of this program with {}, and the executor's thread needs \
                 MPI_THREAD_MULTIPLE beside the threads of that: initialise MPI by MPI_Init_thread(.., \
                 MPI_THREAD_MULTIPLE, ..), with the crate `mpi` by initialize_with_threading(Threading::Multiple), with \
                 mpi4py leave mpi4py.rc.thread_level at \"multiple\"; or start the executor before, and it initialises MPI",
                super::level_name(level)
            )));
        }
        // Not adopted: it keeps the error handler that its owner has set.
        let world = Communicator { raw, not_send: PhantomData };
        Ok(World { world, level, before_use: None, guest: Some(guest) })
    }

    /// Whether others have initialised MPI, and finalise it.
    pub(crate) fn is_of_others(&self) -> bool {
        self.guest.is_some()
    }

    /// Whether these are the ranks of a communicator that the user has given.
    pub(crate) fn is_part(&self) -> bool {
        self.guest.is_some_and(|guest| guest.is_part)
    }
}

impl Communicator {
    /// MPI_Comm_idup (section 7.4.2), which the other ranks may join much later: this one sleeps meanwhile.
    pub(super) fn duplicate_with(&self, guest: Guest) -> Result<Communicator, Error> {
        // SAFETY: reading constants of the library.
        let (none, no_request) = unsafe { (ffi::RSMPI_COMM_NULL, ffi::RSMPI_REQUEST_NULL) };
        // MPI writes to it until the request is complete, which may be never.
        let duplicate = Box::into_raw(Box::new(none));
        let mut request = no_request;
        // SAFETY: a valid communicator, and places that stay.
        check("MPI_Comm_idup", unsafe { ffi::MPI_Comm_idup(self.raw, duplicate, &mut request) })?;
        let began = Instant::now();
        let mut pause = Duration::from_micros(1);
        loop {
            let mut done = 0;
            // SAFETY: a request that was started and is not complete, and a place for the flag.
            check("MPI_Test", unsafe { ffi::MPI_Test(&mut request, &mut done, ffi::RSMPI_STATUS_IGNORE) })?;
            if done != 0 {
                // SAFETY: made by a box above, and MPI is done with it.
                return Communicator::adopt(*unsafe { Box::from_raw(duplicate) });
            }
            if let Some(patience) = guest.patience.filter(|patience| began.elapsed() > *patience) {
                return Err(Error::new(
                    ErrorKind::Launch,
                    format!(
                        "not all ranks of the executor's communicator have started theirs within {patience:?}: each of them \
                         is to call start (or start_or_serve), with the same communicator"
                    ),
                ));
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// MPI_Comm_free (section 7.4.3). Collective, and no longer to be used.
    pub(crate) fn free(&mut self) -> Result<(), Error> {
        // SAFETY: a duplicate of ours, whose messages are all complete or left to MPI.
        check("MPI_Comm_free", unsafe { ffi::MPI_Comm_free(&mut self.raw) })
    }
}

/// Finalises MPI that another part of this program has initialised, on a rank that ends before that part can: the other
/// ranks would wait for it in their MPI_Finalize.
pub(crate) fn finalise_at_the_end() {
    if super::is_begun() || !matches!(is_running(), Ok(true)) {
        return;
    }
    let mut is_main = 0;
    // SAFETY: a place for the answer; then MPI is initialised and not finalised, by the thread that has initialised it. If it
    // fails, the process ends all the same.
    unsafe {
        if ffi::MPI_Is_thread_main(&mut is_main) == 0 && is_main != 0 {
            ffi::MPI_Finalize();
        }
    }
}

/// What is done when MPI_Finalize begins.
static AT_FINALISE: OnceLock<fn()> = OnceLock::new();

/// Has `handler` called when another part of the program, which has initialised MPI, begins to finalise it: MPI deletes
/// the attributes of MPI_COMM_SELF first (section 11.2.4), and can still be used then. The first handler is the only
/// one. Returns false when no other part of the program has initialised MPI.
pub(crate) fn before_finalise(handler: fn()) -> Result<bool, Error> {
    if super::is_begun() || !is_running()? {
        return Ok(false);
    }
    if AT_FINALISE.set(handler).is_err() {
        return Ok(true);
    }
    let mut key = 0;
    // SAFETY: functions of the types that MPI wants, which stay, and a place for the key; then a key and MPI_COMM_SELF. The
    // attribute is no pointer that anybody follows.
    unsafe {
        let nothing = std::ptr::null_mut();
        let code = ffi::MPI_Comm_create_keyval(Some(not_copied), Some(deleted), &mut key, nothing);
        check("MPI_Comm_create_keyval", code)?;
        check("MPI_Comm_set_attr", ffi::MPI_Comm_set_attr(ffi::RSMPI_COMM_SELF, key, nothing))?;
    }
    Ok(true)
}

/// The attribute is not that of a duplicate.
unsafe extern "C" fn not_copied(
    _: ffi::MPI_Comm,
    _: c_int,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    copied: *mut c_int,
) -> c_int {
    // SAFETY: MPI gives a place for the flag.
    unsafe { *copied = 0 };
    0
}

unsafe extern "C" fn deleted(_: ffi::MPI_Comm, _: c_int, _: *mut c_void, _: *mut c_void) -> c_int {
    if let Some(handler) = AT_FINALISE.get() {
        handler();
    }
    0
}
