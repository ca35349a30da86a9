//! The only place that calls MPI: checked calls over the raw bindings.
//!
//! Every return code is looked at, and the error handler that aborts the program is replaced
//! before anything can fail. Sections refer to the MPI standard, version 4.1. All of it happens on
//! the one thread that initialised MPI (`MPI_THREAD_FUNNELED`): no type here can leave it.

mod interfaces;
mod messages;

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    marker::PhantomData,
};

use mpi::ffi;

pub(crate) use messages::{Receiving, Sending, WorkBuffer};

use crate::error::{Error, ErrorKind};

/// The largest number of bytes in one message: counts are C ints (section 2.5.8).
pub(crate) const SEGMENT_BYTES: usize = 1 << 30;

/// Turns a return code into a result (section 9.4).
fn check(call: &'static str, code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut length = 0;
    // SAFETY: the buffer holds MPI_MAX_ERROR_STRING characters and a terminator.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut length) };
    let text = CStr::from_bytes_until_nul(&text).map_or("unknown error".into(), CStr::to_string_lossy);
    Err(Error::new(ErrorKind::Internal, format!("{call}: {text}")))
}

/// An initialised MPI, and its MPI_COMM_WORLD.
///
/// Dropping it finalises nothing: MPI_Finalize is collective and hangs when a rank is gone, so it
/// is called where that is known not to be ([`World::finalise`]).
#[derive(Debug)]
pub(crate) struct World {
    world: Communicator,
}

impl World {
    /// MPI_Init_thread (section 11.6.2) with MPI_THREAD_FUNNELED, for the calling thread.
    pub(crate) fn initialise() -> Result<World, Error> {
        interfaces::leave_out_bridges();
        let mut provided = 0;
        // SAFETY: argc and argv may be null (section 11.2.1); MPI is initialised once a process,
        // because an executor that has started MPI never starts it again.
        let code = unsafe {
            let mut initialised = 0;
            ffi::MPI_Initialized(&mut initialised);
            if initialised != 0 {
                return Err(Error::usage(
                    "MPI can be initialised once in a program, and it has been: keep one executor for all maps, \
                     or use mode threads or processes for a second one",
                ));
            }
            ffi::MPI_Init_thread(
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                ffi::RSMPI_THREAD_FUNNELED,
                &mut provided,
            )
        };
        check("MPI_Init_thread", code)?;
        // SAFETY: reading a constant of the library.
        let (raw, wanted) = unsafe { (ffi::RSMPI_COMM_WORLD, ffi::RSMPI_THREAD_FUNNELED) };
        let world = Communicator::adopt(raw)?;
        // SAFETY: as above. Spawning happens on MPI_COMM_SELF, which has an error handler of its own.
        Communicator::adopt(unsafe { ffi::RSMPI_COMM_SELF })?;
        if provided < wanted {
            return Err(Error::new(
                ErrorKind::Launch,
                "this MPI library gives less than MPI_THREAD_FUNNELED: it was built without thread support",
            ));
        }
        Ok(World { world })
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

    /// A duplicate of the world (section 7.4.2): traffic on it meets nobody else's. Collective.
    pub(crate) fn duplicate(&self) -> Result<Communicator, Error> {
        // SAFETY: reading a constant of the library.
        let mut raw = unsafe { ffi::RSMPI_COMM_NULL };
        // SAFETY: a valid communicator and a place for the new one.
        check("MPI_Comm_dup", unsafe { ffi::MPI_Comm_dup(self.world.raw, &mut raw) })?;
        Communicator::adopt(raw)
    }

    /// The intercommunicator to those who spawned this process (section 11.8.2), if it was spawned.
    pub(crate) fn parent(&self) -> Result<Option<Communicator>, Error> {
        // SAFETY: a place for the answer; comparing with a constant of the library.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check("MPI_Comm_get_parent", ffi::MPI_Comm_get_parent(&mut raw))?;
            if raw == ffi::RSMPI_COMM_NULL { Ok(None) } else { Communicator::adopt(raw).map(Some) }
        }
    }

