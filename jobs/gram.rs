//! The Gram matrix of points under the Gaussian kernel, K_ij = exp(-|x_i - x_j|^2 / (2 gamma^2))
//! (Schoelkopf and Smola, Learning with Kernels, 2002, section 2.3), some of its rows a task.
//! gamma is the kernel's width; scikit-learn's `rbf_kernel` gives this matrix for its gamma = 1 / (2 gamma^2).

use std::{error::Error as StdError, ops::Range, path::PathBuf, sync::OnceLock};

use clap::builder::{OsStringValueParser, TypedValueParser};
use rankpool::{Block, Error, Job, Rows};
use serde::{Deserialize, Serialize};

use crate::input::{Dataset, MOST_NUMBERS, finite, positive};

/// The Gaussian kernel's matrix of a set of points
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Gram {
    /// Points on a line, as X,X,..
    #[arg(long, value_delimiter = ',', default_value = "-2,-1,0,1,2", value_parser = finite)]
    #[arg(value_name = "X,X,..", allow_hyphen_values = true)]
    points: Vec<f64>,
    /// HDF5 dataset with a point in each row, as in data.h5:/x, which every worker can read
    #[arg(long, value_name = "FILE:DATASET", conflicts_with = "points")]
    #[arg(value_parser = OsStringValueParser::new().try_map(Dataset::parse))]
    input: Option<Dataset>,
    /// Width of the kernel, in the points' unit
    #[arg(long, default_value_t = 1.0, value_parser = positive, allow_negative_numbers = true)]
    gamma: f64,
    /// Rows in one task
    #[arg(long, default_value_t = 1, value_parser = rankpool::cli::count_from_1::<u64>)]
    block: u64,
    /// The points as this worker has read them, or why it could not
    #[arg(skip)]
    #[serde(skip)]
    read: OnceLock<Result<Points, Error>>,
}

struct Points {
    /// Point after point
    coordinates: Vec<f64>,
    dimensions: usize,
}

#[derive(Serialize)]
pub struct Summary {
    points: usize,
    dimensions: usize,
    /// n, as K_ii = 1
    trace: f64,
    /// The Frobenius norm, the root of the sum of all K_ij^2
    norm: f64,
    mean: f64,
}

impl Gram {
    /// How many points there are, and of how many dimensions; none is 0.
    fn shape(&self) -> Result<(usize, usize), Error> {
        match &self.input {
            Some(dataset) => points_and_dimensions(dataset, &dataset.shape()?),
            None => Ok((self.points.len(), 1)),
        }
    }

    fn read(&self) -> Result<Points, Error> {
        let Some(dataset) = &self.input else {
            return Ok(Points { coordinates: self.points.clone(), dimensions: 1 });
        };
        let (coordinates, shape) = dataset.floats()?;
        let (_, dimensions) = points_and_dimensions(dataset, &shape)?;
        Ok(Points { coordinates, dimensions })
    }

    /// Rows in each task but the last, of a matrix with `n` rows.
    fn rows_in_task(&self, n: usize) -> usize {
        usize::try_from(self.block).unwrap_or(n).min(n)
    }

    fn kernel(&self, x: &[f64], y: &[f64]) -> f64 {
        let square: f64 = x.iter().zip(y).map(|(x, y)| self.in_widths(*x, *y).powi(2)).sum();
        (-square / 2.0).exp()
    }

    /// The difference of two coordinates in units of gamma. It is squared only then: neither it nor gamma
    /// has a square that is a number at both ends of the range.
    fn in_widths(&self, x: f64, y: f64) -> f64 {
        let difference = x - y;
        if difference.is_finite() {
            difference / self.gamma
        } else {
            // Numbers as large as these are halved without rounding.
            (x / 2.0 - y / 2.0) / self.gamma * 2.0
        }
    }
}

/// What the shape of a dataset of points says.
fn points_and_dimensions(dataset: &Dataset, shape: &[usize]) -> Result<(usize, usize), Error> {
    match *shape {
        [points, dimensions] if points > 0 && dimensions > 0 => {
            // Each worker reads them all.
            dataset.check_count(points.saturating_mul(dimensions))?;
            Ok((points, dimensions))
        }
        [_, _] => Err(dataset.refused("is empty; choose one with points")),
        _ => Err(dataset.refused(format!(
            "must have two dimensions, points and coordinates, and its shape is {shape:?}"
        ))),
    }
}

