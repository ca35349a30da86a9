//! `rankpool list`

use std::process::ExitCode;

use super::Entry;
use crate::error::Error;

pub(super) fn execute(jobs: &[Entry]) -> Result<ExitCode, Error> {
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    for job in jobs {
        let about = (job.command)().get_about().map(ToString::to_string).unwrap_or_default();
        println!("{:width$}  {about}", job.name);
    }
    Ok(ExitCode::SUCCESS)
}
