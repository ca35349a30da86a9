//! `rankpool simulate`

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use super::{
    examples, out, plot,
    values::{chunk, count_from_1, duration},
    variables::unreadable,
};
use crate::{
    error::Error,
    paths::{Draft, Named},
    scheduler::Chunk,
    simulate::{Outcome, Setting, Spread, nanos, readable, scheduler_cost, simulate},
};

/// More workers would not fit into the memory of a usual machine.
const MOST_WORKERS: u64 = 10_000_000;

#[derive(Args, Clone, Debug)]
struct Flags {
    /// How many workers, as in 1000 or 1e6; several numbers are simulated one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = workers, required = true)]
    workers: Vec<u32>,
    /// How many tasks, as in 1000000 or 1e6
    #[arg(long, value_name = "N", value_parser = whole, required = true)]
    tasks: u64,
    /// How long tasks take: constant:10ms, uniform:LEAST,MOST, exponential:MEAN, lognormal:MEAN,SIGMA,
    /// pareto:MEAN,EXPONENT, ramp:FIRST,LAST, or slow:TIME,FACTOR where each third worker is slow; may be repeated
    #[arg(long, value_name = "TIME", required = true)]
    time: Vec<Spread>,
    /// How long a message is on its way
    #[arg(long, value_name = "TIME", default_value = "1.5us", value_parser = time)]
    latency: f64,
    /// What a chunk costs rank 0, and a leader: a time, or `measured` for the scheduler's own part of it on this machine
    #[arg(long, value_name = "TIME", default_value = "0.5us", value_parser = overhead)]
    overhead: Overhead,
    /// What a chunk costs its worker around the tasks
    #[arg(long, value_name = "TIME", default_value = "1us", value_parser = time)]
    worker_overhead: f64,
    /// Tasks for a worker at a time: auto, a number, static, guided or factoring; several are simulated one after the other
    #[arg(long, value_name = "CHUNK", value_delimiter = ',', default_value = "auto", value_parser = chunk)]
    chunk: Vec<Chunk>,
    /// Tasks that may be handed out beyond the first one that is not done; without it, as many as there are
    #[arg(long, value_name = "TASKS", value_parser = whole)]
    window: Option<u64>,
    /// Two levels: rank 0 schedules leaders, and each leader at most so many workers; 0 is one level
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0", value_parser = super::count::<u32>)]
    per_leader: Vec<u32>,
    /// How often a worker is lost, per hour
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    loss: f64,
    /// Seed of the task times: those of the job sleep with this seed
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = super::count::<u64>)]
    seed: u64,
    /// Print a JSON object for each setting, one a line
    #[arg(long)]
    json: bool,
    /// Draw the efficiency over the number of workers into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<Named>,
    /// Replace an existing plot
    #[arg(long, requires = "plot")]
    force: bool,
}

#[derive(Clone, Copy, Debug)]
enum Overhead {
    Nanos(f64),
    Measured,
}

/// More tasks than this are no run.
const MOST_TASKS: u64 = 1_000_000_000_000_000;

fn whole(text: &str) -> Result<u64, String> {
    match count_from_1(text)? {
        number if number <= MOST_TASKS => Ok(number),
        _ => Err(format!("at most {MOST_TASKS} can be simulated")),
    }
}

fn workers(text: &str) -> Result<u32, String> {
    let workers = whole(text)?;
    u32::try_from(workers)
        .ok()
        .filter(|_| workers <= MOST_WORKERS)
        .ok_or_else(|| format!("at most {MOST_WORKERS} workers can be simulated"))
}

fn time(text: &str) -> Result<f64, String> {
    let of_a_run = || duration(text).ok().map(|time| 1e9 * time.as_secs_f64());
    nanos(text).or_else(of_a_run).ok_or_else(|| "expected a time, as in 1.5us, 10ms or 90s".into())
}

fn overhead(text: &str) -> Result<Overhead, String> {
    if text == "measured" { Ok(Overhead::Measured) } else { time(text).map(Overhead::Nanos) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "expected how many times in an hour, as in 0.01".into())
}

pub(super) fn command() -> Command {
    Flags::augment_args(Command::new("simulate"))
        .about("Simulate a run: the scheduler of this program with any number of workers, in virtual time")
        .long_about(None)
        .after_help(examples::of(&[
            "PROGRAM simulate --workers 98304 --tasks 1e7 --time lognormal:10ms,1.5",
            "PROGRAM simulate --workers 64 --tasks 1e5 --time exponential:1ms --chunk 1,static,guided,factoring,auto",
            "PROGRAM simulate --workers 10,1000,100000 --tasks 1e7 --time constant:10ms --per-leader 0,128 --plot out.svg",
        ]))
}

pub(super) fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    let tag = std::process::id().to_string();
    let draft = flags.plot.as_ref().map(|plot| Draft::begin(plot, &tag, flags.force, "--force replaces it"));
    let draft = draft.transpose()?;
    let mut ran = Vec::new();
    for setting in settings(&flags) {
        let outcome = simulate(&setting);
        if flags.json {
            out::print(format!("{}\n", object(&setting, &outcome)).as_bytes())?;
        }
        ran.push((setting, outcome));
    }
    if !flags.json {
        out::tell(&match &ran[..] {
            [(setting, outcome)] => tell(setting, outcome),
            _ => table(&ran),
        })?;
    }
    if let Some(draft) = draft {
        plot::efficiency(draft, &ran)?;
    }
    let whole = ran.iter().all(|(setting, outcome)| outcome.done == setting.tasks);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each of the times with each number of workers, and so on.
