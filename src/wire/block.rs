//! Arrays of plain numbers as one raw block.

use std::{
    any::TypeId,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    ops,
    sync::Arc,
};

use bytemuck::Pod;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::sharing::{self, LARGE};

/// An array of plain numbers that is sent as one block of memory instead of element by element.
///
/// Use it for items, results and shared values of many `f64`, `u32`, `[f32; 3]` and the like: a
/// `Vec<f64>` is encoded a number at a time, a `Block<f64>` is copied. It works in every mode and
/// inside any serde type, and reads like a slice.
///
/// A block of 64 KiB or more is not even copied: it is sent from where it lies, and one that is half of the message that
/// it came in, or more, stays there. Its clones share its memory. So it is copied when it is changed, and by
/// [`into_vec`](Block::into_vec).
///
/// The numbers travel as they lie in memory; ranks of another byte order or pointer width are
/// refused when they join, so what arrives is what was sent, to the bit.
///
/// ```
/// use rankpool::Block;
/// let block: Block<f64> = vec![1.0, 2.5].into();
/// assert_eq!(block.iter().sum::<f64>(), 3.5);
/// assert_eq!(block.into_vec(), [1.0, 2.5]);
/// ```
pub struct Block<T> {
    /// Empty while the numbers are shared.
    own: Vec<T>,
    shared: Option<Shared<T>>,
}

/// Numbers that may be on their way to a worker, or in other blocks.
#[derive(Debug)]
enum Shared<T> {
    Made(Arc<Vec<T>>),
    /// A whole number of them, as they lie in the message that they came in.
    Arrived(Bytes),
}

impl<T: Pod> Block<T> {
    /// The numbers as an ordinary vector. A large block that arrived, or has clones, is copied; others are not.
    pub fn into_vec(self) -> Vec<T> {
        match self.shared {
            None => self.own,
            Some(Shared::Made(numbers)) => Arc::unwrap_or_clone(numbers),
            Some(Shared::Arrived(bytes)) => bytemuck::cast_slice(&bytes).to_vec(),
        }
    }
}

impl<T: Pod + Send + Sync> Block<T> {
    /// A share of the numbers' memory, where it can be shared without keeping much more than them.
    fn share(&self) -> Option<Bytes> {
        match self.shared.as_ref()? {
            Shared::Made(numbers) if numbers.len() < numbers.capacity() / 2 => None,
            Shared::Made(numbers) => Some(Bytes::from_owner(Raw(numbers.clone()))),
            Shared::Arrived(bytes) => Some(bytes.clone()),
        }
    }
}

/// The memory of numbers.
struct Raw<T>(Arc<Vec<T>>);

impl<T: Pod> AsRef<[u8]> for Raw<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl<T> From<Vec<T>> for Block<T> {
    fn from(numbers: Vec<T>) -> Block<T> {
        if size_of_val(numbers.as_slice()) < LARGE {
            return Block { own: numbers, shared: None };
        }
        Block { own: Vec::new(), shared: Some(Shared::Made(Arc::new(numbers))) }
    }
}

/// A large block is sent from where these bytes lie, as one that is made of a vector is.
///
/// ```
/// let bytes = bytes::Bytes::from_static(&[7; 1 << 20]);
/// assert_eq!(rankpool::Block::from(bytes).len(), 1 << 20);
/// ```
impl From<Bytes> for Block<u8> {
    fn from(bytes: Bytes) -> Block<u8> {
        if bytes.len() < LARGE {
            return Block { own: bytes.into(), shared: None };
        }
        Block { own: Vec::new(), shared: Some(Shared::Arrived(bytes)) }
    }
}

