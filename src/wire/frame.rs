//! The frame: a header of fixed size, then a body.

use bytes::Bytes;

/// Bytes of an encoded header.
pub(crate) const HEADER_BYTES: usize = 88;

/// The largest body that is accepted. A larger one can only be noise.
pub(crate) const FRAME_LIMIT: u64 = 1 << 42;

/// A table of lengths precedes the values of the body.
pub(crate) const LAYOUT_TABLE: u8 = 1;

const MAGIC: u32 = u32::from_le_bytes(*b"RKPL");

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Worker to rank 0: who I am. Body: [`Hello`](super::Hello).
    Hello = 1,
    /// Rank 0 to worker: you are one of us. Body: [`Welcome`](super::Welcome).
    Welcome = 2,
    /// Rank 0 to worker: you are not; the body says why, as text.
    Refuse = 3,
    /// Worker to rank 0: lifeline connected, ready for work. Body: [`Ready`](super::Ready).
    Ready = 4,
    /// Rank 0 to worker: the shared value of a call.
    Share = 5,
    /// Rank 0 to worker: a chunk. Body: a batch of items.
    Chunk = 6,
    /// Rank 0 to worker: stop this chunk between two tasks and return what is done.
    Revoke = 7,
    /// Rank 0 to worker: the call is over, forget its shared value and state.
    Forget = 8,
    /// Rank 0 to worker: leave. `attempt` is 1 when MPI is to be finalised.
    Shutdown = 9,
    /// Worker to rank 0: the results of a chunk.
    Result = 10,
    /// Worker to rank 0: this chunk is nearly done, send the next one.
    Request = 11,
}

impl Kind {
    fn from_u8(byte: u8) -> Option<Kind> {
        use Kind::*;
        const KINDS: [Kind; 11] =
            [Hello, Welcome, Refuse, Ready, Share, Chunk, Revoke, Forget, Shutdown, Result, Request];
        KINDS.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// Thirteen fixed fields; the order on the wire is the order here. A field that a kind does not use is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// How the body is laid out: [`LAYOUT_TABLE`] and the flags of [`Reply`](super::Reply).
    pub(crate) layout: u8,
    /// Chunk: which attempt at its tasks this is, from 1.
    pub(crate) attempt: u16,
    pub(crate) body: u64,
    pub(crate) call: u64,
    /// The epoch of the dispatch that a chunk and its result belong to.
    pub(crate) dispatch: u64,
    /// Absolute index of the first task.
    pub(crate) start: u64,
    /// Tasks in the chunk; in a result, tasks that were attempted.
    pub(crate) count: u64,
    /// Chunk: the program, as an offset into the executable. Result: values in the body.
    pub(crate) program: u64,
    /// Chunk: the run's seed. Result: nanoseconds spent running the chunk.
    pub(crate) seed: u64,
    /// Chunk: time limit of a task in nanoseconds, 0 for none. Result: nanoseconds that the
    /// worker spent around the chunk.
    pub(crate) nanos: u64,
    /// Result: the task that took longest, and its nanoseconds.
    pub(crate) slowest: u64,
    pub(crate) slowest_nanos: u64,
}

impl Header {
    pub(crate) fn new(kind: Kind) -> Header {
        Header {
            kind,
            layout: 0,
            attempt: 0,
            body: 0,
            call: 0,
            dispatch: 0,
            start: 0,
            count: 0,
            program: 0,
            seed: 0,
            nanos: 0,
            slowest: 0,
            slowest_nanos: 0,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4] = self.kind as u8;
        out[5] = self.layout;
        out[6..8].copy_from_slice(&self.attempt.to_le_bytes());
        let words = [
            self.body,
            self.call,
            self.dispatch,
            self.start,
            self.count,
            self.program,
            self.seed,
            self.nanos,
            self.slowest,
            self.slowest_nanos,
        ];
        for (place, word) in out[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// `None` for bytes that are no header of ours, or announce a body over [`FRAME_LIMIT`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let word = |k: usize| {
            let at = 8 + 8 * k;
            u64::from_le_bytes([
                bytes[at],
                bytes[at + 1],
                bytes[at + 2],
                bytes[at + 3],
                bytes[at + 4],
                bytes[at + 5],
                bytes[at + 6],
                bytes[at + 7],
            ])
        };
        if u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) != MAGIC || word(0) > FRAME_LIMIT {
            return None;
        }
        Some(Header {
            kind: Kind::from_u8(bytes[4])?,
            layout: bytes[5],
            attempt: u16::from_le_bytes([bytes[6], bytes[7]]),
            body: word(0),
            call: word(1),
            dispatch: word(2),
            start: word(3),
            count: word(4),
            program: word(5),
            seed: word(6),
            nanos: word(7),
            slowest: word(8),
            slowest_nanos: word(9),
        })
    }
}

/// A header and its body. Cloning shares the body.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) body: Bytes,
}

impl Frame {
    pub(crate) fn new(mut header: Header, body: Bytes) -> Frame {
        header.body = body.len() as u64;
        Frame { header, body }
    }

    /// A frame that says it all in its kind.
    pub(crate) fn bare(kind: Kind) -> Frame {
        Frame::new(Header::new(kind), Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_comes_back(kind in 1u8..=11, layout: u8, attempt: u16, words: [u32; 10]) {
            let w = words.map(u64::from);
            let header = Header {
                kind: Kind::from_u8(kind).unwrap(), layout, attempt, body: w[0], call: w[1],
                dispatch: w[2], start: w[3], count: w[4], program: w[5], seed: w[6], nanos: w[7], slowest: w[8],
                slowest_nanos: w[9],
            };
            prop_assert_eq!(header.kind as u8, kind);
            prop_assert_eq!(Header::from_bytes(&header.to_bytes()), Some(header));
        }

        #[test]
        fn noise_is_no_header(noise in prop::collection::vec(any::<u8>(), 0..2 * HEADER_BYTES)) {
            if noise.len() < 4 || noise[..4] != MAGIC.to_le_bytes() {
                prop_assert_eq!(Header::from_bytes(&noise), None);
            }
        }
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused() {
        let mut header = Header::new(Kind::Chunk);
        header.body = FRAME_LIMIT + 1;
        assert_eq!(Header::from_bytes(&header.to_bytes()), None);
    }
}
