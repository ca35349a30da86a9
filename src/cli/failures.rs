//! The failures of a run, summed up by what they say: alike messages are one line, and those that differ only in their
//! ends are one line with their common beginning.

use std::collections::BTreeMap;

use crate::error::TaskError;

/// A message is cut to so many characters.
const MESSAGE_CHARS: usize = 160;
/// Messages that are kept apart; with more than that, those with a common beginning become one.
const MESSAGES: usize = 256;
/// A common beginning of fewer characters says nothing.
const LEAST_CHARS: usize = 8;
/// The tasks that are named with a message.
const NAMED: usize = 5;

/// Failures so far: how many, and how many of each message.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u64,
    by_message: BTreeMap<String, Alike>,
}

/// Failures with the same message, or with the same beginning of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Alike {
    count: u64,
    /// The first tasks that had it.
    tasks: Vec<u64>,
    /// The key is the beginning of different messages.
    is_beginning: bool,
}

impl Alike {
    fn add(&mut self, other: &Alike) {
        self.count += other.count;
        self.tasks.extend_from_slice(&other.tasks);
        self.tasks.sort_unstable();
        self.tasks.truncate(NAMED);
    }
}

impl Failures {
    /// Takes one in; returns how many there are now.
    pub(super) fn add(&mut self, error: &TaskError) -> u64 {
        self.add_message(error.message(), error.index())
    }

    pub(super) fn add_message(&mut self, message: &str, task: u64) -> u64 {
        self.count += 1;
        let message: String = message.chars().take(MESSAGE_CHARS).collect();
        let one = Alike { count: 1, tasks: vec![task], is_beginning: false };
        // A beginning that is known stands before all that begins with it.
        let known = self.by_message.range_mut(..=message.clone()).next_back();
        match known.filter(|(key, alike)| **key == message || alike.is_beginning && message.starts_with(*key))
        {
            Some((_, alike)) => alike.add(&one),
            None => drop(self.by_message.insert(message, one)),
        }
        if self.by_message.len() > MESSAGES {
            self.by_message = shortened(&self.by_message, MESSAGES / 2);
        }
        self.count
    }

    /// A line for each of at most `most` kinds of failures, the most frequent first.
    pub(super) fn lines(&self, most: usize) -> Vec<String> {
        let mut shown = self.by_message.clone();
        if shown.len() > most {
            shown = without_numbers(&shown);
        }
        if shown.len() > most {
            shown = shortened(&shown, most);
        }
        let mut shown: Vec<(&String, &Alike)> = shown.iter().collect();
        shown.sort_by_key(|(_, alike)| std::cmp::Reverse(alike.count));
        let line = |(message, alike): &(&String, &Alike)| {
            let tasks: Vec<String> = alike.tasks.iter().map(u64::to_string).collect();
            let more = if alike.count > alike.tasks.len() as u64 { ", ..." } else { "" };
            let text = match (alike.is_beginning, message.is_empty()) {
                (true, true) => "different messages".to_string(),
                (true, false) => format!("{message}..."),
                (false, _) => message.to_string(),
            };
            format!("{} failed (task {}{more}): {text}", alike.count, tasks.join(", "))
        };
        shown.iter().map(line).collect()
    }
}

/// Messages that differ in numbers alone become one.
fn without_numbers(messages: &BTreeMap<String, Alike>) -> BTreeMap<String, Alike> {
    let mut alike: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    messages.keys().for_each(|message| alike.entry(pattern(message)).or_default().push(message));
    let one = |(pattern, group): (String, Vec<&String>)| {
        let mut all = Alike::default();
        for message in &group {
            all.add(&messages[*message]);
            all.is_beginning |= messages[*message].is_beginning;
        }
        (if let [message] = group[..] { message.clone() } else { pattern }, all)
    };
    alike.into_iter().map(one).collect()
}

/// The message with one sign in the place of each number.
pub(super) fn pattern(message: &str) -> String {
    let mut pattern = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '0'..='9' if pattern.ends_with('#') => {}
            '0'..='9' => pattern.push('#'),
            c => pattern.push(c),
        }
    }
    pattern
}

