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
pub(crate) use handshake::{Hello, PROTOCOL, Ready, Welcome};
pub(crate) use reply::{Piece, Reply, ReplyBuilder};
