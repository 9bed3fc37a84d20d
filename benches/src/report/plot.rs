//! The plot, written by hand: a chart library would bring floating point into the house.

use super::{Comparison, Line, Report, Show, Spread, decimal};

const WIDTH: u64 = 900;
const LABEL_WIDTH: u64 = 250;
const BAR_WIDTH: u64 = 460;
const ROW: u64 = 24;
const STYLE: &str = "text{font:13px sans-serif;fill:#222}.title{font-weight:bold}\
    .pass-through{fill:#b8c4d0}.orchestra{fill:#3b6ea5}.whisker{stroke:#222;fill:none}";

/// One figure of every comparison.
struct Panel {
    title: &'static str,
    show: Show,
    rows: Vec<Row>,
}

/// One bar.
struct Row {
    label: String,
    class: &'static str,
    spread: Spread,
}

/// Draws medians as bars, and the range over the rounds as whiskers.
pub fn svg(report: &Report) -> String {
    let panels = [
        Panel::new(report, "CPU of the proxy per charge, us", decimal, |comparison| {
            comparison.summary.cpu_ns_per_charge
        }),
        Panel::new(
            report,
            "p99 latency, us",
            |us| us.to_string(),
            |comparison| comparison.summary.p99_us,
        ),
    ];
    let (mut body, mut top) = (String::new(), ROW);
    for panel in &panels {
        top = panel.draw(top, &mut body);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\">\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// A line of text whose baseline is at `y`.
fn text(x: u64, y: u64, class: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{text}</text>\n")
}

// === impl Panel ===

impl Panel {
    fn new(
        report: &Report,
        title: &'static str,
        show: Show,
        figure: impl Fn(&Comparison) -> Line,
    ) -> Self {
        let bars = |comparison: &Comparison| {
            let line = figure(comparison);
            let row = |class, spread| Row {
                label: format!("{} {class}", comparison.name),
                class,
                spread,
            };
            [row("pass-through", line.pass_through), row("orchestra", line.orchestra)]
        };
        Self { title, show, rows: report.comparisons.iter().flat_map(bars).collect() }
    }

    /// Draws itself from `top` on, and says where it ends.
    fn draw(&self, top: u64, out: &mut String) -> u64 {
        out.push_str(&text(10, top, "title", self.title));
        let longest = self.rows.iter().map(|row| row.spread.greatest).max().unwrap_or(0);
        let mut y = top;
        for row in &self.rows {
            y = y.saturating_add(ROW);
            out.push_str(&row.draw(y, longest, self.show));
        }
        y.saturating_add(ROW.saturating_mul(2))
    }
}

// === impl Row ===

impl Row {
    /// Draws itself on the line `y`, where `longest` is as long as a bar can be.
    fn draw(&self, y: u64, longest: u64, show: Show) -> String {
        let Spread { least, median, greatest } = self.spread;
        let x = |value: u64| {
            let length = value.saturating_mul(BAR_WIDTH).checked_div(longest).unwrap_or(0);
            LABEL_WIDTH.saturating_add(length)
        };
        let (class, width) = (self.class, x(median).saturating_sub(LABEL_WIDTH));
        let (bar_top, middle) = (y.saturating_sub(13), y.saturating_sub(5));
        let range = format!("{} ({}..{})", show(median), show(least), show(greatest));
        text(10, y, "", &self.label)
            + &format!(
                "<rect x=\"{LABEL_WIDTH}\" y=\"{bar_top}\" width=\"{width}\" height=\"16\" class=\"{class}\"/>\n\
                 <path d=\"M{} {middle}H{}\" class=\"whisker\"/>\n",
                x(least),
                x(greatest),
            )
            + &text(x(greatest).saturating_add(8), y, "", &range)
    }
}
