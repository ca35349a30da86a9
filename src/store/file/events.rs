//! `/events`: what happened in the run beside its tasks.

use hdf5::{Group, H5Type, types::VarLenUnicode};

use super::{Attribute, attribute, column::text_of};
use crate::store::events::{EventKind, EventRow, EventTable, HeldChunk};

const NAME: &str = "events";
/// The attribute that tells how many losses and joins have no row.
const LEFT_OUT: &str = "left_out";

/// A row of `/events`.
#[derive(Clone, Debug, H5Type)]
#[repr(C)]
struct Row {
    t: f64,
    event: VarLenUnicode,
    /// -1 of an event that is not of a worker.
    rank: i32,
    /// -1 of an event that is not of a child.
    slot: i32,
    pid: u32,
    host: VarLenUnicode,
    reason: VarLenUnicode,
    start: u64,
    /// 0 where no chunk is known.
    count: u64,
    /// NaN where no chunk is known.
    dispatched: f64,
}

/// Writes the table.
pub(super) fn write(root: &Group, table: &EventTable) -> hdf5::Result<()> {
    let number = |number: Option<u32>| number.map_or(-1, |number| number as i32);
    let row = |row: &EventRow| {
        let chunk = row.chunk.unwrap_or(HeldChunk { start: 0, count: 0, dispatched: f64::NAN });
        Row {
            t: row.t,
            event: text_of(row.kind.name()),
            rank: number(row.rank),
            slot: number(row.slot),
            pid: row.pid,
            host: text_of(&row.host),
            reason: text_of(&row.reason),
            start: chunk.start,
            count: chunk.count,
            dispatched: chunk.dispatched,
        }
    };
    let rows: Vec<Row> = table.rows.iter().map(row).collect();
    let dataset = root.new_dataset_builder().with_data(&rows).create(NAME)?;
    attribute(&dataset, "units_of_times", &Attribute::Text("s".into()))?;
    attribute(&dataset, LEFT_OUT, &Attribute::Whole(table.left_out))
}

/// Reads the table; `None` where there is none, as in files of earlier versions. Events of later versions are passed over.
pub(super) fn read(root: &Group) -> hdf5::Result<Option<EventTable>> {
    if !root.link_exists(NAME) {
        return Ok(None);
    }
    let dataset = root.dataset(NAME)?;
    let row = |row: &Row| {
        let chunk = HeldChunk { start: row.start, count: row.count, dispatched: row.dispatched };
        Some(EventRow {
            t: row.t,
            kind: EventKind::of(&row.event)?,
            rank: u32::try_from(row.rank).ok(),
            slot: u32::try_from(row.slot).ok(),
            pid: row.pid,
            host: row.host.to_string(),
            reason: row.reason.to_string(),
            chunk: Some(chunk).filter(|chunk| chunk.count > 0),
        })
    };
    let rows = dataset.read_raw::<Row>()?.iter().filter_map(row).collect();
    let left_out = dataset.attr(LEFT_OUT)?.read_scalar()?;
    Ok(Some(EventTable { rows, left_out }))
}
