//! Counts the words of text files. Files are split by bytes, wherever the border falls, and the workers read
//! their pieces themselves: only paths and counts cross the network.
//!
//! A line, a word and a character belong to the piece that they begin in, so each counts once and the pieces add up. A
//! piece is read with the [`AROUND`] bytes before and behind it, which tell what begins in it, and no further, however
//! long a line is. A word can be counted only when it is whole: what the border cuts is kept at both ends of a piece,
//! and joined when the pieces are summed up.

use std::{
    cmp::Ordering, collections::BTreeMap, error::Error as StdError, fs::File, io::ErrorKind,
    os::unix::fs::FileExt, path::PathBuf,
};

use rankpool::{Error, Job};
use serde::{Deserialize, Serialize};

use crate::file::{self, FilePath};

/// The most bytes of a character in UTF-8.
const AROUND: u64 = 4;

/// Bytes that are read at once: a piece may be larger than what should be in memory.
const BLOCK: u64 = 1 << 20;

/// Characters of a word that are told. Text without white space may be a word of gigabytes.
const LONGEST: usize = 1000;

/// Count the lines and words of text files
///
/// A word is a run of characters that are not white space, and white space is what Unicode calls so
/// (White_Space). `wc -w` counts the same but for rare characters: it takes U+2060 for white space and
/// U+0085, U+2028 and U+2029 for none, and it passes over words that have no printable character. A word
/// of over 1000 characters is told by its first 1000.
///
/// A file is split by bytes, also inside a line or a word; the counts do not depend on --piece. A file
/// whose length changes while it is counted, or is another one on another host, fails the task. What is
/// no regular file is refused, as is what leads through /proc, such as /dev/stdin: each worker reads
/// its pieces by itself.
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Words {
    /// UTF-8 text files, which every worker can read, and which stay as they are meanwhile
    #[arg(required = true, value_name = "FILE", value_parser = FilePath::parser())]
    files: Vec<FilePath>,
    /// How many of the most frequent words to tell
    #[arg(long, default_value_t = 10, value_parser = rankpool::cli::count::<usize>)]
    top: usize,
    /// Bytes of a file in one task
    #[arg(long, default_value_t = 1 << 20, value_parser = rankpool::cli::count_from_1::<u64>)]
    piece: u64,
}

/// The bytes `start .. end` of a file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Piece {
    file: usize,
    start: u64,
    end: u64,
    /// The length of the file when the run began
    length: u64,
}

/// What a part of a file has.
#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Those that begin in it
    lines: u64,
    /// Those that begin in it
    words: u64,
    /// Of the characters that begin in it
    bytes: u64,
    /// Of the words that begin and end in it
    frequency: BTreeMap<String, u64>,
    /// The rest of a word that began before it
    head: String,
    /// The beginning of a word that may go on behind it
    tail: String,
}

#[derive(Serialize)]
pub struct Summary {
    /// The last line of a file counts, with or without a newline
    lines: u64,
    /// Runs of characters that are not white space, as Unicode has it (White_Space)
    words: u64,
    bytes: u64,
    distinct: usize,
    /// The most frequent words; equals in alphabetical order
    top: Vec<(String, u64)>,
}

impl Job for Words {
    const NAME: &'static str = "words";
    type Item = Piece;
    type Output = Count;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = Piece>, Error> {
        // The first piece of each file, and its length. There may be more pieces than fit the memory.
        let mut files = Vec::new();
        let mut pieces = 0u64;
        for path in &self.files {
            let (_, length) = file::open(path)?;
            files.push((pieces, length));
            pieces = pieces.saturating_add(length.div_ceil(self.piece));
        }
        Ok((0..pieces).map(move |piece| {
            let file = files.partition_point(|(first, _)| *first <= piece) - 1;
            let (first, length) = files[file];
            let start = (piece - first) * self.piece;
            Piece { file, start, end: start.saturating_add(self.piece).min(length), length }
        }))
    }