impl Job for Gram {
    const NAME: &'static str = "gram";
    /// The rows to compute, and how many points there are, of how many dimensions
    type Item = (Range<usize>, (usize, usize));
    /// These rows, one after the other
    type Output = Block<f64>;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = (Range<usize>, (usize, usize))>, Error> {
        let shape @ (n, _) = self.shape()?;
        let rows = self.rows_in_task(n);
        if rows.saturating_mul(n) > MOST_NUMBERS {
            return Err(Error::usage(format!(
                "{rows} rows of {n} numbers are too many for one task, at most {MOST_NUMBERS} numbers are \
                 possible; choose a smaller --block or fewer points"
            )));
        }
        Ok((0..n).step_by(rows).map(move |first| (first..n.min(first + rows), shape)))
    }

    fn task(&self, (rows, (n, dimensions)): Self::Item) -> Result<Block<f64>, Box<dyn StdError>> {
        let all = self.read.get_or_init(|| self.read()).as_ref().map_err(Error::to_string)?;
        let points = all.coordinates.chunks_exact(all.dimensions);
        if points.len() != n {
            return Err(format!("{} points are here, and there were {n} at the start", points.len()).into());
        }
        if all.dimensions != dimensions {
            let here = all.dimensions;
            return Err(
                format!("points have {here} dimensions here, and had {dimensions} at the start").into()
            );
        }
        let chosen = points.clone().skip(rows.start).take(rows.len());
        Ok(chosen.flat_map(|x| points.clone().map(|y| self.kernel(x, y))).collect())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.input.iter().map(|dataset| dataset.file.clone()).collect()
    }

