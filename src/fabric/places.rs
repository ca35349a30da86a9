//! Which ranks may use the same CPUs or GPUs of a host, and the place of each among them: leaders divide CPUs and GPUs
//! by it.

use std::collections::BTreeMap;

use crate::wire::Place;

/// The ranks by their host and what they may use of it, each at its place.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<(String, String), Vec<Option<u32>>>);

impl Places {
    /// A rank is there; it takes the first place that is free.
    pub(super) fn take(&mut self, rank: u32, host: &str, what: &str) {
        let places = self.0.entry((host.to_string(), what.to_string())).or_default();
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

    pub(super) fn of(&self, rank: u32) -> Place {
        let found = self.0.values().find_map(|places| {
            let number = places.iter().position(|place| *place == Some(rank))?;
            Some(Place { number: number as u32, of: places.len() as u32 })
        });
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_that_comes_for_a_lost_one_takes_its_place() {
        let mut places = Places::default();
        places.take(0, "a", "0-1");
        places.take(1, "a", "0-1");
        places.take(2, "b", "0-1");
        places.take(3, "a", "2");
        let of = |places: &Places, rank| {
            let Place { number, of } = places.of(rank);
            (number, of)
        };
        assert_eq!([0, 1, 2, 3, 9].map(|rank| of(&places, rank)), [(0, 2), (1, 2), (0, 1), (0, 1), (0, 1)]);
        places.leave(0);
        places.take(4, "a", "0-1");
        assert_eq!((of(&places, 4), of(&places, 1)), ((0, 2), (1, 2)));
    }
}
