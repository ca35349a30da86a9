//! What crosses between rank 0 and its workers: frames, and the values inside them.
//!
//! A message is a [`ToWorker`] or a [`ToRank0`]. Between processes it travels as a [`Frame`]: a header of fixed size
//! and a body. The items of a chunk and its results are a [`Batch`]: encoded values that lie back to back and can be
//! cut at any task without decoding. Every mode, serial included, encodes and decodes values, so that what cannot be
//! sent fails on the laptop too.

mod batch;
mod block;
mod codec;
mod encodings;
mod frame;
mod handshake;
mod message;
mod parts;
mod program;
mod raw_text;
#[cfg(feature = "cli")]
mod record;
mod reply;
mod sharing;
mod team;
mod time;

pub(crate) use batch::{Batch, BatchBuilder};
pub use block::Block;
pub(crate) use block::element_of_block;
pub use codec::CodecError;
pub(crate) use codec::{decode, decode_sharing, encode, encode_onto};
pub(crate) use frame::{Frame, HEADER_BYTES, Header};
pub(crate) use handshake::{Hello, NotStarted, PROTOCOL, Ready, Surroundings, Welcome};
pub(crate) use message::{ChunkMessage, ResultMessage, ToRank0, ToWorker};
pub(crate) use parts::Parts;
pub(crate) use program::Program;
pub use raw_text::RawText;
#[cfg(feature = "cli")]
pub use record::Record;
pub(crate) use reply::{Amount, Piece, Pieces, ReplyBuilder};
pub use team::Child;
pub(crate) use team::{Place, SlotRun, Team, TeamNews};
pub(crate) use time::nanos;

/// Reads any bytes as a frame and as what a frame may carry: for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let Some(header) = Header::from_bytes(bytes) else {
        return;
    };
    let body = bytes::Bytes::copy_from_slice(&bytes[HEADER_BYTES..]);
    let frame = header.with_body(body.clone());
    let word = ToRank0::unpack(frame.clone());
    if let Some(ToRank0::Result(result) | ToRank0::Partial(result)) = word
        && let Some(pieces) = result.pieces
    {
        for batch in pieces.iter().filter_map(|piece| piece.outcome.as_ref().ok()) {
            for k in 0..batch.len().min(1 << 16) {
                let _ = batch.decode::<(String, Vec<Option<f64>>)>(k);
            }
        }
    }
    if let Some(ToWorker::Chunk(ChunkMessage { items: Some(items), .. })) = ToWorker::unpack(frame) {
        // There may be any number of values without bytes.
        let items = items.slice(0, items.len().min(1 << 16));
        let _ = Batch::join(&[items.slice(0, items.len() / 2), items.slice(items.len() / 2, items.len())]);
    }
    let _ = decode_sharing::<Block<u64>>(&body, body.len());
}