    fn task(&self, piece: Piece) -> Result<Count, Box<dyn StdError>> {
        let path = &self.files[piece.file];
        let (file, length) = file::open(path)?;
        let count = match length.cmp(&piece.length) {
            Ordering::Equal => count(&file, &piece),
            Ordering::Less => Err(changed("shorter")),
            Ordering::Greater => Err(changed("longer")),
        };
        Ok(count.map_err(|why| file::refused(path, why))?)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(|path| path.to_path_buf()).collect()
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Count)>) -> Result<Summary, Error> {
        let mut all = Count::default();
        let mut following = 0;
        for (task, mut count) in results {
            if task != following {
                // A task that failed knew how the word before it ends, and how the one behind it begins.
                all.end_word();
                count.head.clear();
            }
            following = task + 1;
            all.append(count);
        }
        all.end_word();
        let distinct = all.frequency.len();
        let mut top: Vec<(String, u64)> = all.frequency.into_iter().collect();
        top.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        top.truncate(self.top);
        Ok(Summary { lines: all.lines, words: all.words, bytes: all.bytes, distinct, top })
    }
}

fn changed(how: &str) -> String {
    format!("is {how} than at the start; count a file that stays as it is, and is the same on every host")
}

fn count(file: &File, piece: &Piece) -> Result<Count, String> {
    let mut count = Count::default();
    for start in (piece.start..piece.end).step_by(BLOCK as usize) {
        count.append(count_block(file, start, piece.end.min(start + BLOCK), piece.length)?);
    }
    if piece.end == piece.length {
        count.end_word();
    }
    Ok(count)
}

/// Counts what begins in the bytes `start .. end` of a file.
fn count_block(file: &File, start: u64, end: u64, length: u64) -> Result<Count, String> {
    let (from, to) = (start.saturating_sub(AROUND), length.min(end + AROUND));
    let mut bytes = vec![0; (to - from) as usize];
    file.read_exact_at(&mut bytes, from).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => changed("shorter"),
        _ => error.to_string(),
    })?;
    // The first character that begins at a place or behind it: other bytes of a character are 10xxxxxx.
    let border = |place: u64| {
        let at = (place - from) as usize;
        let ahead = bytes[at..].iter().position(|byte| byte & 0b1100_0000 != 0b1000_0000);
        ahead.map_or(bytes.len(), |ahead| at + ahead)
    };
    let first = if start == 0 { 0 } else { border(start) };
    let text = std::str::from_utf8(&bytes[first..border(end)]).map_err(|error| {
        format!("is no UTF-8 text at byte {}", from + (first + error.valid_up_to()) as u64)
    })?;
    let before = String::from_utf8_lossy(&bytes[..first]).chars().last();
    Ok(Count::of(text, before.unwrap_or('\n')))
}

impl Count {
    /// Counts a text that stands behind the character `before`, which is a newline at the beginning of a file.
    fn of(text: &str, before: char) -> Count {
        if text.is_empty() {
            return Count::default();
        }
        let head = if before.is_whitespace() { "" } else { until_white_space(text) };
        let rest = &text[head.len()..];
        let whole = rest.trim_end_matches(|c: char| !c.is_whitespace());
        let tail = &rest[whole.len()..];
        let newlines = text.bytes().filter(|byte| *byte == b'\n').count() as u64;
        let mut count = Count {
            lines: newlines + u64::from(before == '\n') - u64::from(text.ends_with('\n')),
            words: u64::from(!tail.is_empty()),
            bytes: text.len() as u64,
            frequency: BTreeMap::new(),
            head: clipped(head).into(),
            tail: clipped(tail).into(),
        };
        for word in whole.split_whitespace() {
            count.words += 1;
            count.add(clipped(word), 1);
        }
        count
    }

    /// Adds what stands right behind.
    fn append(&mut self, next: Count) {
        if next.bytes == 0 {
            return; // It is inside a character, and says nothing of words.
        }
        self.lines += next.lines;
        self.words += next.words;
        self.bytes += next.bytes;
        next.frequency.iter().for_each(|(word, times)| self.add(word, *times));
        if !next.head.is_empty() {
            // Without a tail, all this is inside the word that the head belongs to.
            let word = if self.tail.is_empty() { &mut self.head } else { &mut self.tail };
            word.extend(next.head.chars().take(LONGEST - word.chars().count()));
        }
        if next.head.is_empty() || !next.tail.is_empty() {
            self.end_word();
            self.tail = next.tail;
        }
    }