/// The bytes as memory that may be changed: where they lie if they are alone there, else a copy. In the last item of a
/// chunk, as [`call_chunks`](crate::Executor::call_chunks) takes it, a block that is most of its message is alone.
///
/// ```
/// let bytes = bytes::BytesMut::from(rankpool::Block::from(vec![7; 1 << 20]));
/// assert_eq!(bytes.len(), 1 << 20);
/// ```
impl From<Block<u8>> for BytesMut {
    fn from(block: Block<u8>) -> BytesMut {
        let bytes = match block.shared {
            Some(Shared::Arrived(bytes)) => bytes,
            Some(Shared::Made(bytes)) => Arc::unwrap_or_clone(bytes).into(),
            None => block.own.into(),
        };
        BytesMut::from(bytes)
    }
}

impl<T> FromIterator<T> for Block<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Block<T> {
        values.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T> Default for Block<T> {
    fn default() -> Block<T> {
        Vec::new().into()
    }
}

/// A large block and its clones share their memory until one of them is changed.
impl<T: Clone> Clone for Block<T> {
    fn clone(&self) -> Block<T> {
        let shared = match &self.shared {
            None => return self.own.clone().into(),
            Some(Shared::Made(numbers)) => Shared::Made(numbers.clone()),
            Some(Shared::Arrived(bytes)) => Shared::Arrived(bytes.clone()),
        };
        Block { own: Vec::new(), shared: Some(shared) }
    }
}

impl<T: Pod> ops::Deref for Block<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &self.shared {
            None => &self.own,
            Some(Shared::Made(numbers)) => numbers,
            Some(Shared::Arrived(bytes)) => bytemuck::cast_slice(bytes),
        }
    }
}

/// The numbers of a large block that arrived, or has clones, are copied before the first change.
impl<T: Pod> ops::DerefMut for Block<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.shared.is_some() {
            self.own = std::mem::take(self).into_vec();
        }
        &mut self.own
    }
}

impl<T: Pod + PartialEq> PartialEq for Block<T> {
    fn eq(&self, other: &Block<T>) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for Block<T> {}

impl<T: Pod + Hash> Hash for Block<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Block<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Pod + Send + Sync> Serialize for Block<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Raw<'b>(&'b [u8]);

        impl Serialize for Raw<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }

        let numbers = Raw(bytemuck::cast_slice(self));
        let serialize = || serializer.serialize_newtype_struct(name::<T>(), &numbers);
        match self.share() {
            Some(bytes) => sharing::with(bytes, LARGE, serialize),
            None => serialize(),
        }
    }
}

/// The name that a block goes by in serde. The codec does not write it; it tells those who ask for the
/// type of a row what the bytes are.
fn name<T: 'static>() -> &'static str {
    macro_rules! first_of {
        ($($number:ty),*) => {
            $(if TypeId::of::<T>() == TypeId::of::<$number>() {
                return concat!("rankpool::Block<", stringify!($number), ">");
            })*
        };
    }
    first_of!(f64, f32, i8, i16, i32, i64, u8, u16, u32, u64);
    "rankpool::Block<_>"
}

/// The element type of the block that goes by this name, `_` for one without a name; `None` for what is no block.
pub(crate) fn element_of_block(name: &str) -> Option<&str> {
    name.strip_prefix("rankpool::Block<")?.strip_suffix('>')
}

