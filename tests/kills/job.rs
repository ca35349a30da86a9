//! The job whose processes die. When and of what is said by variables, so that it is the same run when it is resumed.

use std::{
    error::Error as StdError,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rankpool::{Block, Error, Job, Task, rand_chacha::rand_core::Rng};
use serde::{Deserialize, Serialize};

use crate::{deaths::Death, support, table::Moment};

const MOMENT: &str = "RANKPOOL_TEST_MOMENT";
const DEATH: &str = "RANKPOOL_TEST_DEATH";
const FOLDER: &str = "RANKPOOL_TEST_FOLDER";
const LASTING: &str = "RANKPOOL_TEST_LASTING";

/// For what rank 0's idle workers are waited for: they have ended all tasks before.
const QUIET: Duration = Duration::from_millis(300);

/// For how long a task runs in a run that is to last.
const LONG: Duration = Duration::from_millis(600);

/// What is to happen in a run.
pub struct Plan {
    pub moment: Moment,
    /// By what a task kills its own process; `None`: the test kills, from outside.
    pub death: Option<Death>,
    /// The run does not come to its end within the second or two that a launcher takes to end it.
    pub lasting: bool,
    /// Where the job and the test tell each other how far they are.
    pub folder: PathBuf,
}

impl Plan {
    /// Has the processes of a command know it.
    pub fn tell(&self, command: &mut Command) {
        command.env(MOMENT, self.moment.name()).env(FOLDER, &self.folder);
        command.env(DEATH, self.death.map_or("", Death::name));
        command.env(LASTING, if self.lasting { "yes" } else { "" });
    }

    fn of_this_run() -> Option<Plan> {
        let folder = PathBuf::from(std::env::var_os(FOLDER)?);
        let moment = Moment::named(&std::env::var(MOMENT).ok()?)?;
        let lasting = std::env::var(LASTING).is_ok_and(|lasting| !lasting.is_empty());
        Some(Plan { moment, death: Death::named(&std::env::var(DEATH).ok()?), lasting, folder })
    }

    /// The name that a cgroup of this run has.
    pub fn name(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).expect("the name of a folder")
    }

    /// Says that the moment has come; true the first time.
    fn reach(&self) -> bool {
        std::fs::File::create_new(self.folder.join("reached")).is_ok()
    }

    pub fn is_reached(&self) -> bool {
        self.folder.join("reached").exists()
    }

    /// The kill was done.
    pub fn go_on(&self) {
        std::fs::write(self.folder.join("go"), "").expect("a file");
    }

    /// In a run that is to last at its end, the kill is what ends the waiting.
    fn wait_for_the_kill(&self) {
        let deadline = Instant::now() + support::LIMIT;
        while !self.folder.join("go").exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Numbers, after a while, in blocks of any size
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Mortal {
    #[arg(long, default_value_t = 30)]
    n: usize,
    #[arg(long, default_value_t = 8)]
    milliseconds: u64,
    /// Numbers in each item, and in each result
    #[arg(long, default_value_t = 3)]
    numbers: usize,
}

impl Mortal {
    /// The task at which something happens.
    fn fatal(&self) -> usize {
        self.n / 2
    }

    /// Makes an item; rank 0 does so shortly before it is sent.
    fn item(&self, k: usize, plan: Option<&Plan>) -> (u64, Block<f64>) {
        let plan = plan.filter(|_| k == self.fatal());
        if let Some(plan) = plan.filter(|plan| plan.moment == Moment::Between) {
            thread::sleep(QUIET);
            plan.reach();
            plan.wait_for_the_kill();
        }
        let item = (k as u64, vec![k as f64; self.numbers].into());
        if let Some(plan) = plan.filter(|plan| plan.moment == Moment::Large) {
            plan.reach();
        }
        item
    }
}

impl Job for Mortal {
    const NAME: &'static str = "mortal";
    type Item = (u64, Block<f64>);
    type Output = (u64, Block<f64>);
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = (u64, Block<f64>)>, Error> {
        let plan = Plan::of_this_run();
        Ok((0..self.n).map(move |k| self.item(k, plan.as_ref())))
    }

    fn task(&self, (k, block): (u64, Block<f64>)) -> Result<(u64, Block<f64>), Box<dyn StdError>> {
        thread::sleep(Duration::from_millis(self.milliseconds));
        let plan = Plan::of_this_run();
        let comes = |plan: &&Plan| plan.moment == Moment::Task && k as usize == self.fatal() && plan.reach();
        if let Some(plan) = plan.as_ref().filter(comes) {
            match plan.death {
                Some(death) => death.die(plan.name()),
                None => thread::sleep(QUIET),
            }
        }
        let lasts = |plan: &Plan| plan.lasting && plan.moment != Moment::Ending;
        if k as usize >= self.fatal() && plan.as_ref().is_some_and(lasts) {
            thread::sleep(LONG);
        }
        let mut rng = Task::current().rng();
        Ok((rng.next_u64(), block.iter().map(|number| number + f64::from(rng.next_u32())).collect()))
    }

    fn summary(&self, results: impl Iterator<Item = (u64, (u64, Block<f64>))>) -> Result<u64, Error> {
        let sum = results.fold(0, |sum, (_, (number, _))| sum ^ number);
        if let Some(plan) = Plan::of_this_run().filter(|plan| plan.moment == Moment::Ending) {
            plan.reach();
            plan.wait_for_the_kill();
        }
        Ok(sum)
    }
}
