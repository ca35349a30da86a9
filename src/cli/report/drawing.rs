//! The timeline as it is drawn: each chunk, or, of a long run, a grid whose size does not grow with the run.

use super::lanes::{Bar, Lane, State};

/// Shades of a cell.
pub(super) const SHADES: u32 = 15;

/// How much may be drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) bars: usize,
    pub(super) rows: usize,
    pub(super) cells: usize,
    /// Cells in a row.
    pub(super) columns: usize,
}

pub(super) enum Drawing {
    /// Each chunk in its row.
    Bars,
    Grid(Grid),
}

/// How busy the rows were, in cells of equal time.
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Lanes in a row; the last row may have fewer.
    pub(super) lanes_in_row: usize,
    /// Row by row: four times how busy it was, in shades, and the state.
    pub(super) cells: Vec<u8>,
}

/// A state is that of a cell when it has this part of the time in it, or a worse one has.
const TELLING_PART: f64 = 1.0 / 16.0;

/// What of these lanes is drawn, over `wall` seconds.
pub(super) fn of(lanes: &[Lane], wall: f64, budget: Budget) -> Drawing {
    let bars: usize = lanes.iter().map(|lane| lane.bars.len()).sum();
    if bars <= budget.bars && lanes.len() <= budget.rows {
        return Drawing::Bars;
    }
    let lanes_in_row = lanes.len().div_ceil(budget.rows).max(1);
    let rows = lanes.len().div_ceil(lanes_in_row);
    let columns = (budget.cells / rows.max(1)).clamp(1, budget.columns);
    let cells = lanes.chunks(lanes_in_row).flat_map(|lanes| row(lanes, wall, columns)).collect();
    Drawing::Grid(Grid { rows, columns, lanes_in_row, cells })
}

/// The cells of a row.
fn row(lanes: &[Lane], wall: f64, columns: usize) -> impl Iterator<Item = u8> {
    let mut times = vec![[0.0; State::ALL.len()]; columns];
    for bar in lanes.iter().flat_map(|lane| &lane.bars) {
        spread(bar, wall, columns, |column, seconds| times[column][bar.state as usize] += seconds);
    }
    let room = wall / columns as f64 * lanes.len() as f64;
    times.into_iter().map(move |times| cell(&times, room))
}

fn cell(times: &[f64; State::ALL.len()], room: f64) -> u8 {
    let busy: f64 = times.iter().sum();
    if busy <= 0.0 {
        return 0;
    }
    let telling = |state: &State| times[*state as usize] >= busy * TELLING_PART;
    let state = State::ALL.into_iter().rev().find(telling).unwrap_or(State::Done);
    // What was busy at all is seen.
    let shade = (busy / room * f64::from(SHADES)).ceil().clamp(1.0, f64::from(SHADES)) as u8;
    shade * State::ALL.len() as u8 + state as u8
}

/// Hands the seconds of a bar to the columns that it lies in.
pub(super) fn spread(bar: &Bar, wall: f64, columns: usize, mut give: impl FnMut(usize, f64)) {
    let width = wall / columns as f64;
    if width <= 0.0 {
        return;
    }
    let column_of = |at: f64| ((at / width).max(0.0) as usize).min(columns - 1);
    let (first, last) = (column_of(bar.started), column_of(bar.ended));
    if first == last {
        return give(first, bar.seconds());
    }
    for column in first..=last {
        let (from, to) = (column as f64 * width, (column + 1) as f64 * width);
        give(column, (bar.ended.min(to) - bar.started.max(from)).max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Budget = Budget { bars: 10, rows: 4, cells: 400, columns: 1000 };

    fn bar(started: f64, ended: f64, state: State) -> Bar {
        Bar { dispatched: started, started, ended, first: 0, count: 1, state }
    }

    fn lanes(rows: usize, bars: usize, wall: f64) -> Vec<Lane> {
        let width = wall / bars as f64;
        let bar = |k: usize| bar(k as f64 * width, (k as f64 + 0.5) * width, State::Done);
        vec![Lane { name: String::new(), bars: (0..bars).map(bar).collect() }; rows]
    }

    fn grid(lanes: &[Lane], wall: f64) -> Grid {
        match of(lanes, wall, SMALL) {
            Drawing::Grid(grid) => grid,
            Drawing::Bars => panic!("every bar is drawn"),
        }
    }

    #[test]
    fn a_short_run_is_drawn_bar_by_bar_and_a_long_one_within_the_budget() {
        assert!(matches!(of(&lanes(2, 5, 10.0), 10.0, SMALL), Drawing::Bars));
        for (rows, bars) in [(1, 11), (2, 1000), (5, 1), (100, 100), (10_000, 3)] {
            let grid = grid(&lanes(rows, bars, 10.0), 10.0);
            assert!(grid.rows <= SMALL.rows && grid.cells.len() <= SMALL.cells, "{rows} rows, {bars} bars");
            assert_eq!(grid.cells.len(), grid.rows * grid.columns);
            assert!(grid.rows * grid.lanes_in_row >= rows);
        }
    }

    #[test]
    fn cells_tell_how_busy_a_row_was_and_the_worst_that_counts() {
        let half = grid(&lanes(2, 1000, 10.0), 10.0);
        let shades: Vec<u8> = half.cells.iter().map(|cell| cell / 4).collect();
        assert!(shades.iter().all(|shade| (7..=9).contains(shade)), "half of the time: {shades:?}");
        let times = |failed, lost| [1.0, 0.0, failed, lost];
        assert_eq!(cell(&times(0.001, 0.0), 1.0) % 4, State::Done as u8);
        assert_eq!(cell(&times(0.2, 0.0), 1.0) % 4, State::Failed as u8);
        assert_eq!(cell(&times(0.5, 0.2), 1.0) % 4, State::Lost as u8);
        assert_eq!(cell(&[0.0; 4], 1.0), 0);
        assert_eq!(cell(&[1e-9, 0.0, 0.0, 0.0], 1.0), 4, "what was busy at all is seen");
    }

    #[test]
    fn no_time_of_a_bar_is_lost_between_columns() {
        for (started, ended) in [(0.0, 10.0), (0.1, 0.2), (3.3, 9.9), (9.99, 10.0), (2.0, 4.0)] {
            let mut sum = 0.0;
            spread(&bar(started, ended, State::Done), 10.0, 7, |_, seconds| sum += seconds);
            assert!((sum - (ended - started)).abs() < 1e-9, "{started} to {ended}: {sum}");
        }
    }
}
