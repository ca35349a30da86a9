//! The table: what dies, in which mode, and what becomes of the run.

use std::fmt;

use crate::{
    deaths::Death,
    support::{
        Stack,
        ways::{COMM, PROCESSES, Way},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Child,
    Worker,
    Leader,
    Rank0,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Starting,
    /// The items pause, and no worker has anything to do.
    Between,
    Task,
    /// While items and results of tens of MB are on their way.
    Large,
    /// All results are there, and the run is about to end.
    Ending,
}

impl Moment {
    pub const ALL: [Moment; 5] =
        [Moment::Starting, Moment::Between, Moment::Task, Moment::Large, Moment::Ending];

    pub fn name(self) -> &'static str {
        match self {
            Moment::Starting => "while it starts",
            Moment::Between => "between tasks",
            Moment::Task => "in a task",
            Moment::Large => "with large values on the way",
            Moment::Ending => "as the run ends",
        }
    }

    pub fn named(name: &str) -> Option<Moment> {
        Moment::ALL.into_iter().find(|moment| moment.name() == name)
    }
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, and ends with 0 and the results of a serial run.
    GoesOn,
    /// All its processes end within seconds, the code is not 0, and `--resume` completes it.
    Ends,
}

const LEADERS: Way = ("comm with leaders", 2, &["--processes-per-worker", "2"]);
const POOL: Way = ("pool", 1, &["--mode", "pool", "--workers", "2", "--oversubscribe"]);
const POOL_LEADERS: Way = (
    "pool with leaders",
    1,
    &["--mode", "pool", "--workers", "1", "--processes-per-worker", "2", "--oversubscribe"],
);
const ALONE: Way = ("one leader, no launcher", 0, &["--processes-per-worker", "2"]);

/// Who dies in which mode; what becomes of a run that has begun, without and with the launcher's flag for recovery.
const ROWS: &[(Way, Who, Outcome, Outcome)] = {
    use Outcome::{Ends, GoesOn};
    &[
        (ALONE, Who::Child, GoesOn, GoesOn),
        (ALONE, Who::Rank0, Ends, Ends),
        (PROCESSES, Who::Worker, GoesOn, GoesOn),
        (PROCESSES, Who::Rank0, Ends, Ends),
        (LEADERS, Who::Child, GoesOn, GoesOn),
        (LEADERS, Who::Leader, Ends, GoesOn),
        (LEADERS, Who::Rank0, Ends, Ends),
        (COMM, Who::Worker, Ends, GoesOn),
        (COMM, Who::Rank0, Ends, Ends),
        (POOL_LEADERS, Who::Child, GoesOn, GoesOn),
        (POOL_LEADERS, Who::Leader, Ends, GoesOn),
        (POOL_LEADERS, Who::Rank0, Ends, Ends),
        (POOL, Who::Worker, Ends, GoesOn),
        (POOL, Who::Rank0, Ends, Ends),
    ]
};

/// A run that has not begun cannot go on without one of its ranks. A leader starts another child.
fn at_the_start(who: Who) -> Outcome {
    if who == Who::Child { Outcome::GoesOn } else { Outcome::Ends }
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub way: Way,
    pub who: Who,
    pub death: Death,
    pub moment: Moment,
    /// The launcher is told to let the other ranks live.
    pub recovery: bool,
    pub outcome: Outcome,
    /// Its place in the table.
    pub number: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Child => "a child",
            Who::Worker => "a worker",
            Who::Leader => "a leader",
            Who::Rank0 => "rank 0",
        };
        let flag = if self.recovery { ", with recovery" } else { "" };
        let (way, death, moment) = (self.way.0, self.death.name(), self.moment.name());
        write!(f, "{way}{flag}: {who} dies by {death} {moment}")
    }
}

impl Case {
    /// The process dies by its own hand, in a task of its own.
    pub fn is_of_a_task(&self) -> bool {
        self.moment == Moment::Task && matches!(self.who, Who::Child | Who::Worker)
    }
}

/// The cases for an MPI library, all or a sample: each row at each moment, by one death, with the flag or without. On
/// the libraries that come beside the system's, of what is no child's death the sample has what happens in a task.
pub fn cases(stack: Stack, everything: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (row, (way, who, plain, recovering)) in ROWS.iter().enumerate() {
        for (column, moment) in Moment::ALL.into_iter().enumerate() {
            for recovery in [false, true] {
                if recovery && (way.1 == 0 || stack.survive().is_none()) {
                    continue;
                }
                let outcome = if moment == Moment::Starting {
                    at_the_start(*who)
                } else if recovery {
                    *recovering
                } else {
                    *plain
                };
                let case = Case {
                    way: *way,
                    who: *who,
                    death: Death::Kill,
                    moment,
                    recovery,
                    outcome,
                    number: cases.len(),
                };
                let deaths: &[Death] = if case.is_of_a_task() { &Death::ALL } else { &Death::SIGNALS };
                let sampled = (row + column) % deaths.len();
                for (k, death) in deaths.iter().enumerate() {
                    let number = cases.len();
                    cases.push((Case { death: *death, number, ..case }, k == sampled, row + column));
                }
            }
        }
    }
    // Of cases with and without the flag the sample has every second one.
    let both = |case: &Case| case.way.1 > 0 && stack.survive().is_some();
    cases
        .into_iter()
        .filter(|(case, sampled, place)| {
            let here = stack == Stack::OpenMpi4 || case.who == Who::Child || case.moment == Moment::Task;
            everything || *sampled && here && (!both(case) || case.recovery == (place % 2 == 0))
        })
        .map(|(case, ..)| case)
        .collect()
}
