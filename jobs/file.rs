//! Files that jobs read. Their names may be any bytes; a file that no worker could read is refused.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    fs::{File, Metadata, OpenOptions},
    ops::Deref,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use clap::builder::{OsStringValueParser, TypedValueParser};
use rankpool::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path as the system has it, which is bytes: most often UTF-8, but not always. Where people read it,
/// as in the parameters of a run, it is text; a name that is not UTF-8 is the list of its bytes there.
#[derive(Clone, Debug, PartialEq)]
pub struct FilePath(PathBuf);

impl From<OsString> for FilePath {
    fn from(path: OsString) -> FilePath {
        FilePath(path.into())
    }
}

/// Why an empty path is refused.
pub const EMPTY: &str = "an empty path names no file; name one";

impl FilePath {
    /// Takes any path from the command line that is not empty.
    pub fn parser() -> impl TypedValueParser<Value = FilePath> {
        let named = |path: OsString| if path.is_empty() { Err(EMPTY) } else { Ok(FilePath::from(path)) };
        OsStringValueParser::new().try_map(named)
    }
}

impl Deref for FilePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.to_str() {
            Some(text) if serializer.is_human_readable() => text.serialize(serializer),
            _ => self.as_os_str().as_bytes().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FilePath, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Readable {
            Text(String),
            Bytes(Vec<u8>),
        }
        let bytes = if deserializer.is_human_readable() {
            match Readable::deserialize(deserializer)? {
                Readable::Text(text) => text.into_bytes(),
                Readable::Bytes(bytes) => bytes,
            }
        } else {
            Vec::deserialize(deserializer)?
        };
        Ok(FilePath(OsString::from_vec(bytes).into()))
    }
}

/// An error that names the file.
pub fn refused(path: &Path, why: impl Display) -> Error {
    Error::usage(format!("{}: {why}", path.display()))
}

/// Looks whether a path names a regular file, and the same one in each process. It opens nothing: a FIFO
/// would wait for its other end, and a device may act on being opened.
///
/// # Errors
/// When it does not, or there is nothing.
pub fn check(path: &Path) -> Result<(), Error> {
    regular(path, std::fs::metadata(path))?;
    if leads_through_proc(path) {
        return Err(refused(
            path,
            "leads through /proc, where another process finds something else; name the file itself, or copy \
             what is there to a file",
        ));
    }
    Ok(())
}

/// Opens a regular file, and tells its length.
///
/// # Errors
/// Those of [`check`]; also when the file ends elsewhere than the system says.
pub fn open(path: &Path) -> Result<(File, u64), Error> {
    check(path)?;
    let failed = |error| refused(path, error);
    // Without waiting, since a FIFO may have taken the file's place.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let length = regular(path, file.metadata())?.len();
    // Files that the kernel makes up, as in /sys, have a length that means nothing.
    let around_the_end = file.read_at(&mut [0; 2], length.saturating_sub(1)).map_err(failed)?;
    if around_the_end != usize::from(length > 0) {
        return Err(refused(
            path,
            format!("does not end after {length} bytes, as the system says; copy it, and name the copy"),
        ));
    }
    Ok((file, length))
}

fn regular(path: &Path, about: std::io::Result<Metadata>) -> Result<Metadata, Error> {
    match about {
        Ok(about) if about.is_file() => Ok(about),
        Ok(_) => Err(refused(
            path,
            "is no regular file, of which each worker could read its part; write what is in it to a file",
        )),
        Err(error) => Err(refused(path, error)),
    }
}

/// True for the likes of /dev/stdin and /dev/fd/3, which are links into /proc/self/fd, and for links to
/// them: what they name is regular if the shell has redirected a file, but it is this process's file.
fn leads_through_proc(path: &Path) -> bool {
    let parts = |path: &Path| -> Vec<OsString> { path.iter().rev().map(OsStr::to_owned).collect() };
    let mut at = std::env::current_dir().unwrap_or_default();
    // The steps that are left, the next one last. The first step of an absolute path is the root.
    let mut steps = parts(path);
    while let Some(step) = steps.pop() {
        if step == ".." {
            at.pop();
        } else {
            at.push(step);
        }
        if at.starts_with("/proc") {
            return true;
        }
        if let Ok(target) = at.read_link() {
            at.pop();
            steps.extend(parts(&target));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_text_for_people_where_it_can_be_and_bytes_where_it_cannot() {
        for (bytes, json) in [(&b"a/\xc3\xb6.txt"[..], r#""a/ö.txt""#), (b"a\xff", "[97,255]")] {
            let path = FilePath::from(OsStr::from_bytes(bytes).to_owned());
            assert_eq!(serde_json::to_string(&path).unwrap(), json);
            assert_eq!(serde_json::from_str::<FilePath>(json).unwrap(), path);
        }
    }

    #[track_caller]
    fn assert_refused(path: &Path, why: &str) {
        let error = open(path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_of_every_process_is_refused_without_opening_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink("fifo", at("link")).unwrap();
        symlink("nothing", at("dangling")).unwrap();
        symlink("ring", at("ring")).unwrap();
        for name in ["fifo", "socket", "link", "."] {
            assert_refused(&at(name), "is no regular file");
        }
        for name in ["dangling", "nothing"] {
            assert_refused(&at(name), "No such file");
        }
        assert_refused(&at("ring"), "symbolic link");
        assert_refused(Path::new("/dev/zero"), "is no regular file");
        assert_refused(Path::new("/proc/cpuinfo"), "leads through /proc");
        assert_refused(Path::new("/sys/kernel/mm/transparent_hugepage/enabled"), "does not end after");
    }

    #[test]
    fn a_path_that_means_a_descriptor_of_this_process_is_refused_by_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("text"), "text").unwrap();
        let (file, length) = open(&at("text")).unwrap();
        assert_eq!(length, 4);
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        symlink(format!("/dev/fd/{number}"), at("link")).unwrap();
        symlink("link", at("link_to_link")).unwrap();
        symlink(".", at("here")).unwrap();
        symlink("here/../text", at("away")).unwrap();
        for path in [format!("/dev/fd/{number}"), format!("/proc/self/fd/{number}")] {
            assert_refused(Path::new(&path), "leads through /proc");
        }
        for name in ["link", "link_to_link", "here/./here/link"] {
            assert_refused(&at(name), "leads through /proc");
        }
        assert!(open(&at("here/here/text")).is_ok());
        let away = at("away");
        assert_eq!(open(&away).is_ok(), away.is_file());
    }
}
