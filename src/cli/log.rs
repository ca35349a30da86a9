//! Logs: to standard error, or to a file for each rank. Each record names rank and host.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
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

use crate::{
    error::Error,
    launch,
    paths::Named,
    say::{put, shown},
};

/// Starts logging: warnings and worse, unless RANKPOOL_LOG says otherwise.
///
/// # Errors
/// When RANKPOOL_LOG cannot be read, or the folder cannot be made.
pub(super) fn start(folder: Option<&Named>) -> Result<(), Error> {
    let wanted = std::env::var("RANKPOOL_LOG").unwrap_or_else(|_| "warn".into());
    let filter = EnvFilter::try_new(&wanted).map_err(|error| {
        Error::usage(format!("RANKPOOL_LOG={wanted}: {error} (as in debug, or rankpool=trace)"))
    })?;
    if let Some(folder) = folder {
        let refused = |error: io::Error| Error::usage(format!("--log-dir {folder}: {error}"));
        fs::create_dir_all(folder.place()).map_err(refused)?;
        let probe = tempfile_in(folder.place());
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(refused)?;
        for entry in fs::read_dir(folder.place()).map_err(refused)?.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("rank-") && name.ends_with(".log")) {
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
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
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
