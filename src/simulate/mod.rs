//! Runs in virtual time: the scheduler of [`crate::scheduler`], and the leaders' [`Team`]s, with workers that only take
//! time.
//!
//! Rank 0 and the leaders are posts. A post handles one message after the other, and each takes its time. Workers run
//! their chunks one after the other. What passes between them takes the latency. The scheduler and the teams decide
//! everything else, who gets what and when, and cannot tell this from a run.

mod hand;
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
pub(crate) use measure::scheduler_cost;
pub(crate) use nanos::{nanos, readable};
use post::Post;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
pub(crate) use times::Spread;
use times::{Times, uniform};

use crate::{
    leader::{ChildAt, Deed, Ran, Team},
    scheduler::{Action, CallId, CallSpec, Chunk, Dispatch, Event, Scheduler, WorkerId},
    wire::{Batch, ChunkMessage, Piece, Pieces, ResultMessage},
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
    /// The part of the workers' time that went into tasks that counted.
    pub(crate) fn efficiency(&self) -> f64 {
        self.work / self.capacity
    }

    /// No schedule is shorter: the work is shared by all, and the longest task is whole.
    pub(crate) fn least(&self) -> f64 {
        (self.makespan * self.efficiency()).max(self.longest)
    }

    /// The part of the workers' time in which they ran no task.
    pub(crate) fn idle(&self) -> f64 {
        1.0 - self.busy / self.present
    }

    /// Tasks in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.makespan * 1e9
    }
}

/// Something that happens at a moment. Of two things at the same moment, the one that was foretold first comes first.
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
    Taken { leader: usize, chunk: Box<ChunkMessage> },
    /// Rank 0's order to cut a chunk short is at its leader.
    Recalled { leader: usize, dispatch: u64 },
    /// A leader's request is at rank 0.
    LeaderAsked { leader: usize, free: u32, heard: u64 },
    /// A leader's answer is at rank 0.
    LeaderAnswered { leader: usize, result: Box<ResultMessage> },
    /// A part of a chunk is done.
    LeaderTold { leader: usize, result: Box<ResultMessage> },
    /// Rank 0 hears that a leader has nobody left.
    LeaderMissed { leader: usize },
}

/// A leader, and which hands are its own.
struct Led {
    team: Team,
    first_hand: usize,
    workers: usize,
    living: usize,
}

