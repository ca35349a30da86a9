//! No two files of a run may be the same file: the second would destroy what the first has.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Options;
use crate::{error::Error, launch, paths::Named, store::lock::OutputLock};

/// A file that the run writes.
struct Written {
    flag: &'static str,
    name: Named,
    path: PathBuf,
}

/// Makes sure that what a run writes are files apart from each other, from those that the job has to do with, and from
/// those that standard output and standard error go to.
///
/// # Errors
/// When one is named twice, by whatever path or link, or is no place for a file.
pub(super) fn check(options: &Options, of_the_job: &[PathBuf]) -> Result<(), Error> {
    let keep = &options.keep;
    let journal = keep.journal();
    let mut written = Vec::new();
    for (flag, name) in [
        ("--output", keep.output.as_ref()),
        ("--journal", journal.as_ref()),
        ("--events", options.events.as_ref()),
        // A place where this file cannot be is warned of elsewhere, and does not end the run.
        (launch::CODE_FILE, launch::code_file().filter(|name| name.site().is_ok())),
    ] {
        if let Some(name) = name {
            let site = name.site()?;
            if flag == "--output" {
                let path = OutputLock::place(&site);
                written.push(Written { flag: "the lock of --output", name: name.beside(".lock"), path });
            }
            written.push(Written { flag, name: name.clone(), path: site.path });
        }
    }
    // The job itself says whether it may have these files.
    let sites = of_the_job.iter().filter_map(|path| Named::new(path).site().ok());
    let of_the_job: Vec<PathBuf> = sites.map(|site| site.path).collect();
    let is_file = |place: &&PathBuf| fs::metadata(place).is_ok_and(|found| found.is_file());
    let streams: Vec<&PathBuf> = options.streams.iter().filter(is_file).collect();
    let logs = options.logs.as_ref().map(Logs::of);
    let is_log = |path: &Path| logs.as_ref().is_some_and(|logs| logs.has(path));
    for (at, one) in written.iter().enumerate() {
        if let Some(other) = written[..at].iter().find(|other| is_one_file(&one.path, &other.path)) {
            return Err(Error::usage(format!(
                "{} and {} both name {}: give them names of their own",
                other.flag, one.flag, other.name
            )));
        }
        if streams.iter().any(|stream| is_one_file(&one.path, stream)) {
            return Err(Error::usage(format!(
                "{} names {}, where standard output or standard error goes: name another file",
                one.flag, one.name
            )));
        }
        if of_the_job.iter().any(|path| is_one_file(&one.path, path)) {
            return Err(Error::usage(format!(
                "{} names {}, which the job itself reads or makes: name another file",
                one.flag, one.name
            )));
        }
        if is_log(&one.path) {
            return Err(Error::usage(format!(
                "{} names {}, which is the log of a rank in the folder of --log-dir: name another file",
                one.flag, one.name
            )));
        }
    }
    if streams.iter().any(|stream| is_log(stream)) {
        return Err(Error::usage(
            "standard output or standard error goes to the log of a rank in the folder of --log-dir: name another \
             folder",
        ));
    }
    if let Some(path) = of_the_job.iter().find(|path| is_log(path)) {
        return Err(Error::usage(format!(
            "the job itself reads or makes {}, which is the log of a rank in the folder of --log-dir: name another \
             folder",
            path.display()
        )));
    }
    Ok(())
}

/// Whether the folder of `--log-dir` has the log of a rank under this name.
pub(crate) fn is_name_of_a_log(name: &OsStr) -> bool {
    let rank = name.to_str().and_then(|name| name.strip_prefix("rank-")?.strip_suffix(".log"));
    rank.is_some_and(|rank| rank.parse::<u32>().is_ok())
}

/// The logs of the ranks: those that are there, and those that will be.
struct Logs {
    folder: PathBuf,
    there: Vec<PathBuf>,
}

impl Logs {
    fn of(folder: &Named) -> Logs {
        let entries = fs::read_dir(folder.place()).into_iter().flatten().flatten();
        let there = entries
            .filter(|entry| is_name_of_a_log(&entry.file_name()))
            .filter_map(|entry| Named::new(entry.path()).site().ok());
        let there = there.map(|site| site.path).collect();
        Logs { folder: folder.place().canonicalize().unwrap_or_default(), there }
    }

    fn has(&self, path: &Path) -> bool {
        let is_named = path.file_name().is_some_and(is_name_of_a_log);
        (is_named && parent(path).is_some_and(|folder| folder == self.folder))
            || self.there.iter().any(|log| is_one_file(log, path))
    }
}

/// By their paths, whose links have been followed; two names of one file are one, too.
fn is_one_file(one: &Path, other: &Path) -> bool {
    let numbers = |path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let same_path = || match (parent(one), parent(other)) {
        (Some(here), Some(there)) => here == there && one.file_name() == other.file_name(),
        _ => one == other,
    };
    match (numbers(one), numbers(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => same_path(),
    }
}

/// The folder, by the one path that it has without links.
fn parent(path: &Path) -> Option<PathBuf> {
    path.parent()?.canonicalize().ok()
}
