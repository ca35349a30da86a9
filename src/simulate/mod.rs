//! Runs in virtual time: the scheduler of [`crate::scheduler`] with workers that only take time.
//!
//! Rank 0 and leaders are posts: one message after the other, each for its cost. Workers run their chunks one
//! after the other. What is between them takes the latency. Everything else, who gets what and when, is said by the
//! scheduler, which cannot tell this from a run.

mod hand;
mod leader;
mod measure;
mod nanos;
mod post;
mod times;

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use bytes::Bytes;
use hand::{Changed, Hand};
use leader::Leader;
pub(crate) use measure::scheduler_cost;
pub(crate) use nanos::{nanos, readable};
use post::Post;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
pub(crate) use times::Spread;
use times::{Times, uniform};

use crate::{
    scheduler::{Action, CallId, CallSpec, Chunk, Dispatch, Event, WorkerId},
    wire::{Batch, Piece, Pieces},
};

const CALL: CallId = CallId(0);
const HOUR_NANOS: f64 = 3.6e12;

/// What is simulated; times are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) workers: u32,
    pub(crate) tasks: u64,
    pub(crate) spread: Spread,
    pub(crate) chunk: Chunk,
    /// Tasks that may be handed out beyond those that the user has taken.
    pub(crate) window: u64,
    /// How long a message is on its way.
    pub(crate) latency: f64,
    /// What a chunk costs rank 0, and a leader.
    pub(crate) overhead: f64,
    /// What a chunk costs its worker around the tasks.
    pub(crate) worker_overhead: f64,
    /// Workers of a leader; without leaders rank 0 schedules the workers.
    pub(crate) per_leader: Option<u32>,
    /// How often a worker is lost, per hour.
    pub(crate) loss: f64,
    pub(crate) seed: u64,
}

/// What came of it; times are in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// From the first chunk to the last result.
    pub(crate) makespan: f64,
    /// The tasks that counted, each once, on a worker of the usual speed.
    pub(crate) work: f64,
    /// All that workers did, tasks that were lost with them included.
    pub(crate) busy: f64,
    /// The longest task.
    pub(crate) longest: f64,
    pub(crate) done: u64,
    /// Chunks that rank 0 sent.
    pub(crate) chunks: u64,
    /// Chunks that leaders sent.
    pub(crate) leader_chunks: u64,
    /// Chunks that rank 0 or a leader cut short, to spread their tasks.
    pub(crate) revoked: u64,
    /// The time that rank 0 was at work.
    pub(crate) rank_0: f64,
    /// The time that the busiest leader was at work.
    pub(crate) leader: f64,
    pub(crate) lost: u64,
    /// How long the workers were there, all together.
    pub(crate) present: f64,
    /// The same, as much as it is worth on workers of the usual speed.
    pub(crate) capacity: f64,
}

impl Outcome {
    /// What of the workers' time went into tasks that counted.
    pub(crate) fn efficiency(&self) -> f64 {
        self.work / self.capacity
    }

    /// No schedule is shorter: the work is shared by all, and the longest task is whole.
    pub(crate) fn least(&self) -> f64 {
        (self.makespan * self.efficiency()).max(self.longest)
    }

    /// What of the workers' time went into nothing.
    pub(crate) fn idle(&self) -> f64 {
        1.0 - self.busy / self.present
    }

    /// Tasks in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.makespan * 1e9
    }
}

/// Something that comes to be at a moment; of two at one moment that which was foretold first is first.
struct Coming {
    at: f64,
    number: u64,
    what: What,
}

