//! The frame: a header of fixed size, then a body. What the numbers in a header mean, only
//! [`message`](super::message) knows.

use bytes::Bytes;

use super::Parts;

/// Bytes of an encoded header.
pub(crate) const HEADER_BYTES: usize = 88;

/// The largest body that is accepted. A larger one can only be noise.
const FRAME_LIMIT: u64 = 1 << 42;

const MAGIC: u32 = u32::from_le_bytes(*b"RKPL");

/// Numbers in a header, beside those that all frames have.
pub(super) const WORDS: usize = 9;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Hello = 1,
    Welcome = 2,
    Refuse = 3,
    Ready = 4,
    Share = 5,
    Chunk = 6,
    Revoke = 7,
    Forget = 8,
    Shutdown = 9,
    Result = 10,
    Request = 11,
    Mapped = 12,
    Team = 13,
    Partial = 14,
    GiveUp = 15,
}

impl Kind {
    fn from_u8(byte: u8) -> Option<Kind> {
        use Kind::*;
        const KINDS: [Kind; 15] = [
            Hello, Welcome, Refuse, Ready, Share, Chunk, Revoke, Forget, Shutdown, Result, Request, Mapped,
            Team, Partial, GiveUp,
        ];
        KINDS.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// Thirteen fixed fields; the order on the wire is the order here. A field that a kind does not use is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) kind: Kind,
    /// How the body is laid out.
    pub(super) layout: u8,
    pub(super) short: u16,
    body: u64,
    pub(super) words: [u64; WORDS],
}

impl Header {
    /// The bytes of the body.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4] = self.kind as u8;
        out[5] = self.layout;
        out[6..8].copy_from_slice(&self.short.to_le_bytes());
        out[8..16].copy_from_slice(&self.body.to_le_bytes());
        for (place, word) in out[16..].chunks_exact_mut(8).zip(self.words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// `None` for bytes that are no header of ours, or announce a body over [`FRAME_LIMIT`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Header> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| {
            let bytes = header[at..].first_chunk().copied();
            bytes.map_or(0, u64::from_le_bytes)
        };
        if header[..4] != MAGIC.to_le_bytes() || word(8) > FRAME_LIMIT {
            return None;
        }
        Some(Header {
            kind: Kind::from_u8(header[4])?,
            layout: header[5],
            short: u16::from_le_bytes([header[6], header[7]]),
            body: word(8),
            words: std::array::from_fn(|k| word(16 + 8 * k)),
        })
    }

    /// The frame of this header, whose body has come after it.
    pub(crate) fn with_body(self, body: Bytes) -> Frame {
        Frame { header: self, body: body.into() }
    }
}

/// A header and its body. Cloning shares the body.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(super) header: Header,
    pub(super) body: Parts,
}

impl Frame {
    pub(super) fn new(
        kind: Kind,
        layout: u8,
        short: u16,
        words: [u64; WORDS],
        body: impl Into<Parts>,
    ) -> Frame {
        let body = body.into();
        Frame { header: Header { kind, layout, short, body: body.len() as u64, words }, body }
    }

    /// The bytes that go before the body.
    pub(crate) fn header(&self) -> [u8; HEADER_BYTES] {
        self.header.to_bytes()
    }

    pub(crate) fn body(&self) -> &Parts {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_comes_back(kind in 1u8..=14, layout: u8, short: u16, body: u32, words: [u64; WORDS]) {
            let body = u64::from(body);
            let header = Header { kind: Kind::from_u8(kind).unwrap(), layout, short, body, words };
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
        let header =
            Header { kind: Kind::Chunk, layout: 0, short: 1, body: FRAME_LIMIT + 1, words: [0; WORDS] };
        assert_eq!(Header::from_bytes(&header.to_bytes()), None);
    }
}
