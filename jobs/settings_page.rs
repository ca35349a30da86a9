//! The tables of docs/settings.md for `exec` and `pipe`.

use clap::{Args, Command};

use crate::{
    exec::Exec,
    flags_table::{built, hold, table},
    pipe::Pipe,
};

#[test]
fn the_page_of_settings_has_the_flags_of_exec_and_pipe() {
    let mut tables = String::new();
    for command in [Exec::augment_args(Command::new("exec")), Pipe::augment_args(Command::new("pipe"))] {
        tables += &table(
            &format!("`rankpool {}`, beside those of every run", command.get_name()),
            &built(command),
            None,
        );
    }
    hold("exec and pipe add", &tables, "RANKPOOL_WRITE_SETTINGS=1 cargo test --bins settings_page");
}
