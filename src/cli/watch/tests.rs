//! The model, fed by hand; the screen and the text that are made of it.

use insta::assert_snapshot;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

use super::{
    events,
    screen::{Look, draw},
    state::{Chunk, Ended, Failed, Loss, NewWorker, News, Run, Standing, State},
    text,
};
use crate::say::shown;

fn run(tasks: Option<u64>) -> News {
    let (run, what, parameters) = ("c3e95ac0c011".into(), "sleep".into(), "{}".into());
    News::Run(Run { run, what, parameters, tasks, began: 1_790_000_000.0 })
}

fn joined(rank: u32, children: u32) -> News {
    let slots = children.max(1);
    News::Joined(NewWorker { t: 0.0, rank, host: format!("node{rank}"), pid: 100 + rank, slots, children })
}

fn chunk(t: f64, rank: u32, start: u64, count: u64) -> [News; 2] {
    let chunk = Chunk { t, rank, host: None, pid: 0, start, count, busy_s: count as f64 };
    [News::Done { start, count, t: None }, News::Chunk(chunk)]
}

fn dispatched(t: f64, rank: u32, start: u64, count: u64) -> News {
    News::Dispatched { t, rank, start, count }
}

fn failed(task: u64, attempt: u16, last: bool) -> News {
    let place = Some((2, "node2".into()));
    let (kind, message) = ("panicked".into(), "no such\u{1b}[31m file\nat line 7".into());
    News::Failed(Failed { task, attempt, kind, place, message, last })
}

fn state(news: impl IntoIterator<Item = News>) -> State {
    let mut state = State::default();
    news.into_iter().for_each(|news| state.take(news));
    state
}

/// Ten seconds of a run with a leader, a loss and a failure.
fn ten_seconds() -> Vec<News> {
    let loss = |slot, rank| {
        News::Lost(Loss {
            t: 5.0,
            rank,
            slot,
            host: format!("node{rank}"),
            pid: 4711,
            reason: "its process ended".into(),
        })
    };
    let mut news = vec![run(Some(200)), News::Session { t: 0.0, host: Some("login1".into()) }];
    news.extend([News::ToRun(Some(200)), News::Mode("comm".into())]);
    news.extend([joined(1, 0), joined(2, 0), joined(3, 4)]);
    news.extend([dispatched(0.1, 1, 0, 4), dispatched(0.1, 2, 4, 4), dispatched(0.1, 3, 8, 64)]);
    news.extend(chunk(4.0, 1, 0, 4));
    news.extend([dispatched(4.0, 1, 72, 6), dispatched(4.1, 1, 78, 6), loss(None, 2), loss(Some(1), 3)]);
    news.extend(chunk(8.0, 3, 8, 64));
    news.extend([failed(9, 1, false), failed(10, 1, true)]);
    news
}

