//! The end: workers are left in order, or by force.

use std::time::{Duration, Instant};

use super::{LATE_ONES, Remote, Stage};
use crate::{
    error::Error,
    fabric::{Ending, Fabric, lifeline::Heard, transport::Transport},
    launch,
    wire::ToWorker,
};

impl<T: Transport> Remote<T> {
    /// Leaves the workers.
    pub(super) fn leave(&mut self, ending: Ending) -> Result<(), Error> {
        if matches!(ending, Ending::Orderly { .. }) {
            self.let_late_ones_in();
            self.find_frozen();
        }
        self.lifelines.ending();
        let lost = self.losses > 0;
        let (policy, finalises) = (self.transport.policy(), ending.finalises(lost));
        if policy.abort_code(ending.code(), finalises).is_some() {
            // MPI_Abort ends all processes: none must leave before.
            return self.transport.end(ending, lost);
        }
        if !finalises {
            let here = &launch::here().host;
            // A frozen worker counts twice: the launcher will not see it end.
            let frozen = self.members.iter().filter(|(rank, _)| self.lifelines.is_frozen(**rank));
            let frozen = frozen.filter_map(|(_, member)| member.host.as_deref());
            let all = self.hosts.iter().flat_map(|(host, known)| {
                std::iter::repeat_n(host.as_str(), (known.ranks + known.lost) as usize)
            });
            if policy.is_stranded_by(all.chain(frozen).filter(|host| host != here)) {
                launch::strand_launcher();
            }
        }
        // A launcher that ends the run for one process would do so at once if the workers ended before this one,
        // whose code counts: they end with it.
        if !finalises && !policy.survives_losses() {
            if matches!(ending, Ending::Orderly { .. })
                && let Some(advice) = policy.advice()
            {
                tracing::warn!(
                    "a worker was given up, and this launcher ends the run with an error for it: {advice}"
                );
            }
            self.lifelines.keep_until_the_end();
            return Ok(());
        }
        match ending {
            Ending::Orderly { .. } => {
                for (rank, member) in &self.members {
                    self.lifelines.say_goodbye(*rank);
                    match member.stage {
                        Stage::Working | Stage::Welcomed(_) => {
                            let shutdown = ToWorker::Shutdown { finalise: !lost };
                            self.transport.post(*rank, shutdown.pack());
                        }
                        // It still comes up, and waits for its welcome.
                        Stage::Awaited | Stage::Known(_) => {
                            self.transport.post(*rank, ToWorker::Refuse.pack());
                        }
                        Stage::Lost => self.lifelines.order_exit(*rank, 0),
                    }
                }
            }
            Ending::Forced { code } => {
                let code = code.unwrap_or(1).clamp(0, 255) as u8;
                self.members.keys().for_each(|rank| self.lifelines.order_exit(*rank, code));
                let patience = Instant::now() + Duration::from_millis(300);
                while Instant::now() < patience
                    && self.members.keys().any(|rank| self.lifelines.stands(*rank))
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                // A worker that is still there stands still, or is writing its last words.
                self.members.keys().for_each(|rank| self.lifelines.kill(*rank));
            }
        }
        self.transport.flush();
        self.transport.end(ending, lost)
    }

    /// Waits for replacements that are on their way when the run ends: a process that finds rank 0 gone while it starts
    /// takes the run for killed, and ends its launcher.
    fn let_late_ones_in(&mut self) {
        self.replacements.give_up();
        let deadline = Instant::now() + LATE_ONES;
        let mut news = Vec::new();
        while self.gathered && self.expected() > 0 && Instant::now() < deadline {
            if self.step(&mut news).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Finds the workers that stand still before the run ends: MPI_Finalize would wait for them for ever.
    fn find_frozen(&mut self) {
        self.lifelines.ask_idle_workers();
        loop {
            let answered = self.lifelines.all_have_answered();
            while let Ok(heard) = self.lifelines.heard.try_recv() {
                // A task that was over its time has ended by now.
                if let Heard::Gone { rank, .. } | Heard::Silent { rank, .. } = heard
                    && self.strike(rank).is_some()
                {
                    tracing::warn!("worker {rank} was lost at the end of the run");
                }
            }
            if answered {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}
