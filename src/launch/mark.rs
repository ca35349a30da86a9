//! The mark that rank 0 leaves when it ends well, for workers on its host that find it gone.
//!
//! A worker takes its leave from rank 0, except one that hangs while it starts: it may outlive a run that has ended
//! well. Without the mark it would take rank 0 for killed, and have the run look failed.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
};

use super::{policy, siblings, variable};

/// The mark of this process, if it is rank 0 of a run. A process that it has forked is not.
static OURS: OnceLock<(u32, PathBuf)> = OnceLock::new();

/// The mark of the run that this process belongs to, a file in the folder of the launcher on this host. The launcher
/// removes its folder when it ends. `None` where a launcher ends the run for a process that is lost: then no worker is
/// started in its place.
fn mark() -> Option<PathBuf> {
    let folder = variable("PMIX_SERVER_TMPDIR").filter(|_| policy().survives_losses())?;
    // A launcher may serve several runs.
    let world = siblings::world_of_rank_0()?;
    Some(Path::new(&folder).join(format!("rankpool-ended-{world}")))
}

/// This process is rank 0 from now on. Takes away what an earlier program of this launch has left.
pub(super) fn forget() {
    if let Some(mark) = mark() {
        // Mostly there is none.
        let _ = fs::remove_file(&mark);
        let _ = OURS.set((process::id(), mark));
    }
}

/// Leaves the mark, if this process is rank 0: the run has ended well.
pub(super) fn leave() {
    if let Some((_, mark)) = OURS.get().filter(|(pid, _)| *pid == process::id()) {
        // Without it a good run may look failed, but no failed one looks good.
        let _ = fs::write(mark, "");
    }
}

pub(super) fn is_left() -> bool {
    mark().is_some_and(|mark| mark.exists())
}
