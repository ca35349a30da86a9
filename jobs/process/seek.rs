//! Which file a program's name means. It is looked up once, not for each task.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf, absolute},
};

use rustix::fs::{Access, access};

/// Where programs are sought when the environment has no PATH.
const USUAL: &str = "/usr/local/bin:/usr/bin:/bin";

/// Programs that were found.
pub(super) struct Programs {
    path: OsString,
    found: HashMap<OsString, PathBuf>,
}

impl Programs {
    pub(super) fn new(environment: &[(OsString, OsString)]) -> Programs {
        let path = path_of(environment).unwrap_or(OsStr::new(USUAL)).to_owned();
        Programs { path, found: HashMap::new() }
    }

    /// The file of a program that is to run with this in its environment.
    pub(super) fn find(&mut self, name: &OsStr, environment: &[(OsString, OsString)]) -> io::Result<PathBuf> {
        if let Some(path) = path_of(environment) {
            return seek(name, path);
        }
        if let Some(found) = self.found.get(name) {
            return Ok(found.clone());
        }
        let found = seek(name, &self.path)?;
        self.found.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// It is not where it was, and is sought anew next time.
    pub(super) fn forget(&mut self, name: &OsStr) {
        self.found.remove(name);
    }
}

fn path_of(environment: &[(OsString, OsString)]) -> Option<&OsStr> {
    environment.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str())
}

fn seek(name: &OsStr, path: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return absolute(name);
    }
    let mut refused = None;
    for folder in std::env::split_paths(path) {
        let file = absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder })?.join(name);
        match access(&file, Access::EXEC_OK) {
            Ok(()) if file.is_file() => return Ok(file),
            Err(rustix::io::Errno::ACCESS) if file.is_file() => refused = refused.or(Some(file)),
            _ => {}
        }
    }
    Err(match refused {
        Some(file) => {
            let text =
                format!("{} may not be executed; give it the permission with chmod +x", file.display());
            io::Error::new(io::ErrorKind::PermissionDenied, text)
        }
        None => io::Error::new(io::ErrorKind::NotFound, "there is no such program in PATH"),
    })
}
