//! What a journal belongs to: a run that goes on from it must be the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{launch, store::now};

/// What a journal is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    #[serde(flatten)]
    pub(crate) subject: Subject,
    pub(crate) seed: u64,
    /// How many tasks there are, where that is known.
    pub(crate) tasks: Option<u64>,
    /// A name for this run, and no other.
    pub(crate) run: String,
    pub(crate) version: String,
    /// When the run began, in seconds since 1970.
    pub(crate) began: f64,
}

/// Whose outcomes they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Subject {
    /// A job's; `row` is the type of a row.
    Job { job: String, parameters: Value, row: Value },
    /// Those of a map of a user's program, with the types of its items and values.
    Map { label: Option<String>, items: String, values: String },
}

const COUNT: &str = "item count";

impl Identity {
    /// What the journal of a run that begins now is of.
    pub(crate) fn new(subject: Subject, seed: u64, tasks: Option<u64>) -> Identity {
        let random = launch::random_token().unwrap_or_default();
        let run = random[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        Identity { subject, seed, tasks, run, version: env!("CARGO_PKG_VERSION").into(), began: now() }
    }

    /// What this run asks for that differs from what the journal is of.
    pub(crate) fn difference(&self, journal: &Identity) -> Option<String> {
        let Some(mut facts) = self.subject.beside(&journal.subject) else {
            return Some(format!("it is of {}, and this is {}", journal.subject.kind(), self.subject.kind()));
        };
        facts.push(("seed", journal.seed.to_string(), self.seed.to_string()));
        // The iterator of a map may tell its length in one run, and not in another.
        if !self.is_map() || (self.tasks.is_some() && journal.tasks.is_some()) {
            facts.push((COUNT, number(journal.tasks), number(self.tasks)));
        }
        let (what, before, now) = facts.into_iter().find(|(_, before, now)| before != now)?;
        Some(self.differ(what, &before, &now))
    }

    /// Both values of something that is not the same.
    fn differ(&self, what: &str, before: &str, now: &str) -> String {
        let this = if self.is_map() { "call" } else { "run" };
        format!("it is of {what} {before}, and this {this} has {what} {now}")
    }

    /// What is said when the number of tasks turns out to be another one.
    pub(crate) fn counts(&self, before: &str, now: &str) -> String {
        format!("{}; {}", self.differ(COUNT, before, now), self.way_on())
    }

    fn is_map(&self) -> bool {
        matches!(self.subject, Subject::Map { .. })
    }

    /// What the user can do about a journal that is of something else.
    pub(super) fn way_on(&self) -> &'static str {
        match self.is_map() {
            true => "name another file, or remove this one to run all tasks anew",
            false => "--force starts anew",
        }
    }
}

fn number(tasks: Option<u64>) -> String {
    tasks.map_or("an unknown number".into(), |tasks| tasks.to_string())
}

/// The name of something, what the journal has there, and what this run has.
type Fact = (&'static str, String, String);

impl Subject {
    /// The facts by which two subjects of one kind are compared; `None` for subjects of two kinds.
    fn beside(&self, journal: &Subject) -> Option<Vec<Fact>> {
        match (journal, self) {
            (
                Subject::Job { job, parameters, row },
                Subject::Job { job: asked, parameters: given, row: other },
            ) => {
                let [before, now] = differing([parameters, given]);
                Some(vec![
                    ("job", job.clone(), asked.clone()),
                    ("parameters", before.to_string(), now.to_string()),
                    ("row type", row.to_string(), other.to_string()),
                ])
            }
            (
                Subject::Map { label, items, values },
                Subject::Map { label: asked, items: given, values: other },
            ) => {
                let name = |label: &Option<String>| {
                    label.as_ref().map_or("(none)".into(), |label| format!("{label:?}"))
                };
                Some(vec![
                    ("label", name(label), name(asked)),
                    ("item type", items.clone(), given.clone()),
                    ("value type", values.clone(), other.clone()),
                ])
            }
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> String {
        match self {
            Subject::Job { job, .. } => format!("a run of the job {job}"),
            Subject::Map { label: Some(label), .. } => format!("a map with the label {label:?}"),
            Subject::Map { label: None, .. } => "a map without a label".into(),
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
