//! What crosses between rank 0 and its workers: frames, and the values inside them.
//!
//! A [`Frame`] is a header of fixed size and a body. The body of a chunk or of its results is a
//! [`Batch`]: encoded values that lie back to back and can be cut at any task without decoding.
//! Every mode, serial included, encodes and decodes, so that what cannot be sent fails on the
//! laptop too.

mod batch;
mod block;
mod codec;
mod frame;
mod handshake;
mod reply;

pub(crate) use batch::{Batch, BatchBuilder};
pub use block::Block;
pub(crate) use block::element_of_block;
pub use codec::CodecError;
pub(crate) use codec::{decode, encode, encode_into};
pub(crate) use frame::{Frame, HEADER_BYTES, Header, Kind, LAYOUT_TABLE};
pub(crate) use handshake::{Hello, PROTOCOL, Ready, Surroundings, Welcome};
pub(crate) use reply::{Piece, Reply, ReplyBuilder};

/// Reads any bytes as a frame and as what a frame may carry: for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let Some(header) = Header::from_bytes(bytes) else {
        return;
    };
    let body = bytes::Bytes::copy_from_slice(&bytes[HEADER_BYTES..]);
    let frame = Frame::new(header, body.clone());
    if let Some(reply) = Reply::read(&frame) {
        for batch in reply.pieces.iter().filter_map(|piece| piece.outcome.as_ref().ok()) {
            for k in 0..batch.len().min(1 << 16) {
                let _ = decode::<(String, Vec<Option<f64>>)>(batch.get(k));
            }
        }
    }
    // Of values without bytes there may be any number.
    let count = (header.count as usize).min(1 << 16);
    if let Some(batch) = Batch::from_wire(body.clone(), count, header.layout & LAYOUT_TABLE != 0) {
        let _ = Batch::join(&[batch.slice(0, batch.len() / 2), batch.slice(batch.len() / 2, batch.len())]);
    }
    let _ = decode::<Hello>(&body);
    let _ = decode::<Welcome>(&body);
    let _ = decode::<Ready>(&body);
    let _ = decode::<Block<u64>>(&body);
}
