//! Handles of values that are sent once to each worker, and how they travel.
//!
//! A handle is encoded as its value's number. Rank 0 takes down which handles it encodes, so that the values reach the
//! workers before them; a worker that decodes a handle finds the value among those of the chunk that it runs.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    ops::Deref,
    ptr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};

use crate::{
    error::{Failure, FailureKind},
    wire::decode_sharing,
};

/// A value that tasks share: decoded once in a process, on first use.
pub(crate) struct SharedValue {
    bytes: Bytes,
    value: OnceLock<Result<Arc<dyn Any + Send + Sync>, Failure>>,
}

impl SharedValue {
    pub(crate) fn new(bytes: Bytes) -> SharedValue {
        SharedValue { bytes, value: OnceLock::new() }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn decoded<S: DeserializeOwned + Send + Sync + 'static>(
        &self,
    ) -> &Result<Arc<dyn Any + Send + Sync>, Failure> {
        self.value.get_or_init(|| match decode_sharing::<S>(&self.bytes, self.bytes.len()) {
            Ok(value) => Ok(Arc::new(value)),
            Err(error) => Err(Failure::new(FailureKind::Codec, format!("the shared value {error}"))),
        })
    }

    pub(super) fn get<S: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<&S, Failure> {
        let value = self.decoded::<S>().as_ref().map_err(Failure::clone)?;
        value.downcast_ref().ok_or_else(of_another_type)
    }

    pub(super) fn share<S: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<S>, Failure> {
        self.decoded::<S>().clone()?.downcast().map_err(|_| of_another_type())
    }
}

fn of_another_type() -> Failure {
    Failure::new(FailureKind::Codec, "the shared value is of another type")
}

/// Where shared values come from: an executor, which has the workers forget those that are dropped.
pub(crate) trait Home: Send + Sync {
    fn dropped(&self, number: u64);
}

/// A shared value on rank 0, for as long as a handle or a call has need of it.
pub(crate) struct Original {
    number: u64,
    value: Arc<SharedValue>,
    /// Those whose handles are inside of it.
    within: Originals,
    home: Arc<dyn Home>,
}

/// Some of them, by their numbers.
pub(crate) type Originals = BTreeMap<u64, Arc<Original>>;

impl Original {
    pub(crate) fn new(number: u64, bytes: Bytes, within: Originals, home: Arc<dyn Home>) -> Arc<Original> {
        Arc::new(Original { number, value: Arc::new(SharedValue::new(bytes)), within, home })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        self.value.bytes()
    }

    pub(crate) fn within(&self) -> &Originals {
        &self.within
    }

    /// The values that must be there where it is decoded.
    fn at_hand(&self) -> AtHand {
        self.within.values().map(|original| (original.number, original.value.clone())).collect()
    }
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Original").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.home.dropped(self.number);
    }
}

/// The values that a chunk may use, by their numbers.
pub(super) type AtHand = Vec<(u64, Arc<SharedValue>)>;

thread_local! {
    /// Handles of this home's values can be encoded now.
    static HOME: Cell<*const ()> = const { Cell::new(ptr::null()) };
    /// Some have been, and are in `FOUND`: this is looked at for each item, of which most have none.
    static ANY: Cell<bool> = const { Cell::new(false) };
    static FOUND: RefCell<Originals> = const { RefCell::new(BTreeMap::new()) };
    static AT_HAND: RefCell<AtHand> = const { RefCell::new(Vec::new()) };
}

/// Runs `work`, which encodes something for workers of `home` and does not panic, and adds to `found` the values whose
/// handles are in it.
#[inline]
pub(crate) fn noting<R>(home: &impl Home, found: &mut Originals, work: impl FnOnce() -> R) -> R {
    let before = HOME.replace(ptr::from_ref(home).cast());
    let done = work();
    HOME.set(before);
    if ANY.get() {
        gather(found);
    }
    done
}

#[cold]
fn gather(found: &mut Originals) {
    ANY.set(false);
    found.append(&mut FOUND.take());
}

/// Runs `work`, in which handles of these values can be decoded.
pub(super) fn offering<R>(values: AtHand, work: impl FnOnce() -> R) -> R {
    /// `work` may panic.
    struct Before(AtHand);

    impl Drop for Before {
        fn drop(&mut self) {
            AT_HAND.replace(std::mem::take(&mut self.0));
        }
    }

    let _before = Before(AT_HAND.replace(values));
    work()
}

/// A value that is sent once to each worker and used by any number of calls; made by
/// [`Executor::scatter`](crate::Executor::scatter).
///
/// It is a handle: cheap to clone, and sent as a number. It can be all or a part of an item and of a shared value, also of
/// another scattered value. A task that has it has the value, by `Deref`. A worker gets the bytes of the value before
/// its first chunk that may use it, and decodes them once, when the first task does; that is part of this task's time.
///
/// When the last handle on rank 0 is dropped, and the calls that use it have ended, the workers forget the value. A
/// value that a task still uses, such as in its state, lives there until that use ends.
///
/// It goes to tasks of the executor that has scattered it, and to nobody else: to encode it for anything else, such as
/// the result of a task, is an error.
///
/// # Panics
/// Outside of tasks, an access to the value panics when its bytes cannot be decoded. Inside a task, this is a failure
/// of the task.
pub struct Scattered<S> {
    number: u64,
    value: Arc<SharedValue>,
    /// On rank 0.
    original: Option<Arc<Original>>,
    of: PhantomData<fn() -> S>,
}

