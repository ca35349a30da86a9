//! MPI_Comm_spawn (section 11.8.1): by the thread that runs MPI, or aside, on a thread of its own.
//!
//! A spawn takes a fraction of a second, in which its thread does nothing else; and it may hang, when a process
//! that it starts dies before it has initialised MPI. Where the library gives MPI_THREAD_MULTIPLE, a spawn aside
//! leaves the thread that runs MPI free, and one that hangs is left behind: another one can be made meanwhile.

use std::{
    ffi::{CString, c_char, c_int},
    sync::mpsc,
    thread,
};

use mpi::ffi;

use super::{Communicator, Given, Side, World, check};
use crate::error::{Error, ErrorKind};

/// What is to be spawned.
#[derive(Clone, Debug)]
pub(crate) struct Spawn {
    program: CString,
    arguments: Vec<CString>,
    count: u32,
    info: Vec<(CString, CString)>,
}

impl Spawn {
    /// `count` copies of a program, with info keys (section 11.8.4).
    ///
    /// # Errors
    /// When a text holds a null character.
    pub(crate) fn new(
        program: impl Into<Vec<u8>>,
        arguments: impl IntoIterator<Item = Vec<u8>>,
        count: u32,
        info: &[(String, String)],
    ) -> Result<Spawn, Error> {
        let text = |text: Vec<u8>| {
            CString::new(text).map_err(|error| {
                let text = String::from_utf8_lossy(&error.into_vec()).into_owned();
                Error::usage(format!("{text:?} holds a null character, and no worker can be spawned with it"))
            })
        };
        Ok(Spawn {
            program: text(program.into())?,
            arguments: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            count,
            info: info
                .iter()
                .map(|(key, value)| Ok((text(key.clone().into())?, text(value.clone().into())?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// Spawns from the calling thread, which may use MPI.
    fn run(&self) -> Result<ffi::MPI_Comm, Error> {
        let mut argv: Vec<*mut c_char> =
            self.arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        argv.push(std::ptr::null_mut());
        let info = Info::new(&self.info)?;
        let mut codes = vec![0; self.count as usize];
        // SAFETY: all strings are terminated and outlive the call, argv ends with null, and there
        // is a code for each process. MPI does not write to argv.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            let code = ffi::MPI_Comm_spawn(
                self.program.as_ptr(),
                argv.as_mut_ptr(),
                self.count as c_int,
                info.raw,
                0,
                ffi::RSMPI_COMM_SELF,
                &mut raw,
                codes.as_mut_ptr(),
            );
            check("MPI_Comm_spawn", code)?;
            codes.iter().try_for_each(|code| check("MPI_Comm_spawn", *code))?;
            Ok(raw)
        }
    }
}

impl World {
    /// Spawns, by this process alone, and waits. Returns the intercommunicator to those who were spawned.
    pub(crate) fn spawn(&self, what: &Spawn) -> Result<Communicator, Error> {
        let children = Communicator::adopt(what.run()?)?;
        self.try_out(&children, Side::Rank0 { workers: 0..what.count })?;
        Ok(children)
    }

    /// Begins to spawn, where [threads may share](World::threads_may_share) MPI.
    pub(crate) fn spawn_aside(&self, what: Spawn) -> Result<Spawning, Error> {
        let (answer, answered) = mpsc::channel();
        // Nobody listens if the spawn was given up.
        let run = move || drop(answer.send(what.run().and_then(Communicator::adopt).map(Given)));
        thread::Builder::new().name("rankpool-spawn".into()).spawn(run).map_err(|error| {
            Error::new(ErrorKind::Spawn, format!("there is no thread for the spawn: {error}"))
        })?;
        Ok(Spawning(answered))
    }
}

/// A spawn that was begun.
#[derive(Debug)]
pub(crate) struct Spawning(mpsc::Receiver<Result<Given, Error>>);

impl Spawning {
    /// The intercommunicator to those who were spawned, once they are there.
    pub(crate) fn done(&mut self) -> Option<Result<Communicator, Error>> {
        match self.0.try_recv() {
            Ok(spawned) => Some(spawned.map(Given::take)),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => {
                Some(Err(Error::new(ErrorKind::Internal, "the thread that spawned has panicked")))
            }
        }
    }
}

/// An info object (section 10).
struct Info {
    raw: ffi::MPI_Info,
}

impl Info {
    fn new(pairs: &[(CString, CString)]) -> Result<Info, Error> {
        // SAFETY: reading a constant of the library.
        let mut info = Info { raw: unsafe { ffi::RSMPI_INFO_NULL } };
        if pairs.is_empty() {
            return Ok(info);
        }
        // SAFETY: a place for the new object.
        check("MPI_Info_create", unsafe { ffi::MPI_Info_create(&mut info.raw) })?;
        for (key, value) in pairs {
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
