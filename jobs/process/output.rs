//! What is kept of an output.

/// The longest last line.
const LONGEST_LINE: usize = 1 << 20;

/// What was kept of an output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Its beginning.
    pub bytes: Vec<u8>,
    /// How many bytes came after that.
    pub left_out: u64,
    /// The last line of the whole output that is not blank, without its end; at most its first MiB.
    pub last_line: Vec<u8>,
}

/// Takes an output as it comes.
pub(super) struct Collector {
    most: usize,
    kept: Kept,
    /// Begins when something is left out; until then the last line can be found in what was kept.
    lines: Option<LastLine>,
}

impl Collector {
    pub(super) fn new(most: usize) -> Collector {
        Collector { most, kept: Kept::default(), lines: None }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        let (kept, left_out) = bytes.split_at(bytes.len().min(self.most - self.kept.bytes.len()));
        self.kept.bytes.extend_from_slice(kept);
        if left_out.is_empty() {
            return;
        }
        self.kept.left_out += left_out.len() as u64;
        let lines = self.lines.get_or_insert_with(|| {
            let mut lines = LastLine::default();
            lines.take(&self.kept.bytes);
            lines
        });
        lines.take(left_out);
    }

    pub(super) fn finish(mut self) -> Kept {
        self.kept.last_line = match self.lines {
            Some(lines) => lines.finish(),
            None => {
                let mut lines = self.kept.bytes.rsplit(|&byte| byte == b'\n');
                let last = lines.find(|line| !is_blank(line)).unwrap_or_default();
                without_return(&last[..last.len().min(LONGEST_LINE)]).to_vec()
            }
        };
        self.kept
    }
}

/// The last line that is not blank.
#[derive(Default)]
struct LastLine {
    whole: Vec<u8>,
    /// The line that has not ended yet.
    begun: Vec<u8>,
}

impl LastLine {
    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            self.begun.extend_from_slice(&text[..text.len().min(LONGEST_LINE - self.begun.len())]);
            if text.len() < part.len() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !is_blank(&self.begun) {
            std::mem::swap(&mut self.whole, &mut self.begun);
        }
        self.begun.clear();
    }

    fn finish(mut self) -> Vec<u8> {
        self.end_line();
        without_return(&self.whole).to_vec()
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(most: usize, pieces: &[&[u8]]) -> Kept {
        let mut collector = Collector::new(most);
        pieces.iter().for_each(|piece| collector.take(piece));
        collector.finish()
    }

    #[test]
    fn an_output_is_kept_up_to_its_limit_and_the_rest_is_counted() {
        let kept = collect(5, &[b"abc", b"defg", b"hi\n"]);
        assert_eq!((kept.bytes.as_slice(), kept.left_out), (&b"abcde"[..], 5));
        assert_eq!(kept.last_line, b"abcdefghi");
    }

    #[test]
    fn the_last_line_is_one_that_is_not_blank() {
        assert_eq!(collect(100, &[b"one\r\n", b"two\r\n\n  \n"]).last_line, b"two");
        assert_eq!(collect(2, &[b"one\r\n", b"two\r\n\n  \n"]).last_line, b"two");
        assert_eq!(collect(2, &[b"\n \n"]).last_line, b"");
        let long = vec![b'x'; LONGEST_LINE + 7];
        assert_eq!(collect(3, &[b"a\n", &long, b"\n\n"]).last_line.len(), LONGEST_LINE);
        assert_eq!(collect(usize::MAX, &[b"a\n", &long]).last_line.len(), LONGEST_LINE);
    }

    proptest! {
        #[test]
        fn the_last_line_does_not_depend_on_the_pieces_or_the_limit(
            text in "[ab \n\r]{0,40}",
            cuts in proptest::collection::vec(0usize..40, 0..5),
            most in 0usize..50,
        ) {
            let mut collector = Collector::new(most);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                collector.take(&text.as_bytes()[pair[0]..pair[1]]);
            }
            let kept = collector.finish();
            prop_assert_eq!(&kept.last_line, &collect(usize::MAX, &[text.as_bytes()]).last_line);
            prop_assert_eq!(kept.bytes.len() + kept.left_out as usize, text.len());
            prop_assert_eq!(kept.bytes, &text.as_bytes()[..text.len().min(most)]);
        }
    }
}
