//! What rank 0 and its workers tell each other: a type for each message. How they are packed into frames, only this
//! file knows.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Batch, Frame, Hello, Parts, Piece, Pieces, Ready, SlotRun, TeamNews, Welcome, decode, encode,
    frame::{Kind, WORDS},
    reply,
};

/// A table of lengths precedes the values of the body.
const TABLE: u8 = 1;
/// The body starts with a list of pieces; without it the body is one batch.
const PIECES: u8 = 2;
/// The same, behind a list of what each child of a leader has run; and between the pieces there may be gaps.
const LED: u8 = 3;
/// The worker keeps something of the call.
const KEEPS: u8 = 2;
/// Who runs what is to be told.
const TRACED: u8 = 4;
/// Behind the items are the numbers of the shared values, and how many they are.
const SHARED: u8 = 8;

/// From rank 0.
#[derive(Debug)]
pub(crate) enum ToWorker {
    /// You are one of us.
    Welcome(Welcome),
    /// You are not.
    Refuse,
    /// A shared value; calls and shared values are numbered together.
    Share {
        number: u64,
        value: Bytes,
    },
    /// The same, for a child: the value lies in memory whose descriptor comes with this message.
    Mapped {
        number: u64,
        length: u64,
    },
    Chunk(ChunkMessage),
    /// Stop this chunk between two tasks, and return what is done.
    Revoke {
        call: u64,
        dispatch: u64,
    },
    /// This call is over, or nobody uses this shared value any more: forget the state, or the value.
    Forget {
        number: u64,
    },
    /// For a leader: nobody wants what its children run. Kill those that run something.
    GiveUp,
    /// Leave.
    Shutdown {
        /// MPI is to be finalised.
        finalise: bool,
    },
}

/// From a worker.
#[derive(Debug)]
pub(crate) enum ToRank0 {
    /// Who I am.
    Hello(Hello),
    /// The lifeline is connected: ready for work.
    Ready(Ready),
    /// This chunk is nearly done: send the next one. So many children have nothing to do.
    Request {
        free: u32,
        /// The last dispatch that has come.
        heard: u64,
    },
    Result(ResultMessage),
    /// What the children of a leader have done of a chunk, while the rest of it runs.
    Partial(ResultMessage),
    /// What has happened to the children of a leader.
    Team(TeamNews),
}

/// Tasks to run.
#[derive(Clone, Debug)]
pub(crate) struct ChunkMessage {
    pub(crate) call: u64,
    /// The epoch of this dispatch.
    pub(crate) dispatch: u64,
    /// The absolute index of the first task.
    pub(crate) start: u64,
    pub(crate) count: u64,
    /// Which attempt at these tasks this is, from 1.
    pub(crate) attempt: u16,
    /// What runs them, as an offset into the executable.
    pub(crate) program: u64,
    /// The seed of the call.
    pub(crate) seed: u64,
    /// Nanoseconds that a task may take, 0 for any time.
    pub(crate) limit_nanos: u64,
    /// Tasks that a leader hands to a child at a time; 0 where that is to be found out.
    pub(crate) share: u64,
    /// The worker keeps a state for this call, until it is told to forget it.
    pub(crate) keeps: bool,
    /// A leader is to tell what each child has run.
    pub(crate) traced: bool,
    /// The numbers of the shared values that its tasks may use, which the worker has: first that of the call.
    pub(crate) shared: Vec<u64>,
    /// The items; `None` when what arrived contradicts itself.
    pub(crate) items: Option<Batch>,
}

impl ChunkMessage {
    /// Cuts it to nothing: its result says that no task ran.
    pub(crate) fn revoke(&mut self) {
        self.count = 0;
        self.items = Some(Batch::join(&[]));
    }
}

