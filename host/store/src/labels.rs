//! Writes labels as the tables of every store have them: a set as one text, and each of its labels as another.

use sexton_domain::labels::Labels;

/// Ends each label of a set. No label has it, because it cannot be printed.
const END: char = '\n';

/// Returns a set of labels as a text, which is the same for the same labels.
pub(crate) fn text_of(labels: &Labels) -> String {
    each(labels).map(|label| format!("{label}{END}")).collect()
}

/// Returns each of the labels as a text.
pub(crate) fn each(labels: &Labels) -> impl Iterator<Item = String> {
    labels.iter().map(|(key, value)| format!("{key}={value}"))
}

/// Reads a text that [`text_of`] has written. One that another program wrote, and that has no labels, is read as none.
pub(crate) fn read(text: &str) -> Labels {
    Labels::read(text.split_terminator(END)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_as_it_was_written() {
        let labels = Labels::read(["team=web", "note=a=b, c"]).unwrap();

        assert_eq!(text_of(&labels), "note=a=b, c\nteam=web\n");
        assert_eq!((read(&text_of(&labels)), each(&labels).count()), (labels, 2));
        assert_eq!([text_of(&Labels::default()).as_str(), ""].map(read), [Labels::default(), Labels::default()]);
        assert_eq!(read("nonsense"), Labels::default());
    }
}
