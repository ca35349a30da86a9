//! `rankpool report FILE`: a run as one page for a browser, and as a drawing for a paper.
//!
//! [`subject`] reads a result file or a journal, [`lanes`] says which chunk lies in which row, [`drawing`], [`curves`] and
//! [`account`] make pictures and figures of that, whose size does not grow with the run. [`page`] and [`svg`] write them.

mod account;
mod curves;
mod drawing;
mod failures;
mod figures;
mod lanes;
mod marks;
mod page;
mod sessions;
mod subject;
mod svg;

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use figures::Figures;
use subject::Subject;

use super::{examples, out, signals};
use crate::cli::variables::unreadable;
use crate::{
    error::{Error, ErrorKind},
    paths::{Draft, Named, explain},
    store::{journal, lock},
};

#[derive(Args, Clone, Debug)]
struct Flags {
    /// A result file, or a journal; of a run that is not over its result file's name will do
    file: Named,
    /// The page; by default it lies beside FILE, with the ending .html
    #[arg(short, long, value_name = "FILE")]
    output: Option<Named>,
    /// Draw timeline and utilisation as SVG; without --output no page is made
    #[arg(long, value_name = "FILE")]
    svg: Option<Named>,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

pub(super) fn command() -> Command {
    Flags::augment_args(Command::new("report"))
        .about(
            "Make a page of a run for a browser: timeline, utilisation, times of tasks, failures, provenance",
        )
        .long_about(None)
        .after_help(examples::of(&[
            "PROGRAM report out.h5",
            "PROGRAM report out.h5.journal -o so-far.html --force",
            "PROGRAM report out.h5 --svg timeline.svg",
        ]))
}

pub(super) fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    let flags = Flags::from_arg_matches(matches).map_err(unreadable)?;
    let page = match (&flags.output, &flags.svg) {
        (None, Some(_)) => None,
        (Some(page), _) => Some(page.clone()),
        (None, None) => Some(page_of(&flags.file)),
    };
    if page.is_some() && page.as_ref().map(Named::place) == flags.svg.as_ref().map(Named::place) {
        return Err(Error::usage("page and drawing are one file; give --output and --svg two names"));
    }
    if let Some(page) = page.as_ref().filter(|page| page.to_string().ends_with(".svg")) {
        return Err(Error::usage(format!(
            "{page}: --output is a page for a browser, whose name does not end in .svg; --svg {page} makes a drawing"
        )));
    }
    let subject = Subject::read(&flags.file)?;
    let read = Named::new(&subject.file);
    let figures = Figures::of(subject)?;
    let mut written = String::new();
    if let Some(page) = &page {
        write(page, &read, flags.force, &page::render(&figures)?)?;
        written += &format!("{page}\n");
    }
    if let Some(svg) = &flags.svg {
        write(svg, &read, flags.force, &svg::draw(&figures))?;
        written += &format!("{svg}\n");
    }
    out::tell(&written)?;
    Ok(ExitCode::SUCCESS)
}

/// Where the page lies if nobody says so: `out.html` for `out.h5` and `out.h5.journal`.
fn page_of(file: &Named) -> Named {
    let name = file.to_string();
    let name = name.strip_suffix(journal::SUFFIX).unwrap_or(&name);
    Named::new(format!("{}.html", name.strip_suffix(".h5").unwrap_or(name)))
}

/// Writes a file that is not the one that was `read`.
fn write(path: &Named, read: &Named, replace: bool, text: &str) -> Result<(), Error> {
    let site = path.site()?;
    if read.site()? == site {
        return Err(Error::usage(format!("{path}: is read for the report; name another file")));
    }
    if site.exists && lock::is_written(&site.path) {
        return Err(lock::in_use(path, "another process"));
    }
    let draft = Draft::begin(path, &std::process::id().to_string(), replace, "--force replaces it")?;
    signals::remove_at_the_end(draft.partial.clone())?;
    std::fs::write(&draft.partial, text)
        .map_err(|error| Error::new(ErrorKind::Storage, format!("{path}: {}", explain(&error))))?;
    draft.publish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lies_beside_its_file() {
        for (file, page) in [
            ("runs/out.h5", "runs/out.html"),
            ("out.h5.journal", "out.html"),
            ("kept.journal", "kept.html"),
            ("out", "out.html"),
        ] {
            assert_eq!(page_of(&Named::new(file)).to_string(), page);
        }
    }
}