/// At most `most` entries: neighbours in the alphabet become one, those with the longest common beginning first.
fn shortened(messages: &BTreeMap<String, Alike>, most: usize) -> BTreeMap<String, Alike> {
    let keys: Vec<&String> = messages.keys().collect();
    let common: Vec<usize> = keys.windows(2).map(|pair| common_beginning(pair[0], pair[1]).len()).collect();
    // Cut at the shortest common beginnings: what is between two cuts becomes one entry.
    let mut by_length: Vec<usize> = (0..common.len()).collect();
    by_length.sort_by_key(|place| common[*place]);
    let mut cuts: Vec<usize> = by_length.into_iter().take(most.max(1) - 1).collect();
    cuts.sort_unstable();
    let mut shorter = BTreeMap::new();
    let mut first = 0;
    for cut in cuts.into_iter().chain([keys.len() - 1]) {
        let group = &keys[first..=cut];
        first = cut + 1;
        let mut all = Alike::default();
        group.iter().for_each(|key| all.add(&messages[*key]));
        let key = common_beginning(group[0], group[group.len() - 1]);
        all.is_beginning = group.len() > 1 || messages[group[0]].is_beginning;
        let says_something = group.len() == 1 || key.chars().count() >= LEAST_CHARS;
        let key = if says_something { key.to_string() } else { String::new() };
        let entry: &mut Alike = shorter.entry(key).or_default();
        entry.add(&all);
        entry.is_beginning |= all.is_beginning;
    }
    shorter
}

/// What both begin with; of two different texts up to the end of a word, if one ends there.
fn common_beginning<'t>(one: &'t str, other: &str) -> &'t str {
    if one == other {
        return one;
    }
    let alike = one.char_indices().zip(other.chars()).find(|((_, one), other)| one != other);
    let end = alike.map_or(one.len().min(other.len()), |((place, _), _)| place);
    one[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(messages: impl IntoIterator<Item = String>) -> Failures {
        let mut failures = Failures::default();
        for (task, message) in messages.into_iter().enumerate() {
            failures.add_message(&message, task as u64);
        }
        failures
    }

    #[test]
    fn alike_messages_are_one_line_with_their_first_tasks() {
        let failures =
            failures((0..12).map(|task| if task % 4 == 0 { "odd" } else { "too long" }.to_string()));
        assert_eq!(
            failures.lines(5),
            ["9 failed (task 1, 2, 3, 5, 6, ...): too long", "3 failed (task 0, 4, 8): odd"]
        );
    }

    #[test]
    fn messages_that_differ_in_numbers_are_one_line() {
        let failures = failures((0..60).map(|task| match task % 2 {
            0 => format!("cannot open run-{task:04}.dat: no such file"),
            _ => format!("step {task} of 60 went wrong"),
        }));
        let mut lines = failures.lines(5);
        lines.sort();
        assert_eq!(
            lines,
            [
                "30 failed (task 0, 2, 4, 6, 8, ...): cannot open run-#.dat: no such file",
                "30 failed (task 1, 3, 5, 7, 9, ...): step # of # went wrong"
            ]
        );
    }

    #[test]
    fn messages_that_differ_in_their_ends_have_their_common_beginning() {
        let name = |task: u64| -> String {
            task.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
        };
        let failures = failures((0..1000).map(|task| match task % 2 {
            0 => format!("cannot open run-{}.dat: no such file", name(task)),
            _ => format!("the integral of {} diverges", name(task)),
        }));
        let lines = failures.lines(5);
        assert!(lines.len() <= 5, "{lines:#?}");
        assert!(
            lines.iter().all(|line| line.contains("cannot open run-") || line.contains("the integral of"))
        );
        let told: u64 =
            lines.iter().map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(told, 1000);
    }

    #[test]
    fn messages_with_nothing_in_common_are_counted_together() {
        let failures = failures((0..10u8).map(|task| format!("{}{task}", char::from(b'a' + task))));
        let lines = failures.lines(1);
        assert_eq!(lines, ["10 failed (task 0, 1, 2, 3, 4, ...): different messages"]);
    }

    #[test]
    fn memory_stays_bounded_and_no_failure_is_lost() {
        let failures =
            failures((0..20_000u64).map(|task| format!("{:016x}", task.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        assert!(failures.by_message.len() <= MESSAGES);
        assert_eq!(failures.by_message.values().map(|alike| alike.count).sum::<u64>(), 20_000);
        assert_eq!(failures.count, 20_000);
    }
}
