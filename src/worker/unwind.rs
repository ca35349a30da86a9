//! All that concerns panics in tasks: they are caught, and their message is kept.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use crate::{
    error::{Failure, FailureKind},
    say::say,
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From here on a panic inside [`catch`] prints nothing; its source position is kept instead.
/// Panics elsewhere go to the hook that was there before.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                LOCATION.set(info.location().map(ToString::to_string));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs the user's code; a panic becomes a failure.
pub(crate) fn catch<R>(code: impl FnOnce() -> R) -> Result<R, Failure> {
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(outer);
    result.map_err(|payload| {
        let mut message = text(&*payload).to_string();
        if let Some(location) = LOCATION.take() {
            message = format!("{message} (at {location})");
        }
        // A payload may panic in its drop; that must not take the worker down.
        if catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err() {
            message.push_str(" (and its payload panicked when dropped)");
        }
        Failure::new(FailureKind::Panicked, message)
    })
}

/// Runs what must not panic: if it does all the same, the process ends, and with it the doubt
/// whether anyone still works here. Rank 0 sees a lost worker.
pub(crate) fn or_end<R>(code: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|_| {
        say("rankpool: a thread that runs tasks panicked outside of a task; this process ends");
        crate::launch::exit_now(crate::launch::EXIT_INTERNAL)
    })
}

fn text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a panic whose payload is no text"
    }
}
