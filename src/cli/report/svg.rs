//! Timeline and utilisation as a drawing, for papers.

use std::fmt::Write;

use super::{
    drawing::{self, Budget, Drawing, Grid, SHADES},
    figures::Figures,
    lanes::State,
    marks::{MARKS, What},
    page::{count, seconds},
};

/// A drawing has a megabyte at most, about.
const BUDGET: Budget = Budget { bars: 12_000, rows: 128, cells: 32_000, columns: 800 };
const WIDTH: f64 = 900.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 62.0;
const TOP: f64 = 46.0;
/// Height of the curves, and room between them and the timeline.
const CURVES: f64 = 110.0;
const BETWEEN: f64 = 48.0;
/// Colours that people who see colours differently, and printers, keep apart.
const COLOURS: [&str; State::ALL.len()] = ["#0072b2", "#e69f00", "#d55e00", "#7b3294"];
const RATE: &str = "#00795c";

/// The drawing of these figures.
pub(super) fn draw(figures: &Figures) -> String {
    let wall = figures.subject.wall;
    let drawing = drawing::of(&figures.lanes, wall, BUDGET);
    let rows = match &drawing {
        Drawing::Bars => figures.lanes.len(),
        Drawing::Grid(grid) => grid.rows,
    };
    let height = (320.0 / rows.max(1) as f64).min(18.0);
    let timeline = height * rows.max(1) as f64;
    let curves = TOP + timeline + BETWEEN;
    let whole = curves + CURVES + 40.0;
    let title = format!("{}, {} slots, {}", figures.subject.job, count(figures.slots), seconds(wall));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole:.1}\" width=\"{WIDTH}\" height=\"{whole:.0}\" \
         role=\"img\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text>\n",
        escaped(&title),
        escaped(&title)
    );
    legend(&mut out);
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{timeline:.2}\" fill=\"#eceff3\"/>",
        plot_width()
    );
    match &drawing {
        Drawing::Bars => bars(&mut out, figures, height),
        Drawing::Grid(grid) => cells(&mut out, grid, height),
    }
    marks(&mut out, figures, timeline);
    let middle = TOP + timeline / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{0}\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {0} {middle:.1})\">slot</text>",
        LEFT - 14.0
    );
    axis(&mut out, wall, TOP + timeline);
    curve(&mut out, figures, curves);
    axis(&mut out, wall, curves + CURVES);
    out += "</svg>\n";
    out
}

fn plot_width() -> f64 {
    WIDTH - LEFT - RIGHT
}

fn x(at: f64, wall: f64) -> f64 {
    LEFT + if wall > 0.0 { at / wall * plot_width() } else { 0.0 }
}

/// Text as an element has it; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn legend(out: &mut String) {
    for (k, state) in State::ALL.into_iter().enumerate() {
        let x = LEFT + 90.0 * k as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"28\" width=\"11\" height=\"11\" fill=\"{}\"/><text x=\"{}\" y=\"38\">{}</text>",
            COLOURS[k],
            x + 16.0,
            state.name()
        );
    }
}

/// A path for each state: what matters more lies on top.
fn bars(out: &mut String, figures: &Figures, height: f64) {
    let wall = figures.subject.wall;
    let thick = if height > 3.0 { height - 1.0 } else { height };
    for state in State::ALL {
        let mut path = String::new();
        for (row, lane) in figures.lanes.iter().enumerate() {
            for bar in lane.bars.iter().filter(|bar| bar.state == state) {
                let (from, to) = (x(bar.started, wall), x(bar.ended, wall));
                let width = (to - from - if to - from > 3.0 { 0.5 } else { 0.0 }).max(0.2);
                let _ = write!(
                    path,
                    "M{from:.2} {:.2}h{width:.2}v{thick:.2}h-{width:.2}z",
                    TOP + row as f64 * height
                );
            }
        }
        if !path.is_empty() {
            let _ = writeln!(out, "<path fill=\"{}\" d=\"{path}\"/>", COLOURS[state as usize]);
        }
    }
}

/// A path for each state and shade; neighbours that are alike are one piece.
fn cells(out: &mut String, grid: &Grid, height: f64) {
    let width = plot_width() / grid.columns as f64;
    let states = State::ALL.len() as u8;
    for value in states..states * (SHADES as u8 + 1) {
        let mut path = String::new();
        for (row, cells) in grid.cells.chunks(grid.columns).enumerate() {
            let mut column = 0;
            for alike in cells.chunk_by(|a, b| a == b) {
                if alike[0] == value {
                    let (x, y) = (LEFT + column as f64 * width, TOP + row as f64 * height);
                    let length = alike.len() as f64 * width;
                    let _ = write!(path, "M{x:.1} {y:.1}h{length:.1}v{height:.1}h-{length:.1}z");
                }
                column += alike.len();
            }
        }
        if !path.is_empty() {
            let opacity = 0.2 + 0.8 * f64::from(value / states) / f64::from(SHADES);
            let colour = COLOURS[usize::from(value % states)];
            let _ = writeln!(out, "<path fill=\"{colour}\" fill-opacity=\"{opacity:.2}\" d=\"{path}\"/>");
        }
    }
}

