//! What a command prints on standard output, whose reader may leave when it has seen enough.

use std::io::{self, ErrorKind as IoErrorKind, Write};

use crate::{
    error::{Error, ErrorKind},
    paths::explain,
    say,
};

/// Prints a text for people, with its control characters made visible.
///
/// # Errors
/// As [`print`].
pub(super) fn tell(text: &str) -> Result<(), Error> {
    print(say::shown(text).as_bytes())
}

/// Prints bytes as they are.
///
/// # Errors
/// When they cannot be written: a full device. A reader that has gone wants no more, which is no error.
pub(super) fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// What came of writing to standard output.
///
/// # Errors
/// As [`print`].
pub(super) fn written(written: io::Result<()>) -> Result<(), Error> {
    match written {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Storage, format!("standard output: {}", explain(&error))))
        }
        _ => Ok(()),
    }
}