/// What became of the tasks of a chunk, or of a part of them.
#[derive(Clone, Debug)]
pub(crate) struct ResultMessage {
    pub(crate) call: u64,
    pub(crate) dispatch: u64,
    pub(crate) start: u64,
    /// Tasks that were attempted.
    pub(crate) count: u64,
    /// Their outcomes, in order, with gaps where a leader did not come to the tasks between; `None` when what arrived
    /// contradicts itself.
    pub(crate) pieces: Option<Pieces>,
    /// Nanoseconds spent running the chunk, by all that ran a part of it.
    pub(crate) busy_nanos: u64,
    /// Nanoseconds that the worker spent around it, since the last one and without waiting.
    pub(crate) overhead_nanos: u64,
    /// The task that took longest, and its nanoseconds; of short tasks the mean of some neighbours.
    pub(crate) slowest: u64,
    pub(crate) slowest_nanos: u64,
    /// What each child of a leader has run, where that was asked for.
    pub(crate) runs: Vec<SlotRun>,
}

impl ToWorker {
    pub(crate) fn pack(self) -> Frame {
        let nothing = Bytes::new;
        match self {
            ToWorker::Welcome(welcome) => packed(Kind::Welcome, &welcome),
            ToWorker::Refuse => Frame::new(Kind::Refuse, 0, 0, [0; WORDS], nothing()),
            ToWorker::Share { number, value } => Frame::new(Kind::Share, 0, 0, words([number]), value),
            ToWorker::Mapped { number, length } => {
                Frame::new(Kind::Mapped, 0, 0, words([number, length]), nothing())
            }
            ToWorker::Chunk(chunk) => {
                let ChunkMessage { call, dispatch, start, count, program, seed, limit_nanos, share, .. } =
                    chunk;
                let items = chunk.items.unwrap_or_else(|| Batch::join(&[]));
                let shares = !chunk.shared.is_empty();
                let flags = [
                    (items.needs_table(), TABLE),
                    (chunk.keeps, KEEPS),
                    (chunk.traced, TRACED),
                    (shares, SHARED),
                ];
                let layout = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
                let words = words([call, dispatch, start, count, program, seed, limit_nanos, share]);
                let body = items.to_wire();
                let body = if shares { behind(body, &chunk.shared) } else { body };
                Frame::new(Kind::Chunk, layout, chunk.attempt, words, body)
            }
            ToWorker::Revoke { call, dispatch } => {
                Frame::new(Kind::Revoke, 0, 0, words([call, dispatch]), nothing())
            }
            ToWorker::Forget { number } => Frame::new(Kind::Forget, 0, 0, words([number]), nothing()),
            ToWorker::GiveUp => Frame::new(Kind::GiveUp, 0, 0, [0; WORDS], nothing()),
            ToWorker::Shutdown { finalise } => {
                Frame::new(Kind::Shutdown, 0, 0, words([u64::from(finalise)]), nothing())
            }
        }
    }

    /// `None` for what rank 0 does not send.
    pub(crate) fn unpack(frame: Frame) -> Option<ToWorker> {
        let Frame { header, body } = frame;
        let body = body.joined();
        let (words, layout, short) = (&header.words, header.layout, header.short);
        let bare = body.is_empty();
        Some(match header.kind {
            Kind::Welcome => ToWorker::Welcome(unpacked(words, &body)?),
            Kind::Refuse if bare => {
                let [] = used(words)?;
                ToWorker::Refuse
            }
            Kind::Share => {
                let [number] = used(words)?;
                ToWorker::Share { number, value: body }
            }
            Kind::Mapped if bare => {
                let [number, length] = used(words)?;
                ToWorker::Mapped { number, length }
            }
            Kind::Chunk => {
                let [call, dispatch, start, count, program, seed, limit_nanos, share] = used(words)?;
                let (keeps, traced) = (layout & KEEPS != 0, layout & TRACED != 0);
                let (body, shared) = if layout & SHARED != 0 { cut(body)? } else { (body, Vec::new()) };
                let items = usize::try_from(count).ok();
                let table = || table(layout & !(KEEPS | TRACED | SHARED));
                let items = items.and_then(|count| Batch::from_wire(body, count, table()?));
                ToWorker::Chunk(ChunkMessage {
                    call,
                    dispatch,
                    start,
                    count,
                    attempt: short,
                    program,
                    seed,
                    limit_nanos,
                    share,
                    keeps,
                    traced,
                    shared,
                    items,
                })
            }
            Kind::Revoke if bare => {
                let [call, dispatch] = used(words)?;
                ToWorker::Revoke { call, dispatch }
            }
            Kind::Forget if bare => {
                let [number] = used(words)?;
                ToWorker::Forget { number }
            }
            Kind::GiveUp if bare => {
                let [] = used(words)?;
                ToWorker::GiveUp
            }
            Kind::Shutdown if bare => match used(words)? {
                [finalise @ (0 | 1)] => ToWorker::Shutdown { finalise: finalise == 1 },
                _ => return None,
            },
            _ => return None,
        })
    }
}

