//! `--array 0-99:2`: numbers as in a Slurm job array.

use rankpool::Error;
use xxhash_rust::xxh3::Xxh3;

use super::rows::{Row, Rows, hash_row};

/// Numbers from `first` on, `count` of them, each by `step` larger than the one before.
struct Stretch {
    first: u64,
    step: u64,
    count: u64,
}

/// Stretches of numbers, one after the other.
pub struct Array {
    stretches: Vec<Stretch>,
    count: u64,
}

impl Array {
    pub fn parse(text: &str) -> Result<Array, Error> {
        let refused = |why: &str| Error::usage(format!("--array {text}: {why}"));
        if text.contains('%') {
            return Err(refused(
                "%N says how many run at a time, which the number of workers and of their task threads says here; \
                 leave it out",
            ));
        }
        let stretch = |part| Stretch::parse(part).map_err(|why| refused(&why));
        let stretches: Vec<Stretch> = text.split(',').map(stretch).collect::<Result<_, _>>()?;
        let count = stretches.iter().try_fold(0u64, |count, stretch| count.checked_add(stretch.count));
        Ok(Array { count: count.ok_or_else(|| refused("has too many numbers; give fewer"))?, stretches })
    }
}

impl Stretch {
    fn parse(text: &str) -> Result<Stretch, String> {
        let number = |text: &str| -> Result<u64, String> {
            text.parse()
                .map_err(|_| format!("{text:?} is no whole number; expected the likes of 0-99:2 or 1,3,5-9"))
        };
        let (ends, step) = text.split_once(':').unwrap_or((text, "1"));
        let (first, last) = ends.split_once('-').unwrap_or((ends, ends));
        let (first, last, step) = (number(first)?, number(last)?, number(step)?);
        if step == 0 {
            return Err(format!("{text} has the step 0, and never comes to its end; give another one"));
        }
        if last < first {
            return Err(format!("{text} ends before it begins; write {last}-{first}"));
        }
        let count = ((last - first) / step).checked_add(1).ok_or("has too many numbers; give fewer")?;
        Ok(Stretch { first, step, count })
    }
}

impl Rows for Array {
    fn count(&self) -> u64 {
        self.count
    }

    fn row(&self, mut k: u64) -> Row {
        for stretch in &self.stretches {
            if k < stretch.count {
                return vec![(stretch.first + k * stretch.step).to_string()];
            }
            k -= stretch.count;
        }
        unreachable!("row {k} behind the last one")
    }

    fn hash(&self, hasher: &mut Xxh3) {
        for stretch in &self.stretches {
            hash_row(hasher, &[stretch.first, stretch.step, stretch.count].map(|number| number.to_string()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_a_job_array() {
        for (text, expected) in [
            ("0-9:3", "0 3 6 9"),
            ("0-8:3", "0 3 6"),
            ("1,3,5-7", "1 3 5 6 7"),
            ("7", "7"),
            ("18446744073709551614-18446744073709551615", "18446744073709551614 18446744073709551615"),
        ] {
            let array = Array::parse(text).unwrap();
            let found: Vec<String> = (0..array.count()).flat_map(|k| array.row(k)).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_array_is_refused_with_the_reason() {
        for (text, why) in [
            ("0-99%4", "how many run at a time"),
            ("", "\"\" is no whole number"),
            ("1,", "\"\" is no whole number"),
            ("a-b", "\"a\" is no whole number"),
            ("-1", "\"\" is no whole number"),
            ("0-9:0", "step 0"),
            ("9-0", "write 0-9"),
            ("0-18446744073709551615", "too many"),
            ("0-18446744073709551614,1", "too many"),
        ] {
            let error = Array::parse(text).map(|array| array.count).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{text}: {error}");
        }
    }
}
