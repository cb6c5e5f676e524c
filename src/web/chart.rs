//! Bars of calls as shapes of an SVG: across in percent, so that text keeps its size at every width,
//! and down in pixels.

/// How tall the whole picture is.
pub(super) const HEIGHT: i64 = 190;
/// Where the plot begins and how tall it is; below it stand the labels of the time.
const TOP: i64 = 10;
const PLOT: i64 = 150;
/// The part of its slot that a bar leaves empty on each side, in thousandths.
const MARGIN: i64 = 140;
/// The least height that can be seen, in tenths of a pixel.
const LEAST: i64 = 20;
/// What keeps the two parts of a bar apart, in tenths of a pixel.
const GAP: i64 = 10;

/// Calls of one stretch of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack {
    pub(super) allowed: i64,
    pub(super) denied: i64,
    /// What the bar says when it is pointed at.
    pub(super) tip: String,
}

/// A chart, ready to be drawn.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Line>,
    pub(super) labels: Vec<Label>,
}

/// A bar, and the wider slot it stands in.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) slot: Span,
    pub(super) inner: Span,
    pub(super) allowed: Option<Block>,
    pub(super) denied: Option<Block>,
    pub(super) tip: String,
}

/// From where to where across, in percent.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) x: String,
    pub(super) width: String,
}

/// From where to where down, in pixels.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) y: String,
    pub(super) height: String,
}

/// A line across and the count it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) y: i64,
    pub(super) label: String,
}

/// A time below the bars.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) x: String,
    pub(super) text: String,
}

impl Chart {
    /// Draws stacks side by side; labels say at how many slots from the left, in halves, they stand.
    pub(super) fn new(stacks: Vec<Stack>, labels: Vec<(usize, String)>) -> Self {
        let slots = number(stacks.len()).max(1);
        let most = stacks.iter().map(|stack| stack.allowed.saturating_add(stack.denied)).max();
        let step = step(most.unwrap_or(0));
        let steps = (most.unwrap_or(0).saturating_sub(1) / step + 1).max(1);
        let top = step.saturating_mul(steps);
        let lines = (0..=steps).map(|n| Line {
            y: TOP + PLOT - PLOT * n / steps,
            label: compact(step.saturating_mul(n)),
        });
        let labels = labels
            .into_iter()
            .map(|(halves, text)| Label { x: percent(number(halves) * 500, slots), text });
        let bars = stacks.into_iter().enumerate().map(|(i, stack)| {
            let left = number(i) * 1_000;
            let (allowed, denied) = blocks(&stack, top);
            Bar {
                slot: Span { x: percent(left, slots), width: percent(1_000, slots) },
                inner: Span {
                    x: percent(left + MARGIN, slots),
                    width: percent(1_000 - 2 * MARGIN, slots),
                },
                allowed,
                denied,
                tip: stack.tip,
            }
        });
        Self { bars: bars.collect(), lines: lines.collect(), labels: labels.collect() }
    }
}

/// Allowed calls below, denied ones on top of them.
fn blocks(stack: &Stack, top: i64) -> (Option<Block>, Option<Block>) {
    let denied = tall(stack.denied, top);
    let gap = if denied > 0 && stack.allowed > 0 { GAP } else { 0 };
    // Few denied calls are drawn taller than they are; together they still fit.
    let allowed = tall(stack.allowed, top).min(PLOT * 10 - denied - gap);
    (block(allowed, 0), block(denied, allowed + gap))
}

/// How tall a count is, in tenths of a pixel: nothing, or enough to be seen.
fn tall(count: i64, top: i64) -> i64 {
    let exact = i128::from(count) * i128::from(PLOT * 10) / i128::from(top.max(1));
    if count > 0 { i64::try_from(exact).unwrap_or(0).max(LEAST) } else { 0 }
}

fn block(height: i64, above: i64) -> Option<Block> {
    let tenths = |n: i64| format!("{}.{}", n / 10, n % 10);
    let y = (TOP + PLOT) * 10 - above - height;
    (height > 0).then(|| Block { y: tenths(y), height: tenths(height) })
}

