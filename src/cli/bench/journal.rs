//! The cost of the journal: a job of empty tasks, with a journal and without.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    Job,
    error::{Error, TaskError},
    executor::{CallOptions, Executor},
    job::{self, Keep, Options, Ui},
    paths::Named,
};

#[derive(Serialize, Deserialize)]
struct Same {
    tasks: u64,
}

impl Job for Same {
    const NAME: &'static str = "bench";
    type Item = u64;
    type Output = u64;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..self.tasks)
    }

    fn task(&self, item: u64) -> Result<u64, Box<dyn std::error::Error>> {
        Ok(item)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<u64, Error> {
        Ok(results.fold(0, |sum, (_, result)| sum ^ result))
    }
}

/// Nobody is told of the tasks.
struct Silent;

impl Ui for Silent {
    fn expect(&self, _: Option<u64>, _: u64) {}
    fn failed(&self, _: &TaskError) {}
    fn say(&self, _: &str) {}
    fn before_stop(&self, _: Box<dyn Fn() + Send>) {}
}

/// How long a job of so many tasks takes, with a journal in `folder` or without.
pub(super) fn time_of_job(pool: &Executor, tasks: u64, folder: Option<&Path>) -> Result<Duration, Error> {
    let file = folder.map(|folder| folder.join(format!("rankpool-bench-{}.journal", std::process::id())));
    let options = Options {
        call: CallOptions::default(),
        halt: None,
        seed: 0,
        events: None,
        logs: None,
        streams: Default::default(),
        keep: Keep { journal: file.as_ref().map(Named::new), ..Keep::default() },
    };
    let began = Instant::now();
    let run = job::run(&Same { tasks }, pool, &options, &Silent);
    let took = began.elapsed();
    if let Some(file) = file {
        // It may have gone with the end of the run.
        let _ = fs::remove_file(file);
    }
    run.map(|_| took)
}
