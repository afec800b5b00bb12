//! Writes SVG.

use std::fmt::Write;

/// A drawing under construction; units are CSS pixels at full width.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    label: String,
    body: String,
}

/// The anchor of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The style of all shapes; the page defines its variables.
const CLASSES: &str = include_str!("plots.css");
/// The variables, for pictures that stand alone.
const COLOURS: &str = include_str!("colours.css");

impl Svg {
    /// Starts an empty drawing. A screen reader reads `label`.
    pub(crate) fn new(width: f64, height: f64, label: &str) -> Self {
        Self { width, height, label: label.to_owned(), body: String::new() }
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.put(format_args!(
            "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' class='{class}'>{text}</text>"
        ));
    }

    /// Adds a straight line.
    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.put(format_args!(
            "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' class='{class}'/>"
        ));
    }

    /// Adds a rectangle with a tooltip.
    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), class: &str, tip: &str) {
        let (w, h, tip) = (w.max(0.0), h.max(0.0), escape(tip));
        self.put(format_args!(
            "<rect x='{x:.1}' y='{y:.1}' width='{w:.1}' height='{h:.1}' class='{class}'>\
             <title>{tip}</title></rect>"
        ));
    }

    /// Adds a line through points, with a tooltip.
    pub(crate) fn curve(&mut self, points: &[(f64, f64)], class: &str, tip: &str) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let command = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        let tip = escape(tip);
        self.put(format_args!("<path d='{path}' class='{class}'><title>{tip}</title></path>"));
    }

    /// Draws a marker. Shape and colour both differ with `index`, for readers who cannot tell the
    /// colours apart.
    pub(crate) fn mark(&mut self, (x, y): (f64, f64), index: usize, tip: &str) {
        let shape = match index % 4 {
            0 => format!("M{} {y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", x - 5.0),
            1 => format!("M{} {}h9v9h-9z", x - 4.5, y - 4.5),
            2 => format!("M{x} {}l6 10h-12z", y - 6.0),
            _ => format!("M{x} {}l6 6l-6 6l-6 -6z", y - 6.0),
        };
        let tip = escape(tip);
        let class = fill(index);
        self.put(format_args!(
            "<path d='{shape}' class='mark {class}'><title>{tip}</title></path>"
        ));
    }

    /// Returns the drawing for a page that defines the colours.
    pub(crate) fn inline(&self) -> String {
        self.wrapped("")
    }

    /// Returns the drawing as a file of its own.
    pub(crate) fn standalone(&self) -> String {
        self.wrapped(&format!(
            "<style>{COLOURS}{CLASSES}</style><rect width='100%' height='100%' class='paper'/>"
        ))
    }

    /// Returns the drawing in the light colours, for a renderer without style variables.
    pub(crate) fn light(&self) -> String {
        let (light, _) = COLOURS.split_once("@media").unwrap_or((COLOURS, ""));
        let variables = light.split(['{', ';', '}']).filter_map(|part| part.trim().split_once(':'));
        let mut classes = CLASSES.to_owned();
        for (name, colour) in variables.filter(|(name, _)| name.starts_with("--")) {
            classes = classes.replace(&format!("var({name})"), colour);
        }
        self.wrapped(&format!(
            "<style>{classes}</style><rect width='100%' height='100%' class='paper'/>"
        ))
    }

    fn wrapped(&self, head: &str) -> String {
        let Self { width, height, label, body } = self;
        let label = escape(label);
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' \
             aria-label='{label}' class='plot'>{head}{body}</svg>"
        )
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(arguments);
    }
}

/// Number of colours. The thirteenth series starts again with the first.
const COLOUR_COUNT: usize = 12;

/// Returns the class that strokes with the colour of series `index`: dashed from the fifth on,
/// dotted from the ninth.
pub(crate) fn stroke(index: usize) -> String {
    let colour = index % COLOUR_COUNT;
    let pattern = ["", " dashed", " dotted"][colour / 4];
    format!("curve c{colour}{pattern}")
}

/// Returns the class that fills with the colour of series `index`.
pub(crate) fn fill(index: usize) -> String {
    format!("f{}", index % COLOUR_COUNT)
}

/// Escapes text for HTML, including attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_out() {
        let mut svg = Svg::new(10.0, 10.0, "a'b");
        svg.text((1.0, 2.0), Anchor::Start, "t", "<script>&'\"");
        let text = svg.inline();
        assert!(
            text.contains("&lt;script&gt;&amp;&#39;&quot;") && text.contains("a&#39;b"),
            "{text}"
        );
        assert!(!text.contains("<script>"));
    }

    #[test]
    fn a_file_carries_its_style_and_a_part_of_a_page_does_not() {
        let svg = Svg::new(10.0, 10.0, "x");
        assert!(svg.standalone().contains("<style>") && !svg.inline().contains("<style>"));
    }
}
