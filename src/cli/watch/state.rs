//! What is known of a run that is watched. The readers tell it what they find; it reads nothing itself, and has no clock:
//! who draws it says what time it is. Times are seconds since the run began.

use std::collections::{BTreeMap, VecDeque};

use crate::task_set::TaskSet;

/// Losses and failures that are kept, the last ones.
const KEPT: usize = 100;
/// The rate is that of at least so many seconds.
const SHORTEST_WINDOW: f64 = 60.0;
/// In a longer session, the rate is that of this part of it.
const WINDOW_PART: f64 = 8.0;

/// What a run is of, as its journal or its first event says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) run: String,
    /// What runs: a job, or a map of a program.
    pub(super) what: String,
    pub(super) parameters: String,
    pub(super) tasks: Option<u64>,
    /// Seconds since 1970.
    pub(super) began: f64,
}

/// How it stands with the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Standing {
    #[default]
    Running,
    /// Nobody works at it, and it is not complete.
    Stopped,
    /// It is over.
    Ended(Ended),
}

/// How a run has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ended {
    /// Tasks that ended well, failed, and were not run, where that is told.
    pub(super) counts: Option<[u64; 3]>,
    pub(super) wall_s: Option<f64>,
    pub(super) error: Option<String>,
}

/// A worker of the session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewWorker {
    /// When it was ready.
    pub(super) t: f64,
    pub(super) rank: u32,
    pub(super) host: String,
    pub(super) pid: u32,
    /// Tasks that it runs at a time.
    pub(super) slots: u32,
    /// Of a leader.
    pub(super) children: u32,
}

/// Something that a reader has found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    Run(Run),
    /// A start of the program that works at the run.
    Session {
        t: f64,
        host: Option<String>,
    },
    /// Tasks that this session has to do.
    ToRun(Option<u64>),
    Mode(String),
    Joined(NewWorker),
    Lost(Loss),
    Dispatched {
        t: f64,
        rank: u32,
        start: u64,
        count: u64,
    },
    /// A chunk has come back, in whole or in part.
    Chunk(Chunk),
    /// These tasks have ended well; `t` is given where no chunk tells when.
    Done {
        start: u64,
        count: u64,
        t: Option<f64>,
    },
    Failed(Failed),
    Standing(Standing),
}

/// What a worker has run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chunk {
    /// When it came back.
    pub(super) t: f64,
    pub(super) rank: u32,
    pub(super) host: Option<String>,
    pub(super) pid: u32,
    pub(super) start: u64,
    pub(super) count: u64,
    pub(super) busy_s: f64,
}

/// A worker that was lost, or a child of a leader.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss {
    pub(super) t: f64,
    pub(super) rank: u32,
    /// Of a child.
    pub(super) slot: Option<u32>,
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) reason: String,
}

/// An attempt that has failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failed {
    pub(super) task: u64,
    pub(super) attempt: u16,
    pub(super) kind: String,
    pub(super) place: Option<(u32, String)>,
    pub(super) message: String,
    /// The task will not be tried again.
    pub(super) last: bool,
}

/// A chunk that a worker has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At {
    pub(super) start: u64,
    pub(super) count: u64,
    /// When it was sent.
    pub(super) since: f64,
}

/// A worker, or a leader with its children.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Worker {
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) slots: u32,
    pub(super) children: u32,
    pub(super) joined: f64,
    /// Tasks that it has run in this session, and the seconds that it took for them.
    pub(super) tasks: u64,
    pub(super) busy_s: f64,
    /// What it has now, the first that was sent first.
    pub(super) at: VecDeque<At>,
    /// When it last gave something back, and the chunk.
    pub(super) last: Option<(f64, u64, u64)>,
    pub(super) lost: bool,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) run: Run,
    pub(super) standing: Standing,
    /// When the last session began, and on which host.
    pub(super) session: f64,
    pub(super) host: Option<String>,
    /// Sessions that have begun.
    pub(super) sessions: u64,
    pub(super) mode: Option<String>,
    done: TaskSet,
    failed: TaskSet,
    /// Tasks that have an outcome when the run is complete; it may be told to leave some out.
    total: Option<u64>,
    pub(super) workers: BTreeMap<u32, Worker>,
    /// The workers were told of; else only those are known that have given something back.
    pub(super) all_told: bool,
    pub(super) losses: VecDeque<Loss>,
    /// Workers, and children of leaders, that were lost in all sessions.
    pub(super) lost: [u64; 2],
    pub(super) failures: VecDeque<Failed>,
    /// Attempts that failed and were followed by another.
    pub(super) retried: u64,
    /// Tasks that came back, by the second in which they did.
    pace: VecDeque<(u64, u64)>,
    /// The last time that anything told.
    latest: f64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) total: Option<u64>,
    /// Tasks in a second, of late.
    pub(super) rate: f64,
    /// Seconds that are left, at this rate.
    pub(super) left_s: Option<f64>,
    /// Of the whole, where it is known.
    pub(super) part: Option<f64>,
}