impl ToRank0 {
    pub(crate) fn pack(self) -> Frame {
        match self {
            ToRank0::Hello(hello) => packed(Kind::Hello, &hello),
            ToRank0::Ready(ready) => packed(Kind::Ready, &ready),
            ToRank0::Request { free, heard } => {
                Frame::new(Kind::Request, 0, 0, words([free.into(), heard]), Bytes::new())
            }
            ToRank0::Result(result) => result.pack(Kind::Result),
            ToRank0::Partial(result) => result.pack(Kind::Partial),
            ToRank0::Team(news) => packed(Kind::Team, &news),
        }
    }

    /// `None` for what workers do not send.
    pub(crate) fn unpack(frame: Frame) -> Option<ToRank0> {
        let Frame { header, body } = frame;
        let body = body.joined();
        Some(match header.kind {
            Kind::Hello => ToRank0::Hello(unpacked(&header.words, &body)?),
            Kind::Ready => ToRank0::Ready(unpacked(&header.words, &body)?),
            Kind::Request if body.is_empty() => {
                let [free, heard] = used(&header.words)?;
                ToRank0::Request { free: u32::try_from(free).ok()?, heard }
            }
            Kind::Team => ToRank0::Team(unpacked(&header.words, &body)?),
            Kind::Result => ToRank0::Result(ResultMessage::unpack(&header.words, header.layout, body)),
            Kind::Partial => ToRank0::Partial(ResultMessage::unpack(&header.words, header.layout, body)),
            _ => return None,
        })
    }
}

impl ResultMessage {
    fn pack(self, kind: Kind) -> Frame {
        let ResultMessage { call, dispatch, start, count, busy_nanos, overhead_nanos, .. } = self;
        let pieces = self.pieces.unwrap_or_default();
        let whole =
            pieces.iter().try_fold(start, |next, piece| (piece.start == next).then(|| next + piece.count));
        let (layout, values, body) = match pieces.as_slice() {
            pieces if !self.runs.is_empty() || whole.is_none() => {
                (LED, 0, reply::pack_led(&self.runs, pieces))
            }
            [Piece { outcome: Ok(batch), .. }] => {
                (if batch.needs_table() { TABLE } else { 0 }, batch.len() as u64, batch.to_wire())
            }
            [] => (0, 0, Bytes::new().into()),
            several => (PIECES, 0, reply::pack_pieces(several)),
        };
        let words = [
            call,
            dispatch,
            start,
            count,
            values,
            busy_nanos,
            overhead_nanos,
            self.slowest,
            self.slowest_nanos,
        ];
        Frame::new(kind, layout, 0, words, body)
    }

    fn unpack(words: &[u64; WORDS], layout: u8, body: Bytes) -> ResultMessage {
        let [call, dispatch, start, count, values, busy_nanos, overhead_nanos, slowest, slowest_nanos] =
            *words;
        if layout == LED {
            let led = reply::unpack_led(&body, start, count).filter(|_| values == 0);
            let (runs, pieces) = led.unzip();
            let runs = runs.unwrap_or_default();
            return ResultMessage {
                call,
                dispatch,
                start,
                count,
                pieces,
                busy_nanos,
                overhead_nanos,
                slowest,
                slowest_nanos,
                runs,
            };
        }
        let pieces = || {
            if layout == PIECES {
                return reply::unpack_pieces(&body, start, count).filter(|_| values == 0);
            }
            let batch = Batch::from_wire(body.clone(), usize::try_from(values).ok()?, table(layout)?)?;
            if count == 0 {
                return (values == 0).then(Pieces::new);
            }
            Some([Piece { start, count, outcome: Ok(batch) }].into())
        };
        ResultMessage {
            call,
            dispatch,
            start,
            count,
            pieces: pieces(),
            busy_nanos,
            overhead_nanos,
            slowest,
            slowest_nanos,
            runs: Vec::new(),
        }
    }
}