    /// Each line is a row of the matrix, which is `/results/values` whole.
    fn rows(&self) -> Rows {
        self.shape().map_or(Rows::new(), |(n, _)| Rows::new().lines_of(n))
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Block<f64>)>) -> Result<Summary, Error> {
        let (n, dimensions) = self.shape()?;
        let rows = self.rows_in_task(n);
        let (mut count, mut trace, mut sum, mut squares) = (0, 0.0, 0.0, 0.0);
        for (task, block) in results {
            let first = task as usize * rows;
            count += block.len();
            trace += block.chunks(n).enumerate().map(|(k, row)| row[first + k]).sum::<f64>();
            sum += block.iter().sum::<f64>();
            squares += block.iter().map(|value| value * value).sum::<f64>();
        }
        Ok(Summary { points: n, dimensions, trace, norm: squares.sqrt(), mean: sum / count as f64 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn on_a_line(points: &[f64], gamma: f64, block: u64) -> Gram {
        Gram { points: points.into(), input: None, gamma, block, read: OnceLock::new() }
    }

    fn matrix(job: &Gram) -> Vec<f64> {
        job.items().unwrap().flat_map(|rows| job.task(rows).unwrap().into_vec()).collect()
    }

    #[track_caller]
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-8, "{found} is not {expected}");
        }
    }

    #[test]
    fn five_points_give_the_known_matrix_in_blocks_of_any_size() {
        let known = [1.0, 6.06530660e-01, 1.35335283e-01, 1.11089965e-02, 3.35462628e-04];
        let expected: Vec<f64> = (0..25).map(|k: usize| known[(k / 5).abs_diff(k % 5)]).collect();
        for block in [1, 2, 3, 5, u64::MAX] {
            let job = on_a_line(&[-2.0, -1.0, 0.0, 1.0, 2.0], 1.0, block);
            assert_close(&matrix(&job), &expected);
            let outputs: Vec<_> = job.items().unwrap().map(|rows| job.task(rows).unwrap()).collect();
            let summary = job.summary((0..).zip(outputs)).unwrap();
            let norm = expected.iter().map(|value| value * value).sum::<f64>().sqrt();
            let mean = expected.iter().sum::<f64>() / 25.0;
            assert_eq!((summary.points, summary.dimensions, summary.trace), (5, 1, 5.0));
            assert_close(&[summary.norm, summary.mean], &[norm, mean]);
        }
    }

    #[test]
    fn distance_is_euclidean_and_gamma_a_length() {
        let kernel = |gamma| on_a_line(&[], gamma, 1).kernel(&[0.0, 3.0], &[4.0, 0.0]);
        assert_close(&[kernel(5.0), kernel(2.5)], &[(-0.5f64).exp(), (-2.0f64).exp()]);
        assert_eq!((kernel(1e-200), kernel(1e200)), (0.0, 1.0));
        assert_eq!(on_a_line(&[], 1e-200, 1).kernel(&[1.0], &[1.0]), 1.0);
    }

    #[test]
    fn the_kernel_is_right_at_both_ends_of_the_range() {
        // Of differences of 1, 2 and 0.5 gamma: exp(-1/2), exp(-2), exp(-1/8), by bc to 40 digits.
        let [one, two, half] = [0.606_530_659_712_633_4, 0.135_335_283_236_612_7, 0.882_496_902_584_595_4];
        let (least, large, most) = (f64::from_bits(1), 2f64.powi(700), f64::MAX);
        for (x, y, gamma, expected) in [
            (0.0, 1e200, 1e200, one),
            (0.0, 1e-200, 1e-200, one),
            (2e-310, 4e-310, 1e-310, two),
            (least, 2.0 * least, least, one),
            (least, -least, least, two),
            (most, 0.0, most, one),
            (most, -most, most, two),
            (most / 2.0, -most / 2.0, most, one),
            (most / 4.0, -most / 4.0, most, half),
            (large, large * (1.0 + f64::EPSILON), large * f64::EPSILON, one),
            (most, -most, least, 0.0),
            (0.0, least, most, 1.0),
        ] {
            let kernel = on_a_line(&[], gamma, 1).kernel(&[x], &[y]);
            let tolerance = 1e-13 * expected;
            assert!((kernel - expected).abs() <= tolerance, "{x:?}, {y:?}, {gamma:?}: {kernel:?}");
        }
        for gamma in [least, 1.0, most] {
            for x in [0.0, least, 1.0, -1e200, most] {
                assert_eq!(on_a_line(&[], gamma, 1).kernel(&[x, most], &[x, most]), 1.0, "{x:?}, {gamma:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_kernel_depends_on_the_differences_in_widths_alone(
            x in prop::collection::vec(-1e3..1e3f64, 3),
            y in prop::collection::vec(-1e3..1e3f64, 3),
            gamma in 1.0..1e3f64,
            power in -900i32..900,
        ) {
            let scale = 2f64.powi(power);
            let scaled = |point: &[f64]| -> Vec<f64> { point.iter().map(|x| x * scale).collect() };
            let kernel = on_a_line(&[], gamma, 1).kernel(&x, &y);
            let plain: f64 = x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum();
            let plain = (-plain / (2.0 * gamma * gamma)).exp();
            prop_assert!((kernel - plain).abs() <= 1e-12 * plain, "{kernel:?} is not {plain:?}");
            prop_assert_eq!(on_a_line(&[], gamma * scale, 1).kernel(&scaled(&x), &scaled(&y)), kernel);
        }
    }

    #[test]
    fn a_block_that_does_not_fit_is_refused() {
        let points = vec![0.0; 20_000];
        assert!(on_a_line(&points, 1.0, 1000).items().is_ok());
        assert!(on_a_line(&points, 1.0, 20_000).items().is_err());
    }

    #[cfg(feature = "hdf5")]
    #[test]
    fn a_dataset_has_a_point_in_each_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.h5");
        let file = hdf5::File::create(&path).unwrap();
        let points = file.new_dataset::<f32>().shape((3, 2)).create("x").unwrap();
        points.write_raw(&[0.0f32, 3.0, 4.0, 0.0, 0.0, 0.0]).unwrap();
        file.new_dataset_builder().with_data(&[1.0, 2.0]).create("line").unwrap();
        file.new_dataset::<f64>().shape((0, 2)).create("empty").unwrap();
        file.new_dataset::<f64>().chunk((1, 1)).shape((2, MOST_NUMBERS)).create("vast").unwrap();
        file.close().unwrap();
        let job = |name| Gram { input: Some(Dataset::new(&path, name)), ..on_a_line(&[], 5.0, 2) };
        let [a, b, c] = [-0.5, -9.0 / 50.0, -16.0 / 50.0].map(f64::exp);
        assert_close(&matrix(&job("x")), &[1.0, a, b, a, 1.0, c, b, c, 1.0]);
        for (shape, why) in [
            ((4, 2), "3 points are here, and there were 4 at the start"),
            ((3, 5), "points have 2 dimensions here, and had 5 at the start"),
        ] {
            let error = job("x").task((0..1, shape)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for (name, why) in [
            ("line", "its shape is [2]"),
            ("empty", "is empty"),
            ("missing", "missing"),
            ("vast", "268435456 numbers of it are needed at once"),
        ] {
            let error = job(name).items().err().unwrap().to_string();
            assert!(error.contains(&format!("data.h5: dataset {name}: ")) && error.contains(why), "{error}");
        }
    }
}
