//! Where the text of a list comes from: a file, which is read as often as needed, or a stream such as standard input,
//! which is read once, unless it is copied to a temporary file first.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rankpool::Error;

use crate::file;

pub type Reader = Box<dyn Read + Send>;

/// A text, and its name for people.
pub struct Text {
    pub name: String,
    origin: Origin,
}

enum Origin {
    File { path: PathBuf, stamp: Stamp },
    Copy(Arc<File>),
    Stream(Mutex<Option<Reader>>),
}

/// What changes when a file does.
type Stamp = [i128; 5];

fn stamp(file: &File) -> std::io::Result<Stamp> {
    let about = file.metadata()?;
    Ok([
        about.dev().into(),
        about.ino().into(),
        about.len().into(),
        about.mtime().into(),
        about.mtime_nsec().into(),
    ])
}

/// `-` is standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Text {
    pub fn of(path: &Path) -> Result<Text, Error> {
        if is_standard_input(path) {
            return Ok(Text::stream("standard input", Box::new(std::io::stdin())));
        }
        let name = path.display().to_string();
        let failed = |error| file::refused(path, format!("cannot be read: {error}"));
        let opened = File::open(path).map_err(failed)?;
        let about = opened.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(file::refused(path, "is a folder; name a file in it"));
        }
        if !about.is_file() {
            return Ok(Text::stream(&name, Box::new(opened)));
        }
        let stamp = stamp(&opened).map_err(failed)?;
        Ok(Text { name, origin: Origin::File { path: path.into(), stamp } })
    }

    fn stream(name: &str, reader: Reader) -> Text {
        Text { name: name.into(), origin: Origin::Stream(Mutex::new(Some(reader))) }
    }

    /// It can be read only once.
    pub fn is_stream(&self) -> bool {
        matches!(self.origin, Origin::Stream(_))
    }

    /// The same text, which can be read as often as needed: of a stream a copy in a file without a name.
    pub fn copied(self) -> Result<Text, Error> {
        if !self.is_stream() {
            return Ok(self);
        }
        let failed = |error| {
            let folder = std::env::temp_dir();
            let text = format!(
                "{}: cannot be copied to a temporary file in {}: {error}; name another folder by TMPDIR, or a file \
                 in place of the stream",
                self.name,
                folder.display()
            );
            Error::storage(text)
        };
        let mut reader = self.open()?;
        let mut copy = tempfile::tempfile().map_err(failed)?;
        std::io::copy(&mut reader, &mut copy).map_err(failed)?;
        Ok(Text { name: self.name, origin: Origin::Copy(Arc::new(copy)) })
    }

    /// Begins to read it.
    ///
    /// # Errors
    /// When a file is another one than at first, or a stream was read before.
    pub fn open(&self) -> Result<Reader, Error> {
        match &self.origin {
            Origin::File { path, stamp: before } => {
                let failed = |error| file::refused(path, format!("cannot be read: {error}"));
                let opened = File::open(path).map_err(failed)?;
                if stamp(&opened).map_err(failed)? != *before {
                    return Err(self.changed());
                }
                Ok(Box::new(opened))
            }
            Origin::Copy(copy) => Ok(Box::new(FromStart { file: copy.clone(), at: 0 })),
            Origin::Stream(reader) => {
                let reader = reader.lock().unwrap_or_else(PoisonError::into_inner).take();
                reader.ok_or_else(|| {
                    self.refused("can be read once, and was; name a file in place of the stream")
                })
            }
        }
    }

    pub fn refused(&self, why: impl std::fmt::Display) -> Error {
        refused(&self.name, why)
    }

    pub fn changed(&self) -> Error {
        self.refused("has changed since the run began; give the run a file that stays as it is")
    }
}

/// An error that names the text.
pub fn refused(name: &str, why: impl std::fmt::Display) -> Error {
    Error::usage(format!("{name}: {why}"))
}

/// Reads a file from its start, whoever else reads it.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// The lines of a text, without the byte between them. The last one counts with or without it.
pub struct Lines {
    pub name: String,
    /// Of the line that was read last, from 1
    pub number: u64,
    reader: BufReader<Reader>,
    /// A newline, or 0
    end: u8,
    line: Vec<u8>,
}

impl Lines {
    pub fn new(name: &str, reader: Reader, end: u8) -> Lines {
        let reader = BufReader::with_capacity(1 << 16, reader);
        Lines { name: name.into(), number: 0, reader, end, line: Vec::new() }
    }

    /// The first byte that is no white space, if there is one in what the first read gives.
    pub fn peek(&mut self) -> Result<Option<u8>, Error> {
        let bytes = self.reader.fill_buf().map_err(|error| refused(&self.name, error))?;
        Ok(bytes.iter().find(|byte| !byte.is_ascii_whitespace()).copied())
    }

    /// All that follows.
    pub fn rest(mut self) -> Result<String, Error> {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).map_err(|error| refused(&self.name, error))?;
        Ok(text)
    }

    pub fn next(&mut self) -> Result<Option<&str>, Error> {
        self.line.clear();
        let read = self.reader.read_until(self.end, &mut self.line);
        if read.map_err(|error| refused(&self.name, error))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&self.end) {
            self.line.pop();
        }
        match std::str::from_utf8(&self.line) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(self.refused(format!(
                "is no UTF-8 text at its byte {}; convert the file, as by iconv -t UTF-8",
                error.valid_up_to() + 1
            ))),
        }
    }

    /// An error that names the line that was read last.
    pub fn refused(&self, why: impl std::fmt::Display) -> Error {
        let what = if self.end == 0 { "record" } else { "line" };
        refused(&self.name, format!("{what} {} {why}", self.number))
    }
}