/// So many thousandths of a slot, as a part of all slots.
fn percent(thousandths: i64, slots: i64) -> String {
    let n = thousandths * 100 / slots;
    format!("{}.{:03}%", n / 1_000, n % 1_000)
}

/// What lies between two lines: 1, 2 or 5 with noughts, so that at most four steps reach the top.
fn step(most: i64) -> i64 {
    let mut unit = 1_i64;
    loop {
        for step in [unit, unit.saturating_mul(2), unit.saturating_mul(5)] {
            if step.saturating_mul(4) >= most {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// `1500` as `1.5k`.
fn compact(count: i64) -> String {
    let units = [(1_000_000_000, "bn"), (1_000_000, "m"), (1_000, "k")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| count >= *unit) else {
        return count.to_string();
    };
    match count % unit * 10 / unit {
        0 => format!("{}{name}", count / unit),
        tenth => format!("{}.{tenth}{name}", count / unit),
    }
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(counts: &[(i64, i64)]) -> Chart {
        let stack = |(allowed, denied): &(i64, i64)| Stack {
            allowed: *allowed,
            denied: *denied,
            tip: String::new(),
        };
        Chart::new(counts.iter().map(stack).collect(), vec![(1, "Mon".to_owned())])
    }

    fn shape(block: Option<&Block>) -> Option<(&str, &str)> {
        block.map(|block| (&*block.y, &*block.height))
    }

    #[test]
    fn bars_are_as_tall_as_their_counts_and_denied_ones_stand_on_top() {
        let chart = chart(&[(10, 0), (5, 5), (0, 2), (0, 0)]);
        let labels: Vec<_> = chart.lines.iter().map(|line| (line.y, &*line.label)).collect();
        assert_eq!(labels, [(160, "0"), (85, "5"), (10, "10")]);
        assert_eq!(shape(chart.bars[0].allowed.as_ref()), Some(("10.0", "150.0")));
        assert_eq!(chart.bars[0].denied, None);
        assert_eq!(shape(chart.bars[1].allowed.as_ref()), Some(("86.0", "74.0")));
        assert_eq!(shape(chart.bars[1].denied.as_ref()), Some(("10.0", "75.0")));
        assert_eq!(shape(chart.bars[2].denied.as_ref()), Some(("130.0", "30.0")));
        assert_eq!((&chart.bars[3].allowed, &chart.bars[3].denied), (&None, &None));
        assert_eq!((&*chart.bars[1].slot.x, &*chart.bars[1].slot.width), ("25.000%", "25.000%"));
        assert_eq!((&*chart.bars[1].inner.x, &*chart.bars[1].inner.width), ("28.500%", "18.000%"));
        assert_eq!(chart.labels[0].x, "12.500%");
    }

    #[test]
    fn one_call_among_very_many_is_seen_and_nothing_leaves_the_plot() {
        for counts in [(1_000_000, 1), (1, 1_000_000), (i64::MAX / 2, i64::MAX), (i64::MAX, 1)] {
            let chart = chart(&[counts]);
            let tenths = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
            for part in [&chart.bars[0].allowed, &chart.bars[0].denied].into_iter().flatten() {
                assert!(tenths(&part.height) >= LEAST.min(10), "{counts:?} {part:?}");
                assert!(tenths(&part.y) >= TOP * 10, "{counts:?} {part:?}");
                assert!(tenths(&part.y) + tenths(&part.height) <= (TOP + PLOT) * 10);
            }
        }
    }

    #[test]
    fn lines_stand_at_round_counts() {
        for (most, expected) in [
            (0, "0 1"),
            (1, "0 1"),
            (4, "0 1 2 3 4"),
            (5, "0 2 4 6"),
            (26, "0 10 20 30"),
            (1_500, "0 500 1k 1.5k"),
            (7_000_000, "0 2m 4m 6m 8m"),
        ] {
            let labels: Vec<_> = chart(&[(most, 0)]).lines.into_iter().map(|l| l.label).collect();
            assert_eq!(labels.join(" "), expected, "{most}");
        }
        assert!(chart(&[]).bars.is_empty());
    }
}
