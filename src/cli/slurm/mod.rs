//! `rankpool slurm`: an sbatch script for a run, printed, kept or submitted.

mod program;
mod script;
mod submit;
mod values;

use std::{ffi::OsStr, io::Write, process::ExitCode};

use clap::{ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use super::{Jobs, examples, out, settings::Files, variables};
use crate::{
    error::{Error, ErrorKind},
    launch::{self, program},
    paths::{Named, explain},
    say::say,
};
use script::{Launcher, Part, Shape, Values};
use values::{Checked, Nodes};

#[derive(Args, Clone, Debug)]
struct Flags {
    /// Where the workers come from [default: serial with --array, else comm]
    #[arg(long, value_enum)]
    mode: Option<Shape>,
    /// What starts the ranks [default: mpirun for mode pool, else srun]
    #[arg(long, value_enum)]
    launcher: Option<Launcher>,
    /// What srun's --mpi is given; `srun --mpi=list` shows what there is
    #[arg(long, value_name = "TYPE", default_value = "pmix", value_parser = values::mpi)]
    mpi: Checked,
    /// Put this one line of shell into the script, before the run; can be repeated
    #[arg(long, value_name = "LINE", value_parser = values::line)]
    setup: Vec<Checked>,
    /// Load these modules, before the lines of --setup; can be repeated
    #[arg(long, value_name = "LINE", value_parser = values::modules)]
    module: Vec<Checked>,
    /// How long before the end of its time the run stops, to be put back into the queue
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::grace)]
    grace: u64,
    #[command(flatten)]
    resources: Resources,
    /// Submit the script and print the number of the job, alone
    #[arg(long)]
    submit: bool,
    /// With --submit, wait for the end of the job and return its exit code
    #[arg(long, requires = "submit")]
    wait: bool,
    /// Keep the script in this file instead of printing it; an existing one is refused
    #[arg(long, value_name = "FILE")]
    output_script: Option<Named>,
    /// What the script calls this program, for a run [default: its path]
    #[arg(long, value_name = "PATH", value_parser = values::line)]
    program: Option<Checked>,
    /// What is run: run JOB and its flags, or a program that starts an executor, as in python sweep.py. In each word, %a
    /// stands for the array's element and %j for the job's number
    #[arg(last = true, required = true, value_name = "run JOB|PROGRAM")]
    command: Vec<String>,
}

/// What the job asks of Slurm; sbatch's own options, with their names.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Resources")]
struct Resources {
    /// The name of the job [default: that of rankpool's]
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    job_name: Option<Checked>,
    /// Nodes, as in 2 or 2-4
    #[arg(long, short = 'N', value_name = "N")]
    nodes: Option<Nodes>,
    /// Ranks of the whole job, which Slurm spreads over the nodes
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "ntasks_per_node", value_parser = crate::cli::count_from_1::<u32>)]
    ntasks: Option<u32>,
    /// Ranks on each node [default: 4; 2 for mode hybrid, 1 for modes leaders and serial]
    #[arg(long, value_name = "N", value_parser = crate::cli::count_from_1::<u32>)]
    ntasks_per_node: Option<u32>,
    /// CPUs for each rank [default: 4 for mode hybrid; for mode leaders all of the node, by --exclusive]
    #[arg(long, short = 'c', value_name = "N", value_parser = crate::cli::count_from_1::<u32>)]
    cpus_per_task: Option<u32>,
    /// The time limit, as in 90m, 1:30:00 or 2-12 (days and hours); a bare number is seconds
    #[arg(long, short = 't', value_name = "TIME", default_value = "01:00:00", value_parser = values::time)]
    time: Checked,
    /// The partition
    #[arg(long, short = 'p', value_name = "NAME", value_parser = values::name)]
    partition: Option<Checked>,
    /// The account
    #[arg(long, short = 'A', value_name = "NAME", value_parser = values::name)]
    account: Option<Checked>,
    /// The quality of service
    #[arg(long, short = 'q', value_name = "NAME", value_parser = values::name)]
    qos: Option<Checked>,
    /// Memory on each node, as in 4G
    #[arg(long, value_name = "SIZE", value_parser = values::memory)]
    mem: Option<Checked>,
    /// Other resources, as in gpu:2
    #[arg(long, value_name = "LIST", value_parser = values::gres)]
    gres: Option<Checked>,
    /// Run once for each of these numbers, as in 0-9 or 1,3,5-7%2
    #[arg(long, value_name = "SPEC", value_parser = values::array)]
    array: Option<Checked>,
    /// What the job waits for, as in afterok:1234
    #[arg(long, short = 'd', value_name = "LIST", value_parser = values::dependency)]
    dependency: Option<Checked>,
    /// Who is told by mail of the job's end
    #[arg(long, value_name = "ADDRESS", value_parser = values::mail)]
    mail_user: Option<Checked>,
    /// Any other option of sbatch's, as in --sbatch-arg=--constraint=avx2; can be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, value_parser = values::option)]
    sbatch_arg: Vec<Checked>,
}

