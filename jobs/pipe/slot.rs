//! The program of one slot, and the tasks that it has been given: the one that is waited for, and some ahead, so that it
//! need not wait for the next one.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::process::{Gone, How, Minder, Program, Spec};

/// Tasks are given ahead when fewer than this many are with the program.
const FEW: usize = 32;
/// And no more than so many together.
const MANY: usize = 128;
/// A program that is lost so often with one task is not started for it again.
const LOSSES: u32 = 3;

/// How long answers may take.
pub struct Limits {
    /// Each answer.
    pub answer: Option<Duration>,
    /// In addition, the first one of a program.
    pub loading: Duration,
}

/// Why a task has no answer.
pub enum Trouble {
    /// The program took longer than it may.
    TimedOut(String),
    /// The program died, or answered nonsense, as often as it may.
    Lost(String),
    /// The program cannot be started.
    Refused(String),
}

#[derive(Default)]
pub struct Slot {
    program: Option<Program>,
    /// It has not answered yet.
    loads: bool,
    /// The tasks that it has been given and has not answered.
    given: VecDeque<u64>,
    /// Lines that are given to it behind the next question.
    ahead: Vec<(u64, Vec<u8>)>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Slot {
    /// Takes note of the tasks behind the one that comes next.
    pub fn look_ahead(&mut self, upcoming: impl Iterator<Item = (u64, Vec<u8>)>) {
        self.ahead.clear();
        if self.given.len() < FEW {
            let last = self.given.back().copied();
            self.ahead
                .extend(upcoming.skip_while(|(index, _)| last.is_some_and(|last| *index <= last)).take(MANY));
        }
    }

    /// Asks the program for the answer of a task, starts it where it does not run, and anew where it is lost.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask<T, E: fmt::Display>(
        &mut self,
        index: u64,
        question: &[u8],
        limits: &Limits,
        spec: impl Fn() -> Result<Spec, E>,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Trouble> {
        let mut why = String::new();
        for _ in 0..LOSSES {
            if self.program.is_none() {
                self.start(&spec)?;
            }
            match self.try_to_ask(index, question, limits) {
                Ok(line) => match read(&line) {
                    Ok(answer) => return Ok(answer),
                    Err(nonsense) => why = nonsense,
                },
                Err(Gone::TimeOver) => {
                    let limit = self.limit(limits).unwrap_or_default();
                    self.lose();
                    return Err(Trouble::TimedOut(format!(
                        "the program did not answer within {limit:?}, and was ended"
                    )));
                }
                Err(Gone::Ended(ended)) if matches!(ended.how, How::NotStarted(_)) => {
                    self.lose();
                    return Err(Trouble::Refused(Gone::Ended(ended).to_string()));
                }
                Err(gone) => why = gone.to_string(),
            }
            self.lose();
        }
        Err(Trouble::Lost(format!(
            "the program was lost {LOSSES} times with this task; the last time: {why}"
        )))
    }

    fn start<E: fmt::Display>(&mut self, spec: impl Fn() -> Result<Spec, E>) -> Result<(), Trouble> {
        let refused = |why: &dyn fmt::Display| Trouble::Refused(why.to_string());
        let spec = spec().map_err(|why| refused(&why))?;
        let environment = rankpool::environment_of_programs().collect();
        let program =
            Minder::start(environment).and_then(|minder| minder.keep(spec)).map_err(|why| refused(&why))?;
        self.program = Some(program);
        self.loads = true;
        self.given.clear();
        Ok(())
    }

    /// Ends the program: what it was given is asked of the next one.
    fn lose(&mut self) {
        self.given.clear();
        if let Some(program) = self.program.take() {
            // How it ended is of no interest any more.
            let _ = program.end(Duration::ZERO);
        }
    }

    fn limit(&self, limits: &Limits) -> Option<Duration> {
        limits.answer.map(|answer| if self.loads { answer + limits.loading } else { answer })
    }

    fn try_to_ask(&mut self, index: u64, question: &[u8], limits: &Limits) -> Result<Vec<u8>, Gone> {
        let is_given = self.given.contains(&index);
        // Of tasks that were given ahead and are run elsewhere, the answers are not wanted.
        while self.given.front().is_some_and(|next| !is_given || *next != index) {
            self.answer(limits)?;
        }
        let Some(program) = &mut self.program else { return Err(Gone::ClosedOutput) };
        if !is_given {
            program.send(question);
            self.given.push_back(index);
        }
        for (index, line) in self.ahead.drain(..) {
            program.send(&line);
            self.given.push_back(index);
        }
        self.answer(limits)
    }

    /// The next answer.
    fn answer(&mut self, limits: &Limits) -> Result<Vec<u8>, Gone> {
        let limit = self.limit(limits);
        let Some(program) = &mut self.program else { return Err(Gone::ClosedOutput) };
        let line = program.receive_line(limit)?;
        self.given.pop_front();
        self.loads = false;
        Ok(line)
    }
}
