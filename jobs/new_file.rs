//! A file that a job makes at the end of a run. A file that cannot be made is refused before the work, and a file
//! takes its name only when it is whole.

use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rankpool::Error;
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
    process::{Resource, getrlimit},
};

use crate::file::refused;

/// A file that a run is to make at its end. Nothing is replaced, and nothing half-written ever stands
/// under the name.
pub struct NewFile {
    /// Absolute, so that it means the same when something has changed the working folder.
    path: PathBuf,
    /// Where it is written, in the same folder.
    partial: PathBuf,
}

impl NewFile {
    /// Makes sure that the file can be made, by making it for a moment under another name.
    ///
    /// # Errors
    /// When something has the name already, or the folder cannot be written.
    pub fn plan(path: &Path) -> Result<NewFile, Error> {
        match (std::fs::symlink_metadata(path), std::fs::metadata(path)) {
            (Ok(_), Ok(about)) if about.is_file() => {
                return Err(refused(path, "exists already; name another file or remove it"));
            }
            (Ok(_), Ok(_)) => {
                return Err(refused(path, "exists already, and is no regular file; name another file"));
            }
            (Ok(_), Err(error)) => {
                return Err(refused(path, format!("is a link that leads nowhere: {error}")));
            }
            (Err(error), _) if error.kind() != ErrorKind::NotFound => {
                return Err(refused(path, error));
            }
            (Err(_), _) => {}
        }
        let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
            return Err(refused(path, "names no file"));
        };
        if !path.as_os_str().as_bytes().ends_with(name.as_bytes()) {
            return Err(refused(path, "names a folder; name a file"));
        }
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let folder = folder.canonicalize().map_err(|error| cannot_be_written(path, &error))?;
        // A name of its own: in containers many processes have the same number.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let partial = folder.join(format!(".rankpool-{}-{now:x}.partial", std::process::id()));
        // With something in it: where there is no room, an empty file can still be made.
        let tried = File::create_new(&partial).and_then(|mut file| {
            let written = file.write_all(b"\n");
            std::fs::remove_file(&partial).and(written)
        });
        tried.map_err(|error| cannot_be_written(path, &error))?;
        Ok(NewFile { path: folder.join(name), partial })
    }

    /// Lets `write` write the file, puts it on the disk, and gives it its name.
    ///
    /// # Errors
    /// When it cannot be written, or something has taken the name since.
    pub fn write(&self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Error> {
        let written = File::create_new(&self.partial).and_then(|file| {
            let outcome = write_through(file, write).and_then(|()| rename(&self.partial, &self.path));
            outcome.inspect_err(|_| drop(std::fs::remove_file(&self.partial)))
        });
        written.map_err(|error| {
            Error::storage(format!("{}: cannot be written: {}", self.path.display(), explain(&error)))
        })
    }
}

/// Before the work: what the user has named is wrong, or there is no room for any file.
fn cannot_be_written(path: &Path, error: &io::Error) -> Error {
    let why = format!("cannot be written: {}", explain(error));
    match error.raw_os_error() {
        Some(libc::EFBIG | libc::ENOSPC | libc::EDQUOT) => {
            Error::storage(format!("{}: {why}", path.display()))
        }
        _ => refused(path, why),
    }
}

/// What the system says, and the limit of a shell by its name.
fn explain(error: &io::Error) -> String {
    match (error.raw_os_error(), getrlimit(Resource::Fsize).current) {
        (Some(libc::EFBIG), Some(limit)) => {
            format!("{error}: this process may write {limit} bytes to a file (`ulimit -f` shows and sets it)")
        }
        _ => error.to_string(),
    }
}

fn write_through(file: File, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Gives a file another name, which nothing has yet.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        outcome => return Ok(outcome?),
    }
    // A file system that cannot, as NFS: a second name is never given in the place of another.
    match std::fs::hard_link(from, to) {
        Ok(()) => {
            // Both names are of the whole file.
            let _ = std::fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // One without second names: an empty file takes the name, and the whole one replaces it at once.
        Err(_) => {
            File::create_new(to)?;
            std::fs::rename(from, to).inspect_err(|_| drop(std::fs::remove_file(to)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_new_file_stands_under_its_name_when_it_is_whole_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let left = || std::fs::read_dir(folder.path()).unwrap().count();
        let new = NewFile::plan(&path).unwrap();
        assert!(left() == 0 && NewFile::plan(Path::new("new")).unwrap().path.is_absolute());
        let failed = new.write(|file| {
            file.write_all(b"half")?;
            assert!(!path.exists());
            Err(io::Error::other("no more"))
        });
        assert!(failed.unwrap_err().to_string().ends_with("/new: cannot be written: no more"));
        assert_eq!(left(), 0);
        new.write(|file| file.write_all(b"whole")).unwrap();
        let taken = new.write(|file| file.write_all(b"other")).unwrap_err();
        assert!(taken.to_string().contains("File exists") && taken.exit_code() == 70, "{taken}");
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), left()), ("whole", 1));
    }

    #[test]
    fn a_new_file_that_cannot_be_made_is_refused_when_it_is_planned() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(CWD, at("fifo"), 0o600.into()).unwrap();
        symlink("fifo", at("link")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        symlink("/dev/null", at("null")).unwrap();
        let long = "x".repeat(300);
        for (name, why) in [
            ("fifo", "is no regular file"),
            ("link", "is no regular file"),
            ("null", "is no regular file"),
            ("dangling", "is a link that leads nowhere: No such file"),
            ("", "is no regular file"),
            ("..", "is no regular file"),
            ("new/", "names a folder"),
            ("new/.", "names a folder"),
            ("none/new", "No such file"),
            ("fifo/new", "Not a directory"),
            (&long, "File name too long"),
            ("/dev/null", "is no regular file"),
            ("/proc/new", "cannot be written"),
        ] {
            let error = NewFile::plan(&at(name)).err().unwrap();
            assert!(error.to_string().contains(why) && error.exit_code() == 2, "{name}: {error}");
        }
    }
}
