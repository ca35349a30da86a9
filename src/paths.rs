//! Files and folders that the user has named: where they are, what may stand in their place, and how a new file takes
//! its name. What stands at a path is examined before it is opened: a pipe would hold the run up, and a device would
//! be replaced.

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
    process::{Resource, getrlimit},
};

use crate::error::{Error, ErrorKind};

/// Links that are followed from one name, as Linux does.
const MOST_LINKS: usize = 40;

/// A path as the user has typed it, which messages show, and the place that it means: a task may change the current
/// folder later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    typed: PathBuf,
    place: PathBuf,
}

impl Named {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Named {
        let typed = path.into();
        // An empty path, or no current folder: whoever uses the path hears of it.
        let place = std::path::absolute(&typed).unwrap_or_else(|_| typed.clone());
        Named { typed, place }
    }

    /// The absolute path, whose links are not followed.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The path with `suffix` added to its name.
    pub(crate) fn beside(&self, suffix: &str) -> Named {
        Named { typed: with_suffix(&self.typed, suffix), place: with_suffix(&self.place, suffix) }
    }

    /// The path without `suffix` at the end of its name; `None` if its name does not end so.
    #[cfg(feature = "cli")]
    pub(crate) fn without(&self, suffix: &str) -> Option<Named> {
        let cut = |path: &Path| Some(PathBuf::from(path.to_str()?.strip_suffix(suffix)?));
        Some(Named { typed: cut(&self.typed)?, place: cut(&self.place)? })
    }

    /// Where a file of this name is or will be: links are followed to what they mean.
    ///
    /// # Errors
    /// When something else than a regular file is there.
    pub(crate) fn site(&self) -> Result<Site, Error> {
        let refused = |why: &dyn fmt::Display| Err(Error::usage(format!("{self}: {why}")));
        if self.typed.as_os_str().is_empty() {
            return Err(Error::usage("an empty path names no file; name one"));
        }
        let mut path = self.place.clone();
        for _ in 0..MOST_LINKS {
            let link = match fs::metadata(&path) {
                Ok(found) if found.is_file() => match fs::canonicalize(&path) {
                    Ok(path) => return Ok(Site { path, exists: true }),
                    Err(error) => return refused(&error),
                },
                Ok(found) => return refused(&format_args!("is {}; name a file", kind(&found))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::read_link(&path),
                Err(error) => return refused(&error),
            };
            match link {
                // A link to nothing: the file will be there.
                Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
                Err(_) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                    return refused(&"is the name of a folder; name a file");
                }
                Err(_) => return Ok(Site { path, exists: false }),
            }
        }
        refused(&"is a link that leads to no place; name a file")
    }
}

impl From<OsString> for Named {
    fn from(path: OsString) -> Named {
        Named::new(path)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.typed.display().fmt(f)
    }
}

/// The place of a file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) path: PathBuf,
    /// A regular file is there.
    pub(crate) exists: bool,
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// What is there, in a word.
pub(crate) fn kind(found: &fs::Metadata) -> &'static str {
    let kind = found.file_type();
    match () {
        () if kind.is_file() => "a file",
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "no file",
    }
}

/// A new file under a temporary name, beside the name that it will get. It is removed if it is dropped before that.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) partial: PathBuf,
    path: Named,
    site: PathBuf,
    replace: bool,
    stays: bool,
}

impl Draft {
    /// Makes the file. `tag` tells it apart from the new files of others that are to get the same name.
    ///
    /// # Errors
    /// When the name is taken and must not be replaced, when something other than a file has it, or when the folder
    /// cannot be written. `taken` says what the user can do about a name that is taken.
    pub(crate) fn begin(path: &Named, tag: &str, replace: bool, taken: &str) -> Result<Draft, Error> {
        let site = path.site()?;
        if site.exists && !replace {
            return Err(Error::usage(format!("{path}: exists already; {taken}")));
        }
        let partial = with_suffix(&site.path, &format!(".{tag}.partial"));
        fs::File::create(&partial).map_err(|error| cannot_be_made(path, &error))?;
        Ok(Draft { partial, path: path.clone(), site: site.path, replace, stays: false })
    }