struct Simulation<'a> {
    setting: &'a Setting,
    times: Times,
    queue: BinaryHeap<Reverse<Coming>>,
    number: u64,
    /// Rank 0, and behind it the leaders.
    posts: Vec<Post>,
    scheduler: Scheduler,
    leaders: Vec<Led>,
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
        let mut scheduler = Scheduler::new();
        scheduler.set_cost(setting.overhead);
        let led = |team| {
            let workers = first(team + 1) - first(team);
            let mut led = Led { team: Team::new(), first_hand: first(team), workers, living: workers };
            led.team.set_cost(setting.overhead);
            led
        };
        Simulation {
            setting,
            queue: BinaryHeap::new(),
            number: 0,
            posts: (0..=leaders).map(|_| Post::new(setting.overhead)).collect(),
            scheduler,
            leaders: (0..leaders).map(led).collect(),
            hands: hands.collect(),
            living: workers,
            ended: false,
            outcome: Outcome::default(),
            times,
        }
    }

    /// The workers are there, and the tasks.
    fn begin(&mut self) {
        let mut actions = Vec::new();
        for hand in 0..self.hands.len() {
            let Hand { post, worker, .. } = self.hands[hand];
            match post {
                0 => self.scheduler.handle(joined(worker, 1), &mut actions),
                // What the team wants then, it says again with the first chunk.
                post => self.leaders[post - 1].team.joined(
                    worker.0,
                    ChildAt { slot: worker.0, pid: 0 },
                    &mut Vec::new(),
                ),
            }
            if self.setting.loss > 0.0 {
                let mut rng = ChaCha8Rng::seed_from_u64(self.setting.seed ^ u64::MAX);
                rng.set_stream(hand as u64);
                let at = -uniform(&mut rng).ln() * HOUR_NANOS / self.setting.loss;
                self.foretell(at, What::Died { hand });
            }
        }
        for leader in 0..self.leaders.len() {
            let width = self.leaders[leader].workers as u32;
            self.scheduler.handle(joined(worker_of(leader), width), &mut actions);
        }
        let spec = CallSpec {
            first: 0,
            chunk: self.setting.chunk,
            retries: 0,
            retry_delay_nanos: 0,
            window_tasks: self.setting.window,
            window_bytes: u64::MAX,
            ordered: true,
            announce: false,
            stop_at_error: false,
            expected: Some(self.setting.tasks),
            costs: None,
        };
        self.tell(0.0, Event::Submitted { call: CALL, spec });
        self.tell(0.0, Event::Fed { call: CALL, tasks: self.setting.tasks });
        self.tell(0.0, Event::Closed { call: CALL });
    }

    fn foretell(&mut self, at: f64, what: What) {
        self.number += 1;
        self.queue.push(Reverse(Coming { at, number: self.number, what }));
    }

    fn happen(&mut self, what: What, now: f64) {
        match what {
            What::Due { post } => {
                self.posts[post].due = None;
                match self.next_due(post) {
                    Some(due) if due > now => self.foretell_due(post),
                    None => {}
                    Some(_) if post == 0 => self.tell(now, Event::Tick),
                    Some(_) => self.lead(post - 1, now, |team, deeds| team.tick(deeds)),
                }
            }
            What::Asked { hand } => {
                let Hand { post, worker, .. } = self.hands[hand];
                match post {
                    0 => self.tell(now, Event::Requested { worker, free: 0, heard: 0 }),
                    post => self.lead(post - 1, now, |team, deeds| team.requested(worker.0, deeds)),
                }
            }
            What::Answered { hand, epoch, cuts } => self.answered(hand, epoch, cuts, now),
            What::Died { hand } => {
                self.living -= 1;
                self.outcome.lost += 1;
                self.hands[hand].die(now);
                self.foretell(now + self.setting.latency, What::Missed { hand });
            }
            What::Missed { hand } => {
                let Hand { post, worker, .. } = self.hands[hand];
                if post == 0 {
                    return self.tell(now, Event::Lost { worker });
                }
                self.lead(post - 1, now, |team, deeds| team.lost(worker.0, deeds));
                self.leaders[post - 1].living -= 1;
                if self.leaders[post - 1].living == 0 {
                    self.lead(post - 1, now, |team, deeds| team.disbanded(deeds));
                    let arrives = self.posts[post].send() + self.setting.latency;
                    self.foretell(arrives, What::LeaderMissed { leader: post - 1 });
                }
            }
            What::Taken { leader, chunk } => self.lead(leader, now, |team, deeds| team.take(*chunk, deeds)),
            What::Recalled { leader, dispatch } => {
                self.lead(leader, now, |team, deeds| team.recall(dispatch, deeds));
            }
            What::LeaderAsked { leader, free, heard } => {
                self.tell(now, Event::Requested { worker: worker_of(leader), free, heard });
            }
            What::LeaderAnswered { leader, result } => {
                let ResultMessage { dispatch, pieces, busy_nanos, overhead_nanos, .. } = *result;
                let (worker, pieces) = (worker_of(leader), pieces.unwrap_or_default());
                self.tell(now, Event::Returned { worker, dispatch, pieces, busy_nanos, overhead_nanos });
            }
            What::LeaderTold { leader, result } => {
                let ResultMessage { dispatch, pieces, busy_nanos, overhead_nanos, .. } = *result;
                let (worker, pieces) = (worker_of(leader), pieces.unwrap_or_default());
                self.tell(now, Event::Partial { worker, dispatch, pieces, busy_nanos, overhead_nanos });
            }
            What::LeaderMissed { leader } => self.tell(now, Event::Lost { worker: worker_of(leader) }),
        }
    }

    /// A worker's answer is at its post.
    fn answered(&mut self, hand: usize, epoch: u64, cuts: u32, now: f64) {
        let Hand { post, worker, .. } = self.hands[hand];
        let Some(run) = self.hands[hand].answered(epoch, cuts) else {
            return;
        };
        self.outcome.work += run.busy() / self.hands[hand].slowness;
        let pieces = piece(run.start, run.count);
        let (busy_nanos, overhead_nanos) = (run.busy() as u64, self.setting.worker_overhead as u64);
        if post == 0 {
            return self
                .tell(now, Event::Returned { worker, dispatch: epoch, pieces, busy_nanos, overhead_nanos });
        }
        let (start, count) = (run.start, run.count);
        let ran = Ran { start, count, busy_nanos, overhead_nanos, slowest: start, slowest_nanos: 0 };
        self.lead(post - 1, now, |team, deeds| team.returned(worker.0, epoch, ran, pieces, deeds));
    }

    /// Tells rank 0's scheduler, as soon as rank 0 is free, and does what it says.
    fn tell(&mut self, now: f64, event: Event) {
        self.scheduler.set_now(self.posts[0].take_in(now));
        let mut actions = Vec::new();
        self.scheduler.handle(event, &mut actions);
        while !actions.is_empty() {
            let mut emitted = 0;
            for action in actions.drain(..) {
                match action {
                    Action::Send(dispatch) => self.send(dispatch),
                    Action::Revoke { worker, dispatch, .. } => self.revoke(worker, dispatch),
                    Action::Emit { piece, .. } => emitted += piece.count,
                    Action::Finished { .. } => self.ended = true,
                    Action::Announce { .. } | Action::Retry { .. } | Action::Forget { .. } => {}
                }
            }
            self.outcome.done += emitted;
            // The user takes each result as soon as it is there.
            if emitted > 0 && !self.ended {
                let consumed = Event::Consumed { call: CALL, tasks: emitted, bytes: 0 };
                self.scheduler.handle(consumed, &mut actions);
            }
        }
        self.foretell_due(0);
        if self.ended {
            self.outcome.makespan = self.posts[0].free_at;
        }
    }

    /// Tells a leader, as soon as it is free, and does what it says.
    fn lead(&mut self, leader: usize, now: f64, tell: impl FnOnce(&mut Team, &mut Vec<Deed>)) {
        let post = leader + 1;
        let latency = self.setting.latency;
        let mut deeds = Vec::new();
        let begins = self.posts[post].take_in(now);
        self.leaders[leader].team.set_now(begins);
        tell(&mut self.leaders[leader].team, &mut deeds);
        for deed in deeds {
            let arrives = self.posts[post].send() + latency;
            match deed {
                Deed::Send { child, chunk } => {
                    self.outcome.leader_chunks += 1;
                    let (start, count) = (chunk.start, chunk.count);
                    self.begin_chunk(self.hand_of(post, child), (chunk.dispatch, start, count), arrives);
                }
                Deed::Revoke { child, dispatch, .. } => {
                    self.outcome.revoked += 1;
                    self.cut(self.hand_of(post, child), dispatch, arrives);
                }
                Deed::Answer(result) => {
                    self.foretell(arrives, What::LeaderAnswered { leader, result: Box::new(result) });
                }
                Deed::Tell(result) => {
                    self.foretell(arrives, What::LeaderTold { leader, result: Box::new(result) });
                }
                Deed::Ask { free, heard } => {
                    self.foretell(arrives, What::LeaderAsked { leader, free, heard });
                }
            }
        }
        self.foretell_due(post);
    }

    fn next_due(&self, post: usize) -> Option<f64> {
        let due = match post {
            0 => self.scheduler.next_due(),
            post => self.leaders[post - 1].team.next_due(),
        };
        due.map(|due| due as f64)
    }

    fn foretell_due(&mut self, post: usize) {
        if let Some(due) = self.next_due(post)
            && self.posts[post].due.is_none_or(|listed| due < listed)
        {
            self.posts[post].due = Some(due);
            self.foretell(due, What::Due { post });
        }
    }

    /// Rank 0 sends a chunk.
    fn send(&mut self, dispatch: Dispatch) {
        let arrives = self.posts[0].send() + self.setting.latency;
        self.outcome.chunks += 1;
        let Dispatch { epoch, worker, start, count, attempt, share, .. } = dispatch;
        if self.leaders.is_empty() {
            return self.begin_chunk(self.hand_of(0, worker.0), (epoch, start, count), arrives);
        }
        let chunk = ChunkMessage {
            call: CALL.0,
            dispatch: epoch,
            start,
            count,
            attempt,
            program: 0,
            seed: 0,
            limit_nanos: 0,
            share,
            keeps: false,
            traced: false,
            shared: Vec::new(),
            items: None,
        };
        self.foretell(arrives, What::Taken { leader: worker.0 as usize - 1, chunk: Box::new(chunk) });
    }

    /// A chunk, by its epoch, its first task and its tasks, arrives at its worker.
    fn begin_chunk(&mut self, hand: usize, (epoch, start, count): (u64, u64, u64), arrives: f64) {
        let Simulation { hands, times, setting, .. } = self;
        let time = |task| times.of(task);
        let Some(planned) = hands[hand].plan(epoch, start, count, arrives, setting.worker_overhead, time)
        else {
            return; // It is lost, and its post will hear of it.
        };
        let latency = self.setting.latency;
        if let Some(asks) = planned.asks {
            self.foretell(asks + latency, What::Asked { hand });
        }
        self.foretell(planned.ends + latency, What::Answered { hand, epoch, cuts: 0 });
    }

    /// Rank 0 has a chunk cut short.
    fn revoke(&mut self, worker: WorkerId, epoch: u64) {
        let arrives = self.posts[0].send() + self.setting.latency;
        self.outcome.revoked += 1;
        if self.leaders.is_empty() {
            return self.cut(self.hand_of(0, worker.0), epoch, arrives);
        }
        self.foretell(arrives, What::Recalled { leader: worker.0 as usize - 1, dispatch: epoch });
    }

    /// The order to cut a chunk short arrives at its worker.
    fn cut(&mut self, hand: usize, epoch: u64, arrives: f64) {
        let Simulation { hands, times, setting, .. } = self;
        let changed = hands[hand].cut(epoch, arrives, setting.worker_overhead, |task| times.of(task));
        let latency = setting.latency;
        for Changed { epoch, cuts, ends } in changed {
            self.foretell(ends + latency, What::Answered { hand, epoch, cuts });
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

    fn hand_of(&self, post: usize, worker: u32) -> usize {
        let first = if post == 0 { 0 } else { self.leaders[post - 1].first_hand };
        first + worker as usize - 1
    }
}

/// What rank 0 calls a leader.
fn worker_of(leader: usize) -> WorkerId {
    WorkerId(leader as u32 + 1)
}

fn joined(worker: WorkerId, width: u32) -> Event {
    Event::Joined { worker, slots: 1, width, host: String::new() }
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
