//! The tables of docs/settings.md, but those of the jobs.

use clap::{Args, Command};

use super::{
    bench, complete, doctor, export,
    flags_table::{built, hold, table},
    list, report, run, show, simulate, slurm, watch,
};

fn tables() -> String {
    let run = built(run::Flags::augment_args(Command::new("run")));
    let mut text = table("Every run: `rankpool run JOB`, `exec` and `pipe`", &run, None);
    for command in [
        watch::command(),
        show::command(),
        report::command(),
        export::command(),
        slurm::command("JOB"),
        simulate::command(),
        doctor::command(),
        bench::command(),
        list::command(),
        complete::completions_command(),
        complete::man_command(),
    ] {
        let command = built(command);
        text += &table(&format!("`rankpool {}`", command.get_name()), &command, Some(&run));
    }
    text
}

#[test]
fn the_page_of_settings_says_what_clap_knows() {
    hold("clap knows", &tables(), "RANKPOOL_WRITE_SETTINGS=1 cargo test --lib settings_page");
}