    /// Gives the complete file its name. If another file has taken the name meanwhile and must not be replaced, this
    /// one stays where it is.
    ///
    /// # Errors
    /// When it cannot have the name. If the file stays, the text says where.
    pub(crate) fn publish(mut self) -> Result<(), Error> {
        let renamed = if self.replace {
            fs::rename(&self.partial, &self.site)
        } else {
            rename_to_free(&self.partial, &self.site)
        };
        let Err(error) = renamed else {
            self.stays = true;
            return Ok(());
        };
        let path = &self.path;
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(Error::new(ErrorKind::Storage, format!("{path} cannot be written: {error}")));
        }
        self.stays = true;
        let text = format!(
            "{path}: another run has made it meanwhile, and it is left alone; what this one has made is complete, and \
             is in {}: give that file a name of its own",
            self.partial.display()
        );
        Err(Error::new(ErrorKind::Storage, text))
    }

    /// The folder that the file is in.
    pub(crate) fn folder(&self) -> &Path {
        self.site.parent().unwrap_or(Path::new("/"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.stays {
            // It may be gone with its folder.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Renames a file to a name that nobody has.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        renamed => return Ok(renamed?),
    }
    // A file system that cannot do this, such as NFS: a hard link never takes the place of another file.
    match fs::hard_link(from, to) {
        Ok(()) => {
            // Both names lead to the complete file.
            let _ = fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links: an empty file of ours takes the free name, and is then replaced.
        Err(_) => fs::File::create_new(to).and_then(|_| {
            fs::rename(from, to).inspect_err(|_| {
                // An empty file would be taken for a result.
                let _ = fs::remove_file(to);
            })
        }),
    }
}

/// A file cannot be begun: what the user has named is wrong, or there is no room for any.
pub(crate) fn cannot_be_made(path: &Named, error: &io::Error) -> Error {
    let text = format!("{path}: cannot be made: {}", explain(error));
    match error.raw_os_error() {
        Some(libc::EFBIG | libc::ENOSPC | libc::EDQUOT | libc::EIO) => Error::new(ErrorKind::Storage, text),
        _ => Error::usage(text),
    }
}

/// Why a file could not be written; the limit of a shell is named.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EFBIG) => too_large(),
        _ => error.to_string(),
    }
}

/// What to say when a file has become too large.
pub(crate) fn too_large() -> String {
    match getrlimit(Resource::Fsize).current {
        Some(limit) => {
            format!(
                "File too large: this process may write {limit} bytes to a file (`ulimit -f` shows and sets it)"
            )
        }
        None => "File too large for its file system".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_followed_to_what_it_means() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().canonicalize().unwrap().join(name);
        fs::write(path("file"), "").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("link", path("chain")).unwrap();
        symlink("nothing", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        symlink("/dev/null", path("device")).unwrap();
        let site = |name: &str| Named::new(path(name)).site();
        assert_eq!(site("chain").unwrap(), Site { path: path("file"), exists: true });
        assert_eq!(site("dangling").unwrap(), Site { path: path("nothing"), exists: false });
        assert_eq!(site("new").unwrap(), Site { path: path("new"), exists: false });
        for (name, why) in [
            ("device", "is a device"),
            ("loop", "ymbolic links"),
            (".", "is a folder"),
            ("new/", "is the name of a folder"),
        ] {
            let error = site(name).unwrap_err();
            assert!(error.to_string().contains(why) && error.exit_code() == 2, "{name}: {error}");
        }
        assert!(Named::new("").site().unwrap_err().to_string().contains("names no file"));
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_is_not_replaced_and_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = Named::new(folder.path().join("out"));
        let draft = Draft::begin(&path, "tag", false, "").unwrap();
        fs::write(&draft.partial, "mine").unwrap();
        fs::write(path.place(), "theirs").unwrap();
        let partial = draft.partial.clone();
        let told = draft.publish().unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Storage);
        assert!(told.to_string().contains(&format!("is in {}:", partial.display())), "{told}");
        assert_eq!(fs::read_to_string(path.place()).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(&partial).unwrap(), "mine");
        let replacing = Draft::begin(&path, "other", true, "").unwrap();
        replacing.publish().unwrap();
        assert_eq!(fs::read_to_string(path.place()).unwrap(), "");
    }
}
