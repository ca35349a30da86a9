//! What the result file of a run tells that is over.

use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::state::{Chunk, Ended, Failed, Loss, NewWorker, News, Run, Standing};
use crate::{
    error::Error,
    paths::Named,
    store::{events::EventRow, file::Reader},
};

/// How the run of this name ended, if this is its file.
pub(super) fn ended(path: &Named, run: &str) -> Option<Ended> {
    if !path.place().exists() {
        return None;
    }
    let reader = Reader::open(path).ok()?;
    (reader.text("run") == run).then(|| of(&reader))
}

fn of(reader: &Reader) -> Ended {
    let report: Value = serde_json::from_str(&reader.text("report")).unwrap_or_default();
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    let counts = Some(["done", "failed", "not_run"].map(count));
    Ended { counts, wall_s: Some(reader.real("wall_s")), error: None }
}

/// Tells of a run whose file this is.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(path: &Named, take: &mut dyn FnMut(News)) -> Result<(), Error> {
    let reader = Reader::open(path)?;
    let began = humantime::parse_rfc3339(&reader.text("started")).ok();
    let began = began.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    take(News::Run(Run {
        run: reader.text("run"),
        what: reader.text("job"),
        parameters: reader.text("parameters"),
        tasks: Some(reader.tasks),
        began: began.map_or(0.0, |time| time.as_secs_f64()),
    }));
    take(News::Session { t: 0.0, host: None });
    take(News::Mode(reader.text("mode")));
    let mut known = std::collections::BTreeSet::new();
    for (row, host) in reader.trace()? {
        if known.insert(row.rank) {
            let (rank, host, pid) = (row.rank, host.clone(), row.pid);
            take(News::Joined(NewWorker { t: 0.0, rank, host, pid, slots: 1, children: 0 }));
        }
        take(News::Chunk(Chunk {
            t: row.ended,
            rank: row.rank,
            host: Some(host),
            pid: row.pid,
            start: row.start,
            count: row.count,
            busy_s: row.ended - row.started,
        }));
    }
    for row in reader.events()?.unwrap_or_default().rows {
        if let (true, Some(rank)) = (row.kind.is_loss(), row.rank) {
            let EventRow { t, slot, host, pid, reason, .. } = row;
            take(News::Lost(Loss { t, rank, slot, host, pid, reason }));
        }
    }
    for error in reader.errors()? {
        take(News::Failed(Failed {
            task: error.task,
            attempt: error.attempt,
            kind: error.kind,
            place: u32::try_from(error.rank).ok().map(|rank| (rank, error.host)),
            message: error.message,
            last: true,
        }));
    }
    take(News::Standing(Standing::Ended(of(&reader))));
    Ok(())
}