pub(super) fn command(job: &str) -> Command {
    Flags::augment_args(Command::new("slurm"))
        .about("Make an sbatch script for a run, and submit it")
        .long_about(None)
        .after_help(examples::of_slurm(job))
}

pub(super) fn execute(matches: &ArgMatches, jobs: &Jobs) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(variables::unreadable)?;
    let script = flags.script(jobs)?;
    tell_of_bare_seconds(matches, &flags.resources.time);
    if let Some(path) = &flags.output_script {
        let mut file = std::fs::File::create_new(path.site()?.path)
            .map_err(|error| Error::usage(format!("{path}: the script cannot be written: {error}")))?;
        file.write_all(script.as_bytes())
            .map_err(|error| Error::new(ErrorKind::Storage, format!("{path}: {}", explain(&error))))?;
    }
    if flags.submit {
        return submit::submit(&script, flags.wait);
    }
    if flags.output_script.is_none() {
        out::print(script.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Who knows sbatch may have meant minutes.
fn tell_of_bare_seconds(matches: &ArgMatches, time: &Checked) {
    let written = matches.get_raw("time").and_then(Iterator::last).and_then(OsStr::to_str);
    if let Some(number) = written.filter(|written| written.trim().parse::<f64>().is_ok()) {
        say(&format!(
            "{}: --time {number} is seconds ({}), as in every flag here; minutes, as sbatch reads it, are written as 90m",
            program(),
            time.as_str(),
        ));
    }
}

impl Flags {
    fn shape(&self) -> Shape {
        let default = if self.resources.array.is_some() { Shape::Serial } else { Shape::Comm };
        self.mode.unwrap_or(default)
    }

    fn launcher(&self) -> Result<Launcher, Error> {
        match (self.shape(), self.launcher) {
            (Shape::Pool, Some(Launcher::Srun)) => Err(Error::usage(
                "mode pool spawns its workers, and srun cannot: leave --launcher out, or use --mode comm",
            )),
            (Shape::Pool, None) => Ok(Launcher::Mpirun),
            (_, launcher) => Ok(launcher.unwrap_or(Launcher::Srun)),
        }
    }

    /// Ranks on each node, so that there is a worker.
    fn ntasks_per_node(&self) -> Result<Option<u32>, Error> {
        let shape = self.shape();
        let ranks = self.resources.ntasks_per_node.unwrap_or(match shape {
            Shape::Comm | Shape::Pool => 4,
            Shape::Hybrid => 2,
            Shape::Leaders | Shape::Serial => 1,
        });
        let nodes = self.resources.nodes.as_ref().map_or(1, |nodes| nodes.least);
        let all = self.resources.ntasks.map_or(u64::from(nodes) * u64::from(ranks), u64::from);
        match shape {
            Shape::Leaders if self.resources.ntasks.is_some() => {
                Err(Error::usage("mode leaders has a rank on each node: give --nodes instead of --ntasks"))
            }
            Shape::Serial if all > 1 => Err(Error::usage(format!(
                "mode serial has one rank, and {all} are asked for: leave --nodes, --ntasks and --ntasks-per-node \
                 out, or use --mode comm"
            ))),
            Shape::Comm | Shape::Pool | Shape::Hybrid if all < 2 => Err(Error::usage(
                "one rank leaves no worker: give --ntasks or --ntasks-per-node 2 or more, or use --mode leaders or \
                 serial",
            )),
            _ => Ok(self.resources.ntasks.is_none().then_some(ranks)),
        }
    }

    fn script(&self, jobs: &Jobs) -> Result<String, Error> {
        let resources = &self.resources;
        let shape = self.shape();
        let launcher = self.launcher()?;
        let ntasks_per_node = self.ntasks_per_node()?;
        let work = self.checked_work(jobs)?;
        let words: Vec<String> =
            work.words.iter().map(|argument| script::word(argument)).collect::<Result<_, _>>()?;
        let command = words.join(" ");
        let cpus_per_task = resources.cpus_per_task.or((shape == Shape::Hybrid).then_some(4));
        let job_name = match &resources.job_name {
            Some(name) => name.clone(),
            None => values::name(&work.name).map_err(Error::usage)?,
        };
        script::render(&Values {
            shape,
            launcher,
            command: &command,
            resumable: work.resumable,
            job_name: &job_name,
            nodes: resources.nodes.as_ref().map(|nodes| &nodes.text),
            ntasks: resources.ntasks,
            ntasks_per_node,
            cpus_per_task,
            whole_nodes: shape == Shape::Leaders && cpus_per_task.is_none(),
            time: &resources.time,
            partition: resources.partition.as_ref(),
            account: resources.account.as_ref(),
            qos: resources.qos.as_ref(),
            mem: resources.mem.as_ref(),
            gres: resources.gres.as_ref(),
            array: resources.array.as_ref(),
            dependency: resources.dependency.as_ref(),
            mail_user: resources.mail_user.as_ref(),
            sbatch_args: &resources.sbatch_arg,
            modules: &self.module,
            setup: &self.setup,
            mpi: &self.mpi,
            grace: self.grace,
        })
    }

    /// What stands behind `--`. What is wrong with it is found now, and not when the job starts.
    fn checked_work(&self, jobs: &Jobs) -> Result<Work, Error> {
        let of_element = |argument: &String| script::parts(argument).contains(&Part::Element);
        if self.resources.array.is_none()
            && let Some(argument) = self.command.iter().find(|argument| of_element(argument))
        {
            return Err(Error::usage(format!(
                "{argument}: %a stands for the element of an array: give --array, or write %%a"
            )));
        }
        let first = &self.command[0];
        let is_own = first.starts_with('-') || super::command(jobs).find_subcommand(first).is_some();
        if is_own { self.checked_run(jobs) } else { self.checked_program() }
    }

    /// A run of this program, once it has understood it.
    fn checked_run(&self, jobs: &Jobs) -> Result<Work, Error> {
        let run = self.understood(jobs, "1")?;
        if self.resources.array.is_some()
            && let other = self.understood(jobs, "2")?
            && let Some(path) = run.files.shared_with(&other.files)
        {
            return Err(Error::usage(format!(
                "all elements of the array would write {path}: put %a into its name"
            )));
        }
        let mut words = match &self.program {
            Some(program) => vec![program.as_str().to_string()],
            None => this_program()?,
        };
        words.extend_from_slice(&self.command);
        Ok(Work { name: run.job, words, resumable: run.files.has_journal() })
    }

    /// The command behind `--`, as this program will understand it in an element of an array.
    fn understood(&self, jobs: &Jobs, element: &str) -> Result<CheckedRun, Error> {
        let refused = |error: clap::Error| {
            let text = variables::without_label(&error);
            match variables::blamed(&error, &super::command(jobs)) {
                Some(variable) => Error::usage(format!("{text}\n{variable}")),
                None => Error::usage(text),
            }
        };
        let sample = |argument: &String| -> String {
            let text = |part| match part {
                Part::Text(text) => text,
                Part::Element | Part::Job => element.to_string(),
            };
            script::parts(argument).into_iter().map(text).collect()
        };
        let program = [super::program()];
        let arguments = program.iter().cloned().chain(self.command.iter().map(sample));
        let matches = super::command(jobs).try_get_matches_from(arguments).map_err(refused)?;
        let run = match matches.subcommand() {
            Some(("run", of_run)) => of_run.subcommand(),
            other => other.filter(|(name, _)| jobs.commands.iter().any(|job| job.name == *name)),
        };
        let Some((job, run)) = run else {
            return Err(Error::usage("what is submitted is a run: `-- run JOB`"));
        };
        if self.shape() != Shape::Serial && run.value_source("mode") == Some(ValueSource::CommandLine) {
            return Err(Error::usage("the script sets --mode: leave it out of the run"));
        }
        let files = Files::from_arg_matches(run).map_err(refused)?;
        files.check()?;
        Ok(CheckedRun { job: job.to_string(), files })
    }
}

/// What a script runs.
struct Work {
    /// What the job is named after.
    name: String,
    words: Vec<String>,
    /// It keeps a journal, so it can go on where it stopped.
    resumable: bool,
}

/// The words by which a script calls this program.
fn this_program() -> Result<Vec<String>, Error> {
    let words = launch::words().map_err(|error| Error::usage(format!("--program: name it ({error})")))?;
    Ok(words.iter().map(|word| word.display().to_string()).collect())
}

/// What is known of a run behind `--`.
struct CheckedRun {
    job: String,
    files: Files,
}
