//! What is told of commands while the run goes on: their outputs, each whole, and the lines of `--joblog`.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
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

/// The file of `--joblog`, in GNU parallel's form.
#[derive(Debug)]
pub struct JobLog(Mutex<File>, String);

impl JobLog {
    /// Begins the file, or goes on in one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> Result<JobLog, Error> {
        let name = path.display().to_string();
        let refused = |error: io::Error| Error::usage(format!("{name}: the log cannot be written: {error}"));
        let mut file = File::options().append(true).create(true).open(path).map_err(refused)?;
        if file.metadata().map_err(refused)?.len() == 0 {
            let head = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
            file.write_all(head.as_bytes()).map_err(refused)?;
        }
        Ok(JobLog(Mutex::new(file), name))
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
        let mut file = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.write_all(line.as_bytes())
            .map_err(|error| Error::storage(format!("{}: the log cannot be written: {error}", self.1)))
    }
}
