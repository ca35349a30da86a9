//! Logs: to standard error, or to a file for each rank. Each record names rank and host.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

use super::{program, variables::closest};
use crate::{
    error::Error,
    job, launch,
    paths::{Named, kind},
    say::{put, shown},
    sync::lock,
};

/// What is logged.
pub(super) const VARIABLE: &str = "RANKPOOL_LOG";

/// The levels, as EnvFilter knows them.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// The rooms whose records can be asked for, as in `rankpool::fabric=debug`.
const ROOMS: [&str; 7] = ["cli", "executor", "fabric", "job", "launch", "mpi", "store"];

/// Directives that name nothing, and what was likely meant: a line for each.
pub(super) fn slips(directives: &str) -> Vec<String> {
    let own = program().replace('-', "_");
    directives.split(',').filter_map(|directive| slip(directive.trim(), &own)).collect()
}

/// `own` is what a user's program logs under.
fn slip(directive: &str, own: &str) -> Option<String> {
    let (target, has_level) = match directive.split_once('=') {
        Some((target, _)) => (target, true),
        None => (directive, false),
    };
    let is_level = LEVELS.contains(&target.to_ascii_lowercase().as_str())
        || target.parse::<u8>().is_ok_and(|level| level < LEVELS.len() as u8);
    // The first of the names, each in the one before.
    let outermost = target.split("::").next().unwrap_or_default();
    let is_own = own != "rankpool" && outermost == own;
    // Spans have names of their own; other crates, and a program's own, log under names that are not known here.
    if target.is_empty() || target.contains('[') || (!has_level && is_level) || is_own {
        return None;
    }
    let told = |hint: String| Some(format!("{}: {VARIABLE}: nothing is called {target}{hint}", program()));
    let meant = |known: &str| told(format!("; is {known} meant?"));
    if let Some(room) = target.strip_prefix("rankpool::") {
        let first = room.split("::").next().unwrap_or_default();
        return match closest(first, ROOMS.into_iter()) {
            _ if ROOMS.iter().any(|known| known.starts_with(first)) => None,
            Some(known) => meant(&format!("rankpool::{known}")),
            None => told(format!("; rankpool has {}", ROOMS.join(", "))),
        };
    }
    match closest(outermost, LEVELS.into_iter().chain(["rankpool"])) {
        _ if target == "rankpool" => None,
        Some(known) => meant(known),
        None if has_level => None,
        None => told(format!("; the levels are {}", LEVELS.join(", "))),
    }
}

/// Starts logging: warnings and worse, unless RANKPOOL_LOG says otherwise, or `verbose`, how often `-v` was given.
///
/// # Errors
/// When RANKPOOL_LOG cannot be read, or the folder cannot be made.
pub(super) fn start(folder: Option<&Named>, verbose: u8) -> Result<(), Error> {
    let set = launch::variable(VARIABLE).filter(|wanted| !wanted.is_empty());
    let wanted = match verbose {
        0 => set.unwrap_or_else(|| "warn".into()),
        1 => "info".into(),
        _ => "debug".into(),
    };
    let filter = EnvFilter::try_new(&wanted).map_err(|error| {
        Error::usage(format!("{VARIABLE}={wanted}: {error} (as in debug, or rankpool=trace)"))
    })?;
    if let Some(folder) = folder {
        if folder.place().as_os_str().is_empty() {
            return Err(Error::usage("--log-dir: an empty path names no folder; name one"));
        }
        let refused = |error: io::Error| Error::usage(format!("--log-dir {folder}: {error}"));
        if let Ok(found) = fs::metadata(folder.place())
            && !found.is_dir()
        {
            return Err(Error::usage(format!("--log-dir {folder}: is {}; name a folder", kind(&found))));
        }
        fs::create_dir_all(folder.place()).map_err(refused)?;
        let probe = tempfile_in(folder.place());
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(refused)?;
        for entry in fs::read_dir(folder.place()).map_err(refused)?.flatten() {
            // Each rank looks, so this must be cheap: for most entries the folder itself says that they are files.
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            if job::is_name_of_a_log(&entry.file_name()) {
                Named::new(entry.path()).site()?;
            }
        }
    }
    // A user's program may have a subscriber of its own; it stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .event_format(Located(Format::default().with_target(false)))
        .with_writer(Logs {
            folder: folder.map(|folder| folder.place().to_path_buf()),
            file: Mutex::new(None),
        })
        .try_init();
    Ok(())
}

fn tempfile_in(folder: &Path) -> PathBuf {
    folder.join(format!(".{}-{}", launch::here().host, std::process::id()))
}

/// A format with rank and host in front.
struct Located(Format);

impl<S, N> FormatEvent<S, N> for Located
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match launch::rank() {
            Some(rank) => write!(writer, "rank {rank} {} ", launch::here().host)?,
            None if launch::ends_the_run() => write!(writer, "rank 0 {} ", launch::here().host)?,
            // It joins, and does not know its rank yet.
            None => write!(writer, "rank ? {} ", launch::here().host)?,
        }
        self.0.format_event(context, writer, event)
    }
}

/// Where records go: into the rank's file once the rank is known, before that to standard error.
struct Logs {
    folder: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Log<'a>;

    fn make_writer(&'a self) -> Log<'a> {
        Log(self)
    }
}

struct Log<'a>(&'a Logs);

impl Write for Log<'_> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let (Some(folder), Some(rank)) = (&self.0.folder, launch::rank()) else {
            put(shown(&String::from_utf8_lossy(record)).into_owned().into_bytes());
            return Ok(record.len());
        };
        let mut file = lock(&self.0.file);
        let file = match &mut *file {
            Some(file) => file,
            none => {
                let path = folder.join(format!("rank-{rank}.log"));
                none.insert(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        file.write(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_that_names_nothing_is_told_of() {
        for known in [
            "",
            "debug",
            "WARN",
            "off",
            "3",
            "rankpool",
            "rankpool=trace",
            "rankpool::fabric=debug",
            "info,mpi=debug",
        ] {
            assert_eq!(slips(known), [""; 0], "{known}");
        }
        let told = |directives: &str, hint: &str| {
            let slips = slips(directives);
            assert!(slips.len() == 1 && slips[0].contains(hint), "{directives}: {slips:?}");
        };
        told("debgu", "is debug meant?");
        told("warn,rankpol=debug", "is rankpool meant?");
        told("rankpool::fabrik=debug", "is rankpool::fabric meant?");
        told("verbose", "the levels are");
        told("6", "the levels are");
        told("rankpol::fabric=debug", "is rankpool meant?");
        let of_rankpool = slip("rankpool::fabrik=debug", "rankpool");
        assert!(of_rankpool.is_some_and(|slip| slip.contains("is rankpool::fabric meant?")));
        assert_eq!(slip("sweep::model=debug", "sweep"), None);
    }
}
