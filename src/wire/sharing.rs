//! Memory that large blocks share instead of being copied, while this thread encodes or decodes.
//!
//! serde hands on a run of bytes, and does not tell who keeps it alive. So the owner is announced meanwhile: a block
//! that is encoded announces its numbers, and whoever decodes a value announces the message that it came in. When a
//! run of bytes lies inside that memory, the other end takes a share of it.

use std::cell::RefCell;

use bytes::Bytes;

/// A shorter run is copied: that costs less than to share it.
pub(super) const LARGE: usize = 1 << 16;

struct Memory {
    bytes: Bytes,
    /// The shortest run that may keep it alive.
    least: usize,
}

thread_local! {
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

/// Runs `work`, in which runs of these bytes can be [shared](share) that are `least` long.
pub(super) fn with<R>(bytes: Bytes, least: usize, work: impl FnOnce() -> R) -> R {
    /// `work` may panic, and may be inside of another.
    struct Before(Option<Memory>);

    impl Drop for Before {
        fn drop(&mut self) {
            MEMORY.replace(self.0.take());
        }
    }

    let _before = Before(MEMORY.replace(Some(Memory { bytes, least })));
    work()
}

/// A share of the memory that this run lies in, if that is known.
pub(super) fn share(run: &[u8]) -> Option<Bytes> {
    if run.len() < LARGE {
        return None;
    }
    MEMORY.with_borrow(|memory| {
        let Memory { bytes, least } = memory.as_ref()?;
        let (run_is, bytes_are) = (run.as_ptr_range(), bytes.as_ptr_range());
        let inside = bytes_are.start <= run_is.start && run_is.end <= bytes_are.end;
        (inside && *least <= run.len()).then(|| bytes.slice_ref(run))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_memory_is_shared_and_only_meanwhile() {
        let bytes = Bytes::from(vec![1; 4 * LARGE]);
        let elsewhere = vec![1; LARGE];
        with(bytes.clone(), 2 * LARGE, || {
            assert_eq!(share(&bytes[LARGE..3 * LARGE]).unwrap().as_ptr(), bytes[LARGE..].as_ptr());
            assert!(share(&bytes[LARGE..2 * LARGE]).is_none(), "it is too short");
            assert!(share(&elsewhere).is_none());
            let panicked = std::panic::catch_unwind(|| {
                with(Bytes::from(elsewhere.clone()), LARGE, || {
                    assert!(share(&bytes).is_none());
                    panic!("on purpose")
                })
            });
            assert!(panicked.is_err());
            assert!(share(&bytes).is_some());
        });
        assert!(share(&bytes).is_none());
    }
}
