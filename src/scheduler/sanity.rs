//! What must hold of a scheduler after every event.

use std::collections::BTreeSet;

use super::{CallId, Dispatch, MOST_AHEAD, Scheduler};

impl Scheduler {
    /// Walks the invariants; panics with the one that is broken.
    pub(crate) fn sanity_check(&self) {
        for (id, call) in &self.calls {
            let all = self.workers.iter().flat_map(|(_, worker)| worker.outstanding());
            let flying: Vec<&Dispatch> = all.filter(|d| d.call == *id).collect();
            let open = |d: &&Dispatch| {
                let known = self.known.get(&d.epoch).cloned().unwrap_or_default();
                let gaps = known.gaps_in(d.start, d.start + d.count);
                gaps.map(|(start, end)| (start, end - start)).collect::<Vec<_>>()
            };
            let open: Vec<(u64, u64)> = flying.iter().flat_map(open).collect();
            let tasks: u64 = open.iter().map(|(_, count)| count).sum();
            assert_eq!((flying.len(), tasks), (call.in_flight, call.flying), "{id:?}: in flight");
            assert!(!(call.ended && call.in_flight == 0), "{id:?}: ended and not forgotten");
            if !call.ended {
                call.sanity_check(open.into_iter());
                let idle = self.draining || !call.is_runnable();
                assert!(call.enlisted || idle, "{id:?}: has work and is not enlisted");
            }
        }
        let open = self.calls.iter().filter(|(_, call)| !call.ended);
        let due: BTreeSet<_> = open.filter_map(|(id, call)| Some((call.next_due()?, *id))).collect();
        assert_eq!(due, self.due, "when calls are due");
        let flying = || self.workers.iter().flat_map(|(_, worker)| worker.outstanding());
        assert_eq!(flying().count(), self.in_flight);
        let with_workers = |epoch: &u64| flying().any(|dispatch| dispatch.epoch == *epoch);
        assert!(self.known.keys().all(with_workers), "known parts of chunks that are back");
        let busy = self.workers.iter().filter(|(_, worker)| !worker.outstanding().is_empty()).count();
        assert_eq!(busy, self.busy);
        let dry = self.workers.iter().filter(|(_, worker)| worker.runs_dry()).count();
        assert_eq!(dry, self.dry, "workers with nothing ahead");
        let places: u64 = self.workers.iter().map(|(_, worker)| worker.places()).sum();
        assert_eq!((places, self.workers.iter().count()), (self.slots, self.living));
        let listed = flying().filter(|d| d.ends > 0 && !d.cut).map(|d| (d.ends, d.worker, d.epoch));
        assert_eq!(listed.collect::<BTreeSet<_>>(), self.ends, "chunks that may be cut");
        assert_eq!(flying().filter(|d| d.cut).count(), self.cut);
        for (id, worker) in self.workers.iter() {
            let long = worker.outstanding().iter().filter(|dispatch| !dispatch.is_short()).count();
            assert_eq!(long > 0, worker.is_at_long(), "{id:?}: chunks that are not short");
            let ahead: u64 = worker.outstanding().iter().map(|dispatch| dispatch.expected_nanos).sum();
            assert_eq!(ahead, worker.ahead_nanos(), "{id:?}: what its chunks take");
            let most = if long > 0 { MOST_AHEAD + 2 } else { MOST_AHEAD };
            let most = most as u64 * worker.places();
            assert!(worker.outstanding().len() as u64 <= most, "{id:?}: too many chunks");
            assert!(!worker.is_idle() || worker.in_idle, "{id:?}: idle and not offered");
            assert!(
                self.next_call_exists().is_none() || !worker.is_idle(),
                "{id:?}: idle while there is work"
            );
        }
    }

    fn next_call_exists(&self) -> Option<CallId> {
        if self.draining {
            return None;
        }
        self.runnable.iter().copied().find(|id| self.calls.get(id).is_some_and(|call| call.is_runnable()))
    }
}
