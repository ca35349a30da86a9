//! What a journal is of: a run that goes on from it must be the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a journal is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) job: String,
    pub(crate) parameters: Value,
    pub(crate) seed: u64,
    /// How many tasks there are, where the job can tell before it runs them.
    pub(crate) tasks: Option<u64>,
    /// The type of a row.
    pub(crate) row: Value,
    /// A name for this run, and no other.
    pub(crate) run: String,
    pub(crate) version: String,
    /// When the run began, in seconds since 1970.
    pub(crate) began: f64,
}

impl Identity {
    /// What this run asks for that differs from what the journal is of.
    pub(crate) fn difference(&self, journal: &Identity) -> Option<String> {
        let differ = |what: &str, journal: &dyn std::fmt::Display, asked: &dyn std::fmt::Display| {
            Some(format!("it is of {what} {journal}, and this run has {what} {asked}"))
        };
        let tasks = |tasks: Option<u64>| tasks.map_or("an unknown number".into(), |tasks| tasks.to_string());
        if self.job != journal.job {
            differ("job", &journal.job, &self.job)
        } else if self.parameters != journal.parameters {
            let [before, now] = differing([&journal.parameters, &self.parameters]);
            differ("parameters", &before, &now)
        } else if self.seed != journal.seed {
            differ("seed", &journal.seed, &self.seed)
        } else if self.row != journal.row {
            differ("row type", &journal.row, &self.row)
        } else if self.tasks != journal.tasks {
            differ("item count", &tasks(journal.tasks), &tasks(self.tasks))
        } else {
            None
        }
    }
}

/// What two values do not have in common: of objects, the members that differ.
fn differing([one, other]: [&Value; 2]) -> [Value; 2] {
    let (Value::Object(fields), Value::Object(others)) = (one, other) else {
        return [one.clone(), other.clone()];
    };
    let mut found = [Map::new(), Map::new()];
    let names = fields.keys().chain(others.keys().filter(|name| !fields.contains_key(*name)));
    for name in names.filter(|name| fields.get(*name) != others.get(*name)) {
        match (fields.get(name), others.get(name)) {
            (Some(one), Some(other)) => {
                let parts = differing([one, other]);
                found.iter_mut().zip(parts).for_each(|(found, part)| drop(found.insert(name.clone(), part)));
            }
            (one, other) => {
                let parts = [one, other];
                found.iter_mut().zip(parts).for_each(|(found, part)| {
                    found.extend(part.map(|part| (name.clone(), part.clone())));
                });
            }
        }
    }
    found.map(Value::Object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_parameters_only_what_differs_is_told() {
        let one = json!({"n": 1, "inputs": {"grid": ["x=0:1"], "null": false}, "old": 3});
        let other = json!({"n": 1, "inputs": {"grid": ["x=0:2"], "null": false}, "new": 4});
        let [before, now] = differing([&one, &other]);
        assert_eq!(before, json!({"inputs": {"grid": ["x=0:1"]}, "old": 3}));
        assert_eq!(now, json!({"inputs": {"grid": ["x=0:2"]}, "new": 4}));
    }
}
