//! The mark that rank 0 leaves when it ends by itself, for workers on its host that find it gone.
//!
//! A worker takes its leave from rank 0, except one that hangs while it starts: it may outlive a run that has ended
//! well. Without the mark it would take rank 0 for killed, and have the run look failed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{policy, variable};

/// The file, in the folder of the launcher on this host, which it removes when it ends. `None` where a launcher ends
/// the run for a process that is lost: then no worker is started in its place.
fn mark() -> Option<PathBuf> {
    let folder = variable("PMIX_SERVER_TMPDIR").filter(|_| policy().survives_losses())?;
    Some(Path::new(&folder).join("rankpool-ended"))
}

pub(super) fn leave() {
    if let Some(mark) = mark() {
        // A run without it may look failed, but never the other way round.
        let _ = fs::write(mark, "");
    }
}

/// Takes away what an earlier program of this launch has left.
pub(super) fn forget() {
    if let Some(mark) = mark() {
        // Mostly there is none.
        let _ = fs::remove_file(mark);
    }
}

pub(super) fn is_left() -> bool {
    mark().is_some_and(|mark| mark.exists())
}