impl State {
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Run(run) if self.run.run == run.run && !run.run.is_empty() => {
                self.run.tasks = run.tasks.or(self.run.tasks);
                self.total = self.total.or(run.tasks);
            }
            News::Run(run) => *self = State { total: run.tasks, run, ..State::default() },
            News::Session { t, host } => self.begin(t, host),
            News::ToRun(to_run) => {
                let known = self.done.len() + self.failed.len();
                self.total =
                    to_run.map(|to_run| self.run.tasks.map_or(known + to_run, |all| all.min(known + to_run)));
            }
            News::Mode(mode) => self.mode = Some(mode),
            News::Joined(worker) => self.join(worker),
            News::Lost(loss) => self.lose(loss),
            News::Dispatched { t, rank, start, count } => self.dispatch(rank, At { start, count, since: t }),
            News::Chunk(chunk) => self.returned(chunk),
            News::Done { start, count, t } => {
                if let Some(t) = t {
                    self.pass(t, count);
                }
                self.done.insert(start, start.saturating_add(count));
                self.failed.remove(start, start.saturating_add(count));
            }
            News::Failed(failed) => self.fail(failed),
            News::Standing(standing) => self.standing = standing,
        }
    }

    /// A start of the program: what workers were at before is void.
    fn begin(&mut self, t: f64, host: Option<String>) {
        self.sessions += 1;
        self.workers.clear();
        self.pace.clear();
        self.all_told = false;
        self.standing = Standing::Running;
        (self.session, self.host) = (t, host);
        self.latest = self.latest.max(t);
    }

    fn join(&mut self, new: NewWorker) {
        let NewWorker { t: joined, rank, host, pid, slots, children } = new;
        self.all_told = true;
        let worker = Worker { host, pid, slots, children, joined, ..Worker::default() };
        self.workers.insert(rank, worker);
    }

    fn lose(&mut self, loss: Loss) {
        self.latest = self.latest.max(loss.t);
        self.lost[usize::from(loss.slot.is_some())] += 1;
        if loss.slot.is_none()
            && let Some(worker) = self.workers.get_mut(&loss.rank)
        {
            worker.lost = true;
            worker.at.clear();
        }
        keep(&mut self.losses, loss);
    }

    fn dispatch(&mut self, rank: u32, at: At) {
        self.latest = self.latest.max(at.since);
        // The journal tells late of it: what has come back meanwhile is not under way.
        let known = self.done.contains(at.start) || self.failed.contains(at.start);
        let worker = self.workers.entry(rank).or_default();
        if !known || worker.last.is_none_or(|(t, ..)| t <= at.since) {
            worker.at.push_back(at);
        }
    }

    fn returned(&mut self, chunk: Chunk) {
        let Chunk { t, rank, host, pid, start, count, busy_s } = chunk;
        self.latest = self.latest.max(t);
        let worker = self.workers.entry(rank).or_default();
        if let Some(host) = host {
            worker.host = host;
        }
        if worker.children == 0 && pid != 0 {
            worker.pid = pid;
        }
        worker.tasks += count;
        worker.busy_s += busy_s;
        worker.last = Some((t, start, count));
        let end = start + count;
        worker.at.retain(|at| at.start >= end || at.start + at.count <= start);
        self.pass(t, count);
    }

    /// So many tasks have come back at this time.
    fn pass(&mut self, t: f64, count: u64) {
        self.latest = self.latest.max(t);
        let second = t.max(0.0) as u64;
        match self.pace.back_mut() {
            Some((last, sum)) if *last >= second => *sum += count,
            _ => self.pace.push_back((second, count)),
        }
        let from = (self.latest - self.window(self.latest)).max(0.0) as u64;
        while self.pace.front().is_some_and(|(second, _)| *second < from) {
            self.pace.pop_front();
        }
    }

    fn fail(&mut self, failed: Failed) {
        self.done.remove(failed.task, failed.task + 1);
        if failed.last {
            self.failed.insert(failed.task, failed.task + 1);
        } else {
            self.retried += 1;
        }
        keep(&mut self.failures, failed);
    }

    /// The time at `clock`, in seconds since 1970: clocks of two hosts differ.
    pub(super) fn now(&self, clock: f64) -> f64 {
        (clock - self.run.began).max(self.latest)
    }

    /// So many seconds tell the rate.
    fn window(&self, now: f64) -> f64 {
        let age = now - self.session;
        (age / WINDOW_PART).max(SHORTEST_WINDOW).min(age)
    }

    pub(super) fn progress(&self, now: f64) -> Progress {
        let (done, failed) = match &self.standing {
            Standing::Ended(Ended { counts: Some([done, failed, _]), .. }) => (*done, *failed),
            _ => (self.done.len(), self.failed.len()),
        };
        let window = self.window(now);
        let from = now - window;
        let recent = self.pace.iter().filter(|(second, _)| *second as f64 + 1.0 > from);
        let tasks: u64 = recent.map(|(_, count)| count).sum();
        let rate = if window > 0.0 { tasks as f64 / window } else { 0.0 };
        let total = self.total.or(self.run.tasks);
        let open = total.map(|total| total.saturating_sub(done + failed));
        let left_s = match open {
            Some(open) if rate > 0.0 && self.standing == Standing::Running => Some(open as f64 / rate),
            _ => None,
        };
        let part = total.filter(|total| *total > 0).map(|total| (done + failed) as f64 / total as f64);
        Progress { done, failed, total, rate, left_s, part }
    }

    /// All tasks that the run has to do have their outcomes.
    pub(super) fn is_complete(&self) -> bool {
        self.total.or(self.run.tasks).is_some_and(|total| self.done.len() + self.failed.len() >= total)
    }
}

/// Appends to a list of the last ones.
fn keep<T>(list: &mut VecDeque<T>, new: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(new);
}
