//! The options of a call.

use std::{sync::Arc, time::Duration};

use super::{lasting::Keeping, turns::Order};
use crate::{
    error::Error,
    scheduler::{CallSpec, Chunk},
    wire::nanos,
};

/// Tasks between the first result that the user has not taken and the last item pulled.
const WINDOW_TASKS: u64 = 1 << 18;
/// Bytes of items, and of results, that wait.
const WINDOW_BYTES: u64 = 1 << 26;

pub(super) const EMPTY_CHUNK: &str = "a chunk has at least 1 task: give a positive number or Chunk::Auto";

/// What a call may be told beside its function and its items; [`Call`](super::Call) says what each means. An option is
/// declared here, has its default here, and is set by the method of `Call` that has its name.
#[derive(Clone, Debug)]
pub(crate) struct CallOptions {
    pub(crate) chunk: Chunk,
    pub(crate) retries: u16,
    pub(crate) retry_delay: Duration,
    pub(crate) task_timeout: Option<Duration>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) window: u64,
    pub(crate) keep_going: bool,
    pub(crate) announce: bool,
    /// That of the executor, if there is none.
    pub(crate) seed: Option<u64>,
    pub(crate) label: Option<Arc<str>>,
    /// Tasks begin in this order.
    pub(crate) order: Option<Arc<Order>>,
    /// Where the outcomes are kept.
    pub(crate) journal: Option<Keeping>,
    /// What the journal names as the type of the items, if it is not the name of their type.
    pub(crate) item_type: Option<Arc<str>>,
    pub(crate) retry_failed: bool,
    /// It is shown how far it is.
    pub(crate) progress: bool,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions {
            chunk: Chunk::Auto,
            retries: 0,
            retry_delay: Duration::ZERO,
            task_timeout: None,
            time_limit: None,
            window: WINDOW_TASKS,
            keep_going: false,
            announce: false,
            seed: None,
            label: None,
            order: None,
            journal: None,
            item_type: None,
            retry_failed: false,
            progress: false,
        }
    }
}

impl CallOptions {
    /// The error of a call whose options make no sense.
    pub(super) fn refused(&self, text: &str) -> Error {
        let label = self.label.as_ref().map(|label| format!("{label}: ")).unwrap_or_default();
        Error::usage(format!("{label}{text}"))
    }

    /// What the scheduler is told.
    ///
    /// # Errors
    /// When an option makes no sense.
    pub(super) fn spec(&self, ordered: bool, expected: Option<u64>) -> Result<CallSpec, Error> {
        let refused = |text: &str| Err(self.refused(text));
        if self.chunk == Chunk::Fixed(0) {
            return refused(EMPTY_CHUNK);
        }
        if self.window == 0 {
            return refused("a window of 0 tasks lets nothing through: give a positive number");
        }
        if self.chunk == Chunk::Static && expected.is_none() {
            return refused(
                "static chunks need to know the number of tasks: use guided or auto for a lazy iterator",
            );
        }
        if self.retry_failed && self.journal.is_none() {
            return refused("retry_failed runs again what has failed in a journal: name the journal");
        }
        // What must wait for its turn then, waits on the user's side: see `Turns`.
        let (ordered, costs) = match &self.order {
            Some(order) => (false, Some(order.costs.clone())),
            None => (ordered, None),
        };
        Ok(CallSpec {
            first: 0,
            chunk: self.chunk,
            retries: self.retries,
            retry_delay_nanos: nanos(self.retry_delay),
            window_tasks: self.window,
            window_bytes: WINDOW_BYTES,
            ordered,
            announce: self.announce || self.journal.is_some(),
            stop_at_error: !self.keep_going,
            expected,
            costs,
        })
    }
}
