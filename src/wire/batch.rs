//! Encoded values, back to back, that can be cut between any two of them without decoding.

use std::{borrow::Cow, mem, ops::Range};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    CodecError, Parts,
    codec::{decode, decode_sharing, encode_into},
    encodings::{Encodings, Mark},
    sharing::LARGE,
};

/// Where each value of a batch ends.
#[derive(Clone, Debug)]
enum Layout {
    /// All values are of this size, in bytes. Every scalar and most structs.
    Uniform(usize),
    /// The end of each value, in bytes from the start of the *unsliced* data.
    Table { ends: std::sync::Arc<[u64]>, first: usize },
}

/// `count` encoded values. Cloning and slicing share the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    bytes: Parts,
    /// How many bytes of memory this keeps alive, where they lie in one part.
    kept: usize,
    count: usize,
    layout: Layout,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The size of the values, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The encodings of all values, back to back.
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        self.bytes.get(0..self.bytes.len())
    }

    /// Value `k`'s first byte within `bytes`; `k == len` gives the end.
    #[inline]
    fn offset(&self, k: usize) -> usize {
        match &self.layout {
            Layout::Uniform(size) => size * k,
            Layout::Table { ends, first } => {
                let end_of = |n: usize| if n == 0 { 0 } else { ends[n - 1] };
                (end_of(first + k) - end_of(*first)) as usize
            }
        }
    }

    /// The encoding of value `k`.
    pub(crate) fn get(&self, k: usize) -> Cow<'_, [u8]> {
        self.bytes.get(self.offset(k)..self.offset(k + 1))
    }

    /// Makes this batch ready to be decoded value by value: small values in several parts are put together, once for all
    /// of them.
    pub(crate) fn gather(&mut self) {
        if matches!(self.bytes, Parts::Several(_)) && self.size() < LARGE * self.count {
            let bytes = mem::replace(&mut self.bytes, Bytes::new().into()).joined();
            self.kept = bytes.len();
            self.bytes = bytes.into();
        }
    }

    /// The number that value `k` begins with.
    pub(crate) fn first_number(&self, k: usize) -> Option<u64> {
        let start = self.offset(k);
        let end = start.checked_add(size_of::<u64>()).filter(|end| *end <= self.offset(k + 1))?;
        decode(&self.bytes.get(start..end)).ok()
    }

    /// Decodes value `k`. A large block in it shares the memory of this batch, if it is half of it.
    ///
    /// # Errors
    /// When the bytes are no such value.
    #[inline(always)]
    pub(crate) fn decode<T: DeserializeOwned>(&self, k: usize) -> Result<T, CodecError> {
        let range = self.offset(k)..self.offset(k + 1);
        match &self.bytes {
            Parts::One(bytes) if range.len() < LARGE => decode(&bytes[range]),
            _ => self.decode_large(range),
        }
    }

    #[cold]
    fn decode_large<T: DeserializeOwned>(&self, range: Range<usize>) -> Result<T, CodecError> {
        match self.bytes.slice(range) {
            Parts::One(bytes) => decode_sharing(&bytes, self.kept),
            several => {
                let joined = several.joined();
                decode_sharing(&joined, joined.len())
            }
        }
    }

    /// Lets go of the memory, so that a large block that was decoded may be alone in it. Nothing can be decoded any more.
    pub(crate) fn let_go(&mut self) {
        self.bytes = Bytes::new().into();
    }

    pub(crate) fn slice(&self, from: usize, to: usize) -> Batch {
        let layout = match &self.layout {
            Layout::Uniform(size) => Layout::Uniform(*size),
            Layout::Table { ends, first } => Layout::Table { ends: ends.clone(), first: first + from },
        };
        let bytes = self.bytes.slice(self.offset(from)..self.offset(to));
        Batch { bytes, kept: self.kept, count: to - from, layout }
    }

    /// True when a table of lengths must precede the values on the wire.
    pub(crate) fn needs_table(&self) -> bool {
        self.count > 1 && matches!(self.layout, Layout::Table { .. })
    }

    /// The bytes as they lie on the wire: lengths first where they differ, then the values, whose memory is shared.
    pub(crate) fn to_wire(&self) -> Parts {
        if !self.needs_table() {
            return self.bytes.clone();
        }
        let mut table = Vec::with_capacity(8 * self.count);
        for k in 0..self.count {
            table.extend_from_slice(&((self.offset(k + 1) - self.offset(k)) as u64).to_le_bytes());
        }
        std::iter::once(table.into()).chain(self.bytes.iter().cloned()).collect()
    }

    /// Reads what [`to_wire`](Self::to_wire) wrote; `None` when the bytes contradict the count.
    pub(crate) fn from_wire(wire: Bytes, count: usize, table: bool) -> Option<Batch> {
        let kept = wire.len();
        Batch::inside(kept, wire, count, table)
    }

    /// The same, of bytes that are part of `kept`.
    pub(super) fn inside(kept: usize, wire: Bytes, count: usize, table: bool) -> Option<Batch> {
        if !table {
            let size = wire.len().checked_div(count).unwrap_or(0);
            let whole = size.checked_mul(count)? == wire.len();
            return whole.then(|| Batch { bytes: wire.into(), kept, count, layout: Layout::Uniform(size) });
        }
        let lengths = wire.get(..count.checked_mul(8)?)?;
        let mut end = 0u64;
        let mut ends = Vec::with_capacity(count);
        for length in lengths.chunks_exact(8) {
            end = end.checked_add(u64::from_le_bytes(length.try_into().ok()?))?;
            ends.push(end);
        }
        let bytes = wire.slice(count * 8..);
        let whole = end == bytes.len() as u64;
        let layout = Layout::Table { ends: ends.into(), first: 0 };
        whole.then(|| Batch { bytes: bytes.into(), kept, count, layout })
    }

    /// A batch of values that are encoded already.
    pub(crate) fn of_encoded(values: &[Vec<u8>]) -> Batch {
        let mut builder = BatchBuilder::default();
        for value in values {
            builder.encoded.write(value);
            builder.ended(value.len());
        }
        builder.finish()
    }

    /// One batch of several, in order. What is large is shared.
    pub(crate) fn join(parts: &[Batch]) -> Batch {
        if let [one] = parts {
            return one.clone();
        }
        let mut builder = BatchBuilder::default();
        for part in parts {
            builder.append(part);
        }
        builder.finish()
    }
}

