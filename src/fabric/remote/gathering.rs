//! The start: every worker comes up, or nobody stays.

use std::{collections::BTreeMap, time::Instant};

use super::{Host, Member, Places, Remote, Settings, Stage};
use crate::{
    error::{Error, ErrorKind},
    fabric::{
        Ending, Expecting, Fabric, Idle, News, WorkerInfo, lifeline::Lifelines, replacements::Replacements,
        transport::Transport,
    },
    launch::{self, Siblings},
    wire::ToWorker,
};

impl<T: Transport> Remote<T> {
    /// Takes the workers `ranks` in; returns when each of them is ready for work.
    ///
    /// # Errors
    /// When one does not come up in time, or is of another build; all are ended then.
    pub(crate) fn start(
        transport: T,
        ranks: impl IntoIterator<Item = u32>,
        settings: Settings,
    ) -> Result<(Remote<T>, Vec<WorkerInfo>), Error> {
        launch::keep_freed_memory();
        let members: BTreeMap<u32, Member> =
            ranks.into_iter().map(|rank| (rank, Member::started())).collect();
        let lifelines = Lifelines::listen(members.len(), settings.stall).map_err(|error| {
            Error::new(ErrorKind::Launch, format!("rank 0 cannot listen for its workers' lifelines: {error}"))
        })?;
        let replacements = Replacements::new(settings.start_timeout);
        let mut remote = Remote {
            transport,
            lifelines,
            settings,
            coming: members.len(),
            members,
            hosts: BTreeMap::new(),
            by_cpus: Places::default(),
            by_gpus: Places::default(),
            inbox: Vec::new(),
            losses: 0,
            replacements,
            running: false,
            gathered: false,
            not_led: None,
            looked: Instant::now(),
            to_wake: Vec::new(),
            broken: false,
        };
        match remote.gather() {
            Ok(workers) => match remote.not_led.take() {
                None => Ok((remote, workers)),
                Some(error) => {
                    remote.end(Ending::Orderly { code: None })?;
                    Err(error)
                }
            },
            Err(error) => {
                remote.dismiss();
                Err(error)
            }
        }
    }

    /// Ends the workers after a start that failed, but not before rank 0 could say why: those
    /// with a lifeline end with this process, the others are told now.
    fn dismiss(mut self) {
        for rank in self.members.keys().filter(|rank| !self.lifelines.stands(**rank)) {
            self.transport.post(*rank, ToWorker::Refuse.pack());
        }
        self.transport.flush();
        if let Err(error) = self.transport.end(Ending::Forced { code: None }, true) {
            tracing::error!("{error}");
        }
        self.lifelines.keep_until_the_end();
    }

    fn gather(&mut self) -> Result<Vec<WorkerInfo>, Error> {
        let here = launch::here();
        let cpus = here.cpus.iter().copied().collect();
        self.hosts.insert(here.host.clone(), Host { ranks: 1, cpus, lost: 0 });
        if self.settings.team.is_some() {
            // Rank 0 leads a team, too.
            self.take_place(0, &here.host, &here.cpus, &launch::visible_gpus());
        }
        let deadline = self.settings.deadline;
        let mut idle = Idle::new(false);
        let mut siblings = Siblings::watch();
        let mut workers = Vec::new();
        let mut news = Vec::new();
        while self.expected() > 0 {
            if self.step(&mut news)? {
                idle.reset();
            } else {
                idle.pause(Expecting::Nothing);
            }
            for item in news.drain(..) {
                match item {
                    News::Joined(info) => workers.push(info),
                    News::Lost { rank, reason } if !self.replaces() => {
                        let text = format!("worker {rank} was lost before the first task: {reason}");
                        return Err(Error::new(ErrorKind::Launch, text));
                    }
                    News::Lost { rank, .. } => workers.retain(|worker: &WorkerInfo| worker.rank != rank),
                    _ => {}
                }
            }
            let all_known = !self.members.values().any(|member| matches!(member.stage, Stage::Awaited));
            if !self.running && all_known {
                self.running = true; // The counts of workers a host are complete.
                let ranks: Vec<u32> = self.members.keys().copied().collect();
                ranks.into_iter().for_each(|rank| self.welcome(rank));
            }
            // Its lifeline tells of one that has come further.
            if let Some(gone) = siblings.gone() {
                return Err(Error::new(ErrorKind::Launch, format!("{gone}: the run cannot start")));
            }
            if Instant::now() > deadline {
                let missing: Vec<String> = self
                    .members
                    .iter()
                    .filter(|(_, member)| !matches!(member.stage, Stage::Working))
                    .map(|(rank, _)| rank.to_string())
                    .collect();
                return Err(Error::new(
                    ErrorKind::Launch,
                    format!(
                        "worker {} did not come up within {:?}; every rank must run this same program and \
                         reach Executor::start",
                        missing.join(", "),
                        self.settings.start_timeout
                    ),
                ));
            }
        }
        if workers.is_empty() {
            return Err(Error::new(ErrorKind::Launch, "no worker process comes up"));
        }
        workers.sort_by_key(|worker| worker.rank);
        self.gathered = true;
        Ok(workers)
    }
}
