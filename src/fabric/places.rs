//! Which ranks may use the same CPUs of the same host, and which of these each is: leaders share the CPUs out.

use std::collections::BTreeMap;

/// The ranks by their host and the CPUs that they may use, each at its place.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<(String, Vec<u32>), Vec<Option<u32>>>);

impl Places {
    /// A rank is there; it takes the first place that is free.
    pub(super) fn take(&mut self, rank: u32, host: &str, cpus: &[u32]) {
        let places = self.0.entry((host.to_string(), cpus.to_vec())).or_default();
        match places.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(rank),
            None => places.push(Some(rank)),
        }
    }

    /// A rank is gone: its place is free.
    pub(super) fn leave(&mut self, rank: u32) {
        let all = self.0.values_mut().flatten();
        all.filter(|place| **place == Some(rank)).for_each(|place| *place = None);
    }

    /// The place of a rank, and how many there are beside it.
    pub(super) fn of(&self, rank: u32) -> (u32, u32) {
        let found = self.0.values().find_map(|places| {
            let place = places.iter().position(|place| *place == Some(rank))?;
            Some((place as u32, places.len() as u32))
        });
        found.unwrap_or((0, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_that_comes_for_a_lost_one_takes_its_place() {
        let mut places = Places::default();
        places.take(0, "a", &[0, 1]);
        places.take(1, "a", &[0, 1]);
        places.take(2, "b", &[0, 1]);
        places.take(3, "a", &[2]);
        assert_eq!([0, 1, 2, 3, 9].map(|rank| places.of(rank)), [(0, 2), (1, 2), (0, 1), (0, 1), (0, 1)]);
        places.leave(0);
        places.take(4, "a", &[0, 1]);
        assert_eq!((places.of(4), places.of(1)), ((0, 2), (1, 2)));
    }
}
