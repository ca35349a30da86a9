//! The figures of a run, which page and drawing show.

use super::{
    account::Account,
    curves::{self, Curves, Distribution},
    failures::{self, Group},
    lanes::{self, Lane},
    sessions,
    subject::Subject,
};
use crate::error::Error;

/// Slowest tasks that are told.
const SLOWEST: usize = 10;

/// A task that took long: of each chunk the slowest is known.
pub(super) struct Slow {
    pub(super) task: u64,
    pub(super) seconds: f64,
    pub(super) place: String,
    pub(super) input: Option<String>,
}

pub(super) struct Figures {
    pub(super) subject: Subject,
    pub(super) lanes: Vec<Lane>,
    pub(super) chunks: usize,
    /// Tasks at a time: as the run says, or as many as there are rows.
    pub(super) slots: f64,
    pub(super) account: Account,
    pub(super) curves: Curves,
    pub(super) distribution: Option<Distribution>,
    pub(super) slowest: Vec<Slow>,
    pub(super) failures: Vec<Group>,
    /// Failed attempts that are in none of the groups.
    pub(super) other_failures: Vec<String>,
}

impl Figures {
    /// # Errors
    /// When the file does not hold what it says.
    pub(super) fn of(mut subject: Subject) -> Result<Figures, Error> {
        sessions::join(&mut subject);
        let lanes = lanes::of(&subject);
        let wall = subject.wall;
        let slots = subject.slots.unwrap_or(0).max(lanes.len() as u64).max(1) as f64;
        let (failures, other_failures) = failures::by_message(&subject.attempts);
        Ok(Figures {
            account: Account::of(&lanes, wall, slots),
            curves: curves::of(&lanes, wall, slots),
            distribution: curves::distribution(subject.chunks.iter().map(|(row, _)| row)),
            slowest: slowest(&subject)?,
            chunks: subject.chunks.len(),
            failures,
            other_failures,
            slots,
            lanes,
            subject,
        })
    }

    /// The part of the slots' time that was spent in tasks.
    pub(super) fn utilisation(&self) -> f64 {
        let time = self.subject.wall * self.slots;
        if time > 0.0 { self.account.running / time } else { 0.0 }
    }
}

fn slowest(subject: &Subject) -> Result<Vec<Slow>, Error> {
    let mut chunks: Vec<_> = subject.chunks.iter().filter(|(row, _)| row.slowest_s > 0.0).collect();
    chunks.sort_by(|(a, _), (b, _)| b.slowest_s.total_cmp(&a.slowest_s));
    chunks.truncate(SLOWEST);
    let tasks: Vec<u64> = chunks.iter().map(|(row, _)| row.slowest).collect();
    let inputs = subject.inputs(&tasks)?;
    let slow = |(row, host): &(crate::store::TraceRow, String)| Slow {
        task: row.slowest,
        seconds: row.slowest_s,
        place: format!("rank {} on {host}", row.rank),
        input: inputs.get(&row.slowest).cloned(),
    };
    Ok(chunks.into_iter().map(slow).collect())
}
