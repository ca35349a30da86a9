//! Failed attempts, by what they say.

use std::collections::HashMap;

use crate::{cli::failures::pattern, store::file::ErrorEntry};

/// Messages that are told; of the rest only how many there are.
const TOLD: usize = 12;
/// Tasks that are named for each.
const NAMED: usize = 5;
/// Characters of a message.
const CHARS: usize = 400;

/// Attempts that failed alike: their messages differ in numbers alone.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) kind: String,
    /// The message of the first.
    pub(super) message: String,
    pub(super) attempts: usize,
    /// The first tasks that it happened to.
    pub(super) tasks: Vec<u64>,
}

/// The groups, largest first, and how many attempts are in none of them.
pub(super) fn by_message(attempts: &[ErrorEntry]) -> (Vec<Group>, usize) {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<(&str, String), usize> = HashMap::new();
    for attempt in attempts {
        let at = *known.entry((attempt.kind.as_str(), pattern(&attempt.message))).or_insert_with(|| {
            let message = attempt.message.chars().take(CHARS).collect();
            groups.push(Group { kind: attempt.kind.clone(), message, attempts: 0, tasks: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.attempts += 1;
        if group.tasks.len() < NAMED && !group.tasks.contains(&attempt.task) {
            group.tasks.push(attempt.task);
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.attempts));
    let rest = groups.iter().skip(TOLD).map(|group| group.attempts).sum();
    groups.truncate(TOLD);
    (groups, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_differ_in_numbers_are_one_group() {
        let entry = |task: u64, kind: &str, message: String| ErrorEntry {
            task,
            attempt: 1,
            kind: kind.into(),
            rank: 1,
            host: "n".into(),
            message,
        };
        let mut attempts: Vec<ErrorEntry> =
            (0..50).map(|task| entry(task, "failed", format!("x = {task} is bad"))).collect();
        attempts.push(entry(7, "panicked", "x = 7 is bad".into()));
        for letter in 'a'..='z' {
            attempts.push(entry(60, "failed", letter.to_string()));
        }
        let (groups, rest) = by_message(&attempts);
        assert_eq!(groups.len(), TOLD);
        assert_eq!((groups[0].attempts, &groups[0].tasks[..]), (50, &[0, 1, 2, 3, 4][..]));
        assert_eq!(groups[0].message, "x = 0 is bad");
        let told: usize = groups.iter().map(|group| group.attempts).sum();
        assert_eq!(told + rest, attempts.len());
    }
}