impl Ord for Coming {
    fn cmp(&self, other: &Coming) -> Ordering {
        self.at.total_cmp(&other.at).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Coming {
    fn partial_cmp(&self, other: &Coming) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Coming {
    fn eq(&self, other: &Coming) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Coming {}

enum What {
    /// A post's scheduler has something to do.
    Due { post: usize },
    /// A worker's request for its next chunk is at its post.
    Asked { hand: usize },
    /// A worker's answer is at its post. It is void when the chunk was cut short in the meantime.
    Answered { hand: usize, epoch: u64, cuts: u32 },
    /// A worker is lost.
    Died { hand: usize },
    /// The post of a worker hears that it is lost.
    Missed { hand: usize },
    /// A chunk of rank 0 is at its leader.
    Fed { leader: usize, dispatch: Dispatch },
    /// A leader's request is at rank 0.
    LeaderAsked { leader: usize },
    /// A leader's answer is at rank 0.
    LeaderAnswered { leader: usize, dispatch: Dispatch, busy: f64 },
}

struct Simulation<'a> {
    setting: &'a Setting,
    times: Times,
    queue: BinaryHeap<Reverse<Coming>>,
    number: u64,
    /// Rank 0, and behind it the leaders.
    posts: Vec<Post>,
    leaders: Vec<Leader>,
    hands: Vec<Hand>,
    living: usize,
    ended: bool,
    outcome: Outcome,
}

/// Runs the setting to its end.
pub(crate) fn simulate(setting: &Setting) -> Outcome {
    let mut simulation = Simulation::new(setting);
    simulation.begin();
    while !simulation.ended
        && simulation.living > 0
        && let Some(Reverse(entry)) = simulation.queue.pop()
    {
        simulation.happen(entry.what, entry.at);
    }
    simulation.finish()
}

impl Simulation<'_> {
    fn new(setting: &Setting) -> Simulation<'_> {
        let workers = setting.workers as usize;
        let leaders = setting.per_leader.map_or(0, |most| workers.div_ceil(most as usize));
        let times = Times::new(setting.spread, setting.tasks, setting.seed);
        // Spread evenly: rank 0 takes its leaders for equals.
        let teams = leaders.max(1);
        let first = |team: usize| team * workers / teams;
        let hands =
            (0..teams).flat_map(|team| (first(team)..first(team + 1)).map(move |number| (team, number)));
        let hands = hands.map(|(team, number)| {
            let place = (number - first(team)) as u32 + 1;
            Hand::new(team + usize::from(leaders > 0), WorkerId(place), times.slowness(number))
        });
        Simulation {
            setting,
            queue: BinaryHeap::new(),
            number: 0,
            posts: (0..=leaders).map(|_| Post::new(setting.overhead)).collect(),
            leaders: (0..leaders)
                .map(|team| Leader::new(first(team), first(team + 1) - first(team)))
                .collect(),
            hands: hands.collect(),
            living: workers,
            ended: false,
            outcome: Outcome::default(),
            times,
        }
    }

    /// The workers are there, and the tasks.
    fn begin(&mut self) {
        for hand in 0..self.hands.len() {
            let Hand { post, worker, .. } = self.hands[hand];
            self.posts[post].join(worker, 1);
            if self.setting.loss > 0.0 {
                let mut rng = ChaCha8Rng::seed_from_u64(self.setting.seed ^ u64::MAX);
                rng.set_stream(hand as u64);
                let at = -uniform(&mut rng).ln() * HOUR_NANOS / self.setting.loss;
                self.foretell(at, What::Died { hand });
            }
        }
        let ordered = |ordered, window_tasks, expected| CallSpec {
            first: 0,
            chunk: self.setting.chunk,
            retries: 0,
            retry_delay_nanos: 0,
            window_tasks,
            window_bytes: u64::MAX,
            ordered,
            announce: false,
            stop_at_error: false,
            expected,
            costs: None,
        };
        let whole = ordered(true, self.setting.window, Some(self.setting.tasks));
        let part = ordered(false, u64::MAX, None);
        for leader in 0..self.leaders.len() {
            self.posts[0].join(WorkerId(leader as u32 + 1), self.leaders[leader].workers as u32);
            self.tell(1 + leader, 0.0, Event::Submitted { call: CALL, spec: part.clone() });
        }
        self.tell(0, 0.0, Event::Submitted { call: CALL, spec: whole });
        self.tell(0, 0.0, Event::Fed { call: CALL, tasks: self.setting.tasks });
        self.tell(0, 0.0, Event::Closed { call: CALL });
    }

    fn foretell(&mut self, at: f64, what: What) {
        self.number += 1;
        self.queue.push(Reverse(Coming { at, number: self.number, what }));
    }

    fn happen(&mut self, what: What, now: f64) {
        match what {
            What::Due { post } => {
                self.posts[post].due = None;
                if self.posts[post].next_due().is_some_and(|due| due <= now) {
                    self.tell(post, now, Event::Tick);
                } else {
                    self.foretell_due(post);
                }
            }
            What::Asked { hand } => {
                let Hand { post, worker, .. } = self.hands[hand];
                self.tell(post, now, Event::Requested { worker, free: 0 });
            }
            What::Answered { hand, epoch, cuts } => {
                let Hand { post, worker, .. } = self.hands[hand];
                let Some(run) = self.hands[hand].answered(epoch, cuts) else {
                    return;
                };
                let event = Event::Returned {
                    worker,
                    dispatch: epoch,
                    pieces: piece(run.start, run.count),
                    busy_nanos: run.busy() as u64,
                    overhead_nanos: self.setting.worker_overhead as u64,
                };
                self.outcome.work += run.busy() / self.hands[hand].slowness;
                self.tell(post, now, event);
            }
            What::Died { hand } => {
                self.living -= 1;
                self.outcome.lost += 1;
                self.hands[hand].die(now);
                self.foretell(now + self.setting.latency, What::Missed { hand });
            }
            What::Missed { hand } => {
                let Hand { post, worker, .. } = self.hands[hand];
                self.tell(post, now, Event::Lost { worker });
            }
            What::Fed { leader, dispatch } => {
                self.leaders[leader].take(dispatch, now);
                self.tell(1 + leader, now, Event::Fed { call: CALL, tasks: dispatch.count });
            }
            What::LeaderAsked { leader } => {
                self.tell(0, now, Event::Requested { worker: WorkerId(leader as u32 + 1), free: 0 });
            }
            What::LeaderAnswered { leader, dispatch, busy } => {
                let event = Event::Returned {
                    worker: WorkerId(leader as u32 + 1),
                    dispatch: dispatch.epoch,
                    pieces: piece(dispatch.start, dispatch.count),
                    busy_nanos: busy as u64,
                    overhead_nanos: (2.0 * self.setting.latency + self.setting.overhead) as u64,
                };
                self.tell(0, now, event);
            }
        }
    }

    /// Tells a post's scheduler, as soon as the post is free, and does what it says.
    fn tell(&mut self, post: usize, now: f64, event: Event) {
        let mut actions = self.posts[post].take_in(now, event);
        while !actions.is_empty() {
            let mut emitted = 0;
            for action in actions.drain(..) {
                match action {
                    Action::Send(dispatch) => self.send(post, dispatch),
                    Action::Revoke { worker, dispatch, .. } => self.revoke(post, worker, dispatch),
                    Action::Emit { piece, .. } => {
                        emitted += piece.count;
                        self.emitted(post, &piece);
                    }
                    Action::Finished { .. } => self.ended |= post == 0,
                    Action::Announce { .. } | Action::Retry { .. } | Action::Forget { .. } => {}
                }
            }
            // The user takes each result as soon as it is there.
            if emitted > 0 && !self.ended {
                self.posts[post].hear(Event::Consumed { call: CALL, tasks: emitted, bytes: 0 }, &mut actions);
            }
        }
        self.posts[post].actions = actions;
        self.foretell_due(post);
        if post > 0 {
            self.ask_for_leader(post - 1);
        }
        if self.ended {
            self.outcome.makespan = self.posts[0].free_at;
        }
    }

    fn foretell_due(&mut self, post: usize) {
        if let Some(due) = self.posts[post].next_due()
            && self.posts[post].due.is_none_or(|listed| due < listed)
        {
            self.posts[post].due = Some(due);
            self.foretell(due, What::Due { post });
        }
    }

    fn send(&mut self, post: usize, dispatch: Dispatch) {
        let arrives = self.posts[post].send() + self.setting.latency;
        if post == 0 {
            self.outcome.chunks += 1;
        } else {
            self.outcome.leader_chunks += 1;
        }
        if post == 0 && !self.leaders.is_empty() {
            let leader = dispatch.worker.0 as usize - 1;
            self.foretell(arrives, What::Fed { leader, dispatch });
            return;
        }
        let hand = self.hand_of(post, dispatch.worker);
        let Simulation { hands, times, leaders, setting, .. } = self;
        let time = |task| times.of(number_of(leaders, post, task));
        let Some(planned) = hands[hand].plan(&dispatch, arrives, setting.worker_overhead, time) else {
            return; // It is lost, and its post will hear of it.
        };
        let latency = self.setting.latency;
        if let Some(asks) = planned.asks {
            self.foretell(asks + latency, What::Asked { hand });
        }
        self.foretell(planned.ends + latency, What::Answered { hand, epoch: dispatch.epoch, cuts: 0 });
    }

    fn revoke(&mut self, post: usize, worker: WorkerId, epoch: u64) {
        let arrives = self.posts[post].send() + self.setting.latency;
        self.outcome.revoked += 1;
        if post == 0 && !self.leaders.is_empty() {
            return; // A leader keeps what it has: its own scheduler spreads it.
        }
        let hand = self.hand_of(post, worker);
        let Simulation { hands, times, leaders, setting, .. } = self;
        let time = |task| times.of(number_of(leaders, post, task));
        let changed = hands[hand].cut(epoch, arrives, setting.worker_overhead, time);
        let latency = setting.latency;
        for Changed { epoch, cuts, ends } in changed {
            self.foretell(ends + latency, What::Answered { hand, epoch, cuts });
        }
    }

    /// At a leader, whole chunks go back to rank 0.
    fn emitted(&mut self, post: usize, piece: &Piece) {
        if post == 0 {
            self.outcome.done += piece.count;
            return;
        }
        let now = self.posts[post].free_at;
        for (dispatch, busy) in self.leaders[post - 1].done(piece.start, piece.count, now) {
            let arrives = self.posts[post].send() + self.setting.latency;
            self.foretell(arrives, What::LeaderAnswered { leader: post - 1, dispatch, busy });
        }
    }

    fn ask_for_leader(&mut self, leader: usize) {
        let waiting = self.posts[1 + leader].waiting();
        if self.leaders[leader].asks(waiting) {
            let arrives = self.posts[1 + leader].send() + self.setting.latency;
            self.foretell(arrives, What::LeaderAsked { leader });
        }
    }

    fn finish(mut self) -> Outcome {
        let makespan = self.outcome.makespan;
        for hand in &self.hands {
            let there = hand.gone.unwrap_or(makespan).min(makespan);
            self.outcome.present += there;
            self.outcome.capacity += there / hand.slowness;
            self.outcome.busy += hand.busy;
        }
        self.outcome.longest = self.times.longest;
        self.outcome.rank_0 = self.posts[0].busy;
        self.outcome.leader = self.posts[1..].iter().map(|post| post.busy).fold(0.0, f64::max);
        self.outcome
    }

    fn hand_of(&self, post: usize, worker: WorkerId) -> usize {
        let first = if self.leaders.is_empty() { 0 } else { self.leaders[post - 1].first_hand };
        first + worker.0 as usize - 1
    }
}

/// Rank 0's number of a task, by that of its post.
fn number_of(leaders: &[Leader], post: usize, task: u64) -> u64 {
    if leaders.is_empty() { task } else { leaders[post - 1].task(task) }
}

/// The outcomes of neighbouring tasks, whose values have no size.
fn piece(start: u64, count: u64) -> Pieces {
    let values = Batch::from_wire(Bytes::new(), count as usize, false);
    values
        .filter(|_| count > 0)
        .map(|values| Piece { start, count, outcome: Ok(values) })
        .into_iter()
        .collect()
}