fn settings(flags: &Flags) -> Vec<Setting> {
    let mut settings = Vec::new();
    for &spread in &flags.time {
        for &per_leader in &flags.per_leader {
            for &workers in &flags.workers {
                let overhead = match flags.overhead {
                    Overhead::Nanos(nanos) => nanos,
                    Overhead::Measured => scheduler_cost(workers),
                };
                settings.extend(flags.chunk.iter().map(|&chunk| Setting {
                    workers,
                    tasks: flags.tasks,
                    spread,
                    chunk,
                    window: flags.window.unwrap_or(u64::MAX),
                    latency: flags.latency,
                    overhead,
                    worker_overhead: flags.worker_overhead,
                    per_leader: (per_leader > 0).then_some(per_leader),
                    loss: flags.loss,
                    seed: flags.seed,
                }));
            }
        }
    }
    settings
}

fn object(setting: &Setting, outcome: &Outcome) -> Value {
    json!({
        "workers": setting.workers,
        "tasks": setting.tasks,
        "time": setting.spread.to_string(),
        "chunk": setting.chunk.to_string(),
        "window": (setting.window < u64::MAX).then_some(setting.window),
        "latency_s": setting.latency / 1e9,
        "overhead_s": setting.overhead / 1e9,
        "worker_overhead_s": setting.worker_overhead / 1e9,
        "per_leader": setting.per_leader,
        "loss": setting.loss,
        "seed": setting.seed,
        "done": outcome.done,
        "makespan_s": outcome.makespan / 1e9,
        "least_makespan_s": outcome.least() / 1e9,
        "tasks_per_s": outcome.rate(),
        "efficiency": outcome.efficiency(),
        "idle": outcome.idle(),
        "rank_0_load": outcome.rank_0 / outcome.makespan,
        "leader_load": setting.per_leader.map(|_| outcome.leader / outcome.makespan),
        "chunks": outcome.chunks,
        "leader_chunks": setting.per_leader.map(|_| outcome.leader_chunks),
        "revoked": outcome.revoked,
        "lost": outcome.lost,
    })
}

fn percent(part: f64) -> String {
    format!("{:.1}%", 100.0 * part)
}

fn tell(setting: &Setting, outcome: &Outcome) -> String {
    let leaders = setting.per_leader.map(|n| format!(" of {} leaders", setting.workers.div_ceil(n)));
    let mut text = format!(
        "{} workers{}: {} of {} tasks of {} done, chunk {}\n",
        setting.workers,
        leaders.unwrap_or_default(),
        outcome.done,
        setting.tasks,
        setting.spread,
        setting.chunk
    );
    let mut line = |name: &str, value: String| text += &format!("  {name:16} {value}\n");
    line("makespan", format!("{}, {:.0} tasks/s", readable(outcome.makespan), outcome.rate()));
    line(
        "at best",
        format!("{}; the longest task takes {}", readable(outcome.least()), readable(outcome.longest)),
    );
    line("efficiency", percent(outcome.efficiency()));
    line("idle", format!("{} of the workers' time", percent(outcome.idle())));
    let cost = readable(setting.overhead);
    let load = percent(outcome.rank_0 / outcome.makespan);
    line("rank 0", format!("{load} at work, with {cost} for a chunk"));
    let mean = |chunks: u64| outcome.done as f64 / chunks.max(1) as f64;
    line("chunks", format!("{}, of {:.1} tasks", outcome.chunks, mean(outcome.chunks)));
    if setting.per_leader.is_some() {
        line("busiest leader", format!("{} at work", percent(outcome.leader / outcome.makespan)));
        let chunks = outcome.leader_chunks;
        line("leaders' chunks", format!("{chunks}, of {:.1} tasks", mean(chunks)));
    }
    line("cut short", outcome.revoked.to_string());
    line("lost workers", outcome.lost.to_string());
    text
}

fn table(ran: &[(Setting, Outcome)]) -> String {
    let mut text = format!(
        "{:>9} {:>7} {:22} {:>9} {:>10} {:>10} {:>12} {:>10} {:>7} {:>7} {:>10} {:>6}\n",
        "workers",
        "leaders",
        "time",
        "chunk",
        "makespan",
        "at best",
        "tasks/s",
        "efficiency",
        "idle",
        "rank 0",
        "chunks",
        "lost"
    );
    for (setting, outcome) in ran {
        text += &format!(
            "{:>9} {:>7} {:22} {:>9} {:>10} {:>10} {:>12.0} {:>10} {:>7} {:>7} {:>10} {:>6}\n",
            setting.workers,
            setting.per_leader.map_or("-".into(), |n| setting.workers.div_ceil(n).to_string()),
            setting.spread.to_string(),
            setting.chunk.to_string(),
            readable(outcome.makespan),
            readable(outcome.least()),
            outcome.rate(),
            percent(outcome.efficiency()),
            percent(outcome.idle()),
            percent(outcome.rank_0 / outcome.makespan),
            outcome.chunks,
            outcome.lost,
        );
    }
    text
}
