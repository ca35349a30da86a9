//! Where the time of the slots went.

use super::lanes::{Lane, State};

/// Seconds of all slots together; they add up to the slots' time.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Account {
    pub(super) running: f64,
    /// In chunks that came to nothing, with the worker.
    pub(super) lost: f64,
    /// Before a slot's first chunk.
    pub(super) start: f64,
    /// Between two chunks of a slot: nothing was dispatched to it.
    pub(super) rank_0: f64,
    /// Between two chunks of a slot: a chunk was on its way.
    pub(super) way: f64,
    /// After a slot's last chunk.
    pub(super) end: f64,
    /// Slots that ran nothing.
    pub(super) unused: f64,
}

impl Account {
    pub(super) fn of(lanes: &[Lane], wall: f64, slots: f64) -> Account {
        let mut account = Account::default();
        for lane in lanes {
            let mut free_from = None;
            for bar in &lane.bars {
                match free_from {
                    None => account.start += bar.started,
                    Some(free_from) => {
                        let dispatched = bar.dispatched.min(bar.started).max(free_from);
                        account.rank_0 += dispatched - free_from;
                        account.way += bar.started - dispatched;
                    }
                }
                match bar.state {
                    State::Lost => account.lost += bar.seconds(),
                    _ => account.running += bar.seconds(),
                }
                free_from = Some(bar.ended);
            }
            account.end += free_from.map_or(0.0, |free_from| (wall - free_from).max(0.0));
        }
        account.unused = (slots - lanes.len() as f64).max(0.0) * wall;
        account
    }

    /// What is told: names, what they mean, and seconds.
    pub(super) fn parts(&self) -> [(&'static str, &'static str, f64); 7] {
        [
            ("running", "in tasks", self.running),
            ("lost", "in chunks whose worker was lost", self.lost),
            ("start", "before a slot's first chunk", self.start),
            ("rank 0", "between chunks, nothing was dispatched", self.rank_0),
            ("on its way", "between chunks, the next one was dispatched", self.way),
            ("end", "after a slot's last chunk", self.end),
            ("unused", "slots that ran nothing", self.unused),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::lanes::Bar;

    #[test]
    fn the_parts_add_up_to_the_time_of_the_slots() {
        let bar =
            |dispatched, started, ended, state| Bar { dispatched, started, ended, first: 0, count: 1, state };
        let bars = vec![
            bar(0.5, 1.0, 3.0, State::Done),
            // Sent ahead.
            bar(2.0, 3.0, 4.0, State::Done),
            bar(4.5, 5.0, 7.0, State::Failed),
            bar(7.0, 7.0, 8.0, State::Lost),
        ];
        let account = Account::of(&[Lane { name: String::new(), bars }], 10.0, 2.0);
        let expected =
            Account { running: 5.0, lost: 1.0, start: 1.0, rank_0: 0.5, way: 0.5, end: 2.0, unused: 10.0 };
        assert_eq!(account, expected);
        assert_eq!(account.parts().iter().map(|part| part.2).sum::<f64>(), 20.0);
    }
}