impl<'de, T: Pod> Deserialize<'de> for Block<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawBytes<T>(PhantomData<T>);

        impl<'de, T: Pod> de::Visitor<'de> for RawBytes<T> {
            type Value = Block<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a block of {}-byte numbers", size_of::<T>())
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Block<T>, D::Error> {
                deserializer.deserialize_bytes(self)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Block<T>, E> {
                if size_of::<T>() == 0 || !bytes.len().is_multiple_of(size_of::<T>()) {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                let numbers = match bytemuck::try_cast_slice::<u8, T>(bytes) {
                    Ok(numbers) => match sharing::share(bytes) {
                        Some(bytes) => {
                            return Ok(Block { own: Vec::new(), shared: Some(Shared::Arrived(bytes)) });
                        }
                        None => numbers.to_vec(),
                    },
                    Err(_) => bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect(),
                };
                Ok(numbers.into())
            }
        }

        deserializer.deserialize_newtype_struct(name::<T>(), RawBytes(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        Parts,
        codec::{decode_sharing, encode_into},
        decode, encode,
        encodings::Encodings,
    };

    #[test]
    fn a_block_comes_back_to_the_bit_also_inside_a_struct() {
        let values = vec![f64::NAN, -0.0, 1.0 / 3.0];
        let bytes = encode(&(1u8, Block::from(values.clone()))).unwrap();
        assert_eq!(bytes.len(), 1 + 8 + 24);
        let (_, back): (u8, Block<f64>) = decode(&bytes).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&values));
    }

    #[test]
    fn a_block_of_broken_length_is_refused() {
        let bytes = encode(&Block::from(vec![1u8, 2, 3])).unwrap();
        assert!(decode::<Block<u16>>(&bytes).is_err());
    }

    /// Encodes it in parts, as it is sent.
    fn parts(value: &impl Serialize) -> Parts {
        let mut out = Encodings::default();
        encode_into(value, &mut out).unwrap();
        out.finish()
    }

    fn large() -> Block<u32> {
        (0..LARGE as u32).collect()
    }

    #[test]
    fn a_large_block_is_sent_from_where_it_lies_and_changes_of_it_are_not() {
        let mut block = large();
        let parts = parts(&(7u8, &block, 8u8));
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [1 + 8, 4 * LARGE, 1]);
        block[0] = 1;
        let back: (u8, Block<u32>, u8) = decode(&parts.joined()).unwrap();
        assert_eq!(back, (7, large(), 8));
        assert_ne!(back.1, block);
    }

    #[test]
    fn what_was_changed_or_has_much_more_memory_is_copied() {
        let mut changed = large();
        changed[0] = 1;
        let mut roomy = Vec::with_capacity(3 * LARGE);
        roomy.resize(LARGE, 0u8);
        assert_eq!(parts(&changed).iter().count(), 1);
        assert_eq!(parts(&Block::from(roomy)).iter().count(), 1);
    }

    #[test]
    fn a_block_stays_where_it_arrives_unless_it_is_changed() {
        let bytes = parts(&large()).joined();
        let block: Block<u32> = decode_sharing(&bytes, bytes.len()).unwrap();
        assert_eq!(block.as_ptr().cast(), bytes[8..].as_ptr());
        assert_eq!(block, large());
        let (mut changed, clone) = (block.clone(), block.clone());
        changed[3] = 9;
        assert_eq!((changed[3], clone[3]), (9, 3));
        assert_eq!(block.into_vec(), clone.into_vec());
    }

    #[test]
    fn bytes_stay_where_they_are_if_they_are_alone_there() {
        let bytes = parts(&Block::from(vec![7u8; LARGE])).joined();
        let lies = bytes[8..].as_ptr();
        let block: Block<u8> = decode_sharing(&bytes, bytes.len()).unwrap();
        let mut copied = BytesMut::from(block.clone());
        copied[0] = 8;
        assert_ne!(copied.as_ptr(), lies);
        drop(bytes);
        assert_eq!(block[0], 7);
        let mut alone = BytesMut::from(block);
        alone[0] = 9;
        assert_eq!((alone.as_ptr(), alone.len()), (lies, LARGE));
    }

    #[test]
    fn a_block_that_lies_crooked_is_copied() {
        let bytes = parts(&(7u8, large())).joined();
        let (_, block): (u8, Block<u32>) = decode_sharing(&bytes, bytes.len()).unwrap();
        assert!(!bytes.as_ptr_range().contains(&block.as_ptr().cast()));
        assert_eq!(block, large());
        let (_, block): (u8, Block<u8>) = decode_sharing(&bytes, bytes.len()).unwrap();
        assert!(bytes.as_ptr_range().contains(&block.as_ptr()));
    }

    #[test]
    fn a_vector_goes_through_a_block_uncopied() {
        for size in [10, LARGE] {
            let values = vec![7u8; size];
            let lies = values.as_ptr();
            let mut block = Block::from(values);
            block[1] = 8;
            let back = block.into_vec();
            assert_eq!(back.as_ptr(), lies);
        }
    }
}
