//! `--grid NAME=VALUES`: axes of a grid, whose product is the list of inputs; or, with `--random` or `--sobol`, points
//! drawn from them.

use rankpool::{
    Error,
    rand_chacha::ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use xxhash_rust::xxh3::Xxh3;

use super::{
    decimal::Range,
    rows::{Row, Rows, hash_row},
};

/// Of sobol_burley: the points of a sequence, and its dimensions.
const MOST_SOBOL_POINTS: u64 = 1 << 16;
const MOST_SOBOL_AXES: usize = sobol_burley::NUM_DIMENSIONS as usize;

/// One `--grid`.
#[derive(Debug)]
pub struct Axis {
    /// As it was written
    text: String,
    pub name: String,
    values: Values,
}

#[derive(Debug)]
enum Values {
    List(Vec<String>),
    Range(Range),
    /// Numbers to draw from
    Between {
        from: f64,
        to: f64,
        /// Their logarithms are uniform.
        log: bool,
    },
}

impl Axis {
    /// Reads `x=0:1:0.1`, `x=a,b`, `x=0..1` or `x=log:1e-3..1`.
    pub fn parse(text: &str) -> Result<Axis, Error> {
        let refused = |why: String| Error::usage(format!("--grid {text}: {why}"));
        let (name, values) = match text.split_once('=') {
            Some((name, values)) if !name.is_empty() => (name, values),
            _ => return Err(refused("expected NAME=VALUES, as x=0:1:0.1 or method=a,b".into())),
        };
        let values = match (between(values), Range::parse(values)) {
            (Some(between), _) => between.map_err(refused)?,
            (None, Some(range)) => Values::Range(range.map_err(refused)?),
            (None, None) => Values::List(values.split(',').map(str::to_string).collect()),
        };
        Ok(Axis { text: text.into(), name: name.into(), values })
    }

    /// The axis as a list of its own.
    ///
    /// # Errors
    /// When its numbers can only be drawn.
    pub fn rows(self) -> Result<impl Rows, Error> {
        match self.values {
            Values::Between { .. } => Err(Error::usage(format!(
                "--grid {}: is to draw numbers from, which --random N or --sobol N do; for steps write START:END:STEP",
                self.text
            ))),
            _ => Ok(self),
        }
    }

    /// The value that is as far along the axis as `place`, from 0 to below 1.
    fn at(&self, place: f64) -> String {
        let number = |count: u64| ((place * count as f64) as u64).min(count - 1);
        match &self.values {
            Values::List(values) => values[number(values.len() as u64) as usize].clone(),
            Values::Range(range) => range.value(number(range.count)),
            Values::Between { from, to, log: false } => format!("{:?}", from * (1.0 - place) + to * place),
            Values::Between { from, to, log: true } => {
                let exponent = from.ln() * (1.0 - place) + to.ln() * place;
                // Rounding may lead out of the interval.
                format!("{:?}", exponent.exp().clamp(*from, *to))
            }
        }
    }
}

/// `None` if the text is not written as two numbers with two dots between them.
fn between(text: &str) -> Option<Result<Values, String>> {
    let (log, ends) = text.strip_prefix("log:").map_or((false, text), |ends| (true, ends));
    let (from, to) = ends.split_once("..")?;
    let (from, to): (f64, f64) = (from.parse().ok()?, to.parse().ok()?);
    Some(if !(from.is_finite() && to.is_finite()) {
        Err("its ends must be finite".into())
    } else if from >= to {
        Err("its first end must be less than its second one".into())
    } else if log && from <= 0.0 {
        Err("has no logarithm at its first end, which must be more than 0".into())
    } else {
        Ok(Values::Between { from, to, log })
    })
}

impl Rows for Axis {
    fn count(&self) -> u64 {
        match &self.values {
            Values::List(values) => values.len() as u64,
            Values::Range(range) => range.count,
            Values::Between { .. } => 0,
        }
    }

    fn row(&self, k: u64) -> Row {
        vec![match &self.values {
            Values::Range(range) => range.value(k),
            Values::List(values) => values[k as usize].clone(),
            Values::Between { .. } => unreachable!("drawn numbers are no list"),
        }]
    }

    fn hash(&self, hasher: &mut Xxh3) {
        hash_row(hasher, std::slice::from_ref(&self.text));
    }
}

/// How points are drawn.
#[derive(Clone, Copy, Debug)]
pub enum How {
    Random,
    Sobol,
}

/// Points that are drawn from all axes, the same ones for the same seed.
pub struct Points {
    axes: Vec<Axis>,
    count: u64,
    how: How,
    seed: u64,
}

impl Points {
    pub fn new(axes: Vec<Axis>, count: u64, how: How, seed: u64) -> Result<Points, Error> {
        if matches!(how, How::Sobol) && count > MOST_SOBOL_POINTS {
            let text = format!(
                "--sobol {count}: the sequence has {MOST_SOBOL_POINTS} points; draw more by --random"
            );
            return Err(Error::usage(text));
        }
        if matches!(how, How::Sobol) && axes.len() > MOST_SOBOL_AXES {
            let text = format!("--sobol: points have at most {MOST_SOBOL_AXES} axes; draw them by --random");
            return Err(Error::usage(text));
        }
        Ok(Points { axes, count, how, seed })
    }
}

impl Rows for Points {
    fn count(&self) -> u64 {
        self.count
    }

    fn row(&self, k: u64) -> Row {
        match self.how {
            How::Random => {
                // A stream of its own: those of the tasks are numbered from 0.
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(u64::MAX);
                // A number is two words of 32 bits.
                rng.set_word_pos(u128::from(k) * self.axes.len() as u128 * 2);
                let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                self.axes.iter().map(|axis| axis.at(uniform())).collect()
            }
            How::Sobol => {
                let seed = (self.seed ^ (self.seed >> 32)) as u32;
                let place = |axis: usize| f64::from(sobol_burley::sample(k as u32, axis as u32, seed));
                self.axes.iter().enumerate().map(|(number, axis)| axis.at(place(number))).collect()
            }
        }
    }

    fn hash(&self, hasher: &mut Xxh3) {
        hash_row(hasher, &[format!("{:?}", self.how), self.count.to_string(), self.seed.to_string()]);
        self.axes.iter().for_each(|axis| axis.hash(hasher));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<String> {
        let axis = Axis::parse(text).unwrap().rows().unwrap();
        (0..axis.count()).flat_map(|k| axis.row(k)).collect()
    }

    fn points(axes: &[&str], count: u64, how: How, seed: u64) -> Points {
        let axes = axes.iter().map(|axis| Axis::parse(axis).unwrap()).collect();
        Points::new(axes, count, how, seed).unwrap()
    }

    #[test]
    fn an_axis_is_a_range_or_a_list() {
        assert_eq!(values("x=0:1:0.5"), ["0", "0.5", "1"]);
        assert_eq!(values("method=a,b,"), ["a", "b", ""]);
        assert_eq!(values("path=../a,../b"), ["../a", "../b"]);
        assert_eq!(values("x=y=z"), ["y=z"]);
        assert_eq!(values("x="), [""]);
    }

    #[test]
    fn an_axis_that_means_nothing_is_refused_with_the_reason() {
        for (text, why) in [
            ("x", "expected NAME=VALUES"),
            ("=1", "expected NAME=VALUES"),
            ("x=0:1:0", "step is 0"),
            ("x=1..0", "first end must be less"),
            ("x=0..inf", "must be finite"),
            ("x=log:0..1", "no logarithm"),
        ] {
            let error = Axis::parse(text).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(why), "{error}");
            assert!(error.to_string().starts_with(&format!("--grid {text}: ")), "{error}");
        }
        let error = Axis::parse("x=0..1").unwrap().rows().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("--random N or --sobol N"), "{error}");
    }

    #[test]
    fn points_are_known_by_seed_and_number() {
        for how in [How::Random, How::Sobol] {
            let axes = ["x=0..1", "y=log:1e-3..1", "m=a,b,c", "n=1:4"];
            let (one, same, other) =
                (points(&axes, 64, how, 7), points(&axes, 64, how, 7), points(&axes, 64, how, 8));
            let all = |points: &Points| -> Vec<Row> { (0..points.count()).map(|k| points.row(k)).collect() };
            assert_eq!(all(&one), all(&same));
            assert_eq!(one.row(63), all(&one)[63]);
            let shared = all(&one).iter().filter(|row| all(&other).contains(row)).count();
            assert_eq!(shared, 0, "{how:?}");
            for column in 0..4 {
                let distinct: std::collections::BTreeSet<String> =
                    all(&one).into_iter().map(|mut row| row.swap_remove(column)).collect();
                assert_eq!(distinct.len(), [64, 64, 3, 4][column], "{how:?}, column {column}");
            }
        }
    }

    #[test]
    fn no_two_random_numbers_are_the_same_draw() {
        let points = points(&["x=0..1", "y=0..1", "z=0..1"], 64, How::Random, 7);
        let numbers: std::collections::BTreeSet<String> = (0..64).flat_map(|k| points.row(k)).collect();
        assert_eq!(numbers.len(), 3 * 64);
    }

    #[test]
    fn sobol_points_fill_each_part_of_an_axis_alike() {
        let points = points(&["x=0..16", "y=log:1..65536"], 64, How::Sobol, 3);
        let mut parts = [[0; 16]; 2];
        for row in (0..64).map(|k| points.row(k)) {
            parts[0][row[0].parse::<f64>().unwrap() as usize] += 1;
            parts[1][row[1].parse::<f64>().unwrap().log2() as usize] += 1;
        }
        assert_eq!(parts, [[4; 16]; 2]);
    }

    #[test]
    fn a_sequence_that_is_too_long_or_too_wide_is_refused() {
        let axes = |count: usize| (0..count).map(|k| Axis::parse(&format!("x{k}=0..1")).unwrap()).collect();
        assert!(Points::new(axes(256), 65536, How::Sobol, 0).is_ok());
        assert!(Points::new(axes(257), 65537, How::Random, 0).is_ok());
        for (axes, count, why) in [(axes(257), 1, "at most 256 axes"), (axes(1), 65537, "has 65536 points")] {
            let error = Points::new(axes, count, How::Sobol, 0).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn drawn_numbers_are_between_the_ends(from in 1e-6f64..1e3, length in 1e-6f64..1e6, place in 0f64..1.0) {
            let to = from + length;
            for log in ["", "log:"] {
                let axis = Axis::parse(&format!("x={log}{from:?}..{to:?}")).unwrap();
                let number: f64 = axis.at(place).parse().unwrap();
                prop_assert!((from..=to).contains(&number), "{} {}", axis.text, number);
            }
        }
    }
}
