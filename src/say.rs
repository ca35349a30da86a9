//! Words for people, on standard error. Writing them neither ends nor holds up a run: a line goes into a queue, and a
//! thread of its own writes it. When the device is full or the reader has gone, the line is dropped. While a reader
//! does not read, lines wait; lines that do not fit the queue are left out, and counted.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt::Write,
    sync::{Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::sync::{self, wait_until};

/// Bytes that may wait to be written.
const QUEUE_BYTES: usize = 1 << 18;
/// How long the end of the program waits for what was said and printed.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Between two looks at whether standard error has been read.
const READER_PAUSE: Duration = Duration::from_millis(5);
/// What a launcher gets to pass on the last words that it has read. Where all CPUs are busy it waits for one.
const PASSING_ON: Duration = Duration::from_millis(200);

struct Queue {
    texts: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Texts that were put in, and of them those that have left. Both only grow.
    put: u64,
    gone: u64,
    /// Texts that were left out since the last one that was put in.
    left_out: u64,
    /// The value of `gone` at the end of a wait during which the writer made no progress.
    stuck_at: Option<u64>,
    /// The writer's thread was started, or could not be.
    writer: Option<bool>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    texts: VecDeque::new(),
    bytes: 0,
    put: 0,
    gone: 0,
    left_out: 0,
    stuck_at: None,
    writer: None,
});
/// Something is to be written.
static FILLED: Condvar = Condvar::new();
/// Something has left.
static EMPTIED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Queue> {
    sync::lock(&QUEUE)
}

/// Tells people a line, or several, on standard error; control characters are shown and not sent. Never waits.
pub(crate) fn say(line: &str) {
    put(format!("{}\n", shown(line)).into_bytes());
}

/// Has a text written to standard error as it is. Never waits.
pub(crate) fn put(text: Vec<u8>) {
    let mut queue = lock();
    if queue.writer == Some(false) {
        queue.write_without_waiting();
    }
    // One that is larger than the room goes alone.
    if queue.bytes > 0 && queue.bytes + text.len() > QUEUE_BYTES {
        queue.left_out += 1;
        return;
    }
    queue.note_what_was_left_out();
    queue.push(text);
    match queue.writer {
        Some(true) => FILLED.notify_one(),
        Some(false) => queue.write_without_waiting(),
        None => {
            let writer =
                thread::Builder::new().name("rankpool-words".into()).stack_size(1 << 16).spawn(write);
            queue.writer = Some(writer.is_ok());
            if writer.is_err() {
                queue.write_without_waiting();
            }
        }
    }
}

impl Queue {
    fn push(&mut self, text: Vec<u8>) {
        self.bytes += text.len();
        self.put += 1;
        self.texts.push_back(text);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let text = self.texts.pop_front()?;
        self.bytes -= text.len();
        Some(text)
    }

    fn note_what_was_left_out(&mut self) {
        if self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            self.push(format!("({left_out} messages were left out: nobody was reading)\n").into_bytes());
        }
    }

    /// Writes what can be written at once, where there is no thread that could wait.
    fn write_without_waiting(&mut self) {
        while is_writable(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
            && let Some(text) = self.pop()
        {
            write_all(&text);
            self.gone += 1;
        }
    }
}

/// The writer's thread.
fn write() {
    let mut queue = lock();
    loop {
        if queue.texts.is_empty() {
            queue.note_what_was_left_out();
        }
        match queue.pop() {
            Some(text) => {
                drop(queue);
                write_all(&text);
                queue = lock();
                queue.gone += 1;
                EMPTIED.notify_all();
            }
            None => queue = wait_until(&FILLED, queue, None, |queue| !queue.texts.is_empty()),
        }
    }
}

