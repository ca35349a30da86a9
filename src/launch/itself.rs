//! How this program is started: by its own executable, or by an interpreter that loads it.

use std::{ffi::OsString, io, path::PathBuf, process::Command, sync::OnceLock};

use super::{executable, same_executable};
use crate::wire::Program;

/// A program that an interpreter has loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What it is called in messages.
    pub(crate) name: String,
    pub(crate) interpreter: PathBuf,
    /// The arguments with which the interpreter loads this program.
    pub(crate) leading: Vec<OsString>,
    /// Those of the program.
    pub(crate) arguments: Vec<OsString>,
}

static LOADED: OnceLock<Loaded> = OnceLock::new();

/// Says how this program was loaded; only the first call counts.
pub(crate) fn set_loaded(loaded: Loaded) {
    let _ = LOADED.set(loaded);
}

/// The name that this program was called by.
pub(crate) fn program() -> String {
    if let Some(loaded) = LOADED.get() {
        return loaded.name.clone();
    }
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(|path| path.file_name());
    name.map_or_else(|| "rankpool".into(), |name| name.to_string_lossy().into_owned())
}

/// What this program was given, its name left out.
pub(crate) fn arguments() -> Vec<OsString> {
    LOADED.get().map_or_else(|| std::env::args_os().skip(1).collect(), |loaded| loaded.arguments.clone())
}

/// The words that start this program again, by the file that it had at first; its own arguments are to follow.
pub(crate) fn words() -> io::Result<Vec<OsString>> {
    Ok(match LOADED.get() {
        Some(loaded) => std::iter::once(loaded.interpreter.as_os_str())
            .chain(loaded.leading.iter().map(OsString::as_os_str))
            .map(OsString::from)
            .collect(),
        None => vec![executable()?.into()],
    })
}

/// A command that starts the very same build of this program; its own arguments are to follow.
pub(crate) fn again() -> io::Result<Command> {
    let Some(loaded) = LOADED.get() else { return same_executable().map(Command::new) };
    let mut command = Command::new(&loaded.interpreter);
    command.args(&loaded.leading);
    Ok(command)
}

/// What is started as a worker if an interpreter has loaded this program: the same program with the same arguments.
pub(crate) fn loaded_worker() -> Option<Program> {
    let loaded = LOADED.get()?;
    Some(Program::new(&loaded.interpreter, loaded.leading.iter().chain(&loaded.arguments)))
}