/// Collects encoded values into a [`Batch`].
#[derive(Default)]
pub(crate) struct BatchBuilder {
    encoded: Encodings,
    /// Where the last whole value ends; what lies behind it was left by a `Serialize` that panicked.
    whole: Mark,
    count: usize,
    /// The size of every value so far, while they agree.
    size: usize,
    ends: Option<Vec<u64>>,
    /// The bytes to make room for.
    expected: usize,
}

impl BatchBuilder {
    /// Makes room for so many bytes when the first value comes.
    pub(super) fn expecting(bytes: usize) -> BatchBuilder {
        BatchBuilder { expected: bytes, ..BatchBuilder::default() }
    }

    /// The bytes that the next batch is expected to have: those of the last one.
    pub(super) fn expected(&self) -> usize {
        self.expected
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn size(&self) -> usize {
        self.encoded.len()
    }

    /// Appends the encoding of `value`; on an error the builder is as it was.
    pub(crate) fn push<T: Serialize>(&mut self, value: &T) -> Result<(), CodecError> {
        self.encoded.truncate(self.whole);
        if self.count == 0 {
            self.encoded.reserve(self.expected);
        }
        let before = self.encoded.len();
        encode_into(value, &mut self.encoded)?;
        self.ended(self.encoded.len() - before);
        Ok(())
    }

    /// Puts an empty value in the place of one that could not be encoded.
    pub(crate) fn push_hole(&mut self) {
        self.encoded.truncate(self.whole);
        self.ended(0);
    }

    fn append(&mut self, batch: &Batch) {
        batch.bytes.iter().cloned().for_each(|part| self.encoded.append(part));
        for k in 0..batch.len() {
            self.ended(batch.offset(k + 1) - batch.offset(k));
        }
    }

    #[inline]
    fn ended(&mut self, size: usize) {
        if self.count == 0 {
            self.size = size;
        }
        if self.ends.is_some() || size != self.size {
            self.note_end(size);
        }
        self.count += 1;
        self.whole = self.encoded.mark();
    }

    /// The sizes do not agree.
    fn note_end(&mut self, size: usize) {
        let (count, size_of_all) = (self.count, self.size);
        let ends = self.ends.get_or_insert_with(|| (1..=count).map(|k| (k * size_of_all) as u64).collect());
        ends.push(ends.last().copied().unwrap_or(0) + size as u64);
    }

    /// The values so far, as a batch; the builder starts anew.
    pub(crate) fn finish(&mut self) -> Batch {
        let mut built = std::mem::take(self);
        built.encoded.truncate(built.whole);
        self.expected = built.encoded.own_len();
        let layout = match built.ends {
            None => Layout::Uniform(built.size),
            Some(ends) => Layout::Table { ends: ends.into(), first: 0 },
        };
        let bytes = built.encoded.finish();
        Batch { kept: bytes.len(), bytes, count: built.count, layout }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Block;

    fn batch_of(values: &[String]) -> Batch {
        let mut builder = BatchBuilder::default();
        values.iter().for_each(|value| builder.push(value).unwrap());
        builder.finish()
    }

    fn values_of(batch: &Batch) -> Vec<String> {
        (0..batch.len()).map(|k| batch.decode(k).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn any_cut_survives_the_wire_and_joins_again(
            values in prop::collection::vec("[a-c]{0,3}", 1..20),
            cut in 0usize..20,
        ) {
            let cut = cut.min(values.len());
            let whole = batch_of(&values);
            let parts: Vec<Batch> = [whole.slice(0, cut), whole.slice(cut, values.len())]
                .iter()
                .map(|part| Batch::from_wire(part.to_wire().joined(), part.len(), part.needs_table()).unwrap())
                .collect();
            prop_assert_eq!(values_of(&parts[0]), &values[..cut]);
            prop_assert_eq!(values_of(&parts[1]), &values[cut..]);
            prop_assert_eq!(values_of(&Batch::join(&parts)), values);
        }

        #[test]
        fn small_values_in_several_parts_are_gathered_and_large_ones_stay(
            (size, count, stays) in prop_oneof![Just((1usize << 10, 200usize, false)), Just((1 << 17, 2, true))],
            from in 0usize..150,
        ) {
            let block = |k: usize| Block::from(vec![k as u8; size + k % 3]);
            let part = |range: Range<usize>| {
                let mut builder = BatchBuilder::default();
                range.for_each(|k| builder.push(&block(k)).unwrap());
                builder.finish()
            };
            let several = Batch::join(&[part(0..count), part(count..2 * count)]);
            prop_assert!(matches!(several.bytes, Parts::Several(_)));
            let from = from.min(count - 1);
            let slice = several.slice(from, 2 * count);
            let mut gathered = slice.clone();
            gathered.gather();
            prop_assert_eq!(matches!(gathered.bytes, Parts::Several(_)), stays);
            let values: Vec<Block<u8>> = (0..gathered.len()).map(|k| gathered.decode(k).unwrap()).collect();
            prop_assert!(values.into_iter().eq((from..2 * count).map(block)));
        }

        #[test]
        fn noise_from_the_wire_is_refused_or_whole(
            noise in prop::collection::vec(any::<u8>(), 0..64),
            count in 0usize..10,
            table: bool,
        ) {
            if let Some(batch) = Batch::from_wire(noise.into(), count, table) {
                let total: usize = (0..batch.len()).map(|k| batch.get(k).len()).sum();
                prop_assert_eq!(total, batch.size());
            }
        }
    }

    #[test]
    fn values_of_one_size_need_no_table() {
        let mut builder = BatchBuilder::default();
        (0u64..5).for_each(|value| builder.push(&value).unwrap());
        let batch = builder.finish();
        assert!(!batch.needs_table());
        assert_eq!(batch.to_wire().len(), 40);
    }

    /// Blocks, each with a number before it.
    fn blocks(sizes: &[usize]) -> Vec<(u8, Block<u8>)> {
        let block = |(k, size)| (k as u8, Block::from(vec![k as u8; size]));
        sizes.iter().copied().enumerate().map(block).collect()
    }

    #[test]
    fn large_blocks_are_sent_from_where_they_lie_and_stay_where_they_arrive() {
        let values = blocks(&[10, LARGE, 3 * LARGE, 0]);
        let mut builder = BatchBuilder::default();
        values.iter().for_each(|value| builder.push(value).unwrap());
        let batch = builder.finish();
        for block in &values[1..3] {
            let lies = |part: &Bytes| part.as_ptr() == block.1.as_ptr() && part.len() == block.1.len();
            assert!(batch.to_wire().iter().any(lies));
        }
        let wire = batch.to_wire().joined();
        let back = Batch::from_wire(wire.clone(), 4, true).unwrap();
        let shares = |k: usize| {
            let (number, block): (u8, Block<u8>) = back.decode(k).unwrap();
            assert_eq!((number, &block), (values[k].0, &values[k].1));
            wire.as_ptr_range().contains(&block.as_ptr())
        };
        let shared: Vec<usize> = (0..4).filter(|k| shares(*k)).collect();
        assert_eq!(shared, [2], "a small part does not keep all the rest alive");
        let inside = Batch::inside(10 * LARGE, wire.clone(), 4, true).unwrap();
        let (_, copied): (u8, Block<u8>) = inside.decode(2).unwrap();
        assert!(!wire.as_ptr_range().contains(&copied.as_ptr()));
    }

    #[test]
    fn batches_with_blocks_are_cut_and_joined_like_others() {
        let values = blocks(&[LARGE, 5, LARGE + 1, LARGE]);
        let mut builder = BatchBuilder::default();
        values.iter().for_each(|value| builder.push(value).unwrap());
        let whole = builder.finish();
        for cut in 0..=4 {
            let joined = Batch::join(&[whole.slice(0, cut), whole.slice(cut, 4)]);
            assert_eq!(joined.bytes(), whole.bytes());
            for batch in [&whole, &joined] {
                let back: Vec<(u8, Block<u8>)> = (0..4).map(|k| batch.decode(k).unwrap()).collect();
                assert_eq!(back, values);
            }
        }
    }
}