/// Writes to the descriptor itself: the lock of `std::io::stderr` may be with a task that waits for the same reader.
fn write_all(mut text: &[u8]) {
    while !text.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), text) {
            Ok(count) => text = &text[count..],
            Err(Errno::INTR) => {}
            // A terminal or pipe that some other program has made non-blocking.
            Err(Errno::AGAIN) if is_writable(None) => {}
            // A full device, a closed terminal, a reader that has gone: nobody can be told.
            Err(_) => return,
        }
    }
}

/// Waits, for `limit` at most, until a write would return at once, if only with an error. False when it would not.
fn is_writable(limit: Option<&Timespec>) -> bool {
    let stderr = rustix::stdio::stderr();
    loop {
        match poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], limit) {
            Err(Errno::INTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

/// Waits until what was said has been written: as long as the writer makes progress, and for a second at most.
pub(crate) fn flush() {
    let deadline = Instant::now() + LAST_WAIT;
    let mut queue = lock();
    let wanted = queue.put;
    // A reader that did not read during the last wait is not waited for again.
    let moves = |queue: &Queue| {
        queue.gone < wanted && queue.writer == Some(true) && queue.stuck_at != Some(queue.gone)
    };
    queue = wait_until(&EMPTIED, queue, Some(deadline), |queue| !moves(queue));
    if moves(&queue) {
        queue.stuck_at = Some(queue.gone);
    }
}

/// Waits until what was said has been read, where standard error is a pipe, and for a second at most. A launcher that is
/// then asked to end may still have to pass it on, so it gets some time for that.
pub(crate) fn wait_for_reader() {
    flush();
    let stderr = rustix::stdio::stderr();
    let is_pipe = |data: rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(data.st_mode).is_fifo();
    if !rustix::fs::fstat(stderr).is_ok_and(is_pipe) {
        return;
    }
    let deadline = Instant::now() + LAST_WAIT;
    while rustix::io::ioctl_fionread(stderr).is_ok_and(|bytes| bytes > 0) && Instant::now() < deadline {
        thread::sleep(READER_PAUSE);
    }
    thread::sleep(PASSING_ON);
}

/// The last thing before this process ends: what was said and what was printed leaves, if it can within a second.
/// A task may hold the lock of standard output and never give it back, so that is waited for on another thread.
pub(crate) fn finish() {
    flush();
    let (done, printed) = std::sync::mpsc::channel();
    let print = move || {
        flush_prints();
        // Nobody listens after a second.
        let _ = done.send(());
    };
    // Without a thread it is better to lose what was printed than not to end.
    if thread::Builder::new().name("rankpool-prints".into()).spawn(print).is_ok() {
        let _ = printed.recv_timeout(LAST_WAIT);
    }
}

/// Flushes what was printed so far: the buffers of Rust, and those of C's `printf`. Waits for whoever reads standard
/// output.
pub(crate) fn flush_prints() {
    // An error here concerns whoever printed.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            static stdout: *mut libc::FILE;
        }
        // SAFETY: C's own stream, which lives as long as the process; the call takes the stream's lock.
        unsafe { libc::fflush(stdout) };
    }
}

/// A text with its control characters made visible, but for tabs and the ends of lines: it may come from a task or a
/// file, and must not move the cursor, change colours or hide what stands beside it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    // Characters that turn the direction of what follows are as bad.
    let acts = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() && c != '\n' && c != '\t') || turns
    };
    if !text.contains(acts) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Writing to a text cannot fail.
        let _ = if acts(c) { write!(shown, "{}", c.escape_default()) } else { shown.write_char(c) };
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_lines_and_letters_stay() {
        assert_eq!(shown("a\tb\nc \u{e9} \u{20ac}"), "a\tb\nc \u{e9} \u{20ac}");
        assert_eq!(shown("\u{1b}[2J\u{7}\r\u{9b}31m\u{7f}"), "\\u{1b}[2J\\u{7}\\r\\u{9b}31m\\u{7f}");
        assert_eq!(shown("a\u{202e}b\u{2028}c"), "a\\u{202e}b\\u{2028}c");
    }
}
