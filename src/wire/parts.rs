//! Bytes that lie in several places of memory, in order: what is sent without joining it first.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

/// Some bytes, in one part or several. Cloning and slicing share them.
#[derive(Clone, Debug)]
pub(crate) enum Parts {
    One(Bytes),
    /// None of them is empty.
    Several(Vec<Bytes>),
}

impl Parts {
    pub(crate) fn len(&self) -> usize {
        match self {
            Parts::One(bytes) => bytes.len(),
            Parts::Several(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts, in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        match self {
            Parts::One(bytes) => std::slice::from_ref(bytes).iter(),
            Parts::Several(parts) => parts.iter(),
        }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> Parts {
        match self {
            Parts::One(bytes) => Parts::One(bytes.slice(range)),
            Parts::Several(_) => self.inside(range).map(|(part, range)| part.slice(range)).collect(),
        }
    }

    /// The bytes of a range; copied only where they lie in several parts.
    pub(super) fn get(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        match self {
            Parts::One(bytes) => Cow::Borrowed(&bytes[range]),
            Parts::Several(_) => {
                let mut joined = Vec::with_capacity(range.len());
                self.inside(range).for_each(|(part, range)| joined.extend_from_slice(&part[range]));
                Cow::Owned(joined)
            }
        }
    }

    /// The bytes in one part; copied only where there are several.
    pub(crate) fn joined(self) -> Bytes {
        match self {
            Parts::One(bytes) => bytes,
            Parts::Several(_) => self.get(0..self.len()).into_owned().into(),
        }
    }

    /// The parts that have some of the range, and what each has of it.
    fn inside(&self, range: Range<usize>) -> impl Iterator<Item = (&Bytes, Range<usize>)> {
        let mut end = 0;
        self.iter().filter_map(move |part| {
            let start = end;
            end += part.len();
            let inside = range.start.max(start)..range.end.min(end);
            (!inside.is_empty()).then(|| (part, inside.start - start..inside.end - start))
        })
    }
}

impl<B: Into<Bytes>> From<B> for Parts {
    fn from(bytes: B) -> Parts {
        Parts::One(bytes.into())
    }
}

impl FromIterator<Bytes> for Parts {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Parts {
        let mut parts: Vec<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        match parts.len() {
            0 | 1 => Parts::One(parts.pop().unwrap_or_default()),
            _ => Parts::Several(parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_cut_like_what_they_are_parts_of(
            several in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..5),
            cut in (0usize..20, 0usize..20),
        ) {
            let whole = several.concat();
            let parts: Parts = several.into_iter().map(Bytes::from).collect();
            prop_assert_eq!(parts.len(), whole.len());
            let end = cut.1.min(whole.len());
            let range = cut.0.min(end)..end;
            prop_assert_eq!(&*parts.get(range.clone()), &whole[range.clone()]);
            let slice = parts.slice(range.clone());
            prop_assert_eq!(slice.len(), range.len());
            prop_assert!(matches!(slice, Parts::One(_)) || slice.iter().all(|part| !part.is_empty()));
            prop_assert_eq!(slice.joined(), &whole[range]);
        }
    }
}