    /// MPI_Comm_spawn (section 11.8.1) of `count` copies of `program`, by this process alone.
    /// Returns the intercommunicator to them.
    pub(crate) fn spawn(
        &self,
        program: &str,
        arguments: &[String],
        count: u32,
        info: &[(String, String)],
    ) -> Result<Communicator, Error> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| Error::usage(format!("{text:?} holds a null character")))
        };
        let program = text(program)?;
        let arguments: Vec<CString> =
            arguments.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?;
        let mut argv: Vec<*mut c_char> =
            arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        argv.push(std::ptr::null_mut());
        let info = Info::new(info)?;
        let mut codes = vec![0; count as usize];
        // SAFETY: all strings are terminated and outlive the call, argv ends with null, and there
        // is a code for each process. MPI does not write to argv.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            let code = ffi::MPI_Comm_spawn(
                program.as_ptr(),
                argv.as_mut_ptr(),
                count as c_int,
                info.raw,
                0,
                ffi::RSMPI_COMM_SELF,
                &mut raw,
                codes.as_mut_ptr(),
            );
            check("MPI_Comm_spawn", code)?;
            codes.iter().try_for_each(|code| check("MPI_Comm_spawn", *code))?;
            Communicator::adopt(raw)
        }
    }

    /// MPI_Finalize (section 11.2.2). Collective over all connected processes.
    pub(crate) fn finalise(self) -> Result<(), Error> {
        // SAFETY: called once, with every request of this process completed by its port.
        check("MPI_Finalize", unsafe { ffi::MPI_Finalize() })
    }

    /// MPI_Abort (section 9.5) of the world: ends every rank, with this exit code of the run.
    pub(crate) fn abort(&self, code: i32) {
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

/// The thread level that the library gives (section 11.6.2), as text.
#[cfg(feature = "cli")]
pub(crate) fn thread_level(_: &World) -> Result<&'static str, Error> {
    let mut provided = 0;
    // SAFETY: a place for the answer, after initialisation.
    check("MPI_Query_thread", unsafe { ffi::MPI_Query_thread(&mut provided) })?;
    // SAFETY: reading constants of the library.
    let levels = unsafe {
        [
            (ffi::RSMPI_THREAD_MULTIPLE, "MPI_THREAD_MULTIPLE"),
            (ffi::RSMPI_THREAD_SERIALIZED, "MPI_THREAD_SERIALIZED"),
            (ffi::RSMPI_THREAD_FUNNELED, "MPI_THREAD_FUNNELED"),
        ]
    };
    Ok(levels.iter().find(|(level, _)| provided >= *level).map_or("MPI_THREAD_SINGLE", |(_, name)| name))
}

/// A communicator that returns errors instead of aborting. It is never freed: it lives as long
/// as the run, and freeing is collective.
#[derive(Debug)]
pub(crate) struct Communicator {
    raw: ffi::MPI_Comm,
    /// MPI stays on its thread.
    not_send: PhantomData<*const ()>,
}

impl Communicator {
    fn adopt(raw: ffi::MPI_Comm) -> Result<Communicator, Error> {
        // SAFETY: a valid communicator; MPI_ERRORS_RETURN (section 9.3) is predefined.
        let code = unsafe { ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN) };
        check("MPI_Comm_set_errhandler", code)?;
        Ok(Communicator { raw, not_send: PhantomData })
    }

    fn rank(&self) -> Result<u32, Error> {
        let mut rank = 0;
        // SAFETY: a valid communicator and a place for the answer.
        check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(self.raw, &mut rank) })?;
        Ok(rank as u32)
    }
}

/// An info object (section 10).
struct Info {
    raw: ffi::MPI_Info,
}

impl Info {
    fn new(pairs: &[(String, String)]) -> Result<Info, Error> {
        // SAFETY: reading a constant of the library.
        let mut info = Info { raw: unsafe { ffi::RSMPI_INFO_NULL } };
        if pairs.is_empty() {
            return Ok(info);
        }
        // SAFETY: a place for the new object.
        check("MPI_Info_create", unsafe { ffi::MPI_Info_create(&mut info.raw) })?;
        for (key, value) in pairs {
            let refused = |_| Error::usage(format!("the spawn hint {key}={value} holds a null character"));
            let (key, value) = (
                CString::new(key.as_str()).map_err(refused)?,
                CString::new(value.as_str()).map_err(refused)?,
            );
            // SAFETY: a valid object and terminated strings, which MPI copies.
            check("MPI_Info_set", unsafe { ffi::MPI_Info_set(info.raw, key.as_ptr(), value.as_ptr()) })?;
        }
        Ok(info)
    }
}

impl Drop for Info {
    fn drop(&mut self) {
        // SAFETY: the object is ours, and MPI keeps no reference to it after the spawn.
        unsafe {
            if self.raw != ffi::RSMPI_INFO_NULL {
                ffi::MPI_Info_free(&mut self.raw);
            }
        }
    }
}
