//! How a program ends: its last words on standard error, and its exit code.

use std::{error::Error as StdError, process::ExitCode};

use crate::{
    error::{Error, TaskError},
    launch::{self, program},
    say::{self, say},
};

/// The `main` of a program that uses the library: runs `body`, says its error once on standard error, and gives
/// the exit code that the error stands for.
///
/// | code | what `body` returned |
/// |---|---|
/// | 0 | `Ok` |
/// | 1 | an [`Error`] of a task that failed, a time limit or a cancelled call; any other error |
/// | 2 | an [`Error`] of bad usage |
/// | 70 | any other [`Error`]: workers that could not be started, none left, an internal error |
/// | 75 | an [`Error`] of the kind [`Stopped`](crate::ErrorKind::Stopped) |
///
/// A `main` that returns the `Result` itself ends with 1 for every error. Under mpiexec only rank 0 comes out of
/// [`Executor::start`](crate::Executor::start), so only its error is said and only its code counts. The code is also
/// left in the file that RANKPOOL_CODE_FILE names, if it is set.
///
/// ```
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     rankpool::main(|| {
///         let pool = rankpool::Executor::start()?;
///         let halves = pool.map(|n: u32| n / 2, [4, 8])?;
///         assert_eq!(halves, [2, 4]);
///         pool.shutdown()
///     })
/// }
/// ```
pub fn main<E: Into<Box<dyn StdError>>>(body: impl FnOnce() -> Result<(), E>) -> ExitCode {
    let code = match body() {
        Ok(()) => {
            launch::leave_code(launch::EXIT_DONE);
            ExitCode::SUCCESS
        }
        Err(error) => ended_by(&*error.into()),
    };
    say::finish();
    code
}

/// Says the error, with its causes, and gives its exit code.
pub(crate) fn ended_by(error: &(dyn StdError + 'static)) -> ExitCode {
    say(&format!("{}: error: {error}", program()));
    let mut cause = error.source();
    while let Some(error) = cause {
        say(&format!("  because {error}"));
        cause = error.source();
    }
    let code = code_of(error);
    launch::leave_code(code.into());
    ExitCode::from(code)
}

fn code_of(error: &(dyn StdError + 'static)) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(error) => error.exit_code(),
        None => error.downcast_ref::<TaskError>().map_or(1, |task| Error::from(task.clone()).exit_code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Failure, FailureKind};

    #[test]
    fn an_error_ends_a_program_with_the_code_that_it_stands_for() {
        let codes = [
            (ErrorKind::Usage, 2),
            (ErrorKind::Timeout, 1),
            (ErrorKind::Stopped, 75),
            (ErrorKind::Launch, 70),
            (ErrorKind::Internal, 70),
        ];
        for (kind, code) in codes {
            assert_eq!(code_of(&Error::new(kind, "on purpose")), code, "{kind:?}");
        }
        assert_eq!(code_of(&Failure::new(FailureKind::Failed, "on purpose").at_task(3)), 1);
        assert_eq!(code_of(&std::io::Error::other("the user's")), 1);
    }
}