fn marks(out: &mut String, figures: &Figures, timeline: f64) {
    let wall = figures.subject.wall;
    let line = |colour: &str, at: f64| {
        format!("stroke=\"{colour}\" stroke-dasharray=\"5 3\" d=\"M{at:.2} {TOP}v{timeline:.2}\"")
    };
    for mark in figures.subject.marks.iter().take(MARKS) {
        let at = x(mark.at, wall);
        let colour = COLOURS[State::Lost as usize];
        let path = match &mark.what {
            What::Lost { .. } => format!("fill=\"{colour}\" d=\"M{at:.2} {TOP}l-4 -7h8z\""),
            What::Joined => format!("fill=\"none\" stroke=\"{colour}\" d=\"M{at:.2} {}l-4 7h8z\"", TOP - 8.0),
            What::Began if mark.at <= 0.001 * wall => continue,
            What::Began => line("#1b2430", at),
            What::Drained => line(COLOURS[State::Drained as usize], at),
        };
        let _ = writeln!(out, "<path {path}><title>{}</title></path>", escaped(&mark.text));
    }
}

fn axis(out: &mut String, wall: f64, y: f64) {
    let step = step(wall, 8.0);
    let places = (-step.log10().floor()).max(0.0) as usize;
    for k in 0..=(wall / step + 1e-9) as usize {
        let at = k as f64 * step;
        let _ = writeln!(
            out,
            "<path stroke=\"#5a6675\" d=\"M{0:.2} {y:.2}v4\"/><text x=\"{0:.2}\" y=\"{1:.2}\" text-anchor=\"middle\">{at:.places$}</text>",
            x(at, wall),
            y + 17.0
        );
    }
    let _ = writeln!(out, "<text x=\"{}\" y=\"{:.2}\">s</text>", WIDTH - RIGHT + 16.0, y + 17.0);
}

/// A round step, of which `most` fill the span.
fn step(span: f64, most: f64) -> f64 {
    if span <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf((span / most).log10().floor());
    let round = [1.0, 2.0, 5.0].into_iter().find(|factor| span / (factor * power) <= most);
    power * round.unwrap_or(10.0)
}

fn curve(out: &mut String, figures: &Figures, top: f64) {
    let (wall, curves) = (figures.subject.wall, &figures.curves);
    let peak = curves.rate.iter().copied().fold(1e-12, f64::max);
    let bottom = top + CURVES;
    let steps = |values: &[f64], most: f64| {
        let mut path = String::new();
        for (k, value) in values.iter().enumerate() {
            let y = bottom - value / most * CURVES;
            let [from, to] = [k, k + 1].map(|edge| x(edge as f64 / values.len() as f64 * wall, wall));
            let _ = write!(path, "L{from:.1} {y:.1}H{to:.1}");
        }
        path
    };
    let utilisation = steps(&curves.utilisation, 1.0);
    let rate = steps(&curves.rate, peak).replacen('L', "M", 1);
    let [right, left] = [WIDTH - RIGHT, LEFT - 6.0];
    let _ = write!(
        out,
        "<path fill=\"{blue}\" fill-opacity=\"0.4\" d=\"M{LEFT} {bottom:.1}{utilisation}V{bottom:.1}z\"/>\n\
         <path fill=\"none\" stroke=\"{RATE}\" stroke-width=\"1.4\" d=\"{rate}\"/>\n\
         <path fill=\"none\" stroke=\"#5a6675\" d=\"M{LEFT} {top:.1}V{bottom:.1}H{right}V{top:.1}\"/>\n\
         <text x=\"{left}\" y=\"{0:.1}\" text-anchor=\"end\">100 %</text>\n<text x=\"{left}\" y=\"{bottom:.1}\" text-anchor=\"end\">0 %</text>\n\
         <text x=\"{1}\" y=\"{0:.1}\">{2}</text>\n<text x=\"{1}\" y=\"{bottom:.1}\">0</text>\n\
         <text x=\"{LEFT}\" y=\"{3:.1}\" fill=\"{blue}\">utilisation (left)</text>\n\
         <text x=\"{right}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"{RATE}\">tasks/s (right)</text>\n",
        top + 8.0,
        right + 6.0,
        count(peak),
        top - 8.0,
        blue = COLOURS[0],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_users_choose_stay_text() {
        assert_eq!(escaped("<b a=\"1\">&\u{0}x</b>"), "&lt;b a=&quot;1&quot;&gt;&amp; x&lt;/b&gt;");
    }

    #[test]
    fn steps_are_round_and_few() {
        for (span, expected) in [(10.0, 2.0), (0.8, 0.1), (3600.0, 500.0), (7e-6, 1e-6)] {
            assert!((step(span, 8.0) / expected - 1.0).abs() < 1e-9, "{span}: {}", step(span, 8.0));
        }
        assert_eq!(step(0.0, 8.0), 1.0);
    }
}
