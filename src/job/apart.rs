//! No two files of a run are one: the second would destroy what the first has.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Keep;
use crate::{error::Error, launch, paths::Named, store::lock::OutputLock};

/// A file that the run writes.
struct Written {
    flag: &'static str,
    name: Named,
    path: PathBuf,
}

/// Makes sure that what a run writes are files apart from each other, and from those that the job has to do with.
///
/// # Errors
/// When one is named twice, by whatever path or link, or is no place for a file.
pub(super) fn check(keep: &Keep, events: Option<&Named>, of_the_job: &[PathBuf]) -> Result<(), Error> {
    let journal = keep.journal();
    let mut written = Vec::new();
    for (flag, name) in [
        ("--output", keep.output.as_ref()),
        ("--journal", journal.as_ref()),
        ("--events", events),
        // One that can be no file is told of elsewhere, and ends nothing.
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
    // Whether the job may have them, the job says itself.
    let sites = of_the_job.iter().filter_map(|path| Named::new(path).site().ok());
    let of_the_job: Vec<PathBuf> = sites.map(|site| site.path).collect();
    let is_file = |place: &&PathBuf| fs::metadata(place).is_ok_and(|found| found.is_file());
    let streams = ["/proc/self/fd/1", "/proc/self/fd/2"].map(PathBuf::from);
    let streams: Vec<&PathBuf> = streams.iter().filter(is_file).collect();
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
    }
    Ok(())
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
