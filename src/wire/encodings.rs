//! Encoded values while they are collected: small ones back to back, large runs of bytes where they lie.

use bytes::Bytes;

use super::{Parts, sharing};

/// Encoded values, back to back.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    /// All but the shared runs.
    bytes: Vec<u8>,
    /// Runs that are shared, each with the length that `bytes` had when it came.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
}

/// How far [`Encodings`] had come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    bytes: usize,
    shared: usize,
}

impl Encodings {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// Bytes that are not shared.
    pub(super) fn own_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    #[inline]
    pub(super) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len() }
    }

    /// Takes back what came after the mark.
    #[inline]
    pub(super) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        while self.shared.len() > mark.shared {
            self.take_back();
        }
    }

    #[cold]
    fn take_back(&mut self) {
        self.shared_bytes -= self.shared.pop().map_or(0, |(_, run)| run.len());
    }

    /// Appends a run of bytes, shared if that is possible and pays.
    #[inline]
    pub(super) fn write(&mut self, run: &[u8]) {
        if run.len() < sharing::LARGE {
            self.bytes.extend_from_slice(run);
        } else {
            self.write_large(run);
        }
    }

    #[cold]
    fn write_large(&mut self, run: &[u8]) {
        match sharing::share(run) {
            Some(run) => self.append(run),
            None => self.bytes.extend_from_slice(run),
        }
    }

    /// Appends bytes that can be shared.
    pub(super) fn append(&mut self, run: Bytes) {
        if run.len() < sharing::LARGE {
            self.bytes.extend_from_slice(&run);
        } else {
            self.shared_bytes += run.len();
            self.shared.push((self.bytes.len(), run));
        }
    }

    pub(super) fn finish(mut self) -> Parts {
        // What is kept for long has no more memory than it needs.
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
        let mut bytes = Bytes::from(self.bytes);
        if self.shared.is_empty() {
            return bytes.into();
        }
        let mut parts = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut before = 0;
        for (at, run) in self.shared {
            parts.push(bytes.split_to(at - before));
            parts.push(run);
            before = at;
        }
        parts.push(bytes);
        parts.into_iter().collect()
    }
}
