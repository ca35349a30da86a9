//! Code without locks, in every order that the memory model allows.

mod atomics {
    pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
}
#[path = "../src/worker/slot.rs"]
mod slot;

use loom::{sync::Arc, thread};
use slot::Slot;

#[test]
fn what_a_task_thread_is_at_is_read_whole_or_not_at_all() {
    loom::model(|| {
        let slot = Arc::new(Slot::new());
        let written = slot.clone();
        let writer = thread::spawn(move || {
            written.set(1, [11, 12, 13]);
            written.set(2, [21, 22, 23]);
        });
        if let Some((mark, words)) = slot.read() {
            assert_eq!(words, [10 * mark + 1, 10 * mark + 2, 10 * mark + 3]);
        }
        writer.join().unwrap();
        slot.clear();
        assert_eq!(slot.read(), None);
    });
}
