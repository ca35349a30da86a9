//! What the user sees of commands while the run goes on: their outputs, each whole, and the lines of `--joblog`.

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use rankpool::{Error, Told};

use super::row::Row;

/// Where outputs and the lines of the log go.
#[derive(Debug)]
pub struct Printing {
    /// Whoever read the outputs has not left yet.
    prints: Mutex<bool>,
    log: Option<JobLog>,
}

impl Printing {
    pub fn new(prints: bool, log: Option<JobLog>) -> Printing {
        Printing { prints: Mutex::new(prints), log }
    }

    /// # Errors
    /// When something cannot be written. A reader that has left wants no more, which is no error.
    pub fn tell(&self, told: &Told<'_, Row>) -> Result<(), Error> {
        let Some(row) = told.output() else { return Ok(()) };
        if let Some(log) = &self.log {
            log.write(told.index(), row)?;
        }
        let mut prints = self.prints.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !*prints {
            return Ok(());
        }
        let printed = whole(io::stderr().lock(), row.stderr.as_bytes())
            .and_then(|()| whole(io::stdout().lock(), row.stdout.as_bytes()));
        match printed {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => *prints = false,
            Err(error) => return Err(Error::storage(format!("the outputs cannot be printed: {error}"))),
            Ok(()) => {}
        }
        Ok(())
    }
}

fn whole(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    to.write_all(bytes)?;
    to.flush()
}

/// The first line of a log.
const HEAD: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// The file of `--joblog`, in GNU parallel's form. It is begun when the first command has ended; one that is there is
/// gone on with.
#[derive(Debug)]
pub struct JobLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl JobLog {
    /// Makes sure, without touching it, that the file can be one.
    ///
    /// # Errors
    /// When it is something else, or its folder is not there.
    pub fn at(path: &Path) -> Result<JobLog, Error> {
        let refused = |why: &dyn Display| Err(Error::usage(format!("{}: {why}", path.display())));
        match path.metadata() {
            Ok(about) if about.is_file() && about.len() > 0 => {
                let mut head = Vec::new();
                let read =
                    File::open(path).and_then(|file| file.take(HEAD.len() as u64).read_to_end(&mut head));
                match read {
                    Ok(_) if head == HEAD.as_bytes() => {}
                    Ok(_) => return refused(&"is no log of --joblog, and is left alone; name another file"),
                    Err(error) => return refused(&error),
                }
            }
            Ok(about) if about.is_dir() => return refused(&"is a folder; name a file for the log"),
            Ok(_) => {}
            Err(_) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                    return refused(&format!("the folder {} is not there; make it", folder.display()));
                }
            }
        }
        Ok(JobLog { path: path.to_path_buf(), file: Mutex::default() })
    }

    fn begin(&self) -> io::Result<File> {
        let mut file = File::options().append(true).create(true).open(&self.path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(HEAD.as_bytes())?;
        }
        Ok(file)
    }

    fn write(&self, task: u64, row: &Row) -> Result<(), Error> {
        let received = row.stdout.as_bytes().len() as u64 + row.stdout_cut;
        let line = format!(
            "{}\t{}\t{:.3}\t{:10.3}\t0\t{received}\t{}\t{}\t{}\n",
            task + 1,
            row.host,
            row.started,
            row.seconds,
            row.exit_code.max(0),
            row.signal,
            row.command.replace('\n', " "),
        );
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let written = match &mut *file {
            Some(file) => file.write_all(line.as_bytes()),
            none => self.begin().and_then(|begun| none.insert(begun).write_all(line.as_bytes())),
        };
        written.map_err(|error| {
            Error::storage(format!("{}: the log cannot be written: {error}", self.path.display()))
        })
    }
}
