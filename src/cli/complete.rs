//! `rankpool completions` and `rankpool man`: what a shell and `man` know of this program.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use clap_complete::Shell;

use super::{examples, out, program, variables::unreadable};
use crate::{
    error::{Error, ErrorKind},
    paths::explain,
};

#[derive(Args, Clone, Debug)]
struct CompletionsFlags {
    /// The shell that is to complete the command's words
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args, Clone, Debug)]
struct ManFlags {
    /// The folder for the pages, such as ~/.local/share/man/man1; it is made if it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn completions_command() -> Command {
    CompletionsFlags::augment_args(Command::new("completions"))
        .about("Print the completions for a shell")
        .long_about(None)
        .after_help(examples::of(&[
            "source <(PROGRAM completions bash)",
            "PROGRAM completions zsh > ~/.zfunc/_PROGRAM",
            "PROGRAM completions fish > ~/.config/fish/completions/PROGRAM.fish",
        ]))
}

pub(super) fn man_command() -> Command {
    ManFlags::augment_args(Command::new("man"))
        .about("Write the manual's pages into a folder")
        .long_about(None)
        .after_help(examples::of(&["PROGRAM man ~/.local/share/man/man1 && man PROGRAM"]))
}

/// Prints the completions of `command` on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn completions(matches: &ArgMatches, mut command: Command) -> Result<ExitCode, Error> {
    let flags = CompletionsFlags::from_arg_matches(matches).map_err(unreadable)?;
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut command, program(), &mut script);
    out::print(&script).map(|()| ExitCode::SUCCESS)
}

/// Writes a page for `command`, and one for each of its subcommands.
///
/// # Errors
/// When the folder cannot be made, or a page not written.
pub(super) fn man(matches: &ArgMatches, command: Command) -> Result<ExitCode, Error> {
    let flags = ManFlags::from_arg_matches(matches).map_err(unreadable)?;
    let folder = &flags.folder;
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Storage,
            format!("{}: the manual cannot be written: {}", folder.display(), explain(&error)),
        )
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