#[test]
fn of_a_run_that_goes_on_everything_is_told() {
    assert_snapshot!(shown(&text::of(&state(ten_seconds()), 10.0)), @r"
    sleep: running since 2026-09-21 14:13:20 UTC (10 s), mode comm, rank 0 on login1
      tasks     66 of 200 done, 1 failed, 1 retried, 33%
      rate      6.80 tasks/s, about 20 s left
      workers   2 workers with 4 children, 1 worker and 1 child lost
      rank  host   pid  runs        tasks  busy  at
      1     node1  101  1           4      40%   tasks 72-77 for 6.0 s, 1 more sent
      2     node2  102  1           0      0%    lost
      3     node3  103  4 children  64     100%  tasks 8-71 came back, 2.0 s ago
    last losses
      child 1 of worker 3 on node3 (pid 4711), after 5.0 s: its process ended
      worker 2 on node2 (pid 4711), after 5.0 s: its process ended
    last failures
      task 10 attempt 1 on rank 2 (node2) panicked: no such\u{1b}[31m file
      task 9 attempt 1 on rank 2 (node2) panicked, to be tried again: no such\u{1b}[31m file
    ");
}

#[test]
fn each_task_counts_once_however_often_it_was_run() {
    let mut news = vec![run(Some(10)), News::Session { t: 0.0, host: None }];
    news.extend(chunk(1.0, 1, 0, 4));
    news.extend([failed(2, 1, false)]);
    let mut state = state(news);
    let counts = |state: &State| {
        let progress = state.progress(20.0);
        (progress.done, progress.failed)
    };
    assert_eq!(counts(&state), (3, 0));
    chunk(2.0, 1, 2, 1).into_iter().for_each(|news| state.take(news));
    assert_eq!(counts(&state), (4, 0));
    state.take(failed(3, 2, true));
    assert_eq!(counts(&state), (3, 1));
    // A later session runs it again.
    state.take(News::Done { start: 3, count: 1, t: None });
    assert_eq!(counts(&state), (4, 0));
    // The same run, read again, begins nothing anew; another one does.
    state.take(run(Some(10)));
    assert_eq!(counts(&state), (4, 0));
    let other = Run { run: "other".into(), ..Run::default() };
    state.take(News::Run(other));
    assert_eq!(counts(&state), (0, 0));
}

#[test]
fn the_rate_is_that_of_late_and_says_what_is_left() {
    let mut news = vec![run(Some(1000)), News::Session { t: 0.0, host: None }];
    // A slow beginning, long ago, and then one task a second.
    news.extend(chunk(10.0, 1, 0, 1));
    (0..60).for_each(|second| news.extend(chunk(200.0 + second as f64, 1, 1 + second, 1)));
    let progress = state(news).progress(260.0);
    assert!((progress.rate - 1.0).abs() < 0.05, "{}", progress.rate);
    assert!((progress.left_s.unwrap() - 939.0).abs() < 60.0, "{:?}", progress.left_s);
}

#[test]
fn what_a_worker_has_ends_when_it_comes_back_in_parts_or_with_its_loss_or_with_the_session() {
    let begin = || vec![run(Some(100)), News::Session { t: 0.0, host: None }, joined(1, 2)];
    let at = |state: &State| state.workers[&1].at.len();
    let mut parts = begin();
    parts.extend([dispatched(1.0, 1, 0, 8), dispatched(1.0, 1, 8, 8)]);
    let mut parts = state(parts);
    assert_eq!(at(&parts), 2);
    chunk(2.0, 1, 4, 4).into_iter().for_each(|news| parts.take(news));
    assert_eq!(at(&parts), 1);
    let loss = Loss { t: 3.0, rank: 1, slot: None, host: "".into(), pid: 1, reason: "".into() };
    parts.take(News::Lost(loss));
    assert_eq!(at(&parts), 0);
    // A journal tells late of a chunk that has come back meanwhile.
    let mut late = begin();
    late.extend(chunk(2.5, 1, 0, 8));
    late.push(dispatched(1.0, 1, 0, 8));
    assert_eq!(at(&state(late)), 0);
    let mut again = begin();
    again.extend([dispatched(1.0, 1, 0, 8), News::Session { t: 50.0, host: None }]);
    assert!(state(again).workers.is_empty());
}

#[test]
fn a_resumed_run_has_to_do_what_is_left() {
    let mut news = vec![run(None), News::Session { t: 0.0, host: None }];
    news.extend(chunk(1.0, 1, 0, 30));
    news.extend([News::Session { t: 60.0, host: None }, News::ToRun(Some(70))]);
    let state = state(news);
    assert_eq!(state.progress(61.0).total, Some(100));
    assert_eq!(state.sessions, 2);
}

#[test]
fn the_lines_of_docs_events_are_understood() {
    let lines = include_str!("../../../docs/events.md").lines().filter(|line| line.starts_with("{\"t\""));
    let mut state = State::default();
    lines.for_each(|line| events::tell(line.as_bytes(), false, &mut |news| state.take(news)));
    assert_eq!(state.run.what, "sleep");
    assert_eq!(state.lost, [1, 1]);
    let Standing::Ended(Ended { counts, .. }) = &state.standing else { panic!("{:?}", state.standing) };
    assert_eq!(*counts, Some([39, 1, 0]));
    assert_eq!(state.retried, 1);
    assert_eq!(state.workers[&3].pid, 13000);
    assert_eq!(state.workers[&1].tasks, 4);
}

/// What a terminal of this size shows.
fn screen(state: &State, now: f64, look: &mut Look, [width, height]: [u16; 2]) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, now, look)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn the_screen_has_it_all() {
    let drawn = screen(&state(ten_seconds()), 10.0, &mut Look::default(), [100, 24]);
    assert_snapshot!(drawn, @r#"
    "sleep: running since 2026-09-21 14:13:20 UTC (10 s), mode comm, rank 0 on login1                    "
    "██████████████████████████████66 of 200 done, 1 failed, 1 retried, 33%                              "
    "6.80 tasks/s, about 20 s left                                                                       "
    "2 workers with 4 children, 1 worker and 1 child lost                                                "
    "┌ workers ─────────────────────────────────────────────────────────────────────────────────────────┐"
    "│rank   host         pid      runs        tasks     busy  at                                       │"
    "│1      node1        101      1           4         40%   tasks 72-77 for 6.0 s, 1 more sent       │"
    "│2      node2        102      1           0         0%    lost                                     │"
    "│3      node3        103      4 children  64        100%  tasks 8-71 came back, 2.0 s ago          │"
    "│                                                                                                  │"
    "│                                                                                                  │"
    "│                                                                                                  │"
    "│                                                                                                  │"
    "│                                                                                                  │"
    "└──────────────────────────────────────────────────────────────────────────────────────────────────┘"
    "┌ last losses ─────────────────────────────────────────────────────────────────────────────────────┐"
    "│child 1 of worker 3 on node3 (pid 4711), after 5.0 s: its process ended                           │"
    "│worker 2 on node2 (pid 4711), after 5.0 s: its process ended                                      │"
    "└──────────────────────────────────────────────────────────────────────────────────────────────────┘"
    "┌ last failures ───────────────────────────────────────────────────────────────────────────────────┐"
    "│task 10 attempt 1 on rank 2 (node2) panicked: no such\u{1b}[31m file                              │"
    "│task 9 attempt 1 on rank 2 (node2) panicked, to be tried again: no such\u{1b}[31m file            │"
    "└──────────────────────────────────────────────────────────────────────────────────────────────────┘"
    " q quit   up, down, page up, page down: workers   ? help                                            "
    "#);
}

#[test]
fn the_keys_are_explained_above_the_screen() {
    let drawn = screen(&state(ten_seconds()), 10.0, &mut Look { help: true, ..Look::default() }, [80, 20]);
    assert_snapshot!(drawn, @r#"
    "sleep: running since 2026-09-21 14:13:20 UTC (10 s), mode comm, rank 0 on login1"
    "████████████████████66 of 200 done, 1 failed, 1 retried, 33%                    "
    "6.80 tasks/s, about 20 s left                                                   "
    "2 workers with┌ help ────────────────────────────────────────────┐              "
    "┌ workers ────│q, ctrl-C     leave; the run does not notice      │─────────────┐"
    "│rank   host  │up, down      scroll the workers by one           │             │"
    "│1      node1 │page up/down  scroll the workers by a screen      │-77 for 6.0 s│"
    "│2      node2 │home, end     the first and the last workers      │             │"
    "│3      node3 │?             this help, and away with it         │71 came back,│"
    "│             │                                                  │             │"
    "└─────────────│runs   tasks that a worker runs at a time,        │─────────────┘"
    "┌ last losses │       or the children of a leader                │─────────────┐"
    "│child 1 of wo│busy   part of the time that it was in tasks      │ ended       │"
    "│worker 2 on n│at     what it has been sent, if that takes       │             │"
    "└─────────────│       longer than a second; else what it         │─────────────┘"
    "┌ last failure│       gave back last                             │─────────────┐"
    "│task 10 attem└──────────────────────────────────────────────────┘ile          │"
    "│task 9 attempt 1 on rank 2 (node2) panicked, to be tried again: no such\u{1b}[│"
    "└──────────────────────────────────────────────────────────────────────────────┘"
    " q quit   up, down, page up, page down: workers   ? help                        "
    "#);
}

#[test]
fn a_screen_that_is_too_small_is_no_harm() {
    let state = state(ten_seconds());
    for size in [[1, 1], [10, 3], [200, 5], [3, 60]] {
        screen(&state, 10.0, &mut Look { help: true, ..Look::default() }, size);
    }
}

#[test]
fn the_end_is_shown() {
    let mut news = ten_seconds();
    let ended = Ended { counts: Some([199, 1, 0]), wall_s: Some(93.0), error: None };
    news.push(News::Standing(Standing::Ended(ended)));
    assert_snapshot!(shown(&text::of(&state(news), 10.0)), @r"
    sleep: ended after 1 min 33 s, mode comm, rank 0 on login1
      tasks     199 of 200 done, 1 failed, 1 retried, 100%
      rate      nothing runs
      workers   2 workers with 4 children, 1 worker and 1 child lost
      rank  host   pid  runs        tasks  busy  at
      1     node1  101  1           4      40%   tasks 0-3 came back
      2     node2  102  1           0      0%    lost
      3     node3  103  4 children  64     100%  tasks 8-71 came back
    last losses
      child 1 of worker 3 on node3 (pid 4711), after 5.0 s: its process ended
      worker 2 on node2 (pid 4711), after 5.0 s: its process ended
    last failures
      task 10 attempt 1 on rank 2 (node2) panicked: no such\u{1b}[31m file
      task 9 attempt 1 on rank 2 (node2) panicked, to be tried again: no such\u{1b}[31m file
    ");
}

#[test]
fn keys_scroll_the_workers_and_end_the_watch() {
    let mut news = vec![run(Some(100)), News::Session { t: 0.0, host: None }];
    news.extend((1..=50).map(|rank| joined(rank, 0)));
    let state = state(news);
    let mut look = Look::default();
    let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
    let first = |look: &mut Look| {
        let drawn = screen(&state, 1.0, look, [80, 18]);
        drawn.split("workers ").nth(2).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(first(&mut look), 1);
    let steps = [
        (KeyCode::Down, 2),
        (KeyCode::PageDown, 12),
        (KeyCode::Up, 11),
        (KeyCode::PageUp, 1),
        (KeyCode::End, 41),
        (KeyCode::Down, 41),
        (KeyCode::Home, 1),
    ];
    for (code, expected) in steps {
        assert!(look.press(key(code), 50));
        assert_eq!(first(&mut look), expected, "{code:?}");
    }
    assert!(look.press(key(KeyCode::Char('?')), 50) && look.help);
    assert!(!look.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), 50));
    assert!(!look.press(key(KeyCode::Char('q')), 50));
}
