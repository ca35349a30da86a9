//! The trace as journals had it before there were leaders: without slot and process.

use serde::Deserialize;

use crate::store::{TraceBlock, TraceRow};

#[derive(Deserialize)]
struct EarlierRow {
    start: u64,
    count: u64,
    rank: u32,
    host: u32,
    dispatched: f64,
    started: f64,
    ended: f64,
    slowest: u64,
    slowest_s: f64,
}

#[derive(Deserialize)]
pub(super) struct EarlierBlock {
    hosts: Vec<String>,
    rows: Vec<EarlierRow>,
}

impl From<EarlierBlock> for TraceBlock {
    fn from(EarlierBlock { hosts, rows }: EarlierBlock) -> TraceBlock {
        TraceBlock { hosts, rows: rows.into_iter().map(TraceRow::from).collect() }
    }
}

impl From<EarlierRow> for TraceRow {
    fn from(row: EarlierRow) -> TraceRow {
        let EarlierRow { start, count, rank, host, dispatched, started, ended, slowest, slowest_s } = row;
        TraceRow { start, count, rank, slot: 0, pid: 0, host, dispatched, started, ended, slowest, slowest_s }
    }
}
