//! Counts words by map and reduce: each task counts the words of one line, then the counts are merged.
//! Run it with `cargo run --example word_count`, or `mpiexec -n 3 target/debug/examples/word_count`.

use std::{cmp::Reverse, collections::BTreeMap};

use rankpool::{Error, Executor};

const TEXT: &str = "\
How much wood would a woodchuck chuck
if a woodchuck could chuck wood?
He would chuck, he would, as much as he could,
and chuck as much wood as a woodchuck would
if a woodchuck could chuck wood.";

type Counts = BTreeMap<String, u64>;

fn count(line: String) -> Counts {
    let mut counts = Counts::new();
    for word in line.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn merge(mut left: Counts, right: Counts) -> Counts {
    for (word, count) in right {
        *left.entry(word).or_default() += count;
    }
    left
}

fn main() -> Result<(), Error> {
    let pool = Executor::builder().from_env().start()?;

    let counts = pool.map_reduce(count, merge, TEXT.lines().map(String::from))?.unwrap_or_default();
    println!("{} words, {} distinct", counts.values().sum::<u64>(), counts.len());
    let mut ranking: Vec<_> = counts.into_iter().collect();
    ranking.sort_by_key(|(_, count)| Reverse(*count));
    for (word, count) in ranking.iter().take(5) {
        println!("{count} {word}");
    }
    pool.shutdown()
}
