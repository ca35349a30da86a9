//! Failed attempts, by what they say.

use std::collections::{HashMap, HashSet};

use crate::{
    cli::failures::{Failures, pattern},
    store::file::ErrorEntry,
};

/// Messages that are told one by one.
const TOLD: usize = 12;
/// The others are summed up by what they begin with, in so many lines.
const SUMMED_UP: usize = 3;
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

/// The groups, largest first, and lines that sum up the attempts that are in none of them.
pub(super) fn by_message(attempts: &[ErrorEntry]) -> (Vec<Group>, Vec<String>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<(&str, String), usize> = HashMap::new();
    let mut places = Vec::new();
    for attempt in attempts {
        let place = *known.entry((attempt.kind.as_str(), pattern(&attempt.message))).or_insert_with(|| {
            let message = attempt.message.chars().take(CHARS).collect();
            groups.push(Group { kind: attempt.kind.clone(), message, attempts: 0, tasks: Vec::new() });
            groups.len() - 1
        });
        places.push(place);
        let group = &mut groups[place];
        group.attempts += 1;
        if group.tasks.len() < NAMED && !group.tasks.contains(&attempt.task) {
            group.tasks.push(attempt.task);
        }
    }
    let mut groups: Vec<(usize, Group)> = groups.into_iter().enumerate().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.attempts));
    let others: HashSet<usize> = groups.iter().skip(TOLD).map(|(place, _)| *place).collect();
    let mut summed_up = Failures::default();
    for (attempt, _) in attempts.iter().zip(&places).filter(|(_, place)| others.contains(place)) {
        summed_up.add_message(&attempt.message, attempt.task);
    }
    groups.truncate(TOLD);
    (groups.into_iter().map(|(_, group)| group).collect(), summed_up.lines(SUMMED_UP))
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
            attempts.push(entry(60, "failed", format!("cannot open {letter}")));
        }
        let (groups, others) = by_message(&attempts);
        assert_eq!(groups.len(), TOLD);
        assert_eq!((groups[0].attempts, &groups[0].tasks[..]), (50, &[0, 1, 2, 3, 4][..]));
        assert_eq!(groups[0].message, "x = 0 is bad");
        let told: usize = groups.iter().map(|group| group.attempts).sum();
        let number = |line: &String| line.split(' ').next().unwrap().parse::<usize>().unwrap();
        assert_eq!(told + others.iter().map(number).sum::<usize>(), attempts.len());
        assert!(others.iter().all(|line| line.contains("cannot open")), "{others:?}");
    }
}
