//! The `rankpool` program: a user's program like any other, with the jobs of this folder.

mod exec;
mod file;
#[cfg(feature = "hdf5")]
mod filters;
mod firing_rate;
mod gram;
mod input;
mod inputs;
mod mandelbrot;
mod new_file;
mod pi;
mod pipe;
mod process;
mod sleep;
mod squares;
mod time_histogram;
mod trains;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = process::minder_if_asked() {
        return code;
    }
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
    rankpool::cli::main(jobs.command::<exec::Exec>().command::<pipe::Pipe>())
}