fn table(layout: u8) -> Option<bool> {
    match layout {
        0 => Some(false),
        TABLE => Some(true),
        _ => None,
    }
}

/// The body with these numbers behind it.
fn behind(body: Parts, numbers: &[u64]) -> Parts {
    let count = numbers.len() as u64;
    let tail: Vec<u8> = numbers.iter().chain([&count]).flat_map(|number| number.to_le_bytes()).collect();
    body.iter().cloned().chain([tail.into()]).collect()
}

/// The body and the numbers [behind](behind) it.
fn cut(mut body: Bytes) -> Option<(Bytes, Vec<u64>)> {
    let (_, count) = body.split_last_chunk()?;
    let size = usize::try_from(u64::from_le_bytes(*count)).ok()?.checked_add(1)?.checked_mul(8)?;
    let mut numbers = Vec::new();
    for number in body.get(body.len().checked_sub(size)?..body.len() - 8)?.chunks_exact(8) {
        numbers.push(u64::from_le_bytes(number.try_into().ok()?));
    }
    body.truncate(body.len() - size);
    Some((body, numbers))
}

fn words<const N: usize>(used: [u64; N]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    words[..N].copy_from_slice(&used);
    words
}

/// The words that a kind has; `None` when another one is set.
fn used<const N: usize>(words: &[u64; WORDS]) -> Option<[u64; N]> {
    let (used, rest) = words.split_first_chunk()?;
    rest.iter().all(|word| *word == 0).then_some(*used)
}

fn packed(kind: Kind, value: &impl Serialize) -> Frame {
    // Numbers, addresses and text: their encoding cannot fail.
    Frame::new(kind, 0, 0, [0; WORDS], encode(value).unwrap_or_default())
}

