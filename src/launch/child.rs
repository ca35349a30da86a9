//! Programs that are run for an answer, and may hang.

use std::{
    io,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// Between two looks at the child.
const LOOK: Duration = Duration::from_millis(10);

/// How the child ended; `None` when it did not within `limit`, and was killed.
///
/// # Errors
/// When it cannot be waited for.
pub(super) fn end_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_killed() {
        let mut quick = Command::new("true").spawn().unwrap();
        assert!(end_within(&mut quick, Duration::from_secs(10)).unwrap().unwrap().success());
        let mut stuck = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(end_within(&mut stuck, Duration::from_millis(20)).unwrap(), None);
        assert!(!stuck.wait().unwrap().success());
    }
}
