//! A run of a job, from its items to its report.

use std::time::{Duration, Instant};

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::Job;
use crate::{
    error::{Error, TaskError},
    executor::Executor,
    scheduler::Chunk,
    wire::encode_into,
};

/// How a job is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) chunk: Chunk,
    pub(crate) retries: u16,
    pub(crate) task_timeout: Option<Duration>,
    pub(crate) seed: u64,
}

/// What came of a run. The fields and their names are part of the command line's promise.
#[derive(Debug, Serialize)]
pub(crate) struct Report<S> {
    pub(crate) job: &'static str,
    pub(crate) mode: String,
    /// Processes: rank 0 and its workers.
    pub(crate) ranks: usize,
    pub(crate) workers: usize,
    pub(crate) tasks: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) wall_s: f64,
    pub(crate) tasks_per_s: f64,
    pub(crate) chunk: String,
    pub(crate) seed: u64,
    /// A hash of the outcomes in order: equal for equal results, in any mode.
    pub(crate) results_digest: String,
    pub(crate) summary: S,
}

/// Runs the job; each failure is given to `on_failure` as it comes in its turn.
///
/// # Errors
/// When the job cannot be run or summed up; failed tasks are counted in the report.
pub(crate) fn run<J: Job>(
    job: &J,
    pool: &Executor,
    options: &Options,
    expect: impl FnOnce(Option<u64>),
    mut on_failure: impl FnMut(&TaskError),
) -> Result<Report<J::Summary>, Error> {
    let began = Instant::now();
    let items = job.items()?;
    let (least, most) = items.size_hint();
    expect(most.filter(|most| *most == least).map(|most| most as u64));
    let mut call = pool
        .try_call_with(job, J::task)
        .label(J::NAME)
        .chunk(options.chunk)
        .retries(options.retries)
        .seed(options.seed)
        .keep_going();
    if let Some(limit) = options.task_timeout {
        call = call.task_timeout(limit);
    }
    let mut stream = call.stream(items)?;
    let mut digest = Digest::default();
    let (mut done, mut failed) = (0u64, 0u64);
    let mut broken = None;
    let mut results = std::iter::from_fn(|| {
        loop {
            let index = done + failed;
            match stream.next()? {
                Ok(output) => {
                    done += 1;
                    digest.result(&output);
                    return Some((index, output));
                }
                Err(error) => match error.task() {
                    Some(task) => {
                        failed += 1;
                        digest.failure(index);
                        on_failure(task);
                    }
                    None => {
                        broken = Some(error);
                        return None;
                    }
                },
            }
        }
    });
    let summary = job.summary(&mut results)?;
    // A summary that stops early does not stop the run.
    results.for_each(drop);
    if let Some(error) = broken {
        return Err(error);
    }
    let wall_s = began.elapsed().as_secs_f64();
    let mut processes: Vec<(&str, u32)> =
        pool.workers().iter().map(|worker| (worker.host.as_str(), worker.pid)).collect();
    processes.push((&crate::launch::here().host, std::process::id()));
    processes.sort_unstable();
    processes.dedup();
    Ok(Report {
        job: J::NAME,
        mode: pool.mode().to_string(),
        ranks: processes.len(),
        workers: pool.num_workers(),
        tasks: done + failed,
        done,
        failed,
        wall_s,
        tasks_per_s: (done + failed) as f64 / wall_s.max(1e-9),
        chunk: options.chunk.to_string(),
        seed: options.seed,
        results_digest: digest.finish(),
        summary,
    })
}

/// A hash of outcomes in order, over their encodings.
#[derive(Default)]
struct Digest {
    hash: Xxh3,
    buffer: Vec<u8>,
}

impl Digest {
    fn result<T: Serialize>(&mut self, output: &T) {
        self.buffer.clear();
        self.buffer.push(1);
        // It was decoded a moment ago; a type that cannot go back counts as empty.
        let _ = encode_into(output, &mut self.buffer);
        self.hash.update(&self.buffer);
    }

    fn failure(&mut self, index: u64) {
        self.hash.update(&[0]);
        self.hash.update(&index.to_le_bytes());
    }

    fn finish(&self) -> String {
        format!("xxh3-{:032x}", self.hash.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(outcomes: &[Option<f64>]) -> String {
        let mut digest = Digest::default();
        for (index, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Some(value) => digest.result(value),
                None => digest.failure(index as u64),
            }
        }
        digest.finish()
    }

    #[test]
    fn the_digest_tells_values_order_and_failures_apart() {
        let all = [
            digest(&[Some(1.0), Some(2.0)]),
            digest(&[Some(2.0), Some(1.0)]),
            digest(&[Some(1.0), None]),
            digest(&[None, Some(1.0)]),
            digest(&[Some(1.0)]),
        ];
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(digest(&[Some(1.0)]), all[4]);
    }
}