fn unpacked<T: DeserializeOwned>(words: &[u64; WORDS], body: &[u8]) -> Option<T> {
    let [] = used(words)?;
    decode(body).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        error::{Failure, FailureKind},
        wire::ReplyBuilder,
    };

    /// As text, which shows every field; items and values by their encodings.
    fn shown(message: &impl std::fmt::Debug) -> String {
        format!("{message:?}")
    }

    fn values(sizes: &[usize]) -> Batch {
        Batch::of_encoded(&sizes.iter().map(|size| vec![7; *size]).collect::<Vec<_>>())
    }

    fn values_of(batch: &Batch) -> Vec<Vec<u8>> {
        (0..batch.len()).map(|k| batch.get(k).into_owned()).collect()
    }

    proptest! {
        #[test]
        fn a_chunk_comes_back(
            numbers: [u64; 7],
            attempt: u16,
            flags: [bool; 2],
            shared in prop::collection::vec(any::<u64>(), 0..3),
            sizes in prop::collection::vec(0usize..9, 1..9),
        ) {
            let [call, dispatch, start, program, seed, limit_nanos, share] = numbers;
            let [keeps, traced] = flags;
            let count = sizes.len() as u64;
            let items = Some(values(&sizes));
            let chunk = ChunkMessage {
                call, dispatch, start, count, attempt, program, seed, limit_nanos, share, keeps, traced, shared,
                items,
            };
            let back = ToWorker::unpack(ToWorker::Chunk(chunk.clone()).pack());
            let Some(ToWorker::Chunk(back)) = back else { panic!("{back:?}") };
            let items = |chunk: &ChunkMessage| values_of(&chunk.items.clone().unwrap());
            prop_assert_eq!(items(&back), items(&chunk));
            let bare = |chunk| shown(&ChunkMessage { items: None, ..chunk });
            prop_assert_eq!(bare(back), bare(chunk));
        }

        #[test]
        fn a_result_comes_back(
            numbers: [u64; 6],
            outcomes in prop::collection::vec(any::<bool>(), 0..9),
            gap in prop::option::of(0usize..9),
            runs in 0u32..3,
        ) {
            let [call, dispatch, busy_nanos, overhead_nanos, slowest, slowest_nanos] = numbers;
            let start = call >> 1;
            let mut reply = ReplyBuilder::new(start);
            for well in &outcomes {
                if *well {
                    reply.value(&7u32).unwrap();
                } else {
                    reply.failed(Failure::new(FailureKind::Failed, "no"));
                }
            }
            let mut pieces = reply.finish();
            if let Some(gap) = gap.filter(|gap| *gap < pieces.len()) {
                pieces.remove(gap);
            }
            let count = pieces.iter().map(|piece| piece.count).sum();
            let pieces = Some(pieces);
            let run = |slot| SlotRun {
                slot, pid: 77, start, count: 1, sent_ago: 3, ended_ago: 2, busy_nanos: 1, slowest: start, slowest_nanos: 1,
            };
            let runs = (0..runs).map(run).collect();
            let result = ResultMessage {
                call, dispatch, start, count, pieces, busy_nanos, overhead_nanos, slowest, slowest_nanos, runs,
            };
            let back = ToRank0::unpack(ToRank0::Result(result.clone()).pack());
            let Some(ToRank0::Result(back)) = back else { panic!("{back:?}") };
            let pieces = |result: &ResultMessage| {
                let pieces = result.pieces.clone().unwrap();
                let piece = |piece: Piece| (piece.start, piece.count, piece.outcome.map(|batch| values_of(&batch)));
                shown(&pieces.into_iter().map(piece).collect::<Vec<_>>())
            };
            prop_assert_eq!(pieces(&back), pieces(&result));
            let bare = |result| shown(&ResultMessage { pieces: None, ..result });
            prop_assert_eq!(bare(back), bare(result.clone()));
            let part = ToRank0::unpack(ToRank0::Partial(result.clone()).pack());
            let Some(ToRank0::Partial(part)) = part else { panic!("{part:?}") };
            prop_assert_eq!(pieces(&part), pieces(&result));
        }

        #[test]
        fn a_word_that_a_kind_does_not_have_is_refused(at in 2..WORDS, word in 1u64..) {
            let mut frame = ToWorker::Revoke { call: 1, dispatch: 2 }.pack();
            prop_assert!(ToWorker::unpack(frame.clone()).is_some());
            frame.header.words[at] = word;
            prop_assert!(ToWorker::unpack(frame).is_none());
        }
    }

    #[test]
    fn nobody_is_told_what_only_the_other_side_says() {
        assert!(ToRank0::unpack(ToWorker::Shutdown { finalise: true }.pack()).is_none());
        assert!(ToWorker::unpack(ToRank0::Request { free: 0, heard: 0 }.pack()).is_none());
    }

    #[test]
    fn a_result_whose_values_contradict_its_header_has_no_pieces() {
        let mut reply = ReplyBuilder::new(3);
        reply.value(&7u32).unwrap();
        reply.value(&8u32).unwrap();
        let pieces = Some(reply.finish());
        let result = ResultMessage {
            call: 0,
            dispatch: 9,
            start: 3,
            count: 2,
            pieces,
            busy_nanos: 0,
            overhead_nanos: 0,
            slowest: 3,
            slowest_nanos: 0,
            runs: Vec::new(),
        };
        for (word, value) in [(4, 3), (3, 0), (4, u64::MAX)] {
            let mut frame = ToRank0::Result(result.clone()).pack();
            frame.header.words[word] = value;
            let Some(ToRank0::Result(back)) = ToRank0::unpack(frame) else { panic!("word {word}") };
            assert!(back.pieces.is_none(), "word {word} is {value}");
            assert_eq!(back.dispatch, 9, "it is known what is to be run again");
        }
    }
}
