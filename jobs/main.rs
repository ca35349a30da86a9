//! The `rankpool` program: a user's program like any other, with the jobs of this folder. The Python package has it as a
//! library.

mod exec;
mod file;
#[cfg(feature = "hdf5")]
mod filters;
mod firing_rate;
#[cfg(test)]
#[path = "../src/cli/flags_table.rs"]
mod flags_table;
mod gram;
mod input;
mod inputs;
mod mandelbrot;
mod new_file;
mod pi;
mod pipe;
mod process;
#[cfg(test)]
mod settings_page;
mod sleep;
mod squares;
mod time_histogram;
mod trains;
mod words;

use std::process::ExitCode;

use rankpool::cli::Jobs;

/// All that the program does.
pub fn main() -> ExitCode {
    process::minder_if_asked().unwrap_or_else(|| rankpool::cli::main(jobs()))
}

/// The jobs of this folder.
pub fn jobs() -> Jobs {
    let jobs = rankpool::jobs![
        squares::Squares,
        pi::Pi,
        words::Words,
        sleep::Sleep,
        mandelbrot::Mandelbrot,
        firing_rate::FiringRate,
        time_histogram::TimeHistogram,
        gram::Gram,
    ];
    jobs.command::<exec::Exec>().command::<pipe::Pipe>()
}