    /// Counts the tail as a word that does not go on.
    fn end_word(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.add(&tail, 1);
        }
    }

    fn add(&mut self, word: &str, times: u64) {
        match self.frequency.get_mut(word) {
            Some(all) => *all += times,
            None => {
                self.frequency.insert(word.to_string(), times);
            }
        }
    }
}

fn until_white_space(text: &str) -> &str {
    text.find(char::is_whitespace).map_or(text, |end| &text[..end])
}

/// The first characters of a word, as many as are told.
fn clipped(word: &str) -> &str {
    word.char_indices().nth(LONGEST).map_or(word, |(end, _)| &word[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job(bytes: &[u8], piece: u64) -> (tempfile::NamedTempFile, Words) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let path = FilePath::from(file.path().as_os_str().to_owned());
        (file, Words { files: vec![path], top: usize::MAX, piece })
    }

    fn counted(text: &str, piece: u64) -> Summary {
        let (_file, job) = job(text.as_bytes(), piece);
        let counts: Vec<Count> = job.items().unwrap().map(|item| job.task(item).unwrap()).collect();
        job.summary((0..).zip(counts)).unwrap()
    }

    /// Counts as the standard library splits text.
    #[track_caller]
    fn assert_plain(text: &str, summary: &Summary) {
        let mut frequency = BTreeMap::<&str, u64>::new();
        text.split_whitespace().for_each(|word| *frequency.entry(clipped(word)).or_default() += 1);
        let words = text.split_whitespace().count();
        assert_eq!(
            (summary.lines, summary.words),
            (text.split_terminator('\n').count() as u64, words as u64)
        );
        assert_eq!((summary.bytes, summary.distinct), (text.len() as u64, frequency.len()));
        let found: BTreeMap<&str, u64> =
            summary.top.iter().map(|(word, times)| (word.as_str(), *times)).collect();
        assert_eq!(found, frequency);
        assert!(summary.top.is_sorted_by_key(|(word, times)| (std::cmp::Reverse(*times), word)));
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_what_a_plain_count_gives(
            text in "[ab\u{f6}\u{20ac}\u{1f600} \n\r\u{85}\u{a0}\u{2028}\u{3000}\u{2060}]{0,40}",
            piece in 1u64..20,
        ) {
            assert_plain(&text, &counted(&text, piece));
        }

        #[test]
        fn the_first_bad_byte_is_named_however_a_file_is_split(
            bytes in prop::collection::vec(
                prop::sample::select(&b"a \n\x80\x85\xa0\xc2\xc3\xe2\xf0\x9f\x98\xff"[..]), 0..12,
            ),
            piece in 1u64..8,
        ) {
            let (_file, job) = job(&bytes, piece);
            let failed = job.items().unwrap().find_map(|item| job.task(item).err());
            let found = failed.map(|error| error.to_string().rsplit_once(' ').unwrap().1.to_string());
            let expected = std::str::from_utf8(&bytes).err().map(|error| error.valid_up_to().to_string());
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn words_and_characters_that_blocks_and_pieces_cut_are_whole_in_the_summary() {
        let word = "\u{20ac}".repeat(BLOCK as usize / 2);
        for text in [word.clone(), format!("{word} {word}x"), format!("a{word}\n{word}")] {
            for piece in [BLOCK - 1, BLOCK, BLOCK + 1, u64::MAX] {
                assert_plain(&text, &counted(&text, piece));
            }
        }
    }

    /// Bytes that this thread has read.
    fn bytes_read() -> u64 {
        let told = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        told.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    #[test]
    fn a_long_line_is_not_read_again_for_each_piece() {
        for text in ["one line ", "one_word"] {
            let text = text.repeat(1 << 17);
            let before = bytes_read();
            assert_plain(&text, &counted(&text, 1000));
            let read = bytes_read() - before;
            assert!(
                (text.len()..2 * text.len()).contains(&(read as usize)),
                "{read} bytes of {}",
                text.len()
            );
        }
    }

    #[test]
    fn a_word_is_told_by_its_first_characters_and_no_row_is_longer() {
        let words = ["\u{f6}".repeat(LONGEST - 1), "\u{f6}".repeat(LONGEST), "\u{f6}".repeat(LONGEST + 5000)];
        let text = words.join(" ");
        for piece in [700, 1999, 2000, 2001, 1 << 20] {
            let summary = counted(&text, piece);
            assert_plain(&text, &summary);
            assert_eq!((summary.words, summary.distinct, summary.top[0].1), (3, 2, 2));
            let (_file, job) = job(text.as_bytes(), piece);
            for count in job.items().unwrap().map(|item| job.task(item).unwrap()) {
                assert!([&count.head, &count.tail].iter().all(|end| end.chars().count() <= LONGEST));
            }
        }
    }

    #[test]
    fn a_row_counts_what_begins_in_its_piece() {
        let (_file, job) = job("one tw\u{f6}\nthree".as_bytes(), 5);
        let rows: Vec<Count> = job.items().unwrap().map(|item| job.task(item).unwrap()).collect();
        let row = |lines, words, bytes, frequency: &[&str], head: &str, tail: &str| {
            let frequency = frequency.iter().map(|word| (word.to_string(), 1)).collect();
            Count { lines, words, bytes, frequency, head: head.into(), tail: tail.into() }
        };
        assert_eq!(rows[..2], [row(1, 2, 5, &["one"], "", "t"), row(1, 1, 5, &[], "w\u{f6}", "t")]);
        assert_eq!(rows[2..], [row(0, 0, 4, &[], "hree", "")]);
    }

    #[test]
    fn what_is_cut_by_a_task_that_failed_counts_as_far_as_it_is_known() {
        let (_file, job) = job(b"aaa bbb ccc ddd eee", 5);
        let rows = job.items().unwrap().map(|item| job.task(item).unwrap()).enumerate();
        let known = rows.filter(|(task, _)| *task != 1).map(|(task, row)| (task as u64, row));
        let summary = job.summary(known).unwrap();
        let words: Vec<&str> = summary.top.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!((summary.words, &words[..]), (4, &["aaa", "b", "ddd", "eee"][..]));
    }

    #[test]
    fn a_file_that_has_another_length_than_at_the_start_fails_the_task() {
        let (file, job) = job(b"one two three", 5);
        let pieces: Vec<Piece> = job.items().unwrap().collect();
        for (text, why) in [("one two", "is shorter than"), ("one two three four", "is longer than")] {
            std::fs::write(file.path(), text).unwrap();
            for piece in &pieces {
                let error = job.task(piece.clone()).unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
            }
        }
        // Cut off while it is being read.
        let file = File::open(file.path()).unwrap();
        assert!(
            count(&file, &Piece { end: 99, length: 99, ..pieces[0] }).unwrap_err().contains("is shorter")
        );
    }

    #[test]
    fn files_without_text_have_no_pieces_and_huge_ones_need_no_memory_for_theirs() {
        assert_eq!(counted("", 5).lines, 0);
        let (file, mut job) = job(b"", 1);
        job.files.push(job.files[0].clone());
        assert_eq!(job.items().unwrap().count(), 0);
        let huge = tempfile::NamedTempFile::new().unwrap();
        huge.as_file().set_len(1 << 42).unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        job.files.push(FilePath::from(huge.path().as_os_str().to_owned()));
        let mut pieces = job.items().unwrap();
        assert_eq!(pieces.size_hint().1, Some((1 << 42) + 6));
        let files: Vec<usize> = pieces.by_ref().take(7).map(|piece| piece.file).collect();
        assert_eq!(files, [0, 0, 0, 1, 1, 1, 2]);
    }
}
