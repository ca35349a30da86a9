//! Counts the words of text files. Files are split by byte ranges, which the workers read
//! themselves: only paths and counts cross the network. A line belongs to the range that its
//! first byte lies in, so no line is counted twice or cut.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use rankpool::{Error, Job};
use serde::{Deserialize, Serialize};

/// Count the lines and words of text files
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Words {
    /// UTF-8 text files, which every worker can read
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many of the most frequent words to tell
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Bytes of a file in one task
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    piece: u64,
}

/// The bytes `start .. end` of a file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Piece {
    file: usize,
    start: u64,
    end: u64,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Count {
    lines: u64,
    words: u64,
    bytes: u64,
    frequency: BTreeMap<String, u64>,
}

#[derive(Serialize)]
pub struct Summary {
    /// The last line of a file counts, with or without a newline
    lines: u64,
    /// Runs of characters that are not white space, as `wc -w` counts them
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
        let mut pieces = Vec::new();
        for (file, path) in self.files.iter().enumerate() {
            let refused = |why: String| Error::usage(format!("{}: {why}", path.display()));
            let about = File::open(path)
                .and_then(|open| open.metadata())
                .map_err(|error| refused(error.to_string()))?;
            if !about.is_file() {
                return Err(refused("is no regular file, and cannot be split".into()));
            }
            let starts = (0..about.len()).step_by(usize::try_from(self.piece).unwrap_or(usize::MAX));
            pieces.extend(starts.map(|start| Piece {
                file,
                start,
                end: (start + self.piece).min(about.len()),
            }));
        }
        Ok(pieces.into_iter())
    }

    fn task(&self, piece: Piece) -> Result<Count, Box<dyn StdError>> {
        let path = &self.files[piece.file];
        count(path, &piece).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Count)>) -> Result<Summary, Error> {
        let mut all = Count::default();
        for (_, count) in results {
            all.lines += count.lines;
            all.words += count.words;
            all.bytes += count.bytes;
            for (word, times) in count.frequency {
                *all.frequency.entry(word).or_default() += times;
            }
        }
        let distinct = all.frequency.len();
        let mut top: Vec<(String, u64)> = all.frequency.into_iter().collect();
        top.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        top.truncate(self.top);
        Ok(Summary { lines: all.lines, words: all.words, bytes: all.bytes, distinct, top })
    }
}

/// Counts the lines whose first byte lies in the piece.
fn count(path: &PathBuf, piece: &Piece) -> Result<Count, Box<dyn StdError>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut at = piece.start;
    if at > 0 {
        // From the byte before, to see whether a line starts here; the line that is cut belongs
        // to an earlier piece.
        file.seek(SeekFrom::Start(at - 1))?;
        at += file.skip_until(b'\n')? as u64 - 1;
    }
    let mut count = Count::default();
    let mut line = Vec::new();
    while at < piece.end {
        line.clear();
        let length = file.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            break;
        }
        let text = std::str::from_utf8(&line)
            .map_err(|error| format!("is no UTF-8 text at byte {}", at + error.valid_up_to() as u64))?;
        count.lines += 1;
        count.bytes += length;
        for word in text.split_whitespace() {
            count.words += 1;
            match count.frequency.get_mut(word) {
                Some(times) => *times += 1,
                None => {
                    count.frequency.insert(word.to_string(), 1);
                }
            }
        }
        at += length;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str, piece: u64) -> Summary {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let job = Words { files: vec![file.path().into()], top: 2, piece };
        let counts: Vec<_> = job.items().unwrap().map(|item| job.task(item).unwrap()).collect();
        job.summary(counts.into_iter().enumerate().map(|(index, count)| (index as u64, count))).unwrap()
    }

    #[test]
    fn pieces_of_any_size_count_each_line_once() {
        let text = "one two\n\nthree tw\u{f6} three\nlast without newline";
        for piece in 1..=text.len() as u64 + 1 {
            let summary = counted(text, piece);
            assert_eq!((summary.lines, summary.words), (4, 8), "piece {piece}");
            assert_eq!((summary.bytes, summary.distinct), (text.len() as u64, 7), "piece {piece}");
            assert_eq!(summary.top, [("three".into(), 2), ("last".into(), 1)], "piece {piece}");
        }
    }

    #[test]
    fn an_empty_file_has_nothing() {
        assert_eq!(counted("", 5).lines, 0);
    }
}
