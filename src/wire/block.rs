//! Arrays of plain numbers as one raw block.

use std::{any::TypeId, fmt, marker::PhantomData, ops};

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An array of plain numbers that is sent as one block of memory instead of element by element.
///
/// Use it for items, results and shared values of many `f64`, `u32`, `[f32; 3]` and the like: a
/// `Vec<f64>` is encoded a number at a time, a `Block<f64>` is copied. It works in every mode and
/// inside any serde type, and reads like a slice.
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
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Block<T>(Vec<T>);

impl<T> Block<T> {
    /// The numbers as an ordinary vector; nothing is copied.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T> From<Vec<T>> for Block<T> {
    fn from(values: Vec<T>) -> Block<T> {
        Block(values)
    }
}

impl<T> FromIterator<T> for Block<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Block<T> {
        Block(values.into_iter().collect())
    }
}

impl<T> ops::Deref for Block<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> ops::DerefMut for Block<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Block<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Pod> Serialize for Block<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Raw<'b>(&'b [u8]);

        impl Serialize for Raw<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }

        serializer.serialize_newtype_struct(name::<T>(), &Raw(bytemuck::cast_slice(&self.0)))
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
                Ok(Block(bytemuck::pod_collect_to_vec(bytes)))
            }
        }

        deserializer.deserialize_newtype_struct(name::<T>(), RawBytes(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};

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
}
