//! Sentences as lines of a page.

/// Columns of a line of prose.
const WIDTH: usize = 100;

/// Joins sentences and breaks them into lines of at most [`WIDTH`] columns.
pub(super) fn paragraph(sentences: &[&str]) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for word in sentences.iter().flat_map(|sentence| sentence.split(' ')) {
        if word.is_empty() {
            continue;
        }
        let fits = column + 1 + word.len() <= WIDTH;
        text.push_str(if column == 0 {
            ""
        } else if fits {
            " "
        } else {
            "\n"
        });
        column = if fits && column > 0 { column + 1 } else { 0 } + word.len();
        text.push_str(word);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_full_but_not_too_wide() {
        assert_eq!(paragraph(&["a b", "", "c"]), "a b c\n");
        let [long, short] = [99, 1].map(|letters| "x".repeat(letters));
        assert_eq!(paragraph(&[&long, &short]), format!("{long}\n{short}\n"));
        assert_eq!(paragraph(&[&long[1..], &short]), format!("{} {short}\n", &long[1..]));
    }
}
