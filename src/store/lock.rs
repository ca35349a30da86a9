//! Locks, so that no two runs write the same journal or output. A lock ends with the process that holds it.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{
    error::Error,
    launch,
    paths::{Named, Site, cannot_be_made, with_suffix},
};

/// Begins the text of a lock file: another file is left alone.
const MARK: &str = "rankpool: ";

/// A process that only looks whether a file is being written has its lock for a moment. So a lock is tried this often,
/// with this pause between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// A file that was opened for its lock.
pub(super) enum Opened {
    /// It is ours now.
    Mine(File),
    /// Another process has it.
    Taken(File),
    /// The file system has no locks.
    Without(File, Errno),
}

/// Opens a file, made if it is not there, and takes its lock if that is free.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(path: &Path) -> io::Result<Opened> {
    let mut tries = 0;
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever had it may have removed the file, and another one may have its name.
            Ok(()) if is_at(path, &file) => return Ok(Opened::Mine(file)),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if tries < TRIES => {
                tries += 1;
                thread::sleep(PAUSE);
            }
            Err(Errno::WOULDBLOCK) => return Ok(Opened::Taken(file)),
            Err(error) => return Ok(Opened::Without(file, error)),
        }
    }
}

/// Whether this file has this name now.
pub(super) fn is_at(path: &Path, file: &File) -> bool {
    let number = |about: io::Result<Metadata>| about.map(|about| (about.dev(), about.ino())).ok();
    let there = number(fs::metadata(path));
    there.is_some() && there == number(file.metadata())
}

/// What to do about a file that another run has.
pub(crate) fn in_use(path: &Named, who: &str) -> Error {
    Error::usage(format!("{path}: is in use by {who}; wait for its end, or name another file"))
}

pub(super) fn warn_of_none(path: &Named, error: Errno) {
    tracing::warn!("{path}: cannot be locked ({error}): take care that no second run uses it");
}

/// The right to write an output, from before the work until the file has its name: a file beside it, which is locked
/// and says who has it.
#[derive(Debug)]
pub(crate) struct OutputLock {
    path: PathBuf,
    file: File,
}

impl OutputLock {
    /// Takes the lock of an output.
    ///
    /// # Errors
    /// When another run has it, a process writes the file that it would replace, such as the journal of another run,
    /// or no file can be made beside the output.
    pub(crate) fn take(output: &Named) -> Result<OutputLock, Error> {
        let site = output.site()?;
        let path = Self::place(&site);
        let failed = |error: io::Error| cannot_be_made(output, &error);
        Named::new(&path).site()?;
        let (mut file, taken) = match open(&path).map_err(failed)? {
            Opened::Mine(file) => (file, false),
            Opened::Taken(file) => (file, true),
            Opened::Without(file, error) => {
                warn_of_none(output, error);
                (file, false)
            }
        };
        let mut text = String::new();
        // Of what is no text it is only known that it is not ours.
        let read = Read::by_ref(&mut file).take(1 << 10).read_to_string(&mut text);
        let who = text.strip_prefix(MARK).map(|who| who.trim().to_string());
        if taken {
            return Err(in_use(output, who.as_deref().unwrap_or("another process")));
        }
        if read.is_err() || (who.is_none() && !text.is_empty()) {
            return Err(Error::usage(format!(
                "{}: is no lock of rankpool, and is left alone; name another output",
                path.display()
            )));
        }
        let mut lock = OutputLock { path, file };
        if site.exists && is_written(&site.path) {
            return Err(in_use(output, "another process"));
        }
        let who = format!("{MARK}process {} on {}\n", std::process::id(), launch::here().host);
        let file = &mut lock.file;
        file.set_len(0).and_then(|()| io::Seek::rewind(file)).map_err(failed)?;
        file.write_all(who.as_bytes()).map_err(failed)?;
        Ok(lock)
    }

    /// Where the lock of an output is.
    pub(crate) fn place(output: &Site) -> PathBuf {
        with_suffix(&output.path, ".lock")
    }
}

/// Whether a process has the lock of a file that it writes. Whoever reads one shares its lock.
pub(crate) fn is_written(path: &Path) -> bool {
    is_locked(path) == Some(true)
}

/// As [`is_written`]; `None` when that cannot be known, as where there are no locks.
pub(super) fn is_locked(path: &Path) -> Option<bool> {
    match flock(File::open(path).ok()?, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Some(false),
        Err(Errno::WOULDBLOCK) => Some(true),
        Err(_) => None,
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // The lock is held until the name is gone.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_does_not_keep_a_run_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.journal");
        let looking = File::create(&path).unwrap();
        flock(&looking, FlockOperation::NonBlockingLockShared).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(PAUSE);
                drop(looking);
            });
            assert!(matches!(open(&path).unwrap(), Opened::Mine(_)));
        });
    }
}
