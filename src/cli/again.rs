//! The command that goes on where a run has ended.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    executor::Progress,
    launch::{self, program},
};

/// How far a run has come, for those who tell of its end.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// How many tasks are to be run in this session; 0 while it is not known.
    pub(super) to_run: AtomicU64,
    /// Tasks whose outcomes were known before.
    pub(super) known: AtomicU64,
}

impl Extent {
    /// As in `72 of 200 tasks are done`.
    fn tell(&self, progress: &Progress) -> String {
        let [to_run, known] = [&self.to_run, &self.known].map(|number| number.load(Ordering::Relaxed));
        let done = known + progress.done + progress.failed;
        match to_run {
            0 if done == 1 => "1 task is done".to_string(),
            0 => format!("{done} tasks are done"),
            to_run => format!("{done} of {} tasks are done", known + to_run),
        }
    }

    /// The last words of a run that was stopped: the way on, or else what would have kept it.
    pub(super) fn last_words(&self, progress: &Progress, way_on: Result<&str, &str>) -> String {
        let done = self.tell(progress);
        match way_on {
            Ok(command) => format!("{done}; {command}"),
            Err(keep) => format!("{done}, and nothing was kept: {keep} a run can be resumed"),
        }
    }
}

/// The command that was given, as it goes on from the journal: `go on with: PROGRAM run JOB --resume ...`.
pub(super) fn way_on(job: &str, retry_failed: bool) -> String {
    let arguments: Vec<String> =
        launch::arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words = resuming(job, retry_failed, &arguments);
    let how = if launch::is_alone() { "go on with" } else { "go on, launched as before, with" };
    format!("{how}: {} {words}", program())
}

/// Whether a word is one of the flags that say whether a run goes on or begins anew.
pub(super) fn says_where_to_begin(word: &str) -> bool {
    matches!(word, "--resume" | "--retry-failed" | "--force")
}

/// The arguments with the flags that go on, which stand right behind the name of the job: behind `--` they would be the
/// program's that `exec` runs.
fn resuming(job: &str, retry_failed: bool, arguments: &[String]) -> String {
    let place = arguments.iter().position(|word| word == job).map_or(arguments.len(), |place| place + 1);
    let (before, after) = arguments.split_at(place);
    let own = after.iter().position(|word| word == "--").unwrap_or(after.len());
    let (flags, rest) = after.split_at(own);
    let flags = flags.iter().filter(|word| !says_where_to_begin(word));
    let added = ["--resume", "--retry-failed"].into_iter().take(if retry_failed { 2 } else { 1 });
    let words: Vec<&str> =
        before.iter().map(String::as_str).chain(added).chain(flags.chain(rest).map(String::as_str)).collect();
    shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(line: &str, retry_failed: bool) -> String {
        let words = shlex::split(line).unwrap();
        let job = if words[0] == "run" { &words[1] } else { &words[0] };
        resuming(job, retry_failed, &words)
    }

    #[test]
    fn a_run_goes_on_with_what_was_typed_and_the_flags_that_resume() {
        assert_eq!(
            resumed("run pi --tasks 9 --force -o out.h5", false),
            "run pi --resume --tasks 9 -o out.h5"
        );
        assert_eq!(
            resumed("run pi --resume -o 'my out.h5'", true),
            "run pi --resume --retry-failed -o 'my out.h5'"
        );
    }

    #[test]
    fn flags_of_the_program_that_is_run_are_left_alone() {
        assert_eq!(
            resumed("exec -o out.h5 -- tool --force --resume '{}' ::: 1 2", true),
            "exec --resume --retry-failed -o out.h5 -- tool --force --resume '{}' ::: 1 2"
        );
    }

    #[test]
    fn the_last_words_tell_how_far_the_run_came() {
        let extent = Extent::default();
        let progress = Progress { done: 70, failed: 2, ..Progress::default() };
        assert_eq!(extent.last_words(&progress, Ok("go on")), "72 tasks are done; go on");
        extent.to_run.store(150, Ordering::Relaxed);
        extent.known.store(50, Ordering::Relaxed);
        let words = extent.last_words(&progress, Err("with a --journal"));
        assert!(words.starts_with("122 of 200 tasks are done, and nothing was kept"), "{words}");
    }
}
