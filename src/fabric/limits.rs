//! How long a worker's tasks may take, as rank 0 knows it even when the worker is silent.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{wire::ChunkMessage, worker::Limited};

/// A chunk that a worker has.
#[derive(Debug)]
struct Chunk {
    dispatch: u64,
    /// The limit of a single task, and when it was sent. Of several tasks nobody knows which one a silent worker is at.
    task: Option<(Limited, Instant)>,
}

/// The chunks that a worker has.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The limit of the tasks in the last chunk.
    last: Option<Duration>,
    /// The oldest first.
    chunks: VecDeque<Chunk>,
}

impl Limits {
    /// A chunk is sent; returns the new limit if it is another one than before.
    pub(super) fn sent(&mut self, chunk: &ChunkMessage) -> Option<Option<Duration>> {
        let limit = (chunk.limit_nanos > 0).then_some(Duration::from_nanos(chunk.limit_nanos));
        let limited =
            |limit| (Limited { dispatch: chunk.dispatch, task: chunk.start, limit }, Instant::now());
        let task = limit.filter(|_| chunk.count == 1).map(limited);
        self.chunks.push_back(Chunk { dispatch: chunk.dispatch, task });
        let before = std::mem::replace(&mut self.last, limit);
        (limit != before).then_some(limit)
    }

    /// A chunk has come back.
    pub(super) fn returned(&mut self, dispatch: u64) {
        if let Some(at) = self.chunks.iter().position(|chunk| chunk.dispatch == dispatch) {
            self.chunks.remove(at);
        }
    }

    /// The task that must be over its limit if the worker has been silent for this long. A task that was sent after the
    /// silence began was never begun.
    pub(super) fn culprit(&self, silent: Duration) -> Option<Limited> {
        let (task, sent) = self.chunks.front()?.task?;
        (sent.elapsed() > silent && silent > task.limit).then_some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::nanos;

    const SECOND: Duration = Duration::from_secs(1);

    fn chunk(dispatch: u64, count: u64, limit: Duration) -> ChunkMessage {
        ChunkMessage {
            call: 0,
            dispatch,
            start: 10 * dispatch,
            count,
            attempt: 1,
            program: 0,
            seed: 0,
            limit_nanos: nanos(limit),
            share: 0,
            keeps: false,
            traced: false,
            shared: Vec::new(),
            items: None,
        }
    }

    #[test]
    fn only_the_oldest_chunk_of_a_single_task_that_was_there_before_the_silence_is_to_blame() {
        let mut limits = Limits::default();
        assert_eq!(limits.sent(&chunk(1, 8, SECOND)), Some(Some(SECOND)));
        assert_eq!(limits.sent(&chunk(2, 1, SECOND)), None, "the limit is as before");
        limits.sent(&chunk(3, 1, SECOND));
        assert_eq!(limits.culprit(2 * SECOND), None, "it came after the silence began");
        for chunk in &mut limits.chunks {
            chunk.task = chunk.task.map(|(task, sent)| (task, sent - 3 * SECOND));
        }
        assert_eq!(limits.culprit(2 * SECOND), None, "it is at the chunk of several tasks");
        limits.returned(1);
        assert_eq!(limits.culprit(SECOND / 2), None, "its time is not over");
        let task = |dispatch| Limited { dispatch, task: 10 * dispatch, limit: SECOND };
        assert_eq!(limits.culprit(2 * SECOND), Some(task(2)));
        limits.returned(2);
        assert_eq!(limits.culprit(2 * SECOND), Some(task(3)));
        limits.returned(3);
        assert_eq!(limits.culprit(2 * SECOND), None);
        assert_eq!(limits.sent(&chunk(4, 1, Duration::ZERO)), Some(None));
    }
}
