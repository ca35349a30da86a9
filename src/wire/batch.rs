//! Encoded values, back to back, that can be cut between any two of them without decoding.

use bytes::Bytes;
use serde::Serialize;

use super::{CodecError, encode_into};

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
    bytes: Bytes,
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
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Value `k`'s first byte within `bytes`; `k == len` gives the end.
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
    pub(crate) fn get(&self, k: usize) -> &[u8] {
        &self.bytes[self.offset(k)..self.offset(k + 1)]
    }

    pub(crate) fn slice(&self, from: usize, to: usize) -> Batch {
        let layout = match &self.layout {
            Layout::Uniform(size) => Layout::Uniform(*size),
            Layout::Table { ends, first } => Layout::Table { ends: ends.clone(), first: first + from },
        };
        Batch { bytes: self.bytes.slice(self.offset(from)..self.offset(to)), count: to - from, layout }
    }

    /// True when a table of lengths must precede the values on the wire.
    pub(crate) fn needs_table(&self) -> bool {
        self.count > 1 && matches!(self.layout, Layout::Table { .. })
    }

    /// The bytes as they lie on the wire: lengths first where they differ, then the values.
    /// Without a table this shares the memory.
    pub(crate) fn to_wire(&self) -> Bytes {
        if !self.needs_table() {
            return self.bytes.clone();
        }
        let mut out = Vec::with_capacity(8 * self.count + self.bytes.len());
        for k in 0..self.count {
            out.extend_from_slice(&((self.offset(k + 1) - self.offset(k)) as u64).to_le_bytes());
        }
        out.extend_from_slice(&self.bytes);
        out.into()
    }

    /// Reads what [`to_wire`](Self::to_wire) wrote; `None` when the bytes contradict the count.
    pub(crate) fn from_wire(wire: Bytes, count: usize, table: bool) -> Option<Batch> {
        if !table {
            let size = wire.len().checked_div(count).unwrap_or(0);
            let whole = size.checked_mul(count)? == wire.len();
            return whole.then_some(Batch { bytes: wire, count, layout: Layout::Uniform(size) });
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
        whole.then(|| Batch { bytes, count, layout: Layout::Table { ends: ends.into(), first: 0 } })
    }

    /// A batch of values that are encoded already.
    pub(crate) fn of_encoded(values: &[Vec<u8>]) -> Batch {
        let mut builder = BatchBuilder::default();
        for value in values {
            builder.bytes.extend_from_slice(value);
            builder.ended(value.len());
        }
        builder.finish()
    }

    /// One batch of several, in order.
    pub(crate) fn join(parts: &[Batch]) -> Batch {
        if let [one] = parts {
            return one.clone();
        }
        let mut builder = BatchBuilder::default();
        builder.bytes.reserve(parts.iter().map(Batch::size).sum());
        for part in parts {
            builder.append(part);
        }
        builder.finish()
    }
}

/// Collects encoded values into a [`Batch`].
#[derive(Default)]
pub(crate) struct BatchBuilder {
    bytes: Vec<u8>,
    /// Where the last whole value ends; what lies behind it was left by a `Serialize` that panicked.
    whole: usize,
    count: usize,
    /// The size of every value so far, while they agree.
    size: usize,
    ends: Option<Vec<u64>>,
}

impl BatchBuilder {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the encoding of `value`; on an error the builder is as it was.
    pub(crate) fn push<T: Serialize>(&mut self, value: &T) -> Result<(), CodecError> {
        self.bytes.truncate(self.whole);
        let before = self.bytes.len();
        encode_into(value, &mut self.bytes)?;
        self.ended(self.bytes.len() - before);
        Ok(())
    }

    /// Puts an empty value in the place of one that could not be encoded.
    pub(crate) fn push_hole(&mut self) {
        self.bytes.truncate(self.whole);
        self.ended(0);
    }

    fn append(&mut self, part: &Batch) {
        for k in 0..part.len() {
            self.bytes.extend_from_slice(part.get(k));
            self.ended(part.get(k).len());
        }
    }

    fn ended(&mut self, size: usize) {
        if self.count == 0 {
            self.size = size;
        } else if self.ends.is_none() && size != self.size {
            let ends = (1..=self.count).map(|k| (k * self.size) as u64).collect();
            self.ends = Some(ends);
        }
        self.count += 1;
        self.whole = self.bytes.len();
        if let Some(ends) = &mut self.ends {
            ends.push(self.bytes.len() as u64);
        }
    }

    /// The values so far, as a batch; the builder starts anew.
    pub(crate) fn finish(&mut self) -> Batch {
        let mut built = std::mem::take(self);
        built.bytes.truncate(built.whole);
        let layout = match built.ends {
            None => Layout::Uniform(built.size),
            Some(ends) => Layout::Table { ends: ends.into(), first: 0 },
        };
        Batch { bytes: built.bytes.into(), count: built.count, layout }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::decode;

    fn batch_of(values: &[String]) -> Batch {
        let mut builder = BatchBuilder::default();
        values.iter().for_each(|value| builder.push(value).unwrap());
        builder.finish()
    }

    fn values_of(batch: &Batch) -> Vec<String> {
        (0..batch.len()).map(|k| decode(batch.get(k)).unwrap()).collect()
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
                .map(|part| Batch::from_wire(part.to_wire(), part.len(), part.needs_table()).unwrap())
                .collect();
            prop_assert_eq!(values_of(&parts[0]), &values[..cut]);
            prop_assert_eq!(values_of(&parts[1]), &values[cut..]);
            prop_assert_eq!(values_of(&Batch::join(&parts)), values);
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
}
