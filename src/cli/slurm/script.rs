//! The sbatch script: one of the templates in `slurm/templates/`, with the user's values.

use clap::ValueEnum;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::values::Checked;
use crate::error::{Error, ErrorKind};

/// Where a script's workers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    /// A rank for each task of the job: one schedules, the others work
    Comm,
    /// A rank on each node, which runs no task and has a child process for each CPU; a child that dies is replaced
    Leaders,
    /// One rank, which spawns a worker for each further task of the job (needs mpirun)
    Pool,
    /// As comm, with a task thread for each CPU of a rank: for tasks that share memory within a process
    Hybrid,
    /// One rank without MPI, as for the elements of a job array
    Serial,
}

/// What starts the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Launcher {
    /// Slurm's own; ranks find each other by PMIx
    Srun,
    /// That of the MPI library
    Mpirun,
}

/// What a template is filled with.
#[derive(Debug, Serialize)]
pub(super) struct Values<'a> {
    pub(super) shape: Shape,
    pub(super) launcher: Launcher,
    /// Words of the shell.
    pub(super) command: &'a str,
    /// The command keeps a journal, so it can go on where it stopped.
    pub(super) resumable: bool,
    pub(super) job_name: &'a Checked,
    pub(super) nodes: Option<&'a Checked>,
    pub(super) ntasks: Option<u32>,
    pub(super) ntasks_per_node: Option<u32>,
    pub(super) cpus_per_task: Option<u32>,
    /// No other job is to run on the nodes.
    pub(super) whole_nodes: bool,
    pub(super) time: &'a Checked,
    pub(super) partition: Option<&'a Checked>,
    pub(super) account: Option<&'a Checked>,
    pub(super) qos: Option<&'a Checked>,
    pub(super) mem: Option<&'a Checked>,
    pub(super) gres: Option<&'a Checked>,
    pub(super) array: Option<&'a Checked>,
    pub(super) dependency: Option<&'a Checked>,
    pub(super) mail_user: Option<&'a Checked>,
    pub(super) sbatch_args: &'a [Checked],
    pub(super) modules: &'a [Checked],
    pub(super) setup: &'a [Checked],
    pub(super) mpi: &'a Checked,
    /// Seconds.
    pub(super) grace: u64,
}

const TEMPLATES: [(&str, &str); 9] = [
    ("base", include_str!("../../../slurm/templates/base.sh.jinja")),
    ("srun", include_str!("../../../slurm/templates/srun.sh.jinja")),
    ("mpirun", include_str!("../../../slurm/templates/mpirun.sh.jinja")),
    ("comm-srun", include_str!("../../../slurm/templates/comm-srun.sh.jinja")),
    ("comm-mpirun", include_str!("../../../slurm/templates/comm-mpirun.sh.jinja")),
    ("leaders", include_str!("../../../slurm/templates/leaders.sh.jinja")),
    ("pool-mpirun", include_str!("../../../slurm/templates/pool-mpirun.sh.jinja")),
    ("hybrid", include_str!("../../../slurm/templates/hybrid.sh.jinja")),
    ("serial-array", include_str!("../../../slurm/templates/serial-array.sh.jinja")),
];

/// The script for these values.
///
/// # Errors
/// When a template is broken, which the tests rule out.
pub(super) fn render(values: &Values<'_>) -> Result<String, Error> {
    let template = match (values.shape, values.launcher) {
        (Shape::Comm, Launcher::Srun) => "comm-srun",
        (Shape::Comm, Launcher::Mpirun) => "comm-mpirun",
        (Shape::Leaders, _) => "leaders",
        (Shape::Pool, _) => "pool-mpirun",
        (Shape::Hybrid, _) => "hybrid",
        (Shape::Serial, _) => "serial-array",
    };
    fill(template, values)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("the template {template}: {error:#}")))
}

fn fill(template: &str, values: &Values<'_>) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    environment.get_template(template)?.render(values)
}

/// A word of the shell that stands for `argument`; `%a` in it is the number of the array's element and `%j` that
/// of the job, `%%` a percent sign.
///
/// # Errors
/// For control characters: a script is made of lines.
pub(super) fn word(argument: &str) -> Result<String, Error> {
    if argument.chars().any(char::is_control) {
        return Err(Error::usage(format!("{argument:?} has control characters, which a script cannot hold")));
    }
    let parts = parts(argument);
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if let [Part::Text(text)] = &parts[..]
        && text.chars().all(bare)
    {
        return Ok(text.clone());
    }
    let mut word = String::from('"');
    for part in parts {
        match part {
            Part::Element => word += "${SLURM_ARRAY_TASK_ID}",
            Part::Job => word += "${SLURM_JOB_ID}",
            Part::Text(text) => text.chars().for_each(|c| {
                if "\\\"$`".contains(c) {
                    word.push('\\');
                }
                word.push(c);
            }),
        }
    }
    word.push('"');
    Ok(word)
}

#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    Element,
    Job,
}

/// An argument, taken apart at its placeholders.
pub(super) fn parts(argument: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = argument.chars().peekable();
    while let Some(c) = rest.next() {
        let part = match (c, rest.peek()) {
            ('%', Some('a')) => Part::Element,
            ('%', Some('j')) => Part::Job,
            ('%', Some('%')) => {
                text.push('%');
                rest.next();
                continue;
            }
            _ => {
                text.push(c);
                continue;
            }
        };
        rest.next();
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(part);
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_what_slurm_knows() {
        assert_eq!(word("pi-%a.h5").unwrap(), "\"pi-${SLURM_ARRAY_TASK_ID}.h5\"");
        assert_eq!(word("%j").unwrap(), "\"${SLURM_JOB_ID}\"");
        assert_eq!(word("5%").unwrap(), "5%");
        assert_eq!(word("100%%a").unwrap(), "100%a");
        assert!(word("two\nlines").is_err());
    }
}
