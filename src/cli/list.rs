//! `rankpool list`

use std::process::ExitCode;

use super::{Entry, out};
use crate::error::Error;

pub(super) fn execute(jobs: &[Entry]) -> Result<ExitCode, Error> {
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for job in jobs {
        let about = (job.command)().get_about().map(ToString::to_string).unwrap_or_default();
        text += &format!("{:width$}  {about}\n", job.name);
    }
    out::tell(&text).map(|()| ExitCode::SUCCESS)
}
