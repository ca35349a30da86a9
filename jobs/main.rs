//! The `rankpool` program: a user's program like any other, with the jobs of this folder.

mod file;
#[cfg(feature = "hdf5")]
mod filters;
mod firing_rate;
mod gram;
mod input;
#[allow(dead_code, unused_imports)]
mod inputs;
mod mandelbrot;
mod new_file;
mod pi;
mod sleep;
mod squares;
mod time_histogram;
mod trains;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    rankpool::cli::main(rankpool::jobs![
        squares::Squares,
        pi::Pi,
        words::Words,
        sleep::Sleep,
        mandelbrot::Mandelbrot,
        firing_rate::FiringRate,
        time_histogram::TimeHistogram,
        gram::Gram,
    ])
}