impl<S> Scattered<S> {
    pub(crate) fn of(original: Arc<Original>) -> Scattered<S> {
        let (number, value) = (original.number, original.value.clone());
        Scattered { number, value, original: Some(original), of: PhantomData }
    }

    /// The number of the value: no two values of an executor have the same, and it is the same on all ranks.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl<S> Clone for Scattered<S> {
    fn clone(&self) -> Scattered<S> {
        let Scattered { number, value, original, .. } = self;
        Scattered { number: *number, value: value.clone(), original: original.clone(), of: PhantomData }
    }
}

impl<S> fmt::Debug for Scattered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scattered").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<S: DeserializeOwned + Send + Sync + 'static> Deref for Scattered<S> {
    type Target = S;

    fn deref(&self) -> &S {
        let value = match &self.original {
            Some(original) => offering(original.at_hand(), || self.value.get()),
            None => self.value.get(),
        };
        match value {
            Ok(value) => value,
            Err(failure) => panic!("a scattered value cannot be read: {}", failure.message),
        }
    }
}

impl<S> Serialize for Scattered<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let refused = |text| Err(ser::Error::custom(text));
        let Some(original) = self.original.as_ref().filter(|_| !HOME.get().is_null()) else {
            return refused("a scattered value goes to tasks only, in their items and shared values");
        };
        if !ptr::addr_eq(HOME.get(), Arc::as_ptr(&original.home)) {
            return refused("a scattered value belongs to another executor: scatter it with this one, too");
        }
        ANY.set(true);
        FOUND.with_borrow_mut(|found| {
            if found.insert(self.number, original.clone()).is_none() {
                let within = original.within.iter().map(|(number, original)| (*number, original.clone()));
                found.extend(within);
            }
        });
        self.number.serialize(serializer)
    }
}

impl<'de, S: DeserializeOwned + Send + Sync + 'static> Deserialize<'de> for Scattered<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scattered<S>, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let value = AT_HAND.with_borrow(|values| {
            values.iter().find_map(|(known, value)| (*known == number).then(|| value.clone()))
        });
        let value = value.ok_or_else(|| de::Error::custom("a scattered value can be had in a task only"))?;
        value.get::<S>().map_err(|failure| de::Error::custom(failure.message))?;
        Ok(Scattered { number, value, original: None, of: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sync::lock,
        wire::{decode, encode},
    };
    use std::sync::Mutex;

    /// Takes down what is dropped.
    #[derive(Default)]
    struct Noted(Mutex<Vec<u64>>);

    impl Home for Noted {
        fn dropped(&self, number: u64) {
            lock(&self.0).push(number);
        }
    }

    fn scattered<S: Serialize>(home: &Arc<Noted>, number: u64, value: &S) -> Scattered<S> {
        let mut within = Originals::new();
        let bytes = noting(&**home, &mut within, || encode(value)).unwrap();
        Scattered::of(Original::new(number, bytes.into(), within, home.clone()))
    }

    /// What a worker has of these.
    fn arrived(originals: &Originals) -> AtHand {
        originals
            .values()
            .map(|original| (original.number(), Arc::new(SharedValue::new(original.bytes().clone()))))
            .collect()
    }

    #[test]
    fn a_handle_brings_its_value_along_and_those_inside_of_it() {
        let home = Arc::new(Noted::default());
        let inner = scattered(&home, 1, &"inner".to_string());
        let outer = scattered(&home, 2, &(inner.clone(), 7u8));
        let other = scattered(&home, 3, &9u64);
        let mut found = Originals::new();
        let item = noting(&*home, &mut found, || encode(&(outer.clone(), 5u64))).unwrap();
        assert_eq!(item.len(), 16, "a handle is sent as a number");
        assert!(found.keys().eq(&[1, 2]), "and the value goes along");
        noting(&*home, &mut found, || encode(&other)).unwrap();
        assert!(found.keys().eq(&[1, 2, 3]), "those of all items gather");

        type Item = (Scattered<(Scattered<String>, u8)>, u64);
        let read = || decode::<Item>(&item);
        let (value, number) = offering(arrived(&found), read).unwrap();
        assert_eq!((&*value.0, value.1, number), (&"inner".to_string(), 7, 5));
        assert!(read().is_err(), "outside of a task nothing is at hand");
        let wrong = offering(arrived(&found), || decode::<(Scattered<u8>, u64)>(&item)).unwrap_err();
        assert!(wrong.to_string().contains("left over"), "{wrong}");

        assert!(encode(&outer).is_err(), "nobody would send the value");
        assert!(noting(&*Arc::new(Noted::default()), &mut Originals::new(), || encode(&outer)).is_err());
        assert!(offering(arrived(&found), || encode(&value)).is_err(), "a task cannot send it either");
    }

    #[test]
    fn a_value_is_dropped_once_with_all_that_hold_it() {
        let home = Arc::new(Noted::default());
        let inner = scattered(&home, 1, &4u64);
        let outer = scattered(&home, 2, &inner);
        let mut of_a_call = Originals::new();
        noting(&*home, &mut of_a_call, || encode(&outer)).unwrap();
        drop(inner);
        assert_eq!(**outer, 4, "what is inside of it is held by it");
        drop(outer.clone());
        drop(outer);
        assert!(lock(&home.0).is_empty(), "the call has it");
        drop(of_a_call);
        let mut dropped = lock(&home.0).clone();
        dropped.sort_unstable();
        assert_eq!(dropped, [1, 2]);
    }
}
